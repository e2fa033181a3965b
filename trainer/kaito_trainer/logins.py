"""Who we are at a registry: what mounted secrets, `docker login` and its credential helpers hold.

Credential helpers are asked by oras-py. Nothing here prints, and no `repr` shows a password.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import oras.auth
from oras.container import Container

DOCKER_HUB: Final = "docker.io"
HUB_HOST: Final = "registry-1.docker.io"
"""Docker Hub's API has another name than its images, and `docker login` keeps its credentials under a third one."""
_HUB_NAMES: Final = (HUB_HOST, "index.docker.io", DOCKER_HUB)
_TOKEN_USER: Final = "<token>"
"""The user that a credential helper names when what it gives is an identity token, not a password."""


class LoginError(Exception):
    """Credentials that are there and cannot be read. The text says where they are, and nothing of what they are."""


class Logins(dict[str, Any]):
    """The `auths` of a Docker config: registry -> entry. Its repr names the registries alone."""

    def __repr__(self) -> str:
        return f"Logins(of {', '.join(self) or 'no registry'})"


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """What a registry is told. One of both is empty."""

    basic: str = ""
    """base64 of `user:password`."""
    identity: str = ""
    """An identity token, which `az acr login` and other single sign-ons leave in place of a password."""


def find(repository: str, auths: Mapping[str, Any]) -> Login | None:
    """The login for `host[:port]/name`: the entry of `auths` that fits it best, else the user's own Docker config's."""
    host = repository.partition("/")[0]
    return _of_auths(repository, auths) or _of_auths(repository, _own()) or _of_helpers(host)


def read(files: Iterable[Path]) -> Logins:
    """The `auths` of Docker config files (a mounted secret's `.dockerconfigjson`), later ones first. Raises `LoginError`."""
    found = Logins()
    for file in files:
        try:
            found |= logins_of(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no Docker config"
            raise LoginError(f"The credentials in {file} cannot be read ({why}).") from None
    return found


def logins_of(text: str) -> Logins:
    """Registry -> entry, as a Docker config's text has them under `auths`. Raises ValueError, without the text."""
    try:
        auths = json.loads(text)["auths"]
        return Logins({str(host): dict(entry) for host, entry in auths.items()})
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError("no Docker config") from None


def _own() -> Logins:
    """The `auths` of the user's own Docker config. One without any, or with none that can be read, has none."""
    try:
        return logins_of(_own_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Logins()


def _own_file() -> Path:
    folder = os.environ.get("DOCKER_CONFIG")
    return Path(folder, "config.json") if folder else Path("~/.docker/config.json").expanduser()


def _of_auths(repository: str, auths: Mapping[str, Any]) -> Login | None:
    """Keys are hosts, with or without scheme and API version, or the beginning of a repository's name: the longest fits best."""
    host, _, name = repository.partition("/")
    found: list[tuple[int, Login]] = []
    for key, entry in auths.items():
        plain = str(key).removeprefix("https://").removeprefix("http://").rstrip("/")
        of, _, path = plain.partition("/")
        path = "" if path in ("v1", "v2") else path
        same = of == host or (host == HUB_HOST and of in _HUB_NAMES)
        if same and f"{name}/".startswith(f"{path}/" if path else "") and (login := _of_entry(entry)):
            found.append((len(path), login))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _of_entry(entry: Any) -> Login | None:
    if not isinstance(entry, Mapping):
        return None
    if token := entry.get("identitytoken"):
        return Login(identity=str(token))
    if auth := entry.get("auth"):
        return Login(basic=str(auth))
    if entry.get("username") and entry.get("password"):
        return Login(basic=base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode())
    return None


def _of_helpers(host: str) -> Login | None:
    """What the credential helpers of the user's Docker config (`credsStore`, `credHelpers`) say. One that fails says nothing."""
    logging.getLogger("oras.logger").setLevel(logging.CRITICAL)  # it would warn of each helper that is not installed
    file = _own_file()
    if not file.is_file():
        return None
    for name in _HUB_LOGINS if host == HUB_HOST else (host,):
        asked = oras.auth.get_auth_backend("token")
        try:
            asked.load_configs(Container(f"{host}/x"), configs=[str(file)])
            asked._load_auth(name)
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            continue
        if basic := getattr(asked, "_basic_auth", None):
            user, _, secret = base64.b64decode(basic).decode(errors="replace").partition(":")
            return Login(identity=secret) if user == _TOKEN_USER else Login(basic=basic)
    return None


_HUB_LOGINS: Final = ("https://index.docker.io/v1/", *_HUB_NAMES)
"""Names under which helpers know Docker Hub."""

__all__ = ["DOCKER_HUB", "HUB_HOST", "Login", "LoginError", "Logins", "find", "logins_of", "read"]
