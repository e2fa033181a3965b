"""Every known death of a tuning run is told in the cell, or named with its remedy when it happens.

`docs/how-runs-die.md` is this table (written anew with `KAITO_WRITE_DOCS=1`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deaths import A100, FORESEEN, MET, Known, Met
from kube_objects import ended, event, job, pod, running, unscheduled, waiting

from kaito_jupyter.cluster.judge import JobJudge, View
from kaito_jupyter.cluster.resources import JOBS
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.diagnose import Diagnosis, diagnose
from kaito_jupyter.errors import InputError
from kaito_jupyter.spec import Findings, TuningSpec, build_spec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import Problem

DOCS = Path(__file__).parents[2] / "docs" / "how-runs-die.md"
HEAD = """# How tuning runs die, and where it is told

Every way that is known to us: out of KAITO's tuning document, the traps of its trainer (K1 to K15), its webhook, the errors of
transformers, TRL, PEFT and bitsandbytes, and what clusters do. The first table is told in the cell, before anything is sent or
paid for. The second one shows only when it happens; then the run says what it was, and what to do. A test makes all of it happen
and compares with this page.

"""
CELL = """## Told in the cell: {refused} are refused or repaired, {warned} are warned of (and refused with `--strict`)

| what | known from | what would happen | in the cell | what is said |
| --- | --- | --- | --- | --- |
"""
RUN = """
## Named when it happens: {met}

| what | known from | in the log, or the cluster's words | cause | what is said |
| --- | --- | --- | --- | --- |
"""
GOOD: dict[str, dict[str, Any]] = {
    "kaito": {
        "preset": "phi-4-mini-instruct",
        "input": "https://example.com/train.parquet",
        "output": "image:reg.io/a/b:1",
        "push_secret": "login",
        "instance_type": A100,
        "target": "kaito",
    },
    "job": {"preset": "owner/model", "output": "pvc:results", "target": "job"},
}
SAID = {"error": "refused", "note": "repaired", "warning": "warned of"}
STEPS = ["  0%|          | 0/30 [00:00<?, ?it/s]", "{'loss': '2.8', 'learning_rate': '1e-4', 'epoch': '0.1'}"]
DONE = [*STEPS, "{'train_runtime': '9.1', 'train_loss': '1.2', 'epoch': '1'}"]


def findings(death: Known) -> tuple[TuningSpec | None, list[Problem]]:
    """What is said in the cell; and the spec, where there is one."""
    try:
        if death.model:
            spec = build_spec(**GOOD[death.target] | {"preset": "phi-4-mini-instruct"} | death.given)
            return spec, spec.check(death.target, dataset=Dataset.read(pd.DataFrame(death.rows)))  # type: ignore[arg-type]
        if death.rows is not None:
            return None, list(Dataset.read(pd.DataFrame(death.rows)).warnings)
        spec = build_spec(**GOOD[death.target] | death.given)
    except InputError as error:
        return None, list(error.problems)
    return spec, spec.check(death.target)  # type: ignore[arg-type]


def cached(hub: Path, template: str) -> None:
    """The model's tokenizer in Hugging Face's cache, as far as a preview reads it: words, and an end token that also pads."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    folder = hub / "models--microsoft--Phi-4-mini-instruct" / "snapshots" / "main"
    folder.mkdir(parents=True)
    words = ["<unk>", "user", "assistant", "Hi", "Hello"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|im_end|>", **({} if template == "none" else {"chat_template": template})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of models of the test's own."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def finding(death: Known) -> Problem:
    _, found = findings(death)
    at = [p for p in found if p.path == death.path and p.severity == death.told]
    assert at, [str(p) for p in found]
    return at[0]


@pytest.mark.parametrize("death", FORESEEN, ids=lambda d: f"{d.target}: {d.name}")
def test_it_is_told_in_the_cell(death: Known, hub: Path) -> None:
    if death.model:
        cached(hub, death.model)
    spec, found = findings(death)
    said = finding(death)
    assert said.message.endswith(".")
    assert said.remedy or said.severity == "note"
    assert re.search(r"\w", said.message)
    if death.told != "error":
        assert not [p for p in found if p.severity == "error"]
    if death.told == "warning" and spec is not None:
        strict = Findings(found, strict=True)
        assert death.path in [p.path for p in strict.errors]


@pytest.mark.parametrize("target", GOOD)
def test_the_spec_in_which_they_are_made_is_good(target: str) -> None:
    assert [p for p in build_spec(**GOOD[target]).check(target) if p.severity != "note"] == []  # type: ignore[arg-type]


def test_most_of_them_never_leave_the_cell() -> None:
    names = [d.name for d in (*FORESEEN, *MET)]
    assert len(names) == len(set(names))
    assert len(names) >= 60
    assert len([d for d in FORESEEN if d.told != "warning"]) >= 45


def met(death: Met) -> Diagnosis:
    state = RunState()
    status, lines = happened(death)
    state.feed_many(lines)
    state.apply(status)
    return diagnose(state, build_spec(**GOOD["kaito"]), "kaito", name="run-1", now=1_795_527_900.0)


def happened(death: Met) -> tuple[Status, list[str]]:
    """How the cluster stands, and what is in the log."""
    beside = {"pusher": running(), "pause": running()}
    gone = ended(137, death.says) if death.how == "137" else ended(1)
    before = {"init": {death.how: ended(1)}, "main": waiting("PodInitializing")}
    pulling = {"init": {"puller": waiting("ErrImagePull", death.says)}, "main": waiting("PodInitializing")}
    unmade = {"init": {"puller": waiting("CreateContainerConfigError", death.says)}, "main": waiting("PodInitializing")}
    ways = {
        "trainer": lambda: (judged(job(), pod(main=gone, sidecars=beside)), STEPS),
        "137": lambda: (judged(job(), pod(main=gone, sidecars=beside)), STEPS),
        "data-downloader": lambda: (judged(job(), pod("Failed", **before)), []),
        "puller": lambda: (judged(job(), pod("Failed", **before)), []),
        "pusher": lambda: (judged(job(), pod(main=ended(), sidecars={**beside, "pusher": ended(1)})), DONE),
        "reason": lambda: (judged(job("Failed"), pod("Failed", main=ended(137), reason=death.says, message="")), STEPS),
        "deadline": lambda: (judged(job("Failed", reason="DeadlineExceeded"), pod("Failed", main=ended(143))), STEPS),
        "unscheduled": lambda: (judged(job(), unscheduled(death.says)), []),
        "pulling": lambda: (judged(job(), pod("Pending", **pulling)), []),
        "config": lambda: (judged(job(), pod("Pending", **unmade)), []),
        "event": lambda: (judged(job(), events=[event("FailedCreate", death.says, about="run-1")]), []),
        "status": lambda: (Status("Pending", death.says), []),
    }
    status, lines = ways[death.how]()
    return status, [*lines, *death.lines]


def judged(job_now: Any, *pods: Any, events: list[Any] | None = None) -> Status:
    return JobJudge("run-1", "trainer", met=True)(View(list(pods), {JOBS: [job_now]}, events or []))


@pytest.mark.parametrize("death", MET, ids=lambda d: d.name)
def test_it_is_named_with_its_remedy_when_it_happens(death: Met) -> None:
    found = met(death)
    assert found.cause == death.cause, found
    assert found.sentence.endswith(".")
    assert found.remedy


def test_the_page_in_the_docs_is_this_table(hub: Path) -> None:
    refused = len([d for d in FORESEEN if d.told != "warning"])
    text = HEAD + CELL.format(refused=refused, warned=len(FORESEEN) - refused)
    for death in FORESEEN:
        shutil.rmtree(hub, ignore_errors=True)
        if death.model:
            cached(hub, death.model)
        text += foreseen_row(death)
    text += RUN.format(met=len(MET)) + "".join(met_row(d) for d in MET)
    if os.environ.get("KAITO_WRITE_DOCS"):
        DOCS.write_text(text, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == text


def foreseen_row(death: Known) -> str:
    said = finding(death)
    where = {"kaito": "KAITO's trainer", "job": "any trainer"}[death.target]
    source = death.source if death.rows is not None and not death.model else f"{death.source}; {where}"
    words = f"**{cell(said.path)}**: {cell(said.message)} {cell(said.remedy)}".strip()
    return f"| {cell(death.name)} | {source} | {cell(death.dies)} | {SAID[death.told]} | {words} |\n"


def met_row(death: Met) -> str:
    found = met(death)
    words = death.lines[-1] if death.lines else death.says or "exit code 137, no word of its own"
    return f"| {death.name} | {death.source} | {cell(words)} | `{found.cause}` | {cell(found.sentence)} {cell(found.remedy)} |\n"


def cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace("\n", " ")
