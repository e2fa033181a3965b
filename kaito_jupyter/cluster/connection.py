"""HTTP connections that another thread can wake: `Stop` ends every read that waits under it, at once.

A read from a silent server cannot be ended by an event alone, and a connection must not be closed under a thread that
reads from it. So each connection used under a `Stop` leaves a duplicate of its socket there, and `Stop.set` shuts those
down: the reader's next byte is an end of file. Works while the request waits for its answer and in a TLS handshake, too.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from .refusals import Asked, Unreachable, Untrusted, plain

CONNECT_TIMEOUT: Final = 5.0
POOL_SIZE: Final = 32
"""Connections kept open to the API server when idle."""

_DISTRUST = re.compile("CERT|UNKNOWN_CA|WRONG_VERSION|HANDSHAKE_FAILURE|PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|match")
"""In OpenSSL's words for what will not pass by itself. A connection that is cut in a handshake is an SSL error, too."""

_current = threading.local()


class Stop(threading.Event):
    """An event that also ends the network reads that wait under it."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def set(self) -> None:
        super().set()
        with self._lock:
            for sock in self._sockets:
                _shut(sock)

    def hold(self) -> Held:
        """What one exchange with a server keeps here while it lasts."""
        return Held(self)

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
        if self.is_set():
            _shut(sock)

    def _release(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()


class Held:
    """The sockets of one exchange: they end when the event is set, until they are released."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._sockets: list[socket.socket] = []

    @contextlib.contextmanager
    def requesting(self) -> Iterator[None]:
        """Connections that this thread makes or takes from a pool inside the block are held."""
        outer, _current.held = getattr(_current, "held", None), self
        try:
            yield
        finally:
            _current.held = outer

    def add(self, sock: socket.socket) -> None:
        # A duplicate of the descriptor, not the object: a TLS socket takes the descriptor over from the plain one.
        with contextlib.suppress(OSError):
            twin = socket.fromfd(sock.fileno(), sock.family, sock.type, sock.proto)
            self._sockets.append(twin)
            self._stop._hold(twin)

    def release(self) -> None:
        while self._sockets:
            self._stop._release(self._sockets.pop())


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        sock.shutdown(socket.SHUT_RDWR)


class _Watched:
    """Tells the `Stop` in use about the connection: when it is made, and again when it is used anew."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if held := getattr(_current, "held", None):
            held.add(sock)
        return sock

    def getresponse(self, *args: Any, **options: Any) -> Any:
        if self.sock is not None and (held := getattr(_current, "held", None)):
            held.add(self.sock)
        return super().getresponse(*args, **options)  # type: ignore[misc]


class _Connection(_Watched, HTTPConnection):
    pass


class _TlsConnection(_Watched, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Stopped(Exception):
    """What was under way ended because its `Stop` was set."""


def unreachable(asked: Asked, server: str, error: Exception) -> Unreachable:
    """The error for a request that got no answer, or for an answer that broke off."""
    address = urlsplit(server).netloc.rpartition("@")[2]
    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        silent = Unreachable(asked, f"{address} does not answer (timed out)")
        silent.silent = True
        return silent
    if isinstance(error, urllib3.exceptions.ProxyError):
        return Unreachable(asked, f"the proxy on the way to {address} does not work: {plain(str(error))}")
    # A handshake that was cut says nothing about trust: a restarting server or a load balancer does that.
    cut = any(isinstance(e, ssl.SSLEOFError | ConnectionError) for e in (error, *error.args))
    if isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError) and not cut:
        return Untrusted(asked, f"no trusted connection to {address}: {plain(str(error))}")
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return Unreachable(asked, f"the name of {address} is unknown here")
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        # Its subclass NewConnectionError says why: refused, no route, …
        why = plain(str(error).rpartition(": ")[2]) if isinstance(error, urllib3.exceptions.NewConnectionError) else ""
        return Unreachable(asked, f"no connection to {address} ({why or 'timed out'})")
    return Unreachable(asked, f"the connection to {address} broke off")


def pool_manager(configuration: Any) -> urllib3.PoolManager:
    """Connections as a `kubernetes.client.Configuration` describes them.

    One TLS context for all: urllib3 would read the certificates anew for each connection. No retries: those are ours.
    """
    options: dict[str, Any] = {
        "maxsize": POOL_SIZE,
        "retries": False,
        "ssl_context": _tls(configuration),
        "socket_options": [*HTTPConnection.default_socket_options, *_keepalive()],
        "timeout": urllib3.Timeout(connect=CONNECT_TIMEOUT, read=30.0),
    }
    if configuration.assert_hostname is not None:
        options["assert_hostname"] = configuration.assert_hostname
    if name := getattr(configuration, "tls_server_name", None):
        options["server_hostname"] = name
    if configuration.proxy and not _bypassed(configuration):
        manager: urllib3.PoolManager = urllib3.ProxyManager(
            configuration.proxy, proxy_headers=configuration.proxy_headers, **options
        )
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _bypassed(configuration: Any) -> bool:
    from kubernetes.client.rest import should_bypass_proxies

    return bool(should_bypass_proxies(configuration.host, no_proxy=configuration.no_proxy or ""))


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    # Python 3.13 asks for certificate extensions that the CAs of many clusters lack (as Go's clients do not).
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _keepalive() -> list[tuple[int, int, int]]:
    """Probes every 10 s: load balancers forget idle connections (after 4 minutes on AKS), and dead peers are noticed."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPALIVE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # macOS has other names
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
