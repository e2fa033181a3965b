"""Requests to one API server: a timeout on each, another try where that is safe, a new login when a token has expired."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from .connection import CONNECT_TIMEOUT, Held, Stop, Stopped, pool_manager, unreachable
from .login import Login
from .refusals import Asked, ClusterError, Invalid, Unauthorized, refusal

READ_TIMEOUT: Final = 15.0
"""Seconds without a byte after which a call is given up."""
ATTEMPTS: Final = 4
"""How often a call that is safe to repeat is tried when the way or the server fails: for about 3 s."""
AGENT: Final = "kaito-jupyter"

Json = dict[str, Any]


class _Session(NamedTuple):
    """What one login gives. Replaced as a whole, so that a request never mixes two."""

    login: Login
    pools: urllib3.PoolManager
    number: int

    def credentials(self) -> dict[str, str]:
        # Re-reads what the package knows to expire (an exec plugin's token, a service account's every minute).
        settings = self.login.configuration.auth_settings().values()
        return {s["key"]: s["value"] for s in settings if s["in"] == "header" and s.get("value")}


class Transport:
    """One login's way to the API server. Thread-safe."""

    def __init__(self, log_in: Callable[[], Login], read_timeout: float = READ_TIMEOUT) -> None:
        self._log_in = log_in
        self._lock = threading.Lock()
        self.read_timeout = read_timeout
        login = log_in()
        self._session = _Session(login, pool_manager(login.configuration), 0)

    @property
    def login(self) -> Login:
        return self._session.login

    @property
    def server(self) -> str:
        """The API server's address."""
        return str(self.login.configuration.host).rstrip("/")

    def credentials(self) -> dict[str, str]:
        """The headers that say who we are. Secret: for looking into, never for showing."""
        return self._session.credentials()

    def close(self) -> None:
        """Close idle connections."""
        self._session.pools.clear()

    def call(
        self,
        asked: Asked,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        *,
        again: bool = True,
        stop: Stop | None = None,
    ) -> Json:
        """A request and its JSON answer. `again`: harmless to repeat, so it is when the way or the server fails.

        What was turned away undone is repeated in any case.

        Raises `ClusterError`s, and `Stopped` when `stop` was set meanwhile.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._request(asked, method, path, query, data, headers, stop=stop)
                break
            except ClusterError as e:
                if not e.passing or attempt == ATTEMPTS or not (again or e.turned_away):
                    raise
                _pause(min(e.retry_after or 0.2 * 2**attempt * random.uniform(0.5, 1), 10.0), stop)
        try:
            value: Json = json.loads(response.data)
        except ValueError:
            raise Invalid(
                asked, "the answer is no JSON", "Is that address an API server?", code=response.status
            ) from None
        return value

    @contextlib.contextmanager
    def open(
        self, asked: Asked, path: str, query: Mapping[str, Any], *, stop: Stop, read_timeout: float
    ) -> Iterator[Iterator[bytes]]:
        """A GET whose answer comes in pieces, as the server sends them. No piece for `read_timeout` s: `Unreachable`.

        A piece that ends early, or a connection that breaks, raises `Unreachable` too; a complete answer just ends.
        Raises `Stopped` at once when `stop` is set.
        """
        held = stop.hold()
        try:
            response = self._request(asked, "GET", path, query, stop=stop, read_timeout=read_timeout, held=held)
            try:
                yield self._pieces(asked, response, stop)
            finally:
                response.close()
        finally:
            held.release()

    def _pieces(self, asked: Asked, response: urllib3.BaseHTTPResponse, stop: Stop) -> Iterator[bytes]:
        try:
            yield from response.stream(65536, decode_content=True)
        except (HTTPError, OSError, ValueError, AttributeError) as e:
            if stop.is_set():
                raise Stopped from None
            if isinstance(e, AttributeError | ValueError):
                raise
            raise unreachable(asked, self.server, e) from e
        if stop.is_set():
            raise Stopped

    def _request(
        self,
        asked: Asked,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        stop: Stop | None = None,
        read_timeout: float | None = None,
        held: Held | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request; a second one with a fresh login when the first was not believed. With `held`, a stream's."""
        given = urlencode({k: v for k, v in (query or {}).items() if v not in ("", None)})
        read = read_timeout or self.read_timeout
        with contextlib.ExitStack() as stack:
            if stop is not None:
                mine = held or stop.hold()
                stack.enter_context(mine.requesting())
                if held is None:
                    stack.callback(mine.release)
            for last in (False, True):
                session = self._session
                try:
                    response = session.pools.request(
                        method,
                        f"{self.server}{path}{'?' + given if given else ''}",
                        body=data,
                        headers={
                            "Accept": "application/json",
                            "User-Agent": AGENT,
                            **(headers or {}),
                            **session.credentials(),
                        },
                        timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, read), read=read),
                        preload_content=held is None,
                        redirect=False,
                    )
                    if response.status < 400:
                        return response
                    error = refusal(asked, response.status, response.data, response.headers)
                except (HTTPError, OSError) as e:
                    if stop is not None and stop.is_set():
                        raise Stopped from None
                    raise unreachable(asked, self.server, e) from None
                except BaseException as e:  # noqa: BLE001 (raised again)
                    # An interrupt, a defect. IPython's `%xmode Verbose` shows the variables of every frame, and those below
                    # hold our credentials: the same goes for the cause of what is raised above.
                    raise e.with_traceback(None) from None
                if last or not isinstance(error, Unauthorized):
                    break
                self._renew(session)
        raise error

    def _renew(self, used: _Session) -> None:
        """Log in anew, unless another thread has done so since the request was made."""
        with self._lock:
            if self._session.number == used.number:
                login = self._log_in()
                self._session = _Session(login, pool_manager(login.configuration), used.number + 1)


def _pause(seconds: float, stop: Stop | None) -> None:
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Stopped
