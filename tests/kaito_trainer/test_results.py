"""What a run leaves behind, and what a restart is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tiny import Run

from kaito_trainer import results
from kaito_trainer.contract.names import ADAPTER_FILES, RUN_FILE, SENTINEL_FILE
from kaito_trainer.failures import Failure


def test_what_is_noted_stays_until_it_is_taken_away(tmp_path: Path) -> None:
    assert results.noted(tmp_path) == {}
    results.note(tmp_path, run="a", memory={"rows": 2})
    results.note(tmp_path, run="b")
    assert results.noted(tmp_path) == {"run": "b", "memory": {"rows": 2}}
    results.note(tmp_path, run=None)
    assert results.noted(tmp_path) == {"memory": {"rows": 2}}
    (tmp_path / RUN_FILE).write_text("{torn")
    assert results.noted(tmp_path) == {}
    assert sorted(p.name for p in tmp_path.iterdir()) == [RUN_FILE]


def test_a_run_that_is_complete_is_over_for_a_restart(tmp_path: Path) -> None:
    results.note(tmp_path, run="a", memory={"rows": 2})
    results.forget(tmp_path)
    assert results.noted(tmp_path)["run"] == "a", "it was not complete"
    results.complete(tmp_path, 7)
    assert (tmp_path / SENTINEL_FILE).read_text() == "Completed after 7 steps.\n"
    results.forget(tmp_path)
    assert not (tmp_path / SENTINEL_FILE).exists()
    assert results.noted(tmp_path) == {"memory": {"rows": 2}}


def test_a_run_that_could_not_say_its_end_says_it_at_the_next_start(tmp_path: Path) -> None:
    assert results.is_over(tmp_path) is None
    results.complete(tmp_path, 7, {"status": "completed", "global_step": 7})
    assert results.is_over(tmp_path) is None, "without an adapter nothing is over"
    for name in ADAPTER_FILES:
        (tmp_path / name).touch()
    assert results.is_over(tmp_path) == {"status": "completed", "global_step": 7}
    results.forget(tmp_path)
    assert results.is_over(tmp_path) is None


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_folder_that_cannot_be_written_is_the_volumes_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("kaito_trainer.results.tempfile.TemporaryFile", refuse)
    with pytest.raises(Failure) as caught:
        results.prepare(tmp_path / "results")
    assert caught.value.kind == "volume"
    assert caught.value.message == f"{tmp_path / 'results'} cannot be written: [Errno {number}] {os.strerror(number)}"
    assert caught.value.remedy is not None
    assert "mounted" in caught.value.remedy


def test_a_volume_that_is_not_there_ends_a_run_before_it_loads_anything(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    run.results.write_text("a file in the folder's place")
    assert run.train() == 1
    out = capfd.readouterr().out
    assert '"kind":"volume"' in out
    assert '"phase"' not in out


@pytest.mark.train
def test_a_volume_that_goes_away_under_a_run_ends_it_by_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(results, "write_adapter", gone)
    assert run.train() == 1
    told = run.only("error")
    assert (told["kind"], told["message"]) == (
        "volume",
        f"{run.results} cannot be written: [Errno {errno.ESTALE}] Stale file handle",
    )
