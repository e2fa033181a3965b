"""Entries, notes and tags in the file."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from .entry import Entry, Note
from .file import File, HistoryError

OFF: Final = "off"
_TABLES: Final = ("spark", "lines", "notes", "tags")
_PLAIN: Final = tuple(f.name for f in fields(Entry) if f.name not in _TABLES)
_HEAD: Final = ", ".join((*_PLAIN, "spark"))


class Archive:
    """The runs that have ended, newest first. All methods may be called from any thread and any kernel.

    They raise `HistoryError` when the file cannot be used. `trouble` tells of a damaged file that was set aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = File(path)

    @property
    def trouble(self) -> str:
        return self._file.trouble

    def keep(self, entry: Entry) -> None:
        """Take a run in, in place of what was kept of it. Its notes and tags stay as they are."""
        values: dict[str, Any] = {name: getattr(entry, name) for name in _PLAIN}
        values["spark"] = json.dumps(entry.spark)
        values["lines"] = zlib.compress("\n".join(entry.lines).encode(), 6)
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        with self._file.open(write=True) as connection:
            connection.execute(f"INSERT OR REPLACE INTO runs ({names}) VALUES ({marks})", values)

    def holds(self, key: str) -> bool:
        """Whether that run was kept."""
        if not self.path.exists():
            return False
        with self._file.open() as connection:
            return connection.execute("SELECT 1 FROM runs WHERE key = ?", (key,)).fetchone() is not None

    def entry(self, key: str) -> Entry | None:
        """One run with its lines."""
        return next(iter(self._read("WHERE key = ?", (key,), whole=True)), None)

    def named(self, name: str, namespace: str | None = None) -> list[Entry]:
        """All runs that had this name, with their lines."""
        where, values = "WHERE name = ?", [name]
        if namespace is not None:
            where, values = f"{where} AND namespace = ?", [*values, namespace]
        return self._read(where, values, whole=True)

    def entries(self, tags: Collection[str] = ()) -> list[Entry]:
        """All runs that have all these tags, without their lines: cheap for thousands."""
        wanted = sorted(set(tags))
        marks = ", ".join("?" * len(wanted))
        having = (
            f"WHERE key IN (SELECT key FROM tags WHERE tag IN ({marks}) GROUP BY key HAVING count(*) = {len(wanted)})"
        )
        return self._read(having if wanted else "", wanted)

    def names(self) -> tuple[str, ...]:
        """The names of all runs, newest first, for completion and close matches."""
        return tuple(dict.fromkeys(entry.name for entry in self.entries()))

    def note(self, key: str, text: str) -> None:
        """Add a line to a run, which may be still alive."""
        with self._file.open(write=True) as connection:
            connection.execute("INSERT INTO notes VALUES (?, ?, ?)", (key, time.time(), text))

    def tag(self, key: str, tags: Iterable[str], *, remove: Iterable[str] = ()) -> None:
        """Give a run tags, and take others away."""
        with self._file.open(write=True) as connection:
            connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(key, tag) for tag in tags])
            connection.executemany("DELETE FROM tags WHERE key = ? AND tag = ?", [(key, tag) for tag in remove])

    def notes(self, key: str) -> tuple[Note, ...]:
        return self.remarks().get(key, ((), ()))[0]

    def tags(self, key: str) -> tuple[str, ...]:
        return self.remarks().get(key, ((), ()))[1]

    def remarks(self) -> dict[str, tuple[tuple[Note, ...], tuple[str, ...]]]:
        """Notes and tags by run, of living runs too."""
        if not self.path.exists():
            return {}
        with self._file.open() as connection:
            return _remarks(connection)

    def forget(self, key: str) -> None:
        """Remove a run with its notes and tags."""
        with self._file.open(write=True) as connection:
            for table in ("runs", "notes", "tags"):
                connection.execute(f"DELETE FROM {table} WHERE key = ?", (key,))

    def _read(self, where: str, values: Sequence[str], *, whole: bool = False) -> list[Entry]:
        if not self.path.exists():
            return []
        columns = f"{_HEAD}, lines" if whole else _HEAD
        with self._file.open() as connection:
            found = connection.execute(
                f"SELECT {columns} FROM runs {where} ORDER BY coalesce(created, ended, 0) DESC", tuple(values)
            ).fetchall()
            remarks = _remarks(connection)
        return [_entry(row, remarks, whole=whole) for row in found]


def _remarks(connection: sqlite3.Connection) -> dict[str, tuple[tuple[Note, ...], tuple[str, ...]]]:
    notes: dict[str, list[Note]] = {}
    tags: dict[str, list[str]] = {}
    for key, when, text in connection.execute("SELECT key, time, text FROM notes ORDER BY time, rowid"):
        notes.setdefault(key, []).append(Note(when, text))
    for key, tag in connection.execute("SELECT key, tag FROM tags ORDER BY tag"):
        tags.setdefault(key, []).append(tag)
    return {key: (tuple(notes.get(key, ())), tuple(tags.get(key, ()))) for key in {**notes, **tags}}


def _entry(row: sqlite3.Row, remarks: dict[str, Any], *, whole: bool) -> Entry:
    notes, tags = remarks.get(row["key"], ((), ()))
    plain = {name: row[name] for name in _PLAIN}
    try:
        lines = tuple(zlib.decompress(row["lines"]).decode().split("\n")) if whole else ()
        spark = tuple(json.loads(row["spark"]))
    except (zlib.error, ValueError) as error:
        raise HistoryError(f"run {row['name']}: what the history holds of it is damaged ({error}).") from error
    return Entry(**plain, spark=spark, lines=lines, notes=notes, tags=tags)


class _Off(Archive):
    """No history: the user wants none."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull) / OFF)

    def keep(self, entry: Entry) -> None:
        """Nothing."""

    def note(self, key: str, text: str) -> None:
        raise HistoryError("there is no history to hold notes: KAITO_HISTORY is off.")

    def tag(self, key: str, tags: Iterable[str], *, remove: Iterable[str] = ()) -> None:
        raise HistoryError("there is no history to hold tags: KAITO_HISTORY is off.")

    def forget(self, key: str) -> None:
        """Nothing."""


def archive() -> Archive:
    """The user's own: the file that `KAITO_HISTORY` names (`off`: none), else `history.sqlite` in the user's state folder."""
    import platformdirs

    told = os.environ.get("KAITO_HISTORY", "")
    if told.lower() == OFF:
        return _Off()
    return Archive(
        Path(told).expanduser() if told else platformdirs.user_state_path("kaito-jupyter") / "history.sqlite"
    )


__all__ = ["Archive", "archive"]
