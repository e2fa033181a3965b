"""A notebook's service account: without any right it is told which, and with exactly the Role that is printed all works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from accounts import Account, Recorder, account, grant
from IPython.core.interactiveshell import InteractiveShell
from own_jobs import claim, mounting, push_secret, until
from traitlets.config import Config

import kaito_jupyter
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.checkup.rights import CLUSTER_WIDE, RBAC, RIGHTS, cluster_role, subject
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, PODS, WORKSPACES
from kaito_jupyter.errors import SpecError

pytestmark = pytest.mark.cluster

FRAME = pd.DataFrame({"prompt": [f"What is {i}?" for i in range(40)], "completion": [f"It is {i}." for i in range(40)]})
ANYBODY = {("create", "selfsubjectaccessreviews"), ("create", "selfsubjectreviews")}
"""What the cluster itself gives to everybody who has logged in."""
TOLERATED = {("get", "secrets"), ("get", "namespaces"), ("get", "nodes")}
"""What we ask and can do without: the Role has none of it."""
NEWER = {("create", "pods/exec")}
"""What only newer API servers than the test's ask for."""


@pytest.fixture
def admin(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    push_secret(made, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    yield made
    made.close()


@pytest.fixture
def notebook(cluster: Any, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """This process is a notebook of that account."""
    made = account(cluster, namespace, tmp_path)
    monkeypatch.setenv("KUBECONFIG", made.kubeconfig)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KAITO_TRAINER_IMAGE", cluster.env["KAITO_CLUSTER_HOST_IMAGE"])
    return made


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(kaito_jupyter, "show", lambda run: None, raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "kaito_jupyter")
    shell.user_ns["df"] = FRAME
    yield shell
    shell.run_line_magic("unload_ext", "kaito_jupyter")
    InteractiveShell.clear_instance()


def done(shell: InteractiveShell, cell: str) -> Any:
    """What a cell gives that works."""
    ran = shell.run_cell(cell)
    assert ran.success, f"{cell}: {ran.error_in_exec}"
    return ran.result


def kaito_cell(cluster: Any, namespace: str, name: str = "first") -> str:
    image = f"{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{namespace}:1"
    return (
        f"run = %kaito_tune df --preset phi-4-mini-instruct --method qlora --name {name} --output image:{image} "
        "--push-secret push --instance-type Standard_NC24ads_A100_v4"
    )


def test_without_rights_each_cell_says_what_is_missing_and_with_the_printed_role_it_works(
    cluster: Any,
    namespace: str,
    admin: Client,
    notebook: Account,
    shell: InteractiveShell,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tune = kaito_cell(cluster, namespace)
    for cell, verb, what in [
        (tune, "get", "workspaces"),
        (f"{tune} --backend job", "get", "jobs"),
        ("%kaito watch first", "get", "workspaces"),
        ("%kaito logs first", "get", "workspaces"),
        ("%kaito cancel first", "get", "workspaces"),
        ("%kaito delete first --yes", "get", "workspaces"),
    ]:
        error = shell.run_cell(cell).error_in_exec
        assert isinstance(error, kaito_jupyter.KaitoError), (cell, error)
        said = str(error)
        assert f"{notebook.user} has no right to" in said, said
        assert re.search(rf'resources \["{what}"\], verbs \["{verb}"\]', said), said
        assert "%kaito doctor" in said
    listed = shell.run_cell("%kaito runs")
    assert listed.success
    assert f"{notebook.user} has no right to" in repr(listed.result)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err

    looked = shell.run_cell("report = %kaito doctor")
    assert looked.success
    report = shell.user_ns["report"]
    assert [line.topic for line in report.failed] == ["rights"]
    assert notebook.user in report.failed[0].text

    grant(admin, notebook, report.role)
    done(shell, tune)
    run = shell.user_ns["run"]
    run.wait(120)
    assert run.state.state == "Succeeded"
    assert run.state.loss is not None
    done(shell, "report = %kaito doctor")
    assert shell.user_ns["report"].ok, shell.user_ns["report"]
    assert shell.user_ns["report"].of("KAITO's operator")[0].mark == "ok"


def test_with_exactly_that_role_every_feature_works_and_none_of_it_is_superfluous(
    cluster: Any,
    namespace: str,
    admin: Client,
    notebook: Account,
    shell: InteractiveShell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grant(admin, notebook, kaito_jupyter.doctor().role)
    claim(admin, "results")
    claim(admin, "data")
    recorder = Recorder(monkeypatch)
    assert kaito_jupyter.doctor().ok
    for use in (use_kaito, use_job, use_claim):
        use(cluster, namespace, shell)
    # What a fresh kernel and a person do with runs, whatever backend they are of.
    for name in ("first", "live"):
        for verb in ("watch", "logs", "yaml", "diagnose"):
            done(shell, f"%kaito {verb} {name}")
    assert {r.name for r in kaito_jupyter.runs()} >= {"first", "live"}
    assert not kaito_jupyter.runs().troubles
    done(shell, "%kaito resume live --as again")
    for name in ("first", "live", "waiting", "again"):
        done(shell, f"%kaito delete {name} --yes")
    for kind in (WORKSPACES, JOBS, PODS):
        until(lambda kind=kind: not admin.list(kind)[0], 120)  # type: ignore[misc]
    until(lambda: not [c for c in admin.list(CONFIG_MAPS)[0] if c["metadata"]["name"] != "kube-root-ca.crt"], 120)

    asked = {(a.verb, a.what, a.group) for a in recorder.asked if a.scope == "namespace"}
    granted = {(verb, r.what, r.resource.group) for r in RIGHTS for verb in r.verbs}
    assert {a for a in asked - granted if a[:2] not in TOLERATED} == set(), "asked, and not in the Role"
    assert {g for g in granted - asked if g[:2] not in NEWER} == set(), "in the Role, and never asked"
    everywhere = {(a.verb, a.what) for a in recorder.asked if a.scope == "cluster"}
    assert everywhere - ANYBODY - TOLERATED <= {(verb, r.what) for r in CLUSTER_WIDE for verb in r.verbs}


def test_the_cluster_role_lets_one_see_gpus_and_the_runs_of_all_namespaces(
    cluster: Any, namespace: str, admin: Client, notebook: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.client import RbacAuthorizationV1Api

    grant(admin, notebook, kaito_jupyter.doctor().role)
    assert {line.mark for line in kaito_jupyter.doctor().of("GPUs")} == {"note"}
    assert kaito_jupyter.runs(everywhere=True).troubles
    name, api = f"kaito-jupyter-test-{namespace}", RbacAuthorizationV1Api(cluster.api)
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    api.create_cluster_role({**cluster_role(), "metadata": {"name": name}})
    try:
        who = [subject(notebook.user)]
        api.create_cluster_role_binding({"metadata": {"name": name}, "roleRef": reference, "subjects": who})
        until(lambda: kaito_jupyter.doctor().of("GPUs")[0].mark == "ok", 60)
        report = kaito_jupyter.doctor()
        assert "GPUs free" in report.of("GPUs")[0].text
        assert report.of("storage")[0].mark == "ok"
        recorder = Recorder(monkeypatch)
        assert kaito_jupyter.runs(everywhere=True).troubles == ()
        everywhere = {(a.verb, a.what) for a in recorder.asked if a.scope == "cluster"}
        assert everywhere <= {(verb, r.what) for r in CLUSTER_WIDE for verb in r.verbs}
    finally:
        api.delete_cluster_role_binding(name)
        api.delete_cluster_role(name)


def use_kaito(cluster: Any, namespace: str, shell: InteractiveShell) -> None:
    """A Workspace to its end, and one that the operator's webhook refuses."""
    done(shell, kaito_cell(cluster, namespace))
    run = shell.user_ns["run"]
    run.wait(120)
    assert run.state.state == "Succeeded"
    done(shell, kaito_cell(cluster, namespace).replace(":1 ", ":2 "))  # its next revision
    run = shell.user_ns["run"]
    run.wait(120)
    assert run.state.state == "Succeeded"
    spec = replace(run.spec, name="refused", preset="no-such-preset")
    with pytest.raises(SpecError):  # what was made for it is taken away again
        run.backend.submit(TuningJob(spec, run.dataset, 4))


def use_job(cluster: Any, namespace: str, shell: InteractiveShell) -> None:
    """A Job that is cancelled while it runs, and one that is before it has a node."""
    live = job("live", command=["sh", "-c", "trap 'exit 143' TERM; echo begun; while :; do sleep 0.2; done"])
    until(lambda: any("begun" in line for line in live.logs(5)), 120)
    assert live.diagnose() is not None
    live.cancel()
    until(lambda: live.done, 120)
    assert live.state.state == "Cancelled"
    waiting = job("waiting", resources={"limits": {"nvidia.com/gpu": "500"}, "requests": {"nvidia.com/gpu": "500"}})
    until(lambda: "nvidia.com/gpu" in waiting.state.reason, 120)  # the events have told why
    waiting.cancel()
    until(lambda: waiting.done, 120)
    assert waiting.state.state == "Cancelled"


def use_claim(cluster: Any, namespace: str, shell: InteractiveShell) -> None:
    """Data that a helper pod takes into a claim."""
    done(shell, f"{kaito_cell(cluster, namespace, 'claimed')} --input pvc:data")
    run = shell.user_ns["run"]
    run.wait(120)
    assert run.state.state == "Succeeded"
    run.delete()


def job(name: str, **trainer: Any) -> Any:
    return kaito_jupyter.tune(
        FRAME, preset="/workspace/model", name=name, backend="job", output="pvc:results",
        placement={"pod_template": mounting(Path(__file__).parent, **trainer)}, max_steps=4,
    )  # fmt: skip
