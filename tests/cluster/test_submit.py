"""Submitting Workspaces: whole or not at all, once for a name, and again as the next revision of the same run."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaito_jupyter.backends import marks
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.refusals import Unreachable
from kaito_jupyter.cluster.resources import CONFIG_MAPS, SECRETS, WORKSPACES
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.errors import SpecError
from kaito_jupyter.run import Run
from kaito_jupyter.spec import TuningSpec, build_spec

pytestmark = pytest.mark.cluster

LONG = 180.0
"""Seconds until we call a run lost."""


@pytest.fixture
def client(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    yield made
    made.close()


@pytest.fixture
def backend(client: Client) -> KaitoBackend:
    return KaitoBackend(client=client)


@pytest.fixture
def spec(cluster: Any, client: Client, namespace: str) -> TuningSpec:
    """Data of ours, an image as output, and no node for it: it waits until a test says otherwise."""
    login = base64.b64encode(Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"]).read_bytes()).decode()
    client.create(
        {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "push", "namespace": namespace},
            "data": {".dockerconfigjson": login},
        }
    )
    made = build_spec(
        preset="phi-4-mini-instruct",
        name=f"s-{uuid.uuid4().hex[:6]}",
        namespace=namespace,
        output=f"image:{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{namespace}:1",
        push_secret="push",
        instance_type="Standard_NC24ads_A100_v4",
        target="kaito",
        options={"logging_steps": 1},
    )
    return noted(made, **{"provision-seconds": 600})


def noted(spec: TuningSpec, **notes: Any) -> TuningSpec:
    """The spec with annotations of the stand-in operator's."""
    return replace(spec, annotations={f"test.kaito.sh/{k}": str(v) for k, v in notes.items()})


def data(rows: int = 12, word: str = "is") -> Dataset:
    return Dataset.read(
        pd.DataFrame({"prompt": [f"What {word} {i}?" for i in range(rows)], "completion": ["Yes."] * rows})
    )


def elsewhere(spec: TuningSpec, tag: str) -> TuningSpec:
    """The same with another output."""
    image = str(spec.output.image).rpartition(":")[0]
    return replace(spec, output=replace(spec.output, image=f"{image}:{tag}"))


def left(client: Client) -> list[str]:
    found = [f"{r.plural}/{o['metadata']['name']}" for r in (WORKSPACES, CONFIG_MAPS) for o in client.list(r)[0]]
    return sorted(name for name in found if not name.endswith(("kube-root-ca.crt", "-params-template")))


# Nothing stays of a submission that did not come about


class Interrupted(Exception):
    """Whatever may come up in the middle."""


def failing_at(client: Client, monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Have one of the client's changes fail: the first before the server makes it (0), after it (1), the second (2), …"""
    calls: list[str] = []
    call = client._transport.call

    def broken(asked: Any, method: str, *args: Any, **more: Any) -> Any:
        if method == "GET":
            return call(asked, method, *args, **more)
        calls.append(str(asked))
        if len(calls) == number // 2 + 1:
            if number % 2:
                call(asked, method, *args, **more)
            raise error
        return call(asked, method, *args, **more)

    monkeypatch.setattr(client._transport, "call", broken)


ERRORS: dict[str, Callable[[], BaseException]] = {
    "interrupt": KeyboardInterrupt,
    "unreachable": lambda: Unreachable("write x", "the line is cut"),
    "mistake": Interrupted,
}


@pytest.mark.parametrize("what", ERRORS)
def test_nothing_is_left_wherever_a_submission_breaks_off(
    what: str, backend: KaitoBackend, client: Client, spec: TuningSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = TuningJob(spec, data(), 10)
    for number in range(100):
        with monkeypatch.context() as patch:
            failing_at(client, patch, number, ERRORS[what]())
            try:
                backend.submit(job)
            except (KeyboardInterrupt, Unreachable, Interrupted):
                assert gone(client) == []
            else:
                break
    assert number >= 8, "a submission makes five changes at least"
    assert len(left(client)) == 3


def gone(client: Client) -> list[str]:
    """What is left once the garbage collector has done its work."""
    deadline = time.monotonic() + LONG
    while (found := left(client)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_a_revision_that_breaks_off_leaves_the_run_as_it_was(
    backend: KaitoBackend, client: Client, spec: TuningSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.submit(TuningJob(spec, data(), 10))
    config = client.get(CONFIG_MAPS, f"{spec.name}-config")["data"]
    tuning = client.get(WORKSPACES, str(spec.name))["tuning"]
    before = left(client)
    other = elsewhere(replace(spec, config=spec.config.merged({"TrainingArguments": {"max_steps": 7}})), "2")
    for number in range(9):
        with monkeypatch.context() as patch:
            failing_at(client, patch, number, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                backend.submit(TuningJob(other, data(), 7))
        assert client.get(CONFIG_MAPS, f"{spec.name}-config")["data"] == config
        assert client.get(WORKSPACES, str(spec.name))["tuning"] == tuning
        assert left(client) == before


# One name, one run


def test_of_two_kernels_that_want_one_name_one_gets_it(backend: KaitoBackend, client: Client, spec: TuningSpec) -> None:
    others = KaitoBackend(client=client)
    seen: list[Exception] = []
    apply = client.apply

    def meanwhile(document: Any, **more: Any) -> Any:
        if document["kind"] == "Workspace" and not seen:
            seen.append(ValueError("one try"))
            with pytest.raises(SpecError, match="taken a moment ago") as caught:
                others.submit(TuningJob(spec, data(20), 20))
            seen.append(caught.value)
        return apply(document, **more)

    client.apply = meanwhile  # type: ignore[method-assign]
    backend.submit(TuningJob(spec, data(), 12))
    client.apply = apply  # type: ignore[method-assign]
    assert len(seen) == 2
    (record,) = backend.records()
    assert record.rows == 12
    assert len(left(client)) == 3


def test_a_config_map_of_somebody_else_is_not_taken(backend: KaitoBackend, client: Client, spec: TuningSpec) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{spec.name}-config"}, "data": {"a": "b"}}
    client.create(theirs)
    with pytest.raises(SpecError, match="that is not ours"):
        backend.submit(TuningJob(spec, data(), 12))
    assert left(client) == [f"configmaps/{spec.name}-config"]
    assert client.get(CONFIG_MAPS, f"{spec.name}-config")["data"] == {"a": "b"}


def test_a_name_can_be_had_again_as_soon_as_its_run_is_deleted(
    backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    backend.delete(backend.submit(TuningJob(spec, data(), 12)))
    deadline = time.monotonic() + LONG
    while client.find(WORKSPACES, str(spec.name)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    backend.submit(TuningJob(spec, data(), 12))
    assert client.get(CONFIG_MAPS, f"{spec.name}-config")["metadata"]["ownerReferences"]


def test_what_another_kernel_needs_stands_on_the_workspace(
    backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    sent = data()
    backend.submit(TuningJob(spec, sent, 12))
    meta = client.get(WORKSPACES, str(spec.name))["metadata"]
    notes = meta["annotations"]
    assert TuningSpec.from_yaml(notes[marks.SPEC]) == spec
    assert (notes[marks.FINGERPRINT], notes[marks.ROWS], notes[marks.TOTAL_STEPS]) == (sent.fingerprint, "12", "12")
    assert notes[marks.SPEC_DIGEST]
    assert meta["labels"][marks.RUN_ID]
    assert [m["manager"] for m in meta["managedFields"] if m["operation"] == "Apply"] == ["kaito-jupyter"]
    owned = [o for o in client.list(CONFIG_MAPS)[0] if o["metadata"].get("ownerReferences")]
    assert sorted(o["metadata"]["name"] for o in owned) == [f"{spec.name}-config", f"{spec.name}-data"]


# Rehearsed at the server


def test_a_rehearsal_asks_the_server_and_keeps_nothing(backend: KaitoBackend, client: Client, spec: TuningSpec) -> None:
    assert backend.rehearse(TuningJob(spec, data(), 12)) == []
    bad = replace(spec, resource=replace(spec.resource, count=2), preset="no-such-preset")
    found = backend.rehearse(TuningJob(bad, None, None))
    assert {p.path for p in found} == {"tuning.preset.name", "resource.count"}
    assert left(client) == []


# Another revision


def curve(run: Run) -> list[int]:
    return [int(step) for step in run.state.series["global_step"]]


def test_a_changed_output_is_revision_two_of_the_same_run(
    cluster: Any, backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    first = noted(spec, steps=12)
    run = Run(backend, backend.submit(TuningJob(first, data(), 12)), spec=first)
    run.wait(LONG)
    assert (curve(run), run.revision) == (list(range(1, 13)), 1)
    run_id = client.get(WORKSPACES, run.name)["metadata"]["labels"][marks.RUN_ID]

    second = elsewhere(noted(spec, steps=8), "2")
    (note,) = backend.problems(second)
    assert (note.path, note.severity) == ("tuning.output", "note")
    assert "revision 2" in note.remedy
    again = Run(backend, backend.submit(TuningJob(second, data(), 8)), spec=second)
    assert again.revision == 2
    again.wait(LONG)
    assert (curve(again), again.state.max_steps, again.state.state) == (list(range(1, 9)), 8, "Succeeded")
    assert again.adapter == second.output.image
    assert "revision 2" in repr(again)

    other = Client.connect(kubeconfig=cluster.kubeconfig, namespace=spec.namespace)
    fresh = Run(KaitoBackend(client=other), KaitoBackend(client=other).find(run.name)).open(20)
    fresh.wait(LONG)
    assert (curve(fresh), fresh.revision, fresh.spec) == (curve(again), 2, second)
    assert [round(x, 6) for x in fresh.state.series["loss"]] == [round(x, 6) for x in again.state.series["loss"]]
    meta = client.get(WORKSPACES, run.name)["metadata"]
    assert meta["labels"][marks.RUN_ID] == run_id
    (record,) = backend.records()
    assert (record.status.revision, record.total_steps) == (2, 8)
    fresh.close()
    other.close()


def test_a_change_by_somebody_else_is_the_next_revision_too(
    backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    first = noted(spec, steps=10)
    ref = backend.submit(TuningJob(first, data(), 10))
    Run(backend, ref, spec=first).wait(LONG)
    image = elsewhere(first, "2").output.image
    client.patch(WORKSPACES, ref.name, {"tuning": {"output": {"image": image}}})
    again = Run(backend, ref)
    again.wait(LONG)
    assert (again.revision, again.state.state, again.adapter) == (2, "Succeeded", image)
    assert (curve(again), again.state.global_step) == (list(range(1, 11)), 10)


def test_who_watches_sees_the_next_revision_begin_and_no_step_of_the_last(
    cluster: Any, backend: KaitoBackend, spec: TuningSpec
) -> None:
    first = noted(spec, steps=4000)
    run = Run(backend, backend.submit(TuningJob(first, data(), 4000)), spec=first)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.append((run.revision, run.state.global_step))

    stop = run.subscribe(look)
    deadline = time.monotonic() + LONG
    while run.state.global_step < 20:
        assert time.monotonic() < deadline, repr(run)
        time.sleep(0.1)
    backend.submit(TuningJob(elsewhere(noted(spec, steps=6), "2"), data(), 6))
    run.wait(LONG)
    stop()
    assert (run.revision, curve(run), run.state.max_steps) == (2, [1, 2, 3, 4, 5, 6], 6)
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert max(step for n, step in seen if n == 2) == 6
    assert run.spec.output.image is not None
    assert run.spec.output.image.endswith(":2")


def test_what_cannot_change_is_refused_with_the_difference(backend: KaitoBackend, spec: TuningSpec) -> None:
    backend.submit(TuningJob(spec, data(), 12))
    found = backend.problems(replace(spec, method="qlora", resource=replace(spec.resource, label_selector={
        "matchLabels": {"apps": "x"}})))  # fmt: skip
    assert [(p.path, p.severity) for p in found] == [("tuning.method", "error"), ("resource.labelSelector", "error")]
    only_config = replace(spec, config=spec.config.merged({"TrainingArguments": {"max_steps": 7}}))
    with pytest.raises(SpecError, match=r"TrainingArguments\.max_steps: KAITO does not look at that"):
        backend.submit(TuningJob(only_config, data(), 7))
    difference = backend.difference(TuningJob(elsewhere(only_config, "2"), data(word="was"), 7))
    assert difference is not None
    assert [path for path, _, _ in difference] == ["tuning.output.image", "TrainingArguments.max_steps", "data"]
    assert "TrainingArguments.max_steps: – → 7" in str(difference)
    assert "<table>" in difference._repr_html_()


def test_other_data_under_the_same_name_is_the_next_revision(
    backend: KaitoBackend, client: Client, spec: TuningSpec
) -> None:
    backend.submit(TuningJob(spec, data(), 12))
    with pytest.raises(SpecError, match="with the same input and output"):
        backend.submit(TuningJob(spec, data(), 12))
    backend.submit(TuningJob(spec, data(word="was"), 12))
    workspace = client.get(WORKSPACES, str(spec.name))
    assert workspace["metadata"]["annotations"][marks.REVISION] == "2"
    source = workspace["tuning"]["input"]["volumeSource"]["configMap"]["name"]
    assert client.get(CONFIG_MAPS, source)["metadata"]["ownerReferences"][0]["uid"] == workspace["metadata"]["uid"]
