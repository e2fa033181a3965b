"""Who the API server takes us for: the name that a RoleBinding must bear."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any


def user_of(review: dict[str, Any]) -> str | None:
    """The user's name in a SelfSubjectReview's answer."""
    name = ((review.get("status") or {}).get("userInfo") or {}).get("username")
    return str(name) if name else None


def user_in(headers: Iterable[str]) -> str | None:
    """A service account's name as it stands in its token, among the values of request headers.

    The token is not checked, and nothing but the name leaves here: other tokens (of OIDC providers) may call a user by
    another claim than the server does, so they tell nothing.
    """
    for value in headers:
        parts = value.rpartition(" ")[2].split(".")
        if len(parts) != 3:
            continue
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except (ValueError, binascii.Error):
            continue
        name = claims.get("sub") if isinstance(claims, dict) else None
        if isinstance(name, str) and name.startswith("system:serviceaccount:"):
            return name
    return None
