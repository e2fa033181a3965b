"""Our own Job as it is sent: which containers, under which rules, on which nodes, with which secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kaito_jupyter.manifests import Options, job
from kaito_jupyter.spec import TuningSpec, build_spec
from kaito_trainer.contract.names import NO_TRAINER

IMAGE = "registry.example.com/trainer:1"
ADAPTER = "registry.example.com/team/adapter:1"


def made(**options: Any) -> dict[str, Any]:
    return documents(**options)[1]


def documents(*, failure_rules: bool = False, **options: Any) -> list[dict[str, Any]]:
    return job(spec(**options), Options(image=IMAGE, failure_rules=failure_rules))


def spec(**options: Any) -> TuningSpec:
    given: dict[str, Any] = {
        "preset": "phi-4-mini-instruct", "name": "first", "namespace": "team-a", "input": "https://example.com/train.parquet",
        "output": f"image:{ADAPTER}", "push_secret": "login", "target": "job",
    }  # fmt: skip
    return build_spec(**given | options)


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def named(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in entries}


def trainer(manifest: dict[str, Any]) -> dict[str, Any]:
    return named(pod(manifest)["containers"])["trainer"]


def test_data_and_adapter_elsewhere_take_three_containers_and_a_check_that_share_their_folders() -> None:
    found = pod(made())
    assert [c["name"] for c in found["initContainers"]] == ["push-check", "data-downloader"]
    assert [c["name"] for c in found["containers"]] == ["trainer", "pusher"]
    check, downloader = found["initContainers"]
    main, pusher = found["containers"]
    assert check["command"][3:] == ["push", "--check", "--auth-file", "/logins/login/config.json", "--model",
                                    "phi-4-mini-instruct", ADAPTER]  # fmt: skip
    assert downloader["command"][3:] == [
        "download", "--target", "/mnt/data", "--results", "/mnt/results", "https://example.com/train.parquet",
    ]  # fmt: skip
    assert main["command"] == ["python", "-m", "kaito_trainer", "train", "--config", "/mnt/config/training_config.yaml"]
    assert pusher["command"][3:6] == ["push", "--results", "/mnt/results"]
    assert named(pusher["env"])["POD_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    shared = {"data": {"name": "data", "emptyDir": {}}, "results": {"name": "results", "emptyDir": {}}}
    assert shared.items() <= named(found["volumes"]).items()
    places = {c["name"]: {m["name"]: m["mountPath"] for m in c["volumeMounts"]} for c in (downloader, main, pusher)}
    assert places["data-downloader"]["data"] == places["trainer"]["data"] == "/mnt/data"
    assert places["trainer"]["results"] == places["pusher"]["results"] == "/mnt/results"
    assert {c["image"] for c in (*found["initContainers"], *found["containers"])} == {IMAGE}


def test_volumes_take_the_trainer_alone() -> None:
    found = pod(made(input="pvc:data/in/train.parquet", output="pvc:results", push_secret=None))
    assert "initContainers" not in found
    assert [c["name"] for c in found["containers"]] == ["trainer"]
    claims = {
        n: v["persistentVolumeClaim"]["claimName"]
        for n, v in named(found["volumes"]).items()
        if "persistentVolumeClaim" in v
    }
    assert claims == {"data": "data", "results": "results"}


def test_the_configuration_travels_in_a_configmap_beside_the_job() -> None:
    config, manifest = documents(options={"epochs": 2})
    assert (config["kind"], config["metadata"]["name"], config["metadata"]["namespace"]) == (
        "ConfigMap",
        "first-config",
        "team-a",
    )
    text = yaml.safe_load(config["data"]["training_config.yaml"])
    assert text["training_config"]["TrainingArguments"]["num_train_epochs"] == 2
    assert named(pod(manifest)["volumes"])["config"] == {"name": "config", "configMap": {"name": "first-config"}}


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ({}, "1"),
        ({"instance_type": "Standard_NC24ads_A100_v4"}, "1"),
        ({"instance_type": "Standard_NC96ads_A100_v4"}, "4"),
        ({"instance_type": "Standard_NC96ads_A100_v4", "placement": {"gpus": 2}}, "2"),
        ({"placement": {"gpus": 8}}, "8"),
        ({"placement": {"gpus": 0}}, None),
    ],
)
def test_gpus_come_from_the_node_size_or_are_said(options: dict[str, Any], gpus: str | None) -> None:
    container = trainer(made(**options))
    assert container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu") == gpus
    several = int(gpus or 0) > 1
    start = ["python", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}", "-m", "kaito_trainer"]
    assert container["command"][:-3] == (start if several else ["python", "-m", "kaito_trainer"])
    assert container["command"][-3:] == ["train", "--config", "/mnt/config/training_config.yaml"]
    # No shell in between: what is started is process 1 and gets SIGTERM; torchrun leaves its processes time to save.
    variables = named(container["env"])
    assert ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT" in variables) == several
    assert not several or int(variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]["value"]) > 30


def test_shared_memory_is_the_nodes() -> None:
    manifest = made()
    assert named(pod(manifest)["volumes"])["shm"] == {"name": "shm", "emptyDir": {"medium": "Memory"}}
    assert {"name": "shm", "mountPath": "/dev/shm"} in trainer(manifest)["volumeMounts"]


@pytest.mark.parametrize("options", [{}, {"input": "pvc:data/a.parquet", "output": "pvc:results", "push_secret": None}])
def test_it_fits_the_restricted_pod_security_standard(options: dict[str, Any]) -> None:
    assert list(against_restricted(pod(made(**options)))) == []
    broken = made(
        placement={
            "pod_template": {"spec": {"hostNetwork": True, "volumes": [{"name": "x", "hostPath": {"path": "/"}}]}}
        }
    )
    assert list(against_restricted(pod(broken))) == ["hostNetwork", "volume x"]


def against_restricted(found: dict[str, Any]) -> Iterator[str]:
    """What the standard's "restricted" level refuses. Source: kubernetes.io, Pod Security Standards; and a read-only root."""
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if found.get(name))
    kinds = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    yield from (f"volume {v['name']}" for v in found["volumes"] if not v.keys() - {"name"} <= kinds)
    whole = found["securityContext"]
    if not (
        whole["runAsNonRoot"] is True
        and whole["runAsUser"] > 0
        and whole["seccompProfile"] == {"type": "RuntimeDefault"}
    ):
        yield "the pod's user or seccomp profile"
    for container in (*found.get("initContainers", ()), *found["containers"]):
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if container["securityContext"] != wanted or any("hostPort" in port for port in container.get("ports", ())):
            yield f"container {container['name']}"


def test_a_pod_talks_to_no_api_server_and_is_never_restarted_in_place() -> None:
    found = pod(made())
    assert found["automountServiceAccountToken"] is False
    assert found["restartPolicy"] == "Never"
    assert found["terminationGracePeriodSeconds"] >= 60


def test_it_goes_where_it_is_told_to_and_stands_in_a_queue() -> None:
    manifest = made(
        instance_type="Standard_NC24ads_A100_v4",
        label_selector={"matchLabels": {"pool": "gpu"}, "matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]},
        placement={
            "queue": "team-queue", "priority_class": "research", "node_selector": {"zone": "1"},
            "tolerations": [{"key": "team", "operator": "Exists"}], "service_account": "trainer",
            "image_pull_secrets": ["pull"], "annotations": {"cost-centre": "42"}, "labels": {"team": "nlp"},
        },
    )  # fmt: skip
    found = pod(manifest)
    assert found["nodeSelector"] == {
        "node.kubernetes.io/instance-type": "Standard_NC24ads_A100_v4", "pool": "gpu", "zone": "1",
    }  # fmt: skip
    (term,) = found["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "spot", "operator": "DoesNotExist"}]
    assert [t["key"] for t in found["tolerations"]] == ["sku", "nvidia.com/gpu", "team"]
    assert (found["priorityClassName"], found["serviceAccountName"]) == ("research", "trainer")
    assert found["imagePullSecrets"] == [{"name": "pull"}]
    template = manifest["spec"]["template"]["metadata"]
    for metadata in (manifest["metadata"], template):
        assert metadata["labels"]["team"] == "nlp"
        assert metadata["annotations"]["cost-centre"] == "42"
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"


def test_secrets_are_named_and_never_written_down() -> None:
    manifest = made(
        input="image:registry.example.com/team/data:1", pull_secret="pull", model_access_secret="hub",
        placement={"env_from": ["wandb"], "env": {"WANDB_PROJECT": "x"}},
    )  # fmt: skip
    container = trainer(manifest)
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}}
    assert named(container["env"])["HF_TOKEN"] == token
    assert container["envFrom"] == [{"secretRef": {"name": "wandb"}}]
    found = pod(manifest)
    others = [c for c in (*found["initContainers"], *found["containers"]) if c["name"] != "trainer"]
    assert not any("HF_TOKEN" in named(c["env"]) or "envFrom" in c for c in others)
    logins = {n: v["secret"]["secretName"] for n, v in named(found["volumes"]).items() if "secret" in v}
    assert logins == {"login-login": "login", "login-pull": "pull"}
    assert "/logins/pull/config.json" in named(found["initContainers"])["data-downloader"]["command"]


def test_a_pod_template_is_merged_by_names() -> None:
    template = {
        "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "runtimeClassName": "nvidia",
            "containers": [
                {
                    "name": "trainer",
                    "resources": {"limits": {"memory": "64Gi"}},
                    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
                },
                {"name": "watcher", "image": "watcher:1"},
            ],
            "volumes": [{"name": "home", "emptyDir": None, "persistentVolumeClaim": {"claimName": "cache"}}],
        },
    }
    manifest = made(placement={"pod_template": template})
    found, container = pod(manifest), trainer(manifest)
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "64Gi"}
    assert {"HOME", "NCCL_DEBUG"} <= named(container["env"]).keys()
    assert [c["name"] for c in found["containers"]] == ["trainer", "pusher", "watcher"]
    assert named(found["volumes"])["home"] == {"name": "home", "persistentVolumeClaim": {"claimName": "cache"}}
    assert found["runtimeClassName"] == "nvidia"
    assert manifest["spec"]["template"]["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}


def test_what_the_cluster_took_is_tried_again_and_what_the_trainer_refused_is_not() -> None:
    old, new = made()["spec"], made(failure_rules=True)["spec"]
    assert old["backoffLimit"] == 0  # it cannot tell the one from the other
    assert "podFailurePolicy" not in old
    assert new["backoffLimit"] > 0
    assert [rule["action"] for rule in new["podFailurePolicy"]["rules"]] == ["Ignore", "FailJob"]
    assert 1 in new["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
    # A killed trainer (137) is tried again, and what its sidecar leaves with must not forbid it.
    assert not {137, NO_TRAINER} & {*new["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]}
    assert "activeDeadlineSeconds" not in old
    said = made(placement={"backoff_limit": 5, "deadline": 3600, "keep": 60})["spec"]
    assert (said["backoffLimit"], said["activeDeadlineSeconds"], said["ttlSecondsAfterFinished"]) == (5, 3600, 60)
    assert old["ttlSecondsAfterFinished"] >= 24 * 3600


def test_everything_survives_the_way_through_a_manifest() -> None:
    """Another kernel reads the spec off the Job: the placement is in it."""
    placement = {
        "queue": "q",
        "gpus": 2,
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "env_from": ["s"],
        "deadline": 60,
    }
    assert TuningSpec.from_yaml(spec(placement=placement).to_yaml()).placement == spec(placement=placement).placement
    assert json.loads(spec(placement=placement).placement.to_json()) == placement
