"""Everything local is gone, kernel and state folder: another kernel rebuilds a run and its whole curve from the cluster."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import chaos_run
import pytest
import yaml
from chaos_run import Control, printer
from kernels import kernel
from own_jobs import MODEL, claim, mounting, pods_of, push_secret, until

from kaito_jupyter import watch
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.logs import whole_log
from kaito_trainer.contract import decode

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

LONG = 300.0
STEPS = 120
FOUND = """
import json
with run.lock:
    losses = [(int(s), x) for s, x in zip(run.state.series["global_step"], run.state.series["loss"]) if x == x]
    evaluations = [(int(s), x) for s, x in zip(run.state.evaluations["global_step"], run.state.evaluations["eval_loss"])]
print("found", json.dumps({
    "losses": losses, "evaluations": evaluations, "samples": [[s.global_step, s.samples] for s in run.state.samples],
    "state": run.state.state, "max_steps": run.state.max_steps, "preset": run.spec.preset, "method": run.spec.method,
    "phases": [p.name for p in run.state.phases], "adapter": str(run.adapter), "times": [run.state.created, run.state.ended],
}))
"""
SUBMIT = """
from dataclasses import replace
import pandas as pd
from kaito_jupyter.backends.base import TuningJob
from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.dataset import Dataset
from kaito_jupyter.spec import build_spec
spec = build_spec(preset="phi-4-mini-instruct", method="qlora", name="lost", namespace={namespace!r}, output={output!r},
                  push_secret="push", instance_type="Standard_NC24ads_A100_v4", target="kaito", options={{"logging_steps": 2}})
spec = replace(spec, annotations={{"test.kaito.sh/steps": "60", "test.kaito.sh/step-seconds": "0.25"}})
data = Dataset.read(pd.DataFrame({{"prompt": ["q"] * 40, "completion": [f"a{{i}}" for i in range(40)]}}))
KaitoBackend(namespace={namespace!r}).submit(TuningJob(spec, data, 60))
"""


def found(said: str) -> Any:
    return json.loads(said.rpartition("found ")[2])


@pytest.mark.train
def test_a_run_of_our_own_job_is_rebuilt_in_a_fresh_kernel(
    cluster: Any, job_client: Client, tiny: Path, frame: Any, tmp_path: Path
) -> None:
    claim(job_client, "results")
    home, environment = tmp_path / "home", {"KUBECONFIG": cluster.kubeconfig}
    home.mkdir()
    template = mounting(tiny)
    template["spec"]["containers"][0]["env"] = [{"name": "OMP_NUM_THREADS", "value": "1"}]
    (home / "pod.yaml").write_text(yaml.safe_dump(template))
    frame.to_json(home / "rows.json")
    where = f"-n {job_client.namespace} --backend job"
    with kernel(home, environment | {"KAITO_TRAINER_IMAGE": cluster.env["KAITO_CLUSTER_HOST_IMAGE"]}) as first:
        first.run(
            "%load_ext kaito_jupyter\nimport pandas as pd\ndf = pd.read_json('rows.json')\n"
            f"%kaito_tune df {where} --preset {MODEL} --name lost --output pvc:results --pod-template pod.yaml "
            f"--max-steps {STEPS} --batch-size 1 --set TrainingArguments.max_length=64"
        )
        until(lambda: any('"type":"log"' in line for line in log_of(job_client)), LONG)
    shutil.rmtree(home)
    home.mkdir()
    cell = f"%load_ext kaito_jupyter\nrun = %kaito watch lost {where}\n"
    with kernel(home, environment) as second:
        live = found(second.run(f"{cell}await run.wait()\n{FOUND}"))
    with kernel(home, environment) as third:
        late = found(third.run(f"{cell}assert run.done, run.state.describe(0)\n{FOUND}"))
    told = [e for line in log_of(job_client) if (e := decode(line)) is not None]
    steps = [(e.data["global_step"], e.data["loss"]) for e in told if e.type == "log"]
    assert [step for step, _ in steps] == list(range(1, STEPS + 1))
    assert len(pods_of(job_client, "lost")) == 1
    assert late == live
    assert [tuple(point) for point in late["losses"]] == steps
    assert [tuple(x) for x in late["evaluations"]] == [
        (e.data["global_step"], e.data["eval_loss"]) for e in told if e.type == "evaluate"
    ]
    assert late["samples"] == [[e.data["global_step"], e.data["samples"]] for e in told if e.type == "generate"]
    assert (late["state"], late["max_steps"], late["preset"], late["method"]) == ("Succeeded", STEPS, MODEL, "lora")
    assert late["adapter"] == "pvc:results"
    assert None not in late["times"]
    assert "training" in late["phases"]


def log_of(client: Client) -> list[str]:
    return whole_log(client, client.namespace, "job-name=lost", main="trainer")


def test_a_workspace_is_rebuilt_in_a_fresh_kernel(cluster: Any, job_client: Client, tmp_path: Path) -> None:
    client, home, environment = job_client, tmp_path / "home", {"KUBECONFIG": cluster.kubeconfig}
    home.mkdir()
    push_secret(client, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    output = f"image:{cluster.env['KAITO_CLUSTER_AUTH_REGISTRY']}/adapters/{client.namespace}:1"

    def log() -> list[str]:
        lines = whole_log(client, client.namespace, "kaito.sh/workspace=lost", main="lost")
        return [line for line in lines if "'loss':" in line]

    with kernel(home, environment) as first:
        first.run(SUBMIT.format(namespace=client.namespace, output=output))
        until(lambda: len(log()) >= 2, LONG)
    shutil.rmtree(home)
    home.mkdir()
    # Found by its name alone: of all backends, this is the one that has it.
    cell = f"%load_ext kaito_jupyter\nrun = %kaito watch lost -n {client.namespace}\n"
    with kernel(home, environment) as second:
        live = found(second.run(f"{cell}await run.wait()\n{FOUND}"))
    with kernel(home, environment) as third:
        late = found(third.run(f"{cell}assert run.done, run.state.describe(0)\n{FOUND}"))
    losses = [float(re.search(r"'loss': '?([\d.]+)", line)[1]) for line in log()]  # type: ignore[index]
    assert late["losses"] == [[2 * i, loss] for i, loss in enumerate(losses, 1)]
    assert len(losses) == 30
    for name in ("losses", "state", "max_steps", "preset", "method", "adapter", "times"):
        assert late[name] == live[name]
    assert (late["state"], late["max_steps"], late["method"]) == ("Succeeded", 60, "qlora")
    assert late["adapter"] == output.removeprefix("image:")


def test_a_log_that_the_node_has_rotated_costs_no_step_of_the_curve(cluster: Any, job_client: Client) -> None:
    """Kubelets rotate at 10 MiB by default, and what they took is out of reach: the summary in what is left has it all."""
    if "KAITO_CLUSTER_SERVE_IP" not in cluster.env:
        pytest.skip("needs an address of this machine that pods reach: KAITO_CLUSTER_SERVE_IP")
    control = Control(cluster.env["KAITO_CLUSTER_SERVE_IP"])
    try:
        image = cluster.env["KAITO_CLUSTER_HOST_IMAGE"]
        job_client.apply(printer("lost", image, control, seed=1, pace=0.02))
        until(lambda: any('"global_step":30,' in line for line in log_of(job_client)), LONG)
        assert any('"type":"train_begin"' in line for line in log_of(job_client))

        def rotated() -> bool:
            control.word = "burst"
            until(lambda: control.word != "burst", LONG)
            query = {"container": "trainer", "limitBytes": "4000"}
            (pod,) = pods_of(job_client, "lost")
            from kaito_jupyter.cluster.connection import Stop

            with job_client.log(pod["metadata"]["name"], None, query, stop=Stop(), read_timeout=60) as pieces:
                return b'"train_begin"' not in b"".join(pieces)

        until(rotated, LONG)
        control.word = "end"
        run = watch("lost", job_client.namespace, "job")
        run.wait(LONG)
        count = run.state.global_step
        assert count >= chaos_run.LEAST
        assert list(run.history.index) == list(range(1, count + 1))
        assert list(run.history["loss"]) == [2 + 1 / step for step in range(1, count + 1)]
        assert run.state.max_steps == chaos_run.MOST
        run.close()
    finally:
        control.close()
