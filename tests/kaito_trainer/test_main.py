"""The command line as a process: what it refuses before torch is there, and how it ends when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import Run, conversations

from kaito_trainer.contract import Event, decode


def train(root: Path, document: Any, *, program: str = "") -> tuple[subprocess.CompletedProcess[str], list[Event]]:
    """Run `train` on a document (or a text that is none), and return its events too."""
    file = root / "training_config.yaml"
    file.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    arguments = ["train", "--config", str(file), "--mount-root", str(root)]
    done = subprocess.run(
        [sys.executable, *(["-c", program] if program else ["-m", "kaito_trainer"]), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done, [e for line in done.stdout.splitlines() if (e := decode(line)) is not None]


NO_TORCH = textwrap.dedent("""
    import sys
    from kaito_trainer.__main__ import main
    code = main(sys.argv[1:])
    print("loaded:", sorted({"torch", "transformers", "trl", "peft", "pyarrow"} & set(sys.modules)), file=sys.stderr)
    sys.exit(code)
""")


def test_a_wrong_config_is_refused_with_all_problems_before_torch_is_imported(tmp_path: Path) -> None:
    document = {
        "training_config": {
            "TrainingArguments": {"learning_rate": "1e-4x", "num_train_epochs": -1},
            "LoraConfig": {"r": 0},
            "Loraconfig": {},
        }
    }
    done, events = train(tmp_path, document, program=NO_TORCH)
    assert done.returncode == 1
    assert "loaded: []" in done.stderr
    assert [e.type for e in events] == ["error"]
    told = events[0].data
    assert told["kind"] == "config"
    assert told["message"].startswith("4 problems, the first: ")
    paths = [line.partition(":")[0] for line in told["details"]]
    assert sorted(paths) == [
        "LoraConfig.r",
        "TrainingArguments.learning_rate",
        "TrainingArguments.num_train_epochs",
        "config.Loraconfig",
    ]
    assert decode((tmp_path / "results" / "events.jsonl").read_text()) == events[0], "and it stands in the file too"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a: [", "is not YAML: while parsing a flow node expected the node content"),
        ("- 1", "config: the file holds no mapping."),
        ("TrainingArguments: {}", "training_config: this top-level key is missing or holds no sections."),
        ("training_config: {}\nfoo: 1", "config.foo: no such top-level key."),
        ("training_config: {}\nkaito_trainer: 3", "kaito_trainer: holds no keys and values."),
        (
            "training_config: {TrainingArguments: {output_dir: /etc}}",
            'TrainingArguments.output_dir: "/etc" is not a folder below /mnt.',
        ),
    ],
)
def test_files_that_are_no_config(
    tmp_path: Path, document: str, message: str, capsys: pytest.CaptureFixture[str], tidy_process: None
) -> None:
    from kaito_trainer.__main__ import main

    file = tmp_path / "training_config.yaml"
    file.write_text(document)
    assert main(["train", "--config", str(file), "--mount-root", str(tmp_path)]) == 1
    told = decode(capsys.readouterr().out)
    assert told is not None
    assert (told.type, told.data["kind"]) == ("error", "config")
    assert message in told.data["message"]


def test_a_config_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], tidy_process: None) -> None:
    from kaito_trainer.__main__ import main

    assert main(["train", "--config", str(tmp_path / "nonesuch.yaml")]) == 1
    told = decode(capsys.readouterr().out)
    assert told is not None
    assert told.data["message"].startswith(f"{tmp_path}/nonesuch.yaml: cannot be read: ")


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['trl'] = None\nfrom kaito_trainer.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    )
    document = {"training_config": {"ModelConfig": {"pretrained_model_name_or_path": "x"}}}
    done, events = train(tmp_path, document, program=program)
    assert done.returncode == 1
    assert events[-1].data["kind"] == "dependency"
    assert "trl" in events[-1].data["message"]
    assert events[-1].data["remedy"] == "pip install 'kaito-trainer[train]'"


def until(process: subprocess.Popen[str], wanted: Callable[[Event], bool]) -> list[Event]:
    """Read the process' events until one is wanted."""
    seen: list[Event] = []
    assert process.stdout is not None
    for line in process.stdout:
        if (event := decode(line)) is not None:
            seen.append(event)
            if wanted(event):
                return seen
    assert process.stderr is not None
    raise AssertionError(f"it ended before: {seen[-3:]} {process.stderr.read()[-2000:]}")


def rest(process: subprocess.Popen[str]) -> tuple[int, list[Event], str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, [e for line in out.splitlines() if (e := decode(line)) is not None], err


@pytest.mark.train
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_amid_training_keeps_checkpoint_and_adapter_and_is_no_completion(
    run: Run, number: signal.Signals, code: int
) -> None:
    run.write(conversations(10), TrainingArguments={"max_steps": 100_000, "learning_rate": 1e-3})
    process = run.start()
    until(process, lambda e: e.type == "log" and e.data["global_step"] >= 3)
    process.send_signal(number)
    exit_code, events, err = rest(process)
    assert (exit_code, "Traceback" in err) == (code, False)
    end = run.only("train_end")
    step = end["global_step"]
    assert (end["status"], end["adapter"]) == ("cancelled", str(run.results))
    assert step >= 3
    assert [e.data.get("path") for e in events if e.type == "save"] == [
        f"{run.results}/checkpoint-{step}",
        str(run.results),
    ]
    assert not (run.results / "fine_tuning_completed.txt").exists()
    state = json.loads((run.results / f"checkpoint-{step}" / "trainer_state.json").read_text())
    assert state["global_step"] == step
    logged = [e.data["global_step"] for e in run.events() if e.type == "log"]
    assert logged == list(range(1, step + 1)), "the last step is in the curve"

    from safetensors.torch import load_file

    adapter = load_file(run.results / "adapter_model.safetensors")
    checkpoint = load_file(run.results / f"checkpoint-{step}" / "adapter_model.safetensors")
    assert all(bool((adapter[name] == checkpoint[name]).all()) for name in checkpoint), "no step was lost between them"


@pytest.mark.train
def test_a_signal_while_loading_ends_at_once(run: Run) -> None:
    process = run.start()
    until(process, lambda e: e.type == "phase")
    process.send_signal(signal.SIGTERM)
    exit_code, events, err = rest(process)
    assert (exit_code, "Traceback" in err) == (143, False)
    assert [(e.type, e.data.get("status"), e.data.get("global_step")) for e in events] == [
        ("train_end", "cancelled", 0)
    ]
    assert not (run.results / "adapter_model.safetensors").exists()


@pytest.mark.train
def test_a_second_signal_ends_the_process_on_the_spot(run: Run) -> None:
    """The first one asks the loop; this loop never looks."""
    program = textwrap.dedent("""
        import sys, time
        from kaito_trainer.stop import Stop
        stop = Stop()
        stop.install()
        stop.be_patient()
        print("ready", flush=True)
        while True:
            time.sleep(0.01)
            if stop.asked:
                print("asked", flush=True)
                while True: time.sleep(0.01)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for word in ("ready\n", "asked\n"):
        assert process.stdout.readline() == word
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.train
def test_the_lock_is_held_while_the_trainer_lives(run: Run) -> None:
    import fcntl

    run.write(TrainingArguments={"max_steps": 100_000})
    process = run.start()
    until(process, lambda e: e.type == "phase")
    handle = os.open(run.results / "trainer.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    rest(process)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_ggufs_are_found_by_file_folder_and_package(tmp_path: Path) -> None:
    from kaito_trainer.failures import Failure
    from kaito_trainer.import_gguf import find_gguf

    file = tmp_path / "a.gguf"
    file.touch()
    assert find_gguf(file) == find_gguf(tmp_path) == find_gguf(str(tmp_path)) == file
    (tmp_path / "b.gguf").touch()
    for source, reason in ((tmp_path, "there is several: a.gguf, b.gguf"), ("json", "there is none")):
        with pytest.raises(Failure, match=reason):
            find_gguf(source)


def test_a_gguf_is_converted_once_and_wholly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tidy_process: None
) -> None:
    from kaito_trainer import import_gguf
    from kaito_trainer.__main__ import main

    (tmp_path / "a.gguf").touch()
    made = []

    def convert(file: Path, folder: Path, say: Callable[[str], None]) -> None:
        made.append(folder)
        if len(made) == 1:
            raise OSError("no more")
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(import_gguf, "_convert", convert)
    destination = tmp_path / "models" / "m"
    with pytest.raises(OSError, match="no more"):
        main(["import-gguf", str(tmp_path / "a.gguf"), str(destination)])
    assert not destination.exists(), "nothing half is left"
    assert main(["import-gguf", str(tmp_path / "a.gguf"), str(destination)]) == 0
    assert main(["import-gguf", str(tmp_path / "a.gguf"), str(destination)]) == 0
    assert capsys.readouterr().out == f"model folder: {destination}\n{destination} is there already\n"
    assert [p.name for p in destination.iterdir()] == ["config.json"]
    assert len(made) == 2
    assert main(["import-gguf", "/nonesuch", str(tmp_path / "x")]) == 1
    assert "one GGUF file is needed" in capsys.readouterr().err
