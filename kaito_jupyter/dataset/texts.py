"""A chunk of a text column: any values → Arrow strings without nulls, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .findings import Defect, missing
from .measure import text_buffers
from .sources import Values, python_values, shortened

if TYPE_CHECKING:
    from .measure import Integers


def texts(values: Values, optional: bool = False) -> tuple[pa.StringArray, list[Defect]]:
    """The texts, "" where there is none, and the defects. An optional column may be empty anywhere."""
    array = as_strings(values)
    if array is None:
        array, defects = _one_by_one(python_values(values))
    else:
        defects = [Defect("missing", np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)))]
        array = pc.fill_null(array, "") if array.null_count else array
    if optional:
        return array, [d for d in defects if d.kind != "missing"]
    empty = blank(array)
    for defect in defects:
        empty[defect.rows] = False
    return array, [*defects, Defect("blank", np.flatnonzero(empty))]


def as_strings(values: Values) -> pa.StringArray | None:
    """The values as Arrow strings (nulls stay), or None when they are not all text and must be looked at one by one."""
    try:
        if isinstance(values, pa.Array):
            return _narrow(values)
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeError):
        pass  # no text, bytes that are no UTF-8, or lone surrogates
    return None


def _narrow(array: pa.Array) -> pa.StringArray | None:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return None
    array.validate(full=True)  # Arrow takes any bytes for text, until somebody reads them
    if not pa.types.is_string(kind):
        try:
            array = array.cast(pa.string())
        except pa.ArrowInvalid:
            # A slice that lies more than 2 GiB into its buffer: taken out, it fits.
            array = array.take(pa.array(np.arange(len(array)))).cast(pa.string())
    return array


def blank(array: pa.StringArray) -> Integers:
    """Which texts hold nothing but white space."""
    _, offsets = text_buffers(array)
    space = pc.utf8_is_space(array).to_numpy(zero_copy_only=False).astype(bool)
    empty: Integers = (offsets[1:] == offsets[:-1]) | space
    return empty


def _one_by_one(values: list[Any]) -> tuple[pa.StringArray, list[Defect]]:
    kept = [""] * len(values)
    rows: dict[str, list[int]] = {"missing": [], "not_text": [], "unicode": []}
    detail = ""
    for i, value in enumerate(values):
        if missing(value):
            rows["missing"].append(i)
        elif not isinstance(value, str):
            rows["not_text"].append(i)
            detail = detail or described(value)
        elif not encodable(value):
            rows["unicode"].append(i)
        else:
            kept[i] = str(value)
    return pa.array(kept, pa.string()), [Defect(k, np.array(at, np.int64), detail) for k, at in rows.items()]


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8; lone surrogates can not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def described(value: Any) -> str:
    """A value for a message: `int (for example 7)`, or just `a list`."""
    container = {"list": "a list", "tuple": "a tuple", "dict": "a dict", "ndarray": "an array"}.get(
        type(value).__name__
    )
    if container:
        return container
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - a user's class may fail in any way
        return type(value).__name__
    return f"{type(value).__name__} (for example {shortened(shown)})"
