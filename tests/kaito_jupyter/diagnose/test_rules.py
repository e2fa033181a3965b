"""What is wrong is named right, from what a cluster's objects and a trainer's log really look like."""

from __future__ import annotations

from typing import Any

import pytest
from kube_objects import Json, ended, event, job, pod, running, unscheduled, waiting

from kaito_jupyter.cluster.judge import JobJudge, View
from kaito_jupyter.cluster.resources import JOBS
from kaito_jupyter.diagnose import Diagnosis, diagnose
from kaito_jupyter.diagnose.rules import RULES
from kaito_jupyter.spec import TuningSpec, build_spec
from kaito_jupyter.state import RunState
from kaito_jupyter.status import Status
from kaito_trainer.contract import encode
from kaito_trainer.contract import events as ev

T = 1_795_527_900.0
BESIDE: dict[str, Json | None] = {"pusher": running(), "pause": running()}
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.45 GiB. GPU 0 has a total capacity of 79.25 GiB"
STARTED = ["  0%|          | 0/30 [00:00<?, ?it/s]", "{'loss': '2.8', 'learning_rate': '1e-4', 'epoch': '0.1'}"]
TRACEBACK = "Traceback (most recent call last):"


def spec(**options: Any) -> TuningSpec:
    given = {"preset": "phi-4-mini-instruct", "output": "image:r.example/a/b:1", "push_secret": "push"}
    return build_spec(**{**given, "instance_type": "Standard_NC24ads_A100_v4", "target": "kaito", **options})


def judged(job_now: Json, *pods: Json, events: list[Json] | None = None) -> Status:
    return JobJudge("run-1", "trainer", met=True)(View(list(pods), {JOBS: [job_now]}, events or []))


def told(
    status: Status, lines: list[str] | None = None, wanted: TuningSpec | None = None, target: Any = "kaito"
) -> Diagnosis:
    state = RunState()
    state.feed_many(lines or [])
    state.apply(status)
    return diagnose(state, wanted or spec(), target, name="run-1", now=T)


def dead(*lines: str, code: int = 1, reason: str = "") -> tuple[Status, list[str]]:
    """The trainer died behind its sidecars, having written these lines."""
    return judged(job(), pod(main=ended(code, reason), sidecars=BESIDE)), [*STARTED, *lines]


def failed(message: str = "", code: int = 1, *, taken: bool = False, **more: Any) -> Status:
    """A Job that has given up."""
    last = pod("Failed", main=ended(code, message=message), **more)
    last["metadata"] |= {"deletionTimestamp": "2026-11-24T13:45:00Z"} if taken else {}
    return judged(job("Failed", reason="BackoffLimitExceeded"), last)


def stuck(**waits: Json | None) -> Status:
    return judged(job(), pod("Pending", init=waits, main=waiting("PodInitializing")))


def before(container: str, *lines: str) -> tuple[Status, list[str]]:
    """What stands before the trainer failed, and is tried again."""
    return judged(job(), pod("Failed", init={container: ended(1)}, main=waiting("PodInitializing"))), [*lines]


def pusher(*lines: str) -> tuple[Status, list[str]]:
    status = judged(job(), pod(main=ended(), sidecars={"pusher": ended(1), "pause": running()}))
    return status, [*STARTED, "{'train_runtime': '9.1', 'train_loss': '1.2', 'epoch': '1'}", *lines]


def said(kind: str, message: str) -> tuple[Status, list[str]]:
    """The trainer said itself what is wrong."""
    return failed(), [encode(ev.Error(kind=kind, message=message), seq=3, time=T)]


TABLE: list[tuple[str, tuple[Status, list[str]]]] = [
    ("cuda-oom", dead(TRACEBACK, OOM)),
    ("cuda-oom", said("out-of-memory", "OutOfMemoryError: CUDA out of memory.")),
    ("out-of-memory", said("out-of-memory", "RuntimeError: DefaultCPUAllocator: can't allocate memory")),
    ("oom-killed", dead(code=137, reason="OOMKilled")),
    ("oom-killed", (Status("Failed", "This machine's memory ran out and the system killed the trainer, …", "out-of-memory"), [])),
    ("target-modules", dead(TRACEBACK, "ValueError: Target modules {'query_key_value'} not found in the base model.")),
    ("dataset-missing", dead("ERROR dataset.py:41] No dataset file found", TRACEBACK, "ValueError: Unable to load the dataset.")),
    ("dataset-malformed", dead(TRACEBACK, "pyarrow.lib.ArrowInvalid: JSON parse error: Missing a closing quotation mark")),
    ("dataset-malformed", said("dataset", "row 3: messages is no list")),
    ("gated-model", said("gated-model", "meta/llama: 401 Client Error")),
    ("model", said("model", "no/such: it cannot be loaded")),
    ("config", said("config", "TrainingArguments.optim: no such optimiser")),
    ("dependency", said("dependency", "No module named 'trl'")),
    ("volume", said("volume", "/mnt/results: Read-only file system")),
    ("disk-full", said("disk-full", "No space left on device")),
    ("download-missing", before("data-downloader", "Failed to download https://x/y.csv after 3 attempts, HTTP status code: 404")),
    ("download-unreachable", before("data-downloader", "curl: (28) Connection timed out after 10001 milliseconds")),
    ("download-unreachable", before("data-downloader", "curl: (7) Failed to connect to 127.0.0.1 port 9: Connection refused")),
    ("download-missing", before("puller", 'level=fatal msg="reading manifest missing in r/no/such/image: manifest unknown"')),
    ("download-refused", before("puller", 'level=fatal msg="reading manifest 1 in r/data: unauthorized: authentication required"')),
    ("download", said("download", "the answer was cut short")),
    ("push-refused", pusher('level=fatal msg="trying to reuse blob at destination: unauthorized: authentication required"')),
    ("push-refused", before("push-check", "the registry answered 401: unauthorized")),
    ("push-refused", said("push", "push of r/a:1: 403 Forbidden")),
    ("push", pusher('level=fatal msg="writing manifest: broken pipe"')),
    ("killed", dead(code=137)),
    ("evicted", (failed(code=137, reason="Evicted", message="The node was low on resource: memory."), [])),
    ("node-gone", (failed(reason="NodeLost"), [])),
    ("node-gone", (failed(reason="Shutdown", message="Node is shutting down"), [])),
    ("evicted", (failed(taken=True), [])),
    ("deadline", (judged(job("Failed", reason="DeadlineExceeded"), pod("Failed", main=ended(143))), [])),
    ("reboot", (Status("Failed", "host was restarted while the run was on it.", "reboot"), [])),
    ("crash", dead(TRACEBACK, "ZeroDivisionError: division by zero")),
    ("crash", (failed(), [])),
    ("no-gpu", (judged(job(), unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")), [])),
    ("no-room", (judged(job(), unscheduled("0/1 nodes are available: 1 Insufficient memory.")), [])),
    ("tainted", (judged(job(), unscheduled("0/1 nodes are available: 1 node(s) had taint {sku: gpu}, that the pod didn't tolerate.")), [])),
    ("no-label", (judged(job(), unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")), [])),
    ("no-volume", (judged(job(), unscheduled('0/1 nodes are available: persistentvolumeclaim "x" not found.')), [])),
    ("unschedulable", (judged(job(), unscheduled("0/0 nodes are available.")), [])),
    ("image-missing", (stuck(puller=waiting("ErrImagePull", "rpc error: r/x:1: not found")), [])),
    ("image-secret", (stuck(puller=waiting("ErrImagePull", "pull access denied: authorization failed")), [])),
    ("image-pull", (stuck(puller=waiting("ImagePullBackOff", "Back-off pulling image")), [])),
    ("secret-missing", (stuck(puller=waiting("CreateContainerConfigError", 'secret "push" not found')), [])),
    ("quota", (judged(job(), events=[event("FailedCreate", 'pods "run-1" is forbidden: exceeded quota: gpu, used: 8', about="run-1")]), [])),
    ("refused", (judged(job(), events=[event("FailedCreate", 'admission webhook "x" denied the request: no', about="run-1")]), [])),
    ("refused", (judged(job(), events=[event("FailedCreate", 'pods "r" is forbidden: violates PodSecurity "restricted"', about="run-1")]), [])),
    ("sku", (Status("Pending", "KAITO cannot carry it out: invalid value: Unsupported SKU '' for cloud provider: sku"), [])),
    ("kaito", (Status("Pending", "KAITO cannot carry it out: user specified ConfigMap x not found"), [])),
    ("no-node", (Status("Pending", "waiting for a GPU node (Standard_NC24ads_A100_v4): Ready NodeClaims are not enough"), [])),
    ("queued", (judged(job(suspend=True)), [])),
    ("no-contact", (Status("Running", "no contact with the cluster (connection refused); the run goes on without us"), [])),
    ("well", (Status("Running"), STARTED)),
    ("well", (Status("Pending", "waiting for the Job's pod"), [])),
    ("well", (Status("Succeeded"), STARTED)),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "case"), TABLE, ids=[f"{i}-{r[0]}" for i, r in enumerate(TABLE)])
def test_a_cause_is_named_with_its_remedy_and_evidence(cause: str, case: tuple[Status, list[str]]) -> None:
    found = told(*case)
    assert found.cause == cause, (found.sentence, case[0].reason)
    assert found.sentence.endswith(".")
    assert "{" not in found.sentence.replace("{'query", "")
    if cause != "well":
        assert found.remedy.endswith((".", "?"))
        assert found.evidence
        assert found.command.startswith("%kaito ") or cause in ("queued", "no-node", "no-contact")


def test_every_cause_of_the_table_is_tested() -> None:
    tested = {cause for cause, _ in TABLE}
    # A pod of our own Job tells of these two in conditions that this small pod does not have: see below.
    assert {r.cause for r in RULES} - tested <= {"preempted", "drained", "mount", "container"}


@pytest.mark.parametrize(
    ("reason", "message", "cause"),
    [
        ("PreemptionByScheduler", "preempting to accommodate a higher priority pod", "preempted"),
        ("EvictionByEvictionAPI", "Eviction API: evicting", "drained"),
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", "drained"),
        ("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown.", "node-gone"),
    ],
)
def test_a_disruption_is_told_from_a_crash(reason: str, message: str, cause: str) -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    status = judged(job("Failed"), pod("Failed", main=ended(137), conditions=[target]))
    assert told(status).cause == cause


def test_what_failed_is_named_while_it_is_tried_again() -> None:
    first = pod("Failed", init={"puller": ended(1)}, main=waiting("PodInitializing"), created="2026-11-24T13:41:30Z")
    line = 'level=fatal msg="reading manifest missing in r/no/such: manifest unknown"'
    for pods in ([first], [first, pod("Pending", name="next", main=None)]):
        found = told(judged(job(), *pods), [line])
        assert (found.cause, found.state, found.retrying) == ("download-missing", "Running", True)
        assert found.sentence == "Retrying, after this: there is nothing to fetch at the data that was sent."
        assert any("retrying (attempt 2 of 7" in e for e in found.evidence)


def test_a_name_at_the_head_of_the_sentence_stays_a_name() -> None:
    lost = pod("Failed", main=ended(1), created="2026-11-24T13:41:30Z")
    status = judged(job(), lost, pod(main=running()))
    found = told(status, [TRACEBACK, "ValueError: Target modules {'x'} not found in the base model."])
    assert found.sentence.startswith("Retrying, after this: LoRA is to adapt layers (")


def test_what_the_trainer_advises_is_passed_on() -> None:
    line = encode(
        ev.Error(kind="push", message="r/a:1: 403", remedy="The adapter is kept in /mnt/results."), seq=3, time=T
    )
    found = told(failed(), [line])
    assert found.remedy.startswith("The adapter is kept in /mnt/results. ")
    line = encode(ev.Error(kind="out-of-memory", message="CUDA", remedy="Use less."), seq=3, time=T)
    assert "Use less" not in told(failed(), [line]).remedy


def test_a_failure_that_was_got_over_is_no_diagnosis() -> None:
    first = pod("Failed", main=ended(1), created="2026-11-24T13:41:30Z")
    status = judged(job("Complete"), first, pod("Succeeded", main=ended()))
    assert told(status, [TRACEBACK, OOM]).well


def test_a_trainer_dead_behind_its_sidecars_still_holds_the_gpu_and_that_is_said() -> None:
    assert "holds the GPU" in told(*dead(TRACEBACK, OOM)).remedy


def test_evidence_is_bounded_and_a_page_gets_it_escaped() -> None:
    line = "<script>document.title='owned'</script>" + "x" * 5000
    found = told(*dead(*[f"{line}{i}" for i in range(100)], code=1))
    assert len(found.evidence) <= 8
    assert all(len(e) <= 400 for e in found.evidence)
    page = found._repr_html_()
    assert "<script" not in page
    assert "&lt;script" in page
    assert "\x1b" not in repr(told(*dead("\x1b[31mred\x1b[0m \x07bell", code=1)))


def test_no_credential_of_a_log_line_becomes_evidence() -> None:
    lines = (
        "curl: (22) https://ada:hunter2@x.example/d.parquet?sig=HIDDEN1&se=2 returned 403",
        "using token hf_HIDDEN2HIDDEN2 and Authorization: Bearer HIDDEN3HIDDEN3",
        "eyJHIDDEN4aaaa.eyJHIDDEN4bbbb.HIDDEN4cccc",
    )
    status, log = before("data-downloader", *lines)
    given = spec(input="https://x.example/d.parquet?sig=HIDDEN1")
    found = told(status, log, given)
    text = repr(found) + found._repr_html_()
    assert found.cause == "download-refused"
    assert "https://x.example/d.parquet" in found.sentence
    assert "HIDDEN" not in text
    assert "hunter2" not in text


def test_a_run_that_was_cancelled_can_be_resumed() -> None:
    found = told(Status("Cancelled"), STARTED)
    assert (found.well, found.command) == (True, "%kaito resume run-1")


def test_silence_without_contact_is_no_stall() -> None:
    state = RunState()
    state.feed_many(STARTED)
    state.apply(Status("Running", "no contact with the cluster (timed out); the run goes on without us"))
    assert diagnose(state, spec(), "kaito", name="x", now=T, heard=0.0).cause == "no-contact"


def test_the_text_says_all_in_a_few_lines() -> None:
    found = told(*dead(TRACEBACK, OOM), wanted=spec(method="lora"))
    text = repr(found)
    assert text.splitlines()[0] == (
        "run-1: The GPU ran out of memory at step 10 of 30, with batches of 1 and examples of up to 2048 tokens (lora)."
    )
    assert "  %kaito resume run-1 --fix changes:" in text
    assert "    tuning.method: lora → qlora   (the base model in 4 bits: a quarter of its size)" in text
    assert OOM.removeprefix("torch.")[:60] in text
