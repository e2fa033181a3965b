"""Where a form's values come from: a run that there is already, and the notebook's own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..backends.base import Backend
from ..backends.choice import all_backends, choose_backend
from ..errors import BackendError, RunNotFound
from ..spec import DataSource
from ..status import RunRef
from .draft import Draft
from .line import in_quotes


def rebuilt(name: str, namespace: str | None, backend: str | None) -> tuple[Draft, Backend, RunRef]:
    """The draft of a run's spec, and where the run is. Raises `RunNotFound`."""
    places = (
        all_backends(namespace) if backend in (None, "auto") else (choose_backend(backend, namespace=namespace)[0],)
    )
    misses: list[RunNotFound] = []
    for place in places:
        try:
            ref = place.find(name, namespace)
        except RunNotFound as miss:
            misses.append(miss)
            continue
        return Draft.of_spec(place.spec(ref), place.name), place, ref
    raise misses[0] if len(misses) == 1 else RunNotFound("\n".join(map(str, misses)))


def data_of(place: Backend, ref: RunRef) -> tuple[Any, str]:
    """The run's data and the word by which a line names it; nothing when it cannot be read back."""
    try:
        sent = place.sent(ref)
    except BackendError:
        return None, ""
    if isinstance(sent, DataSource):
        return None, ""
    file = getattr(sent._source, "_path", None)
    return sent, word_of(file) if isinstance(file, Path) else "df"


def word_of(data: Any) -> str:
    """How a line names the data: a file's path in quotes, else the variable of the notebook that holds it, else `df`."""
    if isinstance(data, str | Path):
        return in_quotes(str(data))
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    names = [n for n, v in shell.user_ns.items() if v is data and not n.startswith("_")] if shell else []
    return names[0] if names else "df"
