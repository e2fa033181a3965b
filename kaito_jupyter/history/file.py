"""The file: opened for each question, so that no kernel holds it, and written in one transaction at a time.

SQLite's own locks keep several kernels apart; the journal is the one that network file systems bear, too. A file that SQLite
cannot read is set aside under another name, and a new one begins: a history must never stand in a run's way.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import KaitoError

VERSION: Final = 1
"""Of the tables. A file that a newer version of this package has changed is left alone."""
PATIENCE: Final = 30.0
"""Seconds that another kernel may take with its transaction."""
_DAMAGED: Final = ("file is not a database", "malformed", "file is encrypted")
_TABLES: Final = """
CREATE TABLE runs (
  key TEXT PRIMARY KEY, name TEXT NOT NULL, namespace TEXT NOT NULL, backend TEXT NOT NULL, location TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL, kind TEXT NOT NULL, preset TEXT NOT NULL, method TEXT NOT NULL,
  instance_type TEXT, device TEXT, devices INTEGER, rows INTEGER, created REAL, started REAL, ended REAL,
  steps INTEGER NOT NULL, max_steps INTEGER, loss REAL, best_loss REAL, eval_loss REAL, best_eval_loss REAL, tokens REAL,
  tokens_per_second REAL, seconds_per_step REAL, adapter TEXT, adapter_bytes INTEGER, spark TEXT NOT NULL,
  spec TEXT NOT NULL, lines BLOB NOT NULL
);
CREATE INDEX runs_by_name ON runs (name);
CREATE TABLE notes (key TEXT NOT NULL, time REAL NOT NULL, text TEXT NOT NULL);
CREATE INDEX notes_by_key ON notes (key);
CREATE TABLE tags (key TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (key, tag));
"""


class HistoryError(KaitoError):
    """The history cannot be read or written; the run itself is not touched by it."""


class File:
    """One SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        """What was wrong with it and what was done, for people; empty when nothing was."""

    @contextlib.contextmanager
    def open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction: `write` waits for its turn first. Raises `HistoryError` with what to do."""
        try:
            connection = self._connect()
        except sqlite3.DatabaseError as error:
            if not _damaged(error):
                raise self._refusal(error) from error
            self._set_aside()
            try:
                connection = self._connect()
            except sqlite3.DatabaseError as again:
                raise self._refusal(again) from again
        except OSError as error:
            raise self._refusal(error) from error
        try:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if _damaged(error):
                self._set_aside()
            raise self._refusal(error) from error
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.path.exists():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL, 0o600))  # for its owner's eyes only
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            found = _version(connection)
            if found == 0:
                found = _make(connection)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        if found != VERSION:
            connection.close()
            raise HistoryError(
                f"{self.path}: a newer kaito-jupyter has written it (version {found}; this one knows {VERSION}). "
                "Update kaito-jupyter, or name another file in KAITO_HISTORY."
            )
        return connection

    def _set_aside(self) -> None:
        """Keep what is damaged under another name. Another kernel may be faster."""
        other = self.path.with_name(f"{self.path.stem}.damaged-{time.time_ns()}{self.path.suffix}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(other)
            self.trouble = f"The history {self.path} was damaged. It is kept as {other.name}, and a new one has begun."

    def _refusal(self, error: Exception) -> HistoryError:
        said = self.trouble or f"{self.path}: {getattr(error, 'strerror', None) or error}."
        return HistoryError(f"the history of runs cannot be used: {said} KAITO_HISTORY can name another file, or off.")


def _damaged(error: sqlite3.DatabaseError) -> bool:
    return any(word in str(error) for word in _DAMAGED)


def _version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _make(connection: sqlite3.Connection) -> int:
    """The tables, unless another kernel has made them meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version(connection)
        if found == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            found = VERSION
    except sqlite3.DatabaseError:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return found


__all__ = ["File", "HistoryError"]
