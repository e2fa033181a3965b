"""Columns of numbers by optimiser step: what a curve is drawn from.

A `Series` holds one row a step in plain `array('d')` columns, so that a million steps cost a few bytes a number and a
view can send the new tail without touching the rest. Pure: no I/O, no clock.

Rows may come twice, late, or again after a restart from a checkpoint. What stands at the end does not depend on the
order in which they came: each row has its place in the order of writing, and a row is stale when a later-written row
has a smaller step (the trainer went back, and the row's future did not happen).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

NAN: Final = math.nan
EXTRA_COLUMNS: Final = 24
"""The most columns that a series adds for numbers that it was not asked to expect."""

LARGEST: Final = 2**53
"""Whole numbers from here on are not taken: a float column could not tell them apart."""


def number(value: Any) -> float | None:
    """A finite float from whatever came: numbers, and the text of one. Not from booleans, NaN or infinity."""
    kind = value.__class__
    if kind is not float:
        if kind is not int and kind is not str:
            return None
        try:
            value = float(value)
        except (ValueError, OverflowError):
            return None
    return value if value - value == 0.0 else None


def whole(value: Any) -> int | None:
    """A whole number of at least 0 (a step, a count) from whatever came; None when it is none."""
    if value.__class__ is not int:
        value = number(value)
        if value is None or value != value // 1:
            return None
    return int(value) if 0 <= value < LARGEST else None


class Series:
    """Columns by step. `global_step` is a column too, and always complete; elsewhere NaN stands for "was not said"."""

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns: dict[str, array[float]] = {"global_step": array("d")}
        """Column name -> its values, all of one length, sorted by `global_step`. Read only."""
        self.rewrites = 0
        """Grows whenever a row changed, went away, or came in before the end: a view then takes all rows anew."""
        for name in columns:
            self.columns.setdefault(name, array("d"))
        self._most = len(self.columns) + EXTRA_COLUMNS
        self._steps = self.columns["global_step"]
        self._orders = array("q")
        self._filled: dict[float, int] = {}  # step of a row that a summary gave -> the summary's place in the order
        self._restarts: list[tuple[int, int]] = []  # order and step of each return to a checkpoint
        self._restarted = -1  # order of the last of them
        self._last = (-1, -1)  # step and order of the last row
        self._bind()

    def _bind(self) -> None:
        self._values = [(name, column) for name, column in self.columns.items() if name != "global_step"]

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, name: str) -> array[float]:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def last(self, name: str, within: int = 1000) -> float | None:
        """The latest value of a column, looking back over at most `within` rows."""
        column = self.columns.get(name)
        if column:
            for i in range(len(column) - 1, max(-1, len(column) - 1 - within), -1):
                if column[i] == column[i]:
                    return column[i]
        return None

    def find(self, step: float) -> int | None:
        """Index of the row of a step."""
        i = bisect_left(self._steps, step)
        return i if i < len(self._steps) and self._steps[i] == step else None

    def put(self, step: int, order: int, values: Mapping[str, Any], time: float | None = None) -> bool:
        """Take one row, written as the `order`-th. Unknown numbers become columns. False when nothing has changed."""
        last_step, last_order = self._last
        if step > last_step and order > last_order:
            if order < self._restarted and self._stale(step, order):
                return False
            self._last = (step, order)
            self._steps.append(step)
            self._orders.append(order)
            taken = 1
            for name, column in self._values:
                if name in values:
                    taken += 1
                    value = values[name]
                    if value.__class__ is float and value - value == 0.0:
                        column.append(value)
                    else:
                        value = number(value)
                        column.append(NAN if value is None else value)
                elif name == "time" and time is not None:
                    column.append(time)
                else:
                    column.append(NAN)
            if taken < len(values):
                self._extend(len(self._steps) - 1, values)
            return True
        return self._insert(step, order, values, time)

    def follows(self, step: int) -> bool:
        """Whether rows from this step on come after all that are here. Written last, none of them can be stale."""
        return step > self._last[0]

    def extend(self, columns: Mapping[str, array[float]], orders: array[int]) -> None:
        """Take many rows at once, which follow and were written last: both columns rise, missing values are NaN."""
        before, more = len(self._steps), len(orders)
        for name in columns:
            if name not in self.columns:
                self._add(name, before)
        for name, column in self.columns.items():
            column.extend(columns[name] if name in columns else array("d", [NAN]) * more)
        self._orders.extend(orders)
        self._tail()

    def fill(self, columns: Mapping[str, Sequence[Any]], order: int) -> bool:
        """Take the rows of a summary, written as the `order`-th, where there are none yet. False when there was none."""
        steps = columns.get("global_step")
        if not isinstance(steps, list | tuple):
            return False
        usable = {k: v for k, v in columns.items() if isinstance(v, list | tuple) and k != "global_step"}
        changed = False
        for i, raw in enumerate(steps):
            step = whole(raw)
            if step is None or self.find(step) is not None or self._stale(step, order):
                continue
            at = bisect_left(self._steps, step)
            lower = self._orders[at - 1] if at else -1
            if lower > order:
                continue
            self._place(at, step, lower, {k: v[i] for k, v in usable.items() if i < len(v)}, None)
            self._filled[step] = order
            changed = True
        return changed

    def restart(self, step: int, order: int) -> bool:
        """The trainer, at this place in the order, goes on from `step`: rows after it that were written before are void."""
        self._restarts = [r for r in self._restarts if not (r[0] <= order and r[1] >= step)]
        self._restarts.append((order, step))
        self._restarted = max(self._restarted, order)
        return self._drop(bisect_left(self._steps, step + 0.5), order)

    def _stale(self, step: int, order: int) -> bool:
        return any(later > order and back < step for later, back in self._restarts)

    def _drop(self, begin: int, order: int) -> bool:
        """Remove rows from `begin` on that were written before `order`."""
        end = begin
        while end < len(self._steps) and self._filled.get(self._steps[end], self._orders[end]) < order:
            self._filled.pop(self._steps[end], None)
            end += 1
        if end == begin:
            return False
        for column in self.columns.values():
            del column[begin:end]
        del self._orders[begin:end]
        self._tail()
        self.rewrites += 1
        return True

    def _tail(self) -> None:
        self._last = (int(self._steps[-1]), self._orders[-1]) if self._steps else (-1, -1)

    def _insert(self, step: int, order: int, values: Mapping[str, Any], time: float | None) -> bool:
        """The slow road of `put`: a row out of order, again, or after an unannounced restart."""
        at = bisect_left(self._steps, step)
        if (at and self._orders[at - 1] > order) or self._stale(step, order):
            return False
        if at < len(self._steps) and self._steps[at] == step:
            self._drop(at + 1, order)
            return self._merge(at, order, values, time)
        self._drop(at, order)
        self._place(at, step, order, values, time)
        return True

    def _place(self, at: int, step: int, order: int, values: Mapping[str, Any], time: float | None) -> None:
        if at < len(self._steps):
            self.rewrites += 1
        self._steps.insert(at, step)
        self._orders.insert(at, order)
        for name, column in self._values:
            value = number(values.get(name))
            column.insert(at, NAN if value is None else value)
        if time is not None and "time" in self.columns and "time" not in values:
            self.columns["time"][at] = time
        self._extend(at, values)
        self._tail()

    def _merge(self, at: int, order: int, values: Mapping[str, Any], time: float | None) -> bool:
        """A step told twice: the later-written numbers win, the other's fill what is missing."""
        step = self._steps[at]
        newer = order >= self._orders[at] or step in self._filled
        if self._filled.pop(step, None) is not None or order > self._orders[at]:
            self._orders[at] = order
        changed = self._extend(at, values)
        for name, value in (values if time is None else {"time": time, **values}).items():
            column, value = self.columns.get(name), number(value)
            if column is None or value is None or name == "global_step":
                continue
            if column[at] != value and (newer or column[at] != column[at]):
                column[at] = value
                changed = True
        self._tail()
        self.rewrites += changed
        return changed

    def _extend(self, at: int, values: Mapping[str, Any]) -> bool:
        """Add columns for numbers that are new to us."""
        changed = False
        for name, value in values.items():
            if name not in self.columns and (value := number(value)) is not None and self._add(name, len(self._steps)):
                self.columns[name][at] = value
                changed = True
        return changed

    def _add(self, name: str, rows: int) -> bool:
        if len(self.columns) >= self._most:
            return False
        self.columns[name] = array("d", [NAN]) * rows
        self._bind()
        return True
