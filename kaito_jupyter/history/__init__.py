"""Runs that have ended, kept in the user's state folder: they outlive their cluster's objects and their folders.

It stands low, beside the words that all rooms share: it moves texts and numbers, and understands neither specs nor events.
So both the estimate (which asks how fast earlier runs were) and `run` (which keeps runs here, and plays them again) may ask it.

::

    entry    what is kept of a run
    file     the SQLite file: opened for each question, safe under several kernels, set aside when it is damaged
    archive  entries, notes and tags in it
    speeds   how fast earlier runs were

Nothing here hides secrets: whoever keeps an entry gives texts that hold none (`run.keeping` does).
"""

from .archive import Archive, archive
from .entry import Entry, Note
from .speeds import Speed, speeds

__all__ = ["Archive", "Entry", "Note", "Speed", "archive", "speeds"]
