"""Lines of the containers beside the trainer: they are read, and no steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from kaito_jupyter.hf_logs import Reader as LogReader
from kaito_jupyter.run.reader import Reader
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Lines, RunRef, Status

BAR = "100%|██████████| 9/9 [00:02<00:00,  2.00it/s]"
LOSS = "{'loss': '2.5', 'learning_rate': '1e-4', 'epoch': '0.5'}"


class Containers:
    """A run whose containers say what is given, all of it live."""

    def __init__(self, *said: tuple[str, str]) -> None:
        self.said = said

    def follow(self, ref: RunRef, since: str | None, stop: threading.Event) -> Iterator[Lines | Status | None]:
        yield Status("Running")
        yield None
        for source, text in self.said:
            yield Lines([text], "", source)
        yield Status("Succeeded")

    def keep(self, ref: RunRef, words: Sequence[str], revision: int) -> None:
        self.kept = list(words)


def read(name: str, *said: tuple[str, str]) -> RunState:
    backend: Any = Containers(*said)
    reader = Reader(backend, RunRef("kaito", name, "default", "test"), RunState(LogReader(max_steps=4)))
    reader.open()
    assert reader.over.wait(120)
    reader.close()
    return reader.state


def test_only_the_trainers_container_makes_steps() -> None:
    state = read("mine", ("data-downloader", BAR), ("mine", LOSS), ("pusher", BAR), ("pusher", LOSS))
    assert list(state.series["loss"]) == [2.5]
    assert state.max_steps in (4, None)
    assert BAR not in state.output


def test_a_container_tells_by_its_name_what_the_run_is_at() -> None:
    assert read("mine", ("puller", "Copying blob"), ("pause", "zzz")).phase == "downloading"
    done = "{'train_runtime': '2', 'train_loss': '2', 'epoch': '1'}"
    assert read("mine", ("mine", LOSS), ("pusher", "+ sleep 1")).phase == "training"
    assert read("mine", ("mine", LOSS), ("mine", done), ("pusher", "+ sleep 1")).phase == "pushing"


def test_who_saw_the_end_leaves_the_last_numbers_with_the_run() -> None:
    from kaito_trainer.contract import decode

    backend: Any = Containers(("mine", LOSS))
    reader = Reader(backend, RunRef("kaito", "mine", "default", "test"), RunState(LogReader(max_steps=4)))
    reader.open()
    assert reader.over.wait(120)
    reader.close()
    (log,) = (decode(line) for line in backend.kept)
    assert log is not None
    assert (log.type, log.data["loss"]) == ("log", 2.5)
