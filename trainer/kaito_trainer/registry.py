"""One registry over HTTP: what is asked of it, what it answered, and what that means for a person.

Time limits, retries that can be seen, uploads that are streamed, and errors that a person can act on. No message holds a
password, a token or an address with one.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from oras.container import Container

from .logins import DOCKER_HUB, HUB_HOST, Login, logins_of

TIMEOUT: Final = (10, 60)
"""Seconds to connect, and to wait for a registry's answer."""
UPLOAD_TIMEOUT: Final = (10, 300)
"""An upload is answered when it is stored."""
TRIES: Final = 5
LONGEST_PAUSE: Final = 60.0
INSECURE_VARIABLE: Final = "KAITO_INSECURE_REGISTRIES"
"""Environment variable: registries (`host:port`, with blanks or commas between) that are spoken to by plain http."""
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
_PART: Final = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?")
"""Names as registries allow them (OCI distribution specification)."""

Result = TypeVar("Result")


class RegistryError(Exception):
    """A registry said no, or cannot be reached.

    `kind` is `registry-auth` when credentials are missing, wrong or without the right; else `registry`.
    """

    def __init__(self, kind: str, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.kind, self.message, self.remedy = kind, message, remedy


class Refused(Exception):
    """An answer that was not the one hoped for."""

    def __init__(self, answer: requests.Response) -> None:
        self.status, self.said = answer.status_code, ""
        after = answer.headers.get("Retry-After", "")
        self.after = float(after) if after.isdigit() else 0.0
        """Seconds that the registry asks us to wait."""
        try:
            errors = answer.json().get("errors") or [{}]
            said = str(errors[0].get("message") or errors[0].get("code") or "")
        except (ValueError, AttributeError, LookupError, TypeError):
            said = str(answer.reason or "")
        for secret in _secrets(answer):
            said = said.replace(secret, "…")
        self.said = said[:200]
        super().__init__(self.status, self.said)


def _secrets(answer: requests.Response) -> Iterator[str]:
    """What the request told of who we are, and some registry might say again."""
    sent = answer.request.headers.get("Authorization", "") if answer.request is not None else ""
    told = str(sent).partition(" ")[2]
    if told:
        yield told
    with suppress(ValueError):
        password = base64.b64decode(told, validate=True).partition(b":")[2].decode(errors="replace")
        if password:
            yield password


class Damaged(Exception):
    """What arrived has another digest than it should have."""


class Remote:
    """One repository's registry. Credentials go to it alone, and only when it asks for some."""

    def __init__(self, host: str, *, insecure: bool, login: Login | None) -> None:
        self.host, self.prefix, self._login = host, "http" if insecure else "https", login
        self._authorization = ""
        self.session = requests.Session()
        self.session.auth = lambda request: request  # or requests would put what ~/.netrc holds in place of ours
        # Harbor takes who returns its cookies for a browser, and asks for more of them.
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """A request for a path that begins with the host."""
        return self.request(method, f"{self.prefix}://{path}", **more)

    def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, data: Any = None, stream: bool = False
    ) -> requests.Response:
        """A request for a whole address; a second one, as who we are, when the registry wants to know."""
        answer = self._send(method, url, headers or {}, data, stream)
        if answer.status_code not in (401, 403) or not self._is_ours(url) or not self._authorize(answer):
            return answer
        answer.close()
        if hasattr(data, "seek"):
            data.seek(0)
        return self._send(method, url, headers or {}, data, stream)

    def location(self, answer: requests.Response) -> str:
        """Where an upload that was begun goes on; empty when the registry does not say."""
        told = answer.headers.get("Location", "")
        return urljoin(answer.url, told) if told else ""

    def forget(self, session: str) -> None:
        """Give an upload up that was begun. No more than a courtesy: who may push often may not delete."""
        with suppress(requests.exceptions.RequestException):
            self._send("DELETE", session, {}, None, stream=False)

    def _send(self, method: str, url: str, headers: dict[str, str], data: Any, stream: bool) -> requests.Response:
        if self._authorization and self._is_ours(url):
            headers = {**headers, "Authorization": self._authorization}
        timeout = UPLOAD_TIMEOUT if data is not None else TIMEOUT
        return self.session.request(method, url, headers=headers, data=data, stream=stream, timeout=timeout)

    def _is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc) == (self.prefix, self.host)

    def _authorize(self, answer: requests.Response) -> bool:
        """Answer a registry's challenge; whether there is anything new to say."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        scheme = challenge.partition(" ")[0].lower()
        told = ""
        if scheme == "basic" and self._login and self._login.basic:
            told = f"Basic {self._login.basic}"
        elif scheme == "bearer":
            # A token is for one scope: what was good for reading is not for writing, so a new one is asked for.
            told = self._token({key.lower(): value for key, value in _CHALLENGE.findall(challenge)})
        if not told or told == self._authorization:
            return False
        self._authorization = told
        return True

    def _token(self, challenge: dict[str, str]) -> str:
        """The registry's token service's word on who we are; empty when it does not know us. Raises `Refused`."""
        realm = urljoin(f"{self.prefix}://{self.host}/", challenge.get("realm", ""))
        if urlsplit(realm).scheme != "https" and self.prefix == "https":
            return ""  # no credentials in the clear
        asked = {key: challenge[key] for key in ("service", "scope") if challenge.get(key)}
        if self._login and self._login.identity:
            form = {
                **asked,
                "grant_type": "refresh_token",
                "client_id": "kaito",
                "refresh_token": self._login.identity,
            }
            answer = self.session.post(realm, data=form, timeout=TIMEOUT, allow_redirects=False)
        else:
            headers = {"Authorization": f"Basic {self._login.basic}"} if self._login else {}
            answer = self.session.get(realm, params=asked, headers=headers, timeout=TIMEOUT)
        if answer.status_code in (400, 401, 403):
            return ""
        if answer.status_code != 200:
            raise Refused(answer)
        try:
            said = answer.json()
            token = said.get("token") or said.get("access_token") or ""
        except (ValueError, AttributeError):
            token = ""
        return f"Bearer {token}" if token else ""


def parse(reference: str) -> Container:
    """An image name in its parts, Docker Hub's short names made whole. Raises `RegistryError`."""
    reference = reference.strip()
    first, _, rest = reference.partition("/")
    named = bool(rest) and (first == "localhost" or "." in first or ":" in first)
    if not _NAME.fullmatch(rest if named else reference) or (named and not _HOST.fullmatch(first)):
        _, at, image = reference.rpartition("@")
        # Before an @ there may stand a password, where somebody took the name for an address.
        shown = f"…@{image}" if at and not image.startswith("sha256:") else reference
        raise RegistryError(
            "registry",
            f'"{shown}" is not an image name.',
            "Write registry/name:tag, the name in small letters, and nothing before the registry.",
        )
    container = Container(rest, registry=first) if first == "localhost" else Container(reference)
    if container.registry in (DOCKER_HUB, f"index.{DOCKER_HUB}"):
        container.registry = HUB_HOST
        container.namespace = container.namespace or "library"
    return container


def is_insecure(host: str) -> bool:
    """Whether a registry is spoken to by plain http: this machine itself, as Docker does, and those that the user names."""
    named = os.environ.get(INSECURE_VARIABLE, "").replace(",", " ").split()
    return host in named or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a registry's `host[:port]` is this machine itself."""
    name = host.rsplit(":", 1)[0].strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@contextmanager
def explained(verb: str, reference: str, host: str) -> Iterator[None]:
    """The registry's and the network's errors as ours."""
    try:
        yield
    except Refused as error:
        said = f"{host} answered {error.status}{': ' + error.said if error.said else ''}"
        if error.status in (401, 403):
            what = "no or wrong credentials" if error.status == 401 else "no right"
            raise RegistryError(
                "registry-auth",
                f"Cannot {verb} {reference}: {what} ({said}).",
                f"Log in to {host} with an account that may {verb} it (docker login), or name a secret that holds such credentials.",
            ) from None
        if error.status == 404 and verb != "push":
            raise RegistryError(
                "registry", f"There is no image {reference} ({said}).", "Check its name and tag."
            ) from None
        raise RegistryError(
            "registry", f"Cannot {verb} {reference}: {said}.", "Try again, or ask who runs the registry."
        ) from None
    except Damaged:
        raise RegistryError(
            "registry", f"{reference} arrived damaged.", "Try again, or ask who runs the registry."
        ) from None
    except requests.exceptions.SSLError:
        raise RegistryError(
            "registry",
            f"{host} does not speak https with a certificate that this machine trusts.",
            f"Check the name; a registry without https must be named in {INSECURE_VARIABLE}.",
        ) from None
    except requests.exceptions.RequestException as error:
        raise RegistryError(
            "registry", f"{host} cannot be reached ({type(error).__name__}).", "Check the name and the network."
        ) from None
    except KeyboardInterrupt:
        # A new one, without the frames below: they hold credentials, and IPython's `%xmode Verbose` shows their variables.
        raise KeyboardInterrupt from None


def expect(answer: requests.Response, status: int) -> None:
    """Raise `Refused` for another status (some registries say 200 or 202 where 201 is meant)."""
    if answer.status_code != status and not (status == 201 and answer.status_code in (200, 202)):
        raise Refused(answer)


def with_retries(
    once: Callable[[], Result],
    on_retry: Callable[[str], None] | None,
    *,
    tries: int = TRIES,
    pause: Callable[[float], None] = time.sleep,
) -> Result:
    """What `once` gives, tried again with back-off when the network or the server fails."""
    passing = (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
    )
    for attempt in range(1, tries + 1):
        try:
            return once()
        except (*passing, Refused, Damaged) as error:
            refused = error if isinstance(error, Refused) else None
            fatal = refused is not None and refused.status not in (408, 429) and refused.status < 500
            if attempt == tries or fatal or isinstance(error, requests.exceptions.SSLError):
                raise
            wait = min(LONGEST_PAUSE, max(2.0**attempt, refused.after if refused else 0))
            if on_retry:
                why = f"answered {refused.status}" if refused else type(error).__name__
                on_retry(f"try {attempt} of {tries} failed ({why}), next in {wait:.0f} s")
            pause(wait)
    raise AssertionError("unreachable")


__all__ = [
    "INSECURE_VARIABLE",
    "Damaged",
    "Refused",
    "RegistryError",
    "Remote",
    "expect",
    "explained",
    "is_insecure",
    "is_loopback",
    "logins_of",
    "parse",
    "with_retries",
]
