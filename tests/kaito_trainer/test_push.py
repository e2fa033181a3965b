"""What the pusher waits for, without the waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaito_trainer.contract.events import Error, Phase, TrainEnd, encode
from kaito_trainer.contract.names import EVENTS_FILE, LOCK_FILE, SENTINEL_FILE
from kaito_trainer.failures import Failure
from kaito_trainer.places import locked
from kaito_trainer.push import lock_is_held, told, wait_for_completion


def test_the_lock_is_held_as_long_as_a_trainer_lives(tmp_path: Path) -> None:
    assert not lock_is_held(tmp_path)
    with locked(tmp_path):
        assert lock_is_held(tmp_path)
    assert (tmp_path / LOCK_FILE).exists()
    assert not lock_is_held(tmp_path)


def test_a_second_trainer_in_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaito_trainer.places.LOCK_WITHIN", 0.1)
    with locked(tmp_path), pytest.raises(Failure, match="another trainer is at work"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_trainer_that_never_comes_is_given_up(tmp_path: Path) -> None:
    waited: list[float] = []
    with pytest.raises(Failure, match=r"No trainer has started within 300 seconds\.") as caught:
        wait_for_completion(tmp_path, pause=waited.append)
    assert caught.value.kind == "killed"
    assert sum(waited) == 300


def test_the_sentinel_counts_even_when_it_came_with_the_end_of_the_trainer(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).touch()

    def comes_late(seconds: float) -> None:
        (tmp_path / SENTINEL_FILE).touch()

    wait_for_completion(tmp_path, pause=comes_late)


def test_a_trainer_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    steps = iter([lambda: None, lambda: None, (tmp_path / SENTINEL_FILE).touch])
    with locked(tmp_path):
        wait_for_completion(tmp_path, pause=lambda seconds: next(steps)(), asked=lambda: True)


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        ([], False),
        ([Error(kind="crash", message="x")], True),
        ([TrainEnd(status="cancelled", global_step=1)], True),
        ([TrainEnd(status="completed", global_step=1)], False),
        ([Error(kind="crash", message="x"), Phase(phase="loading")], False),
    ],
    ids=["nothing", "error", "cancelled", "completed", "an error of the attempt before"],
)
def test_only_a_trainers_own_last_word_explains_its_end(tmp_path: Path, lines: list[Phase], known: bool) -> None:
    assert not told(tmp_path)
    text = "".join(encode(line, seq=number) + "\n" for number, line in enumerate(lines))
    (tmp_path / EVENTS_FILE).write_text(text + '{"kaito_event":1,"type":"phase","se')
    assert told(tmp_path) == known
