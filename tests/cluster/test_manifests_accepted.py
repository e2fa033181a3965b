"""KAITO's own schema and webhook take what we write, and refuse what we refuse."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kaito_jupyter.manifests import config_map, workspace
from kaito_jupyter.presets import PRESETS, SKUS
from kaito_jupyter.spec import DataDestination, DataSource, ResourceSpec, TuningSpec, build_spec

pytestmark = pytest.mark.cluster

PVC = {"persistentVolumeClaim": {"claimName": "data"}}
DryRun = Callable[[TuningSpec], str]


def good(**more: Any) -> TuningSpec:
    options: dict[str, Any] = {
        "preset": "phi-4-mini-instruct",
        "method": "qlora",
        "name": "first",
        "output": "image:registry.example.com/team/adapter:1",
        "push_secret": "login",
        "instance_type": "Standard_NC24ads_A100_v4",
        "target": "kaito",
    }
    return build_spec(**options | more)


def refusal(cluster: Any, namespace: str, body: dict[str, Any]) -> str:
    """What the server says to the Workspace in a strict dry run; empty when it takes it."""
    from kubernetes.client import CustomObjectsApi
    from kubernetes.client.exceptions import ApiException

    try:
        CustomObjectsApi(cluster.api).create_namespaced_custom_object(
            "kaito.sh", "v1beta1", namespace, "workspaces", body, dry_run="All", field_validation="Strict"
        )
    except ApiException as error:
        message: str = json.loads(error.body or "{}").get("message", str(error))
        return message
    return ""


@pytest.fixture
def dry_run(cluster: Any, namespace: str) -> DryRun:
    """`dry_run(spec)`: its ConfigMap is made (KAITO reads it when it gets the Workspace), the Workspace is a dry run."""
    from kubernetes.client import CoreV1Api

    def submit(spec: TuningSpec) -> str:
        spec = replace(spec, namespace=namespace)
        config = config_map(spec, rows=400)
        core, name = CoreV1Api(cluster.api), config["metadata"]["name"]
        core.create_namespaced_config_map(namespace, config, field_validation="Strict")
        try:
            return refusal(cluster, namespace, workspace(spec, rows=400))
        finally:
            core.delete_namespaced_config_map(name, namespace)

    return submit


ACCEPTED = [
    good(),
    good(method="lora", options={"epochs": 2, "learning_rate": 1e-5, "rank": 64}),
    good(input="https://example.com/data/train.parquet?download=true"),
    good(input="image:registry.example.com/data@sha256:" + "0" * 64),
    good(input=DataSource(image="registry.io/data:1", image_pull_secrets=("one", "two"), name="data")),
    good(input="pvc:data/sub/train.csv", output="pvc:results", push_secret=None),
    good(input=DataSource(volume_source={"configMap": {"name": "mine"}})),
    good(name="a" * 63),
    good(preset="microsoft/Phi-4-mini-instruct"),
    good(model_access_secret="token"),
    good(label_selector={"matchLabels": {"node.kubernetes.io/instance-type": "x"}, "matchExpressions": []}),
    good(
        config={"TrainingArguments": {"gradient_checkpointing_kwargs": '{"use_reentrant": false}', "run_name": "ü ✓"}}
    ),
    good(options={"load_in_8bit": True}),
    replace(good(), labels={"kueue.x-k8s.io/queue-name": "gpus"}, annotations={"example.com/note": "<script>"}),
    *(good(preset=name) for name in PRESETS),
    *(good(instance_type=name) for name in SKUS),
]


@pytest.mark.parametrize("spec", ACCEPTED, ids=str)
def test_a_spec_that_we_find_good_is_accepted(spec: TuningSpec, dry_run: DryRun) -> None:
    assert [p for p in spec.problems("kaito") if p.severity == "error"] == []
    assert dry_run(spec) == ""


def with_url(url: str) -> TuningSpec:
    return replace(good(), input=DataSource(urls=(url,)))


def with_output(**fields: Any) -> TuningSpec:
    return replace(good(), output=DataDestination(**fields))


REFUSED = [
    ("metadata.name", replace(good(), name="a" * 64)),
    ("metadata.name", replace(good(), name="a.b")),
    ("tuning.method", replace(good(), method="dora")),  # type: ignore[arg-type]
    ("tuning.preset.name", replace(good(), preset="llama-3.1-8b-instruct")),
    ("resource.count", replace(good(), resource=ResourceSpec("Standard_NC24ads_A100_v4", {}, 2))),
    ("resource.instanceType", replace(good(), resource=ResourceSpec())),
    ("tuning.input.urls[0]", with_url("ftp://example.com/a.csv")),
    ("tuning.input.urls[0]", with_url("a.csv")),
    ("tuning.input.urls[0]", with_url("http://localhost/a.csv")),
    ("tuning.input.urls[0]", with_url("http://a.localhost/a.csv")),
    ("tuning.input.urls[0]", with_url("http://metadata.google.internal/a.csv")),
    ("tuning.input.urls[0]", with_url("http://127.0.0.1/a.csv")),
    ("tuning.input.urls[0]", with_url("http://[::1]/a.csv")),
    ("tuning.input.urls[0]", with_url("http://[::ffff:10.0.0.1]/a.csv")),
    ("tuning.input.urls[0]", with_url("http://172.16.0.1/a.csv")),
    ("tuning.input.urls[0]", with_url("http://169.254.169.254/a.csv")),
    ("tuning.input.urls[0]", with_url("http://[fd00::1]/a.csv")),
    ("tuning.input.urls[0]", with_url("http://224.0.0.5/a.csv")),
    ("tuning.input.image", replace(good(), input=DataSource(image="reg.io/Upper/case"))),
    ("tuning.input.image", replace(good(), input=DataSource(image="a b"))),
    ("tuning.input", replace(good(), input=DataSource(image="a", volume_source=PVC))),
    ("tuning.output", with_output()),
    ("tuning.output", with_output(image="a", image_push_secret="s", volume_source=PVC)),
    ("tuning.output.imagePushSecret", with_output(image="a")),
    ("tuning.output.image", with_output(image="reg.io/a:1:2", image_push_secret="s")),
    ("QuantizationConfig", replace(good(), config=good(options={"load_in_4bit": True}).config.merged(
        {"QuantizationConfig": {"load_in_4bit": False}}))),
    ("QuantizationConfig.load_in_4bit", replace(good(), method="lora", config=good(
        options={"load_in_4bit": True}).config)),
    ("TrainingArguments.output_dir", replace(good(), config=good().config.merged(
        {"TrainingArguments": {"output_dir": "/mnt/.."}}))),
    ("TrainingArguments.output_dir", replace(good(), config=good().config.merged(
        {"TrainingArguments": {"output_dir": 5}}))),
    ("config.Foo", replace(good(), config=good().config.merged({"Foo": {"a": 1}}))),
]  # fmt: skip


@pytest.mark.parametrize(("path", "spec"), REFUSED, ids=[f"{i}-{path}" for i, (path, _) in enumerate(REFUSED)])
def test_what_kaito_refuses_we_refuse_too(path: str, spec: TuningSpec, dry_run: DryRun, cluster: Any) -> None:
    assert path in [p.path for p in spec.problems("kaito") if p.severity == "error"]
    if not cluster.has_webhook:
        pytest.skip("this cluster has KAITO's CRD, but not its webhook")
    assert dry_run(spec)


@pytest.mark.parametrize(
    ("field", "plant"),
    [
        ("tuning.methd", lambda ws: ws["tuning"].update(methd="lora")),
        ("spec", lambda ws: ws.update(spec={})),
        ("resource.instancetype", lambda ws: ws["resource"].update(instancetype="x")),
        ("tuning.output.pushSecret", lambda ws: ws["tuning"]["output"].update(pushSecret="x")),
        ("tuning.preset.presetOptions.token", lambda ws: ws["tuning"]["preset"].update(presetOptions={"token": "x"})),
    ],
)
def test_a_planted_unknown_field_is_refused(
    field: str, plant: Callable[[dict[str, Any]], None], cluster: Any, namespace: str
) -> None:
    planted = copy.deepcopy(workspace(replace(good(), namespace=namespace), rows=400))
    plant(planted)
    assert f'unknown field "{field}"' in refusal(cluster, namespace, planted)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed; the API is asked above")
@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_kubectl_takes_the_yaml_and_refuses_an_unknown_field(
    how: tuple[str, ...], cluster: Any, namespace: str
) -> None:
    from kubernetes.client import CoreV1Api

    spec = good(namespace=namespace)
    text = spec.to_yaml("kaito", 400)
    CoreV1Api(cluster.api).create_namespaced_config_map(namespace, config_map(spec, rows=400))

    def apply(text: str) -> subprocess.CompletedProcess[str]:
        command = [
            "kubectl",
            "apply",
            "--dry-run=server",
            "--kubeconfig",
            cluster.kubeconfig,
            *how,
            "--force-conflicts",
            "-f",
            "-",
        ]
        command = [word for word in command if how or word != "--force-conflicts"]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)

    accepted = apply(text)
    assert (accepted.returncode, accepted.stderr.count("rror")) == (0, 0), accepted.stderr
    assert "workspace.kaito.sh/first" in accepted.stdout
    refused = apply(text.replace("  method: qlora\n", "  method: qlora\n  methd: qlora\n"))
    assert refused.returncode != 0
    assert "methd" in refused.stderr


def test_what_is_read_back_from_the_cluster_is_the_spec_that_was_sent(cluster: Any, namespace: str) -> None:
    """The server adds managed fields, defaults and a status; a spec does not mind."""
    from kubernetes.client import CoreV1Api, CustomObjectsApi

    spec = good(namespace=namespace)
    custom, core = CustomObjectsApi(cluster.api), CoreV1Api(cluster.api)
    core.create_namespaced_config_map(namespace, config_map(spec, rows=400))
    stored = custom.create_namespaced_custom_object(
        "kaito.sh", "v1beta1", namespace, "workspaces", workspace(spec, rows=400), dry_run="All"
    )
    config = core.read_namespaced_config_map("first-config", namespace)
    document = {**cluster.api.sanitize_for_serialization(config), "kind": "ConfigMap"}
    assert TuningSpec.from_documents([stored, document]) == spec.resolved("kaito", rows=400)
