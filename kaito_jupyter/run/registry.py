"""Runs found again, by name or as a list: by the backends, which know those that are there, and in the history of those that were."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..backends.base import Backend
from ..backends.choice import all_backends, choose_backend
from ..backends.past import PastBackend
from ..errors import BackendError, KaitoError, RunNotFound
from ..history import Entry, archive
from .listing import Listed, Runs
from .run import CATCH_UP, Run


def watch(name: str, namespace: str | None = None, backend: str | Backend | None = None) -> Run:
    """The run of that name, from whatever kernel it was started, with its whole curve. Raises `RunNotFound`.

    One that was deleted comes back from the history, as it was when it ended. Returns when all that its log holds has been
    read (at the latest after some seconds), and goes on reading.
    """
    misses: list[RunNotFound] = []
    places = _places(backend, namespace)
    for place in places:
        try:
            ref = place.find(name, namespace)
        except RunNotFound as miss:
            misses.append(miss)
            continue
        return Run(place, ref).open(CATCH_UP)
    wanted = None if backend in (None, "auto") else places[0].name
    for entry in _remembered(name, namespace):
        if wanted in (None, entry.backend):
            past = PastBackend(entry)
            return Run(past, past.ref).open(CATCH_UP)
    raise misses[0] if len(misses) == 1 else RunNotFound("\n".join(str(m) for m in misses))


def _remembered(name: str, namespace: str | None) -> list[Entry]:
    try:
        return archive().named(name, namespace)
    except KaitoError:  # it cannot be read: then there is none
        return []


def runs(
    namespace: str | None = None,
    backend: str | Backend | None = None,
    *,
    everywhere: bool = False,
    past: bool = False,
    tags: Collection[str] = (),
) -> Runs:
    """All runs, newest first, each with how it stands. Cheap: one list a kind, and of live runs the end of the log.

    Those of `namespace` (default: that of the kubeconfig's context) or, with `everywhere`, of all namespaces; runs on this
    machine have none but `default`, and are always listed where none is named. With `past` those that are deleted too, from
    the history; with `tags` those alone that have all these tags, wherever they are. A backend that cannot be reached is
    named in `.troubles`, and the others are listed.
    """
    return Runs(*_found(namespace, backend, everywhere, past or bool(tags), frozenset(tags)), again=lambda: _found(
        namespace, backend, everywhere, past or bool(tags), frozenset(tags)))  # fmt: skip


def _found(
    namespace: str | None, backend: str | Backend | None, everywhere: bool, past: bool, tags: frozenset[str]
) -> tuple[list[Listed], list[str]]:
    found: list[Listed] = []
    troubles: list[str] = []
    entries: dict[str, Entry] = {}
    remarks = {}
    shelf = archive()
    try:
        entries = {entry.key: entry for entry in shelf.entries()}
        remarks = shelf.remarks()
    except KaitoError as error:
        troubles.append(str(error))
    places = _places(backend, namespace)
    for place in places:
        try:
            records = place.records(everywhere=True) if everywhere else place.records()
        except BackendError as error:
            troubles.append(f"{place.name}: {error}")
            continue
        listed = [Listed(place, r) for r in records if namespace is None or r.ref.namespace == namespace]
        for run in listed:
            run.remember(entries.pop(run.key, None), remarks.get(run.key))
        found += listed
    if past:
        wanted = None if backend in (None, "auto") else places[0].name
        for entry in entries.values():
            if wanted in (None, entry.backend) and (namespace is None or entry.namespace == namespace):
                place = PastBackend(entry, shelf)
                gone = Listed(place, place.record(place.ref))
                gone.remember(entry, remarks.get(entry.key))
                found.append(gone)
    if tags:
        found = [run for run in found if tags <= set(run.tags)]
    if shelf.trouble:
        troubles.append(shelf.trouble)
    return sorted(found, key=lambda r: r.state.created or 0.0, reverse=True), troubles


def _places(backend: str | Backend | None, namespace: str | None) -> Sequence[Backend]:
    if backend is None or backend == "auto":
        return all_backends(namespace)
    return (choose_backend(backend, namespace=namespace)[0],)


__all__ = ["runs", "watch"]
