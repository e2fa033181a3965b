"""A stretch of network that can be cut, blocked and made silent: a TCP proxy for tests."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from urllib.parse import urlsplit


class Wire:
    """Forwards a local port to `target` (`host:port` or a URL). One thread for all connections."""

    def __init__(self, target: str) -> None:
        url = urlsplit(target if "//" in target else f"//{target}")
        self._target = (url.hostname or "", url.port or 443)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._peer: dict[socket.socket, socket.socket] = {}
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._silent_until = 0.0
        self._refuse_until = 0.0
        self._budget: int | None = None
        self.cuts = 0
        """Connections that were cut."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Reset all connections. How many that were."""
        with self._lock:
            count = len(self._peer) // 2
            for sock in list(self._peer):
                self._drop(sock, reset=True)
            self.cuts += count
            return count

    def cut_after(self, count: int) -> None:
        """Reset all connections when that many more bytes have come from the server: in the middle of whatever it is."""
        self._budget = count

    def silence(self, seconds: float) -> None:
        """Connections stay open, no byte passes."""
        self._silent_until = time.monotonic() + seconds

    def refuse(self, seconds: float) -> None:
        """New connections are reset at once, and the old ones."""
        self._refuse_until = time.monotonic() + seconds
        self.cut()

    def close(self) -> None:
        self._closing = True
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closing:
            if time.monotonic() < self._silent_until:
                time.sleep(0.02)
                continue
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._peer:
                        self._pump(key.fileobj, bool(key.data))

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if time.monotonic() < self._refuse_until:
            client.close()
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        for sock, other, from_server in ((client, server, False), (server, client, True)):
            sock.settimeout(5)
            self._peer[sock] = other
            self._selector.register(sock, selectors.EVENT_READ, from_server)

    def _pump(self, sock: socket.socket, from_server: bool) -> None:
        try:
            data = sock.recv(65536)
            if from_server and data and self._budget is not None:
                self._budget -= len(data)
                if self._budget <= 0:
                    # Part of it gets through: a cut is never polite enough to fall between two lines.
                    self._peer[sock].sendall(data[: len(data) // 2])
                    self._budget = None
                    self.cut()
                    return
            if data:
                self._peer[sock].sendall(data)
                return
        except OSError:
            pass
        self._drop(sock)

    def _drop(self, sock: socket.socket, reset: bool = False) -> None:
        other = self._peer.pop(sock, None)
        for end in (sock, other):
            if end is None:
                continue
            self._peer.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()
