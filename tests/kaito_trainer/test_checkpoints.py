"""Checkpoints are whole or not there, are made when it is time, and are kept as long as they are wanted."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaito_trainer import checkpoints
from kaito_trainer.checkpoints import HIDDEN, KEPT, MARKER, RATE, SHARE, Checkpoints
from kaito_trainer.failures import Failure


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def content(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "trainer_state.json").write_text('{"global_step": 7}')


def write(kept: Checkpoints, *steps: int, fill: Callable[[Path], None] = content, **kwargs: Any) -> None:
    for step in steps:
        kept.write(step, fill, {"tokens": step}, **kwargs)


def steps(folder: Path) -> list[int]:
    return sorted(int(p.name.partition("-")[2]) for p in folder.glob("checkpoint-*"))


def test_the_latest_whole_one_of_the_run_is_found(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "a")
    write(kept, 1, 2, 10)
    write(Checkpoints(tmp_path, "b"), 11)
    (tmp_path / "checkpoint-12").mkdir()  # Hugging Face's, killed before it was whole
    content(tmp_path / "checkpoint-12")
    found = kept.latest()
    assert found is not None
    assert (found.step, found.run, found.numbers, found.path) == (10, "a", {"tokens": 10}, tmp_path / "checkpoint-10")
    assert Checkpoints(tmp_path, "c").latest() is None
    assert not list(tmp_path.glob(f"{HIDDEN}*"))


def cut_short(place: Path) -> None:
    (place / "adapter_model.safetensors").write_bytes(b"weig")


def change_a_byte(place: Path) -> None:
    (place / "adapter_model.safetensors").write_bytes(b"weightz")


def lose_a_file(place: Path) -> None:
    (place / "trainer_state.json").unlink()


def tear_the_marker(place: Path) -> None:
    (place / MARKER).write_text((place / MARKER).read_text()[:20])


@pytest.mark.parametrize("damage", [cut_short, change_a_byte, lose_a_file, tear_the_marker])
def test_one_that_was_damaged_is_passed_over_for_the_one_before(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    kept = Checkpoints(tmp_path, "a")
    write(kept, 1, 2)
    damage(tmp_path / "checkpoint-2")
    found = kept.latest()
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("call", range(12))
def test_a_crash_at_any_moment_leaves_the_one_before_and_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The process dies (nothing is tidied up) at the n-th thing that it does to the disk."""
    write(Checkpoints(tmp_path, "a"), 1)
    done = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done > call:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    for name in ("mkdir", "rename", "chmod", "write_text"):
        monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
    monkeypatch.setattr(checkpoints.shutil, "rmtree", lambda *args, **kwargs: None)
    with contextlib.suppress(KeyboardInterrupt):
        write(Checkpoints(tmp_path, "a"), 2)
    monkeypatch.undo()
    kept = Checkpoints(tmp_path, "a")
    found = kept.latest()
    assert found is not None
    assert (found.step, checkpoints.intact(found.path)) in ((1, True), (2, True))
    assert all(checkpoints.intact(p) for p in tmp_path.glob("checkpoint-*"))
    assert not list(tmp_path.glob(f"{HIDDEN}*")), "what was left over is gone at the next start"
    write(kept, 2)
    assert steps(tmp_path) == [1, 2]


def test_the_files_are_readable_by_others(tmp_path: Path) -> None:
    def private(folder: Path) -> None:
        content(folder)
        (folder / "adapter_model.safetensors").chmod(0o600)

    write(Checkpoints(tmp_path, "a"), 1, fill=private)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "checkpoint-1").iterdir()} == {0o644}


def test_those_to_go_on_from_go_when_newer_ones_are_there(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "a")
    write(kept, 1, 2, 3, 4)
    assert steps(tmp_path) == [3, 4]
    assert KEPT == 2
    kept.clear()
    assert steps(tmp_path) == []


def test_those_that_the_configuration_asks_for_stay(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "a")
    kept.asked = True
    write(kept, 1, 2, 3)
    kept.asked = False
    write(kept, 4, 5, 6)
    assert steps(tmp_path) == [1, 2, 3, 5, 6]
    kept.clear()
    assert steps(tmp_path) == [1, 2, 3]


def test_their_number_is_limited_where_that_is_asked_for_and_the_best_stays(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "a", limit=2)
    kept.asked = True
    write(kept, 1, 2, 3, 4, best=tmp_path / "checkpoint-1")
    assert steps(tmp_path) == [1, 3, 4]


def test_others_folders_are_left_alone(tmp_path: Path) -> None:
    theirs = Checkpoints(tmp_path, "theirs")
    write(theirs, 1)
    (tmp_path / "checkpoint-x").mkdir()
    write(Checkpoints(tmp_path, "ours"), 2, 3, 4)
    assert theirs.latest() is not None


def test_the_same_step_of_another_run_gives_way(tmp_path: Path) -> None:
    write(Checkpoints(tmp_path, "theirs"), 1)
    ours = Checkpoints(tmp_path, "ours")
    write(ours, 1)
    found = ours.latest()
    assert found is not None
    assert found.run == "ours"


def test_it_is_time_after_minutes_and_never_for_more_than_a_fiftieth_of_the_time(tmp_path: Path) -> None:
    clock = Clock()
    kept = Checkpoints(tmp_path, "a", minutes=1, clock=clock)
    kept.begin(int(RATE))  # a second's worth
    clock.now += 59
    assert not kept.due()
    clock.now += 1
    assert kept.due()

    def slow(folder: Path) -> None:
        content(folder)
        clock.now += 10

    write(kept, 1, fill=slow)
    assert kept.took == 10
    clock.now += 10 / SHARE - 1
    assert not kept.due(), "a slow volume is written to more rarely"
    clock.now += 1
    assert kept.due()
    assert SHARE == 0.02


def test_a_large_adapter_is_thought_to_be_slow_before_it_was_written(tmp_path: Path) -> None:
    clock = Clock()
    kept = Checkpoints(tmp_path, "a", minutes=1, clock=clock)
    kept.begin(int(10 * RATE))
    clock.now += 499
    assert not kept.due()
    clock.now += 1
    assert kept.due()


def test_none_are_made_where_none_are_wanted(tmp_path: Path) -> None:
    clock = Clock()
    kept = Checkpoints(tmp_path, "a", minutes=0, clock=clock)
    clock.now += 1e6
    assert not kept.due()


def test_a_full_disk_is_made_room_on_by_the_oldest(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "a")
    write(kept, 1, 2)

    def full(folder: Path) -> None:
        content(folder)
        if (tmp_path / "checkpoint-1").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    write(kept, 3, fill=full)
    assert steps(tmp_path) == [2, 3]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), RuntimeError),
        (OSError(errno.EIO, "Input/output error"), "volume"),
        (OSError(errno.ESTALE, "Stale file handle"), "volume"),
        (PermissionError(errno.EACCES, "Permission denied"), "volume"),
        (ValueError("a mistake of ours"), ValueError),
    ],
    ids=str,
)
def test_what_cannot_be_written_ends_by_its_name_and_leaves_the_one_before(
    tmp_path: Path, raised: Exception, kind: Any
) -> None:
    kept = Checkpoints(tmp_path, "a")
    write(kept, 1)

    def fail(folder: Path) -> None:
        content(folder)
        raise raised

    with pytest.raises(Failure if isinstance(kind, str) else kind) as caught:
        write(kept, 2, fill=fail)
    if isinstance(kind, str):
        assert isinstance(caught.value, Failure)
        assert caught.value.kind == kind
        assert caught.value.message.startswith(f"{tmp_path / 'checkpoint-2'} cannot be written: ")
    assert steps(tmp_path) == [1]
    assert not list(tmp_path.glob(f"{HIDDEN}*")), "half of one takes no space"


def test_one_that_is_named_is_read_whoever_wrote_it(tmp_path: Path) -> None:
    theirs = tmp_path / "checkpoint-7"
    theirs.mkdir()
    content(theirs)
    found = checkpoints.named(theirs)
    assert (found.step, found.run, found.numbers) == (7, "", {})
    write(Checkpoints(tmp_path, "a"), 8)
    assert checkpoints.named(tmp_path / "checkpoint-8").run == "a"


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda place: None, "there is no checkpoint."),
        (lambda place: place.mkdir(), "it is no checkpoint: trainer_state.json is missing."),
        (lambda place: (place.mkdir(), content(place), (place / checkpoints.INCOMPLETE).touch()), "it was not written"),
        (lambda place: (write(Checkpoints(place.parent, "a"), 7), cut_short(place)), "it was not written to its end."),
    ],
    ids=["none", "empty", "transformers was killed", "cut"],
)
def test_half_a_checkpoint_is_refused_when_it_is_named(tmp_path: Path, make: Callable[[Path], Any], wrong: str) -> None:
    place = tmp_path / "checkpoint-7"
    make(place)
    with pytest.raises(Failure) as caught:
        checkpoints.named(place)
    assert caught.value.kind == "config"
    assert caught.value.message.startswith(f"TrainingArguments.resume_from_checkpoint: {place}: {wrong}")


def test_the_marker_lists_every_file(tmp_path: Path) -> None:
    write(Checkpoints(tmp_path, "a"), 7)
    marker = json.loads((tmp_path / "checkpoint-7" / MARKER).read_text())
    assert set(marker["files"]) == {"adapter_model.safetensors", "trainer_state.json"}
    assert (marker["version"], marker["step"], marker["asked"]) == (1, 7, False)
