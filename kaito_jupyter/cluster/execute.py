"""One command in a running container, with bytes for its input: the API server's `exec`, over a websocket.

The input cannot be closed (the protocol `v4.channel.k8s.io` has no word for it), so the command has to know how much comes; and it
should read all of it, since some servers do not tell how a command ended before their hands are free of its input.
"""

from __future__ import annotations

import json
import select
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from .client import Client
from .refusals import Asked, ClusterError, Unreachable, plain, refusal
from .resources import PODS

PROTOCOL: Final = "v4.channel.k8s.io"
SILENCE: Final = 120.0
"""Seconds without a byte, either way, after which it is given up."""
_AT_ONCE: Final = 16 * 1024
_STDIN, _STDOUT, _STDERR, _STATUS = range(4)


class Executed(NamedTuple):
    """How the command ended."""

    code: int
    """Its exit code; -1 when it was not run to its end."""
    out: bytes
    err: str
    """What it wrote to stderr, else what the server said."""


def execute(
    client: Client,
    pod: str,
    namespace: str,
    command: Sequence[str],
    *,
    container: str,
    stdin: Iterable[bytes] = (),
    silence: float = SILENCE,
) -> Executed:
    """Run the command and return when it has ended. Raises `ClusterError`s when it cannot be started, or the way breaks."""
    import websocket
    from kubernetes.stream.ws_client import create_websocket

    asked = Asked("exec", "pods/exec", namespace, pod)
    configuration = client._transport.login.configuration
    pieces = [("command", word) for word in command]
    query = urlencode([*pieces, ("container", container), ("stdin", 1), ("stdout", 1), ("stderr", 1)])
    url = f"{client.server}{PODS.path(namespace, pod, 'exec')}?{query}".replace("http", "ws", 1)
    headers = {k.lower(): v for k, v in client._transport.credentials().items()}
    try:
        socket = create_websocket(configuration, url, headers | {"sec-websocket-protocol": PROTOCOL})  # type: ignore[no-untyped-call]
    except websocket.WebSocketBadStatusException as error:
        raise refusal(asked, error.status_code, error.resp_body or b"") from None
    except (websocket.WebSocketException, OSError) as error:
        raise Unreachable(asked, plain(str(error)) or type(error).__name__) from None
    exchange = _Exchange(socket, asked, silence)
    try:
        for piece in stdin:
            if not exchange.send(piece):
                break
        return exchange.end()
    except (websocket.WebSocketException, OSError) as error:
        raise Unreachable(asked, plain(str(error)) or "the connection broke off") from None
    finally:
        socket.shutdown()  # no word of goodbye: it would wait behind what is not read any more


class _Exchange:
    """Frames both ways. The first byte of each says which stream it is of."""

    def __init__(self, socket: Any, asked: Asked, silence: float) -> None:
        self._socket, self._asked, self._silence = socket, asked, silence
        self._raw = socket.sock
        socket.settimeout(silence)
        self._out: list[bytes] = []
        self._err: list[bytes] = []
        self._status: dict[str, Any] | None = None
        self._open = True

    def send(self, piece: bytes) -> bool:
        """Send a piece of the input; False when nobody reads it any more.

        A command that has ended reads nothing, and its server may leave the connection open: so what comes is read while
        there is something to send, and nothing is sent that would have to wait.
        """
        from websocket import ABNF

        rest = memoryview(ABNF.create_frame(bytes([_STDIN]) + piece, ABNF.OPCODE_BINARY).format())
        while rest:
            readable, writable = self._ready()
            if readable:
                self._receive()
            if not self._open or self._status is not None:
                return False
            if writable:
                rest = rest[self._sent(rest[:_AT_ONCE]) :]
        return True

    def _ready(self) -> tuple[bool, bool]:
        """Whether something came, and whether something can be sent. Waits until one of both."""
        pending = getattr(self._raw, "pending", None)  # what TLS has read already, no socket shows
        if pending and pending():
            return True, False
        readable, writable, _ = select.select([self._raw], [self._raw], [], self._silence)
        if not readable and not writable:
            raise TimeoutError("timed out")
        return bool(readable), bool(writable)

    def _sent(self, data: memoryview) -> int:
        """How much of it went without waiting."""
        self._raw.setblocking(False)
        try:
            return int(self._raw.send(data))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except ConnectionError:
            self._open = False  # what it had to say was read
            return 0
        finally:
            self._raw.settimeout(self._silence)

    def end(self) -> Executed:
        while self._open and self._status is None:
            self._receive()
        out, err = b"".join(self._out), b"".join(self._err).decode("utf-8", "replace").strip()
        if self._status is None:
            raise Unreachable(self._asked, "the connection ended before the command did")
        if self._status.get("status") == "Success":
            return Executed(0, out, err)
        causes = (self._status.get("details") or {}).get("causes") or ()
        codes = [str(c.get("message")) for c in causes if c.get("reason") == "ExitCode"]
        if codes and codes[0].isdigit():
            return Executed(int(codes[0]), out, err)
        return Executed(-1, out, err or plain(str(self._status.get("message") or "")))

    def _receive(self) -> None:
        from websocket import ABNF

        opcode, frame = self._socket.recv_data_frame(True)
        if opcode == ABNF.OPCODE_CLOSE:
            self._open = False
        elif opcode in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT) and frame.data:
            channel, data = frame.data[0], bytes(frame.data[1:])
            if channel == _STATUS:
                self._status = json.loads(data)
            elif channel == _STDOUT:
                self._out.append(data)
            elif channel == _STDERR:
                self._err.append(data)


__all__ = ["ClusterError", "Executed", "execute"]
