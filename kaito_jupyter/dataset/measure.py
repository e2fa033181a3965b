"""What a pass over the rows measures: fingerprint, lengths, repeated rows. A few bytes a row, whatever the texts are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Integers = np.ndarray[Any, np.dtype[Any]]

_BINS: Final = 24


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the rows are, in characters (a conversation's turns, or prompt and completion, together)."""

    p50: int = 0
    p95: int = 0
    max: int = 0
    total: int = 0
    histogram: tuple[int, ...] = ()
    """Rows by length, in equal steps of the logarithm from `shortest` to `max`."""
    shortest: int = 0


class Digest:
    """SHA-256 over the content alone: the same for the same texts, however they are typed, indexed or cut into chunks.

    Each stream (the bytes of a column, the lengths of its texts, …) is hashed on its own and the streams' digests at the
    end, so that no chunk border shows. Lengths are little-endian 32-bit numbers.
    """

    VERSION: Final = b"kaito dataset 1"

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {}
        self.rows = 0

    def numbers(self, stream: str, values: Integers) -> None:
        """Feed whole numbers."""
        self._hash(stream).update(values.astype("<u4", copy=False).data.cast("B"))

    def texts(self, stream: str, array: pa.StringArray) -> None:
        """Feed a column of text without nulls."""
        data, offsets = text_buffers(array)
        self.numbers(f"{stream}.lengths", offsets[1:] - offsets[:-1])
        self._hash(stream).update(data[int(offsets[0]) : int(offsets[-1])])

    def hexdigest(self, format: str) -> str:
        """The fingerprint, 64 hexadecimal digits."""
        whole = hashlib.sha256(self.VERSION)
        whole.update(f"\n{format}\n{self.rows}\n".encode())
        for name in sorted(self._streams):
            whole.update(f"{name} {self._streams[name].hexdigest()}\n".encode())
        return whole.hexdigest()

    def _hash(self, stream: str) -> Any:
        if stream not in self._streams:
            self._streams[stream] = hashlib.sha256()
        return self._streams[stream]


def text_buffers(array: pa.StringArray) -> tuple[memoryview, Integers]:
    """The bytes of a `string` array and its offsets into them (one more than rows), copying neither."""
    import numpy as np

    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return memoryview(b""), np.zeros(1, np.int32)
    at = np.frombuffer(offsets, np.int32, count=len(array) + 1, offset=4 * array.offset)
    return (memoryview(data).toreadonly() if data is not None else memoryview(b"")), at


def slice_hashes(data: memoryview, offsets: Integers) -> Integers:
    """A 64-bit hash of each slice of the bytes, good within this process."""
    import numpy as np

    ends = (offsets - offsets[0]).tolist()
    content = bytes(data[int(offsets[0]) : int(offsets[-1])])  # Python hashes no slice of a foreign buffer
    slices = map(content.__getitem__, map(slice, ends[:-1], ends[1:]))
    return np.fromiter(map(hash, slices), np.int64, count=len(ends) - 1).view(np.uint64)


def lengths(parts: Sequence[Integers]) -> Lengths:
    """The summary of all rows' lengths."""
    import numpy as np

    all = np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    if not len(all):
        return Lengths()
    shortest, longest = int(all[0]), int(all[-1])
    edges = np.geomspace(max(shortest, 1), max(longest, 1) + 1, _BINS + 1)
    bins = np.diff(np.searchsorted(all, [-1.0, *edges[1:-1], float("inf")], side="left"))
    p50, p95 = (int(all[min(len(all) - 1, int(len(all) * q))]) for q in (0.5, 0.95))
    return Lengths(p50, p95, longest, int(all.sum()), tuple(map(int, bins)), shortest)


def repeated(parts: Iterable[Integers]) -> Integers:
    """Positions of the rows whose hash an earlier row has, in order."""
    import numpy as np

    hashes = np.concatenate(list(parts) or [np.zeros(0, np.uint64)])
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    again: Integers = np.sort(order[1:][ranked[1:] == ranked[:-1]])
    return again
