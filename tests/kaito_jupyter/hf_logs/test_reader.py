"""The stock trainer's log, as recorded and as it may come: late, glued, cut, in pieces."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito_jupyter.hf_logs import Reader
from kaito_trainer.contract.events import ERROR_KINDS

T = 1_764_000_000.0


def read(*texts, **known):
    reader = Reader(clock=lambda: T, **known)
    return [event for text in texts for event in reader.feed(text)]


def steps(events, kind="log"):
    return [e.data["global_step"] for e in events if e.type == kind]


def clock(seconds):
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def bar(n, total, spent=0):
    """A bar as tqdm draws it for a pipe."""
    blocks = "█" * (10 * n // total)
    rate = f"{n / spent:.2f}it/s" if n and spent else "?it/s"
    return f"{100 * n // total:3d}%|{blocks:<10}| {n}/{total} [{clock(spent)}<{'?' if not n else clock(9)}, {rate:>9}]"


def log(step, total=100, epochs=2.0, **more):
    values = {
        "loss": f"{4 - step / total:.4g}",
        "grad_norm": "0.5",
        "learning_rate": "2e-05",
        "num_tokens": f"{step * 64}",
    }
    return str(values | {"epoch": f"{epochs * step / total:.4g}"} | more)


def stock(total=100, every=10, drawn=1, seconds=1.0):
    """A run's output as one stream: `drawn` is the distance of drawn bars, in steps."""
    text = ["\r" + bar(0, total)]
    for n in range(1, total + 1):
        if n % drawn == 0:
            text.append("\r" + bar(n, total, n * seconds))
        if n % every == 0:
            text.append(f"\r{' ' * 50}\r{log(n, total)}\n\r{bar(n, total, n * seconds)}")
    text.append(
        f"\r{' ' * 50}\r{{'train_runtime': '{total * seconds}', 'train_samples_per_second': '2', 'train_loss': '3.1', 'epoch': '2'}}\n"
    )
    return (
        "".join(text)
        + "\r"
        + bar(total, total, total * seconds)
        + "\nINFO 01-01 fine_tuning.py:188] Fine-Tuning completed\n"
    )


@pytest.mark.parametrize("every", [1, 3, 5, 10, 25])
@pytest.mark.parametrize("drawn", [1, 3, 7, 1000])
@pytest.mark.parametrize("told", [True, False])
def test_each_dict_gets_its_step(every, drawn, told):
    events = read(stock(every=every, drawn=drawn), **({"logging_steps": every} if told else {}))
    assert steps(events) == list(range(every, 101, every))
    assert [e.data["loss"] for e in events if e.type == "log"] == [
        round(4 - n / 100, 3) for n in range(every, 101, every)
    ]


def test_a_whole_run_in_events():
    events = read("INFO 11-24 fine_tuning.py:83] Model Loaded\n", "trainable params: 4,456,448 || all params: 3,840,477,184 || x\n",
                  "INFO fine_tuning.py:110] Loaded 100 examples from /mnt/data/train.jsonl\n", stock(20, 10), epochs=2.0)  # fmt: skip
    kinds = [e.type for e in events if not (e.type == "phase" and e.data["phase"] == "training")]
    assert kinds == ["phase", "phase", "train_begin", "log", "log", "train_end"]
    begin = next(e for e in events if e.type == "train_begin").data
    assert begin == {
        "max_steps": 20,
        "global_step": 0,
        "num_train_epochs": 2.0,
        "trainable_parameters": 4456448,
        "total_parameters": 3840477184,
    }
    assert events[-1].data == {"status": "completed", "global_step": 20, "train_runtime": 20.0, "train_loss": 3.1}
    assert [e.seq for e in events] == list(range(1, len(events) + 1))


@given(st.lists(st.integers(1, 400), max_size=30), st.sampled_from([stock(), stock(30, 3, 7), stock(50, 10, 1000)]))
def test_it_does_not_matter_in_which_pieces_the_text_comes(cuts, text):
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(text[at : at + cut])
        at += cut
    assert read(*pieces, text[at:]) == read(text)


def test_dicts_alone_are_counted():
    dicts = [log(n) + "\n" for n in range(5, 51, 5)]
    assert steps(read(*dicts, logging_steps=5, max_steps=50)) == list(range(5, 51, 5))
    assert steps(read(*dicts)) == list(range(10, 101, 10)), "ten steps are TRL's default"
    assert steps(read(*dicts, max_steps=100, epochs=2.0)) == list(range(5, 51, 5)), "the epoch tells"
    assert steps(read(*dicts, max_steps=100, logging_steps=0.05)) == list(range(5, 51, 5)), "a share of all steps"


def test_bars_that_come_at_the_end_change_no_step():
    """A container runtime gives stderr's line when its newline comes; stdout's lines were there long before."""
    dicts = "".join(log(n) + "\n" for n in range(10, 101, 10))
    bars = "".join("\r" + bar(n, 100, n) for n in range(101)) + "\n"
    events = read(dicts + bars, logging_steps=10)
    assert steps(events) == list(range(10, 101, 10))
    half = bars[: len(bars) // 4]
    events = read("".join(log(n) + "\n" for n in (10, 20, 30)), half + "\n", log(40) + "\n", logging_steps=10)
    assert steps(events) == [10, 20, 30, 40]


def test_a_late_reader_takes_the_step_from_the_bar():
    text = f"\r{bar(30, 100, 30)}\r{bar(31, 100, 31)}\r{log(31)}\n\r{bar(31, 100, 31)}\r"
    assert steps(read(f"\r{bar(29, 100, 29)}\r{bar(30, 100, 30)}\r{log(30)}\n", logging_steps=10)) == [30]
    assert steps(read(text)) == [31]


def test_the_first_step_may_be_logged_besides():
    text = f"\r{bar(0, 100)}\r{bar(1, 100, 1)}\r{log(1)}\n\r{bar(1, 100, 1)}"
    text += "".join("\r" + bar(n, 100, n) for n in range(2, 11)) + f"\r{log(10)}\n\r{bar(10, 100, 10)}\n"
    text += "".join("\r" + bar(n, 100, n) for n in range(11, 21)) + f"\r{log(20)}\n\r{bar(20, 100, 20)}\n"
    assert steps(read(text)) == [1, 10, 20]


def test_a_late_reader_learns_the_distance_of_dicts():
    text = stock(200, 20, 1)
    middle = text.index("130/200")
    assert steps(read(text[middle:])) == [140, 160, 180, 200]


@pytest.mark.parametrize(
    "text",
    [
        f"{bar(31, 1024, 12)}{log(30)}\n",
        f"{log(30)}{bar(31, 1024, 12)}\n",
        f"{bar(30, 1024, 12)}{bar(31, 1024, 12)} {log(30)} {bar(31, 1024, 12)}\n",
        f"[rank0]: {log(30)}\n",
        f"\x1b[32m{log(30)}\x1b[0m\n",
    ],
)
def test_a_dict_glued_to_bars_and_text_is_found(text):
    events = read(text, logging_steps=30)
    assert [e.data["loss"] for e in events if e.type == "log"] == [3.7]
    assert steps(events) == [30]


def test_older_releases_print_numbers():
    line = "{'loss': 2.843, 'grad_norm': nan, 'learning_rate': 1.775e-05, 'entropy': inf, 'epoch': 1}\n"
    (values,) = (e.data for e in read(line) if e.type == "log")
    assert values == {"global_step": 10, "loss": 2.843, "learning_rate": 1.775e-05, "epoch": 1.0}


def test_evaluations_and_checkpoints_get_the_present_step():
    evaluation = "{'eval_loss': '1.5', 'eval_runtime': '3.1', 'epoch': '0.2'}\n"
    nested = f"\n\r{bar(0, 25)}\x1b[A\n\r{bar(25, 25, 3)}\x1b[A\r"
    events = read(f"\r{bar(0, 100)}\r{bar(10, 100, 10)}\r{log(10)}\n\r{bar(10, 100, 10)}{nested}{evaluation}",
                  "Saving model checkpoint to /mnt/results/checkpoint-10\n", logging_steps=10)  # fmt: skip
    (found,) = (e.data for e in events if e.type == "evaluate")
    assert found == {"global_step": 10, "eval_loss": 1.5, "epoch": 0.2, "metrics": {"eval_runtime": 3.1}}
    (saved,) = (e.data for e in events if e.type == "save")
    assert saved == {"global_step": 10, "path": "/mnt/results/checkpoint-10"}
    assert next(e for e in events if e.type == "train_begin").data["max_steps"] == 100, (
        "the evaluation's bar is another"
    )


def test_described_bars_are_phases():
    events = read("\rMap:   0%|          | 0/400 [00:00<?, ? examples/s]", "\rMap: 100%|██████████| 400/400 [00:00<00:00, 8012.31 examples/s]\n",
                  "Loading checkpoint shards:  50%|█████     | 1/2 [00:01<00:01,  1.00s/it]\n",
                  "model.safetensors: 40%|████      | 1.2G/3.0G [00:12<00:18, 98.1MB/s]\n",
                  "Downloading weights: 40%|████      | 1.2G/3.0G [00:12<00:18, 98.1MB/s]\n")  # fmt: skip
    assert [(e.data["phase"], e.data.get("done"), e.data.get("total"), e.data.get("unit")) for e in events] == [
        ("tokenizing", 0, 400, "examples"),
        ("tokenizing", 400, 400, "examples"),
        ("loading", 1, 2, None),
        ("downloading", 1_200_000_000, 3_000_000_000, "bytes"),
    ]


def test_a_log_read_again_shows_its_pace_in_the_bars_clock():
    events = [e for e in read(stock(40, 10, seconds=7.0), logging_steps=10) if e.type == "log"]
    assert [e.time - T for e in events] == [70, 140, 210, 280]
    reader = Reader(logging_steps=10)
    (found,) = (e for e in reader.feed(log(10) + "\n", time=T + 5) if e.type == "log")
    assert found.time == T + 5


def test_a_run_that_begins_again_in_the_same_log_is_a_new_beginning():
    events = read(stock(20, 10), stock(20, 10), logging_steps=10)
    assert [e.type for e in events if e.type in ("train_begin", "train_end")] == ["train_begin", "train_end"] * 2
    assert steps(events) == [10, 20, 10, 20]


@pytest.mark.parametrize(
    "text", ["{'loss': '1'}\n", "{'text': 'a', 'epoch': '1'}\n", "loss: 2.0\n", "{}\n", "{'loss'\n", "  3%|"]
)
def test_what_only_looks_like_a_log_is_none(text):
    assert read(text) == []


def test_text_with_markup_comes_through_as_text():
    (event,) = read("Loaded 5 examples from <script>alert(1)</script>\n")
    assert event.data["detail"] == "Loaded 5 examples from <script>alert(1)</script>"


FRAGMENTS = st.sampled_from(
    ["\r", "\n", "\x1b[A", bar(3, 10, 2), bar(0, 10), bar(10, 10, 9), log(10), log(3), "Map: ", "{'eval_loss': '1'}",
     "{'train_runtime': '1'}", "Traceback (most recent call last):\n", "  File", "ValueError: target modules\n",
     "subprocess.CalledProcessError: x\n", "Saving model checkpoint to x/checkpoint-7\n", "Fine-Tuning completed\n",
     "0%|", "%|", "| 1/0 [", "99999999999%|", "{'loss': ", "'epoch': '1'}", "trainable params: , || all params: 1"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.lists(FRAGMENTS | st.text(max_size=20), max_size=25),
    st.sampled_from([{}, {"logging_steps": 3, "max_steps": 10, "epochs": 1.0}]),
)
def test_no_text_makes_it_raise(fragments, known):
    reader = Reader(**known)
    events = [event for text in fragments for event in reader.feed(text)]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    for event in events:
        assert event.data.get("global_step", 0) >= 0
        assert all(math.isfinite(v) for v in event.data.values() if isinstance(v, float))
        assert event.type != "error" or event.data["kind"] in ERROR_KINDS


@pytest.mark.parametrize(
    "piece", ["{'a': ", "1%|", "{'loss': '1', ", "'", "0/", "\x1b[", "Traceback (most recent call last):", "[rank0]: "]
)
def test_hostile_text_ends(piece):
    """A pattern that looks back and forth would take hours for it, and the test's time limit would tell."""
    text = piece * (200_000 // len(piece))
    Reader().feed(text + "\n")


@pytest.mark.parametrize("seed", range(5))
def test_lines_of_two_streams_may_mix(seed):
    """stdout's and stderr's lines each in order, but mixed: every dict still has its step when the stride is told."""
    randomly = random.Random(seed)
    out = [log(n) + "\n" for n in range(10, 101, 10)]
    err = ["\r" + bar(n, 100, n) + "\n" for n in range(0, 101, 4)]
    lines = []
    while out or err:
        source = randomly.choice([s for s in (out, err) if s])
        lines.append(source.pop(0))
    found = steps(read(*lines, logging_steps=10))
    assert found == sorted(found)
    assert len(found) == 10
    assert not [s for s in found if s % 10]


RECORDED = Path(__file__).parent / "recorded"
"""Output of Transformers 5.23's Trainer with a tiny model, 40 steps, logs each 5 and evaluations each 10."""


def recorded(name):
    with (RECORDED / name).open(encoding="utf-8", newline="") as file:
        return file.read()


@pytest.mark.parametrize("known", [{}, {"logging_steps": 5}, {"max_steps": 40, "epochs": 2.0}])
@pytest.mark.parametrize("name", ["each-step-drawn.log", "few-steps-drawn.log"])
def test_a_recorded_run_has_all_its_points(name, known):
    events = read(recorded(name), **known)
    assert steps(events) == list(range(5, 41, 5))
    assert steps(events, "evaluate") == [10, 20, 30, 40]
    assert [e.data["max_steps"] for e in events if e.type == "train_begin"] == [40]
    assert [e.data["global_step"] for e in events if e.type == "train_end"] == [40]
    assert [e.data["epoch"] for e in events if e.type == "log"] == [n / 20 for n in range(5, 41, 5)]


def test_a_recorded_run_at_the_level_info_tells_of_its_checkpoints_too():
    events = read(recorded("each-step-drawn.log"))
    assert [(e.data["global_step"], e.data["path"]) for e in events if e.type == "save"] == [
        (20, "out/checkpoint-20"),
        (40, "out/checkpoint-40"),
    ]
    assert next(e for e in events if e.type == "train_begin").data["num_train_epochs"] == 2.0


def test_a_recorded_failure_whose_streams_came_one_after_the_other():
    events = read(recorded("failed.stdout.log"), recorded("failed.stderr.log"), logging_steps=5)
    assert steps(events) == list(range(5, 41, 5))
    assert events[-1].type == "error"
    assert events[-1].data["kind"] == "target-modules"
    assert events[-1].data["message"].startswith("ValueError: Target modules {'query_key_value'} not found")


def test_the_first_cause_counts_and_not_what_the_launcher_says_of_it():
    errors = [e.data for e in read(recorded("out-of-memory.log")) if e.type == "error"]
    assert [e["kind"] for e in errors] == ["out-of-memory"]
    assert "qlora" in errors[0]["remedy"]


def test_a_bar_that_comes_after_the_end_is_no_new_beginning() -> None:
    # The container runtime writes tqdm's bar only at its newline: behind all the dicts, and behind the last of them.
    reader = Reader(logging_steps=1, max_steps=2)
    dicts = [f"{{'loss': '1.{i}', 'learning_rate': '1e-4', 'epoch': '{i / 2}'}}\n" for i in (1, 2)]
    end = "{'train_runtime': '2.6', 'train_loss': '1.1', 'epoch': '1'}\n"
    late = "\r  0%|          | 0/2 [00:00<?, ?it/s]\r 50%|█████     | 1/2 [00:01<00:01,  1.0it/s]\r100%|██████████| 2/2 [00:02<00:00,  1.0it/s]\n"
    kinds = [event.type for text in (*dicts, end, late) for event in reader.feed(text)]
    assert kinds.count("train_begin") == 1
    assert kinds.index("train_begin") < kinds.index("log")


def test_the_last_dict_may_come_after_the_sentence_that_ends_the_training():
    reader, events = Reader(), []
    lines = [f"{{'loss': '1.{i}', 'learning_rate': '1e-05', 'epoch': '{i / 4}'}}" for i in range(1, 9)]
    bar = "  0%|          | 0/80 [00:00<?, ?it/s]"
    sentence = "INFO 11-24 15:50:17 fine_tuning.py:188] Fine-Tuning completed"
    for line in [bar, *lines[:-1], sentence, lines[-1]]:
        events += reader.feed(f"{line}\n")
    assert [e.type for e in events].count("train_begin") == 1
    assert len([e for e in events if e.type == "log"]) == len(lines)
