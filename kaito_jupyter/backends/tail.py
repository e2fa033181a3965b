"""Reading a log file that another process writes: on from a cursor, or backwards from its end. Bytes to lines, no more.

Lines end at a newline alone. What a carriage return redraws stays within its line: `hf_logs` knows what to do with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..status import Lines

CHUNK = 1 << 20
"""Bytes of one read: large enough for a long log, small enough that a lock is held for 10 ms while it is folded."""
BLOCK = 1 << 16
"""Bytes of one read backwards."""
LONGEST_LINE = 1 << 20
"""Bytes after which a line without a newline (a progress bar) is given as it is. The longest event is a tenth of it."""


class Tail:
    """A file read forwards from a cursor. Survives a file that is not there yet, that shrinks, and that is replaced."""

    def __init__(self, path: Path, cursor: str | None = None) -> None:
        self._path = path
        self._fd = -1
        self._offset = int(cursor) if cursor and cursor.isdigit() else 0
        """Of the next byte to read."""
        self._half = bytearray()
        """What was read after the last newline."""

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, *, last: bool = False) -> Iterator[Lines]:
        """All complete lines that are there now, in batches. With `last`, the half line at the end too: nothing follows."""
        if not self._open():
            return
        while chunk := os.pread(self._fd, CHUNK, self._offset):
            self._offset += len(chunk)
            self._half += chunk
            end = self._half.rfind(b"\n", len(self._half) - len(chunk)) + 1
            if end or len(self._half) >= LONGEST_LINE:
                yield self._take(end or len(self._half))
        if last and self._half:
            yield self._take(len(self._half))

    def _take(self, end: int) -> Lines:
        text = self._half[:end].decode("utf-8", "replace")
        del self._half[:end]
        return Lines(text.removesuffix("\n").split("\n"), str(self._offset - len(self._half)))

    def _open(self) -> bool:
        """Whether there is something to read. One stat when nothing has changed."""
        try:
            there = self._path.stat()
        except OSError:
            return self._fd >= 0  # deleted or moved: what we hold open can still be read to its end
        if self._fd >= 0:
            mine = os.fstat(self._fd)
            if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
                self.close()
                self._restart()
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY)
            except OSError:
                return False
        if there.st_size < self._offset:
            self._restart()
        return there.st_size > self._offset or bool(self._half)

    def _restart(self) -> None:
        self._offset = 0
        self._half.clear()


def last_lines(path: Path, count: int | None, most_bytes: int | None = None) -> list[str]:
    """The last lines of a file (all with None), read from its end; no more than about `most_bytes` of it."""
    try:
        file = path.open("rb")
    except OSError:
        return []
    with file:
        start = end = file.seek(0, os.SEEK_END)
        blocks: list[bytes] = []
        newlines = 0
        while start and (count is None or newlines <= count) and (most_bytes is None or end - start < most_bytes):
            size = min(BLOCK, start)
            start -= size
            file.seek(start)
            blocks.append(file.read(size))
            newlines += blocks[-1].count(b"\n")
    text = b"".join(reversed(blocks))
    if not text:
        return []
    lines = text.decode("utf-8", "replace").removesuffix("\n").split("\n")
    if start:
        del lines[0]  # its beginning was not read
    return lines if count is None else lines[len(lines) - count :] if count < len(lines) else lines
