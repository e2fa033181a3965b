"""What an API server (or the way to it) says no with, as errors that a person can act on.

::

    BackendError
      ClusterError            all of these
        NoCluster             nothing here says where a cluster is
        Unreachable           no answer: refused, cut, timed out                             passes by itself, perhaps
          Untrusted           … because of TLS
        Unauthorized          401: who we are is not believed
        Forbidden             403: we are not allowed to
        Denied                an admission rule refused this very object (quota, pod security, a webhook)
        NotFound              404
        Conflict              409: another holds the field, or it exists already
        Gone                  410: the server has forgotten that point of history
        Invalid               400, 422: the object is wrong; every cause is listed
        Busy                  429                                                            passes by itself
        ServerFailed          5xx                                                            passes by itself, perhaps

Every message says what we asked, what the server said, and what to do. None holds a credential: only the server's own
words about an object get in, cut to a length, with anything that looks like a credential blanked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple

from ..errors import BackendError
from .resources import Resource

SHOWN: Final = 600
"""Characters of a server's message that are shown."""
CAUSES_SHOWN: Final = 12

_WORDS = {"get": "read", "apply": "write", "patch": "change", "exec": "run a command through"}
_RIGHTS = {"apply": ("create", "patch"), "exec": ("create", "get")}
_USER = re.compile(r'User "([^"]*)" cannot (\w+) resource "([^"]*)"')
_NO_RIGHT = " has no right to"
_TYPED = re.compile(r"failed to create typed patch object(?: \([^)]*\))?: ?(?:errors:)?(.*)", re.DOTALL)
_STRICT = re.compile(r'(?:unknown|duplicate) field "[^"]*"')
_DENIED = re.compile(r"^(.*denied the request): (?:validation failed: )?(.*\n.*)$", re.DOTALL)
"""A webhook's refusal in several lines, a finding each. Source: knative's `FieldError`, which KAITO's webhook answers with."""
_CREDENTIAL = re.compile(
    r"://[^/@\s]+@"  # user:password in a URL
    r"|(?i:bearer|basic)\s+[A-Za-z0-9+/=_.~-]{8,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JSON web token
)


class Asked(NamedTuple):
    """One request in words, for messages."""

    verb: str
    """RBAC's word (`get`, `list`, `watch`, `create`, `patch`, `delete`), or `apply`; or any other word."""
    what: str
    """RBAC's resource (`pods`, `pods/log`), or any other thing."""
    namespace: str | None = None
    name: str = ""
    group: str = ""

    @classmethod
    def of(cls, verb: str, resource: Resource, namespace: str | None, name: str = "", subresource: str = "") -> Asked:
        what = f"{resource.plural}/{subresource}" if subresource else resource.plural
        return cls(verb, what, namespace if resource.namespaced else None, name, resource.group)

    def __str__(self) -> str:
        name = f" `{self.name}`" if self.name else ""
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{_WORDS.get(self.verb, self.verb)} {self.what}{name}{place}"

    @property
    def rule(self) -> dict[str, list[str]]:
        """The RBAC rule that allows it."""
        verbs = list(_RIGHTS.get(self.verb, (self.verb,)))
        return {"apiGroups": [self.group], "resources": [self.what], "verbs": verbs}


class ClusterError(BackendError):
    """The cluster refused, or cannot be reached."""

    REMEDY: ClassVar[str] = ""
    passing: ClassVar[bool] = False
    """Whether the same request may well succeed in a moment."""

    def __init__(
        self, asked: Asked | str, said: str, remedy: str = "", *, code: int = 0, causes: tuple[str, ...] = ()
    ) -> None:
        self.asked = asked
        self.said = said
        self.code = code
        """HTTP status, 0 when there was no answer."""
        self.causes = causes
        """What is wrong, one by one, when the server told it so."""
        self.retry_after: float | None = None
        """Seconds that the server asked us to wait."""
        self.turned_away = False
        """Whether the server said that it has done nothing yet and wants to be asked again."""
        self.remedy = remedy or self.REMEDY
        """What to do, as a sentence; empty when nothing is known."""
        lines = [f"{self.brief}."]
        if causes:
            lines[0] = lines[0][:-1] + ":"
            lines += [f"  {c}" for c in causes[:CAUSES_SHOWN]]
            if len(causes) > CAUSES_SHOWN:
                lines.append(f"  … and {len(causes) - CAUSES_SHOWN} more")
        if self.remedy:
            lines.append(self.remedy)
        super().__init__("\n".join(lines) if causes else " ".join(lines))

    @property
    def brief(self) -> str:
        """What we asked and what was said, without causes, remedy and full stop."""
        return f"cannot {self.asked}: {self.said}{f' ({self.code})' if self.code else ''}"


class NoCluster(ClusterError):
    """Nothing here says where a cluster is."""


class Unreachable(ClusterError):
    """There was no answer, or it broke off."""

    passing = True
    silent = False
    """Whether the connection stood, and no byte came."""
    REMEDY = "Check that the cluster is up and that this machine reaches it (network, VPN, proxy)."


class Untrusted(Unreachable):
    """TLS failed: one side does not trust the other."""

    passing = False
    REMEDY = "Check the certificate authority of this context in the kubeconfig, and whether a proxy breaks TLS open on the way."


class Unauthorized(ClusterError):
    """The server does not know us."""

    REMEDY = "The login has expired or is wrong: log in again (`kubectl get pods` must work), or give another context."


class Forbidden(ClusterError):
    """The server knows us, and we lack the right. `asked.rule` is the RBAC rule that is missing."""

    @property
    def user(self) -> str | None:
        """Our name, as the server said it."""
        name, found, _ = self.said.partition(_NO_RIGHT)
        return name if found else None


class Denied(ClusterError):
    """An admission rule refused this object."""


class NotFound(ClusterError):
    """There is no such object, or no such kind of object."""


class Conflict(ClusterError):
    """Another writer holds a field, the object exists already, or it is not the one that was meant."""


class Gone(ClusterError):
    """That point of the server's history is forgotten: list again."""


class Invalid(ClusterError):
    """The object is wrong."""


class Busy(ClusterError):
    """Too many requests."""

    passing = True
    REMEDY = "Wait a moment and try again."


class ServerFailed(ClusterError):
    """The server failed, not the request."""

    passing = True
    REMEDY = "Try again; if it stays so, the cluster's administrators have to look."


_BY_CODE: Final[dict[int, type[ClusterError]]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Busy,
}


def refusal(asked: Asked, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> ClusterError:
    """The error for an answer of 400 and above. `body` is a Kubernetes Status, or whatever a proxy wrote instead."""
    status = _status(body)
    said = plain(str(status.get("message") or "")) or "no reason given"
    causes = _causes(status)
    kind = _BY_CODE.get(code, ServerFailed if code >= 500 else Invalid)
    remedy = ""
    if kind is Forbidden:
        kind, said, remedy = _forbidden(asked, said)
    elif "denied the request" in said:
        kind = Denied
        if causes and (denied := _DENIED.match(str(status.get("message")))):
            said = plain(denied[1])
    elif kind is NotFound:
        said, remedy = _not_found(asked, status, said)
    elif kind is Conflict and causes:
        said = f"{len(causes)} of its fields {'belongs' if len(causes) == 1 else 'belong'} to another writer"
        remedy = "Take that writer's change back, or take the fields over (force)."
    elif kind is Conflict and status.get("reason") == "AlreadyExists":
        said, remedy = "there is one already", "Take another name, or delete that one first."
    elif causes and (kind is Invalid or _TYPED.search(said)):
        # An apply with fields that the schema lacks is answered 500, though the server has not failed.
        kind, said = Invalid, f"{len(causes)} {'thing is' if len(causes) == 1 else 'things are'} wrong in it"
    elif code == 500 and "failed calling webhook" in said:
        remedy = (
            "A webhook that checks such objects does not answer (for Workspaces: is KAITO's operator up?). Try again."
        )
    error = kind(asked, said.rstrip("."), remedy, code=code, causes=causes)
    error.retry_after = _seconds((headers or {}).get("Retry-After"))
    # 429, and what admission answers while its own parts come up: a pod in a namespace so young that its service account
    # has no token yet. Source: apimachinery's StatusReasonServerTimeout, "the client should retry".
    error.turned_away = kind is Busy or (status.get("reason") == "ServerTimeout" and error.retry_after is not None)
    return error


def plain(text: str) -> str:
    """A server's text as a message shows it: one line, cut, without anything that looks like a credential."""
    text = _CREDENTIAL.sub(lambda m: "://***@" if m[0].startswith("://") else "***", " ".join(text.split()))
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _status(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {"message": re.sub(r"<[^>]*>", " ", body[: 4 * SHOWN].decode("utf-8", "replace"))}
    return value if isinstance(value, dict) else {"message": str(value)}


def _causes(status: Mapping[str, Any]) -> tuple[str, ...]:
    details = status.get("details")
    listed = (details.get("causes") if isinstance(details, dict) else None) or []
    causes = [
        plain(f"{c['field']}: {c.get('message', '')}" if c.get("field") else str(c.get("message", "")))
        for c in listed
        if isinstance(c, dict)
    ]
    if not causes:  # strict validation puts all of its findings into the message alone
        message = str(status.get("message") or "")
        typed, denied = _TYPED.search(message), _DENIED.match(message)
        found = typed[1].splitlines() if typed else denied[2].splitlines() if denied else _STRICT.findall(message)
        causes = [plain(c) for c in dict.fromkeys(found) if c.strip()]
    return tuple(causes)


def _forbidden(asked: Asked, said: str) -> tuple[type[ClusterError], str, str]:
    """403 is RBAC's no, and also that of some admission rules: quota, pod security, a namespace that is ending."""
    if found := _USER.search(said):
        rule = asked.rule
        where = f"a Role in namespace {asked.namespace}" if asked.namespace else "a ClusterRole"
        remedy = (
            f"Ask for {where} with apiGroups {json.dumps(rule['apiGroups'])}, resources {json.dumps(rule['resources'])}, "
            f"verbs {json.dumps(rule['verbs'])}, bound to it"
            f"{'; `%kaito doctor` prints the one with all that runs need.' if asked.namespace else '.'}"
        )
        return Forbidden, f"{found[1]}{_NO_RIGHT}", remedy
    if "exceeded quota" in said:
        return Denied, said, "Ask for less, wait until other work has ended, or ask for a larger quota."
    if "being terminated" in said:
        return Denied, said, "The namespace is being deleted: use another one."
    return Denied, said, ""


def _not_found(asked: Asked, status: Mapping[str, Any], said: str) -> tuple[str, str]:
    details = status.get("details")
    if isinstance(details, dict) and details.get("name"):
        if details.get("kind") == "namespaces" and asked.what != "namespaces":
            return (
                f"there is no namespace {details['name']}",
                f"Create it (`kubectl create namespace {details['name']}`), or name another.",
            )
        return "there is none", ""
    if asked.group:
        return f"the cluster serves no {asked.what} of {asked.group}", (
            "Install KAITO on the cluster, or train with our own Job." if asked.group == "kaito.sh" else ""
        )
    return said, ""


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
