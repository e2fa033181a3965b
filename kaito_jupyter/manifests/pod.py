"""The pod of our own Job: `data-downloader` → `trainer` beside `pusher`, as far as each is needed.

Data in a volume and an adapter into a volume: the trainer alone. All containers run the trainer's image, so that it is
pulled once; they share `/mnt/data` and `/mnt/results`, so that nothing is copied. The pod fits the "restricted" pod security
standard as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito_trainer.contract.names import CONFIG_DIR, CONFIG_FILE, DATA_DIR, MOUNT_ROOT, RESULTS_DIR

from ..presets import find
from ..spec import DataSource, TuningSpec
from ..spec.documents import config_name

MAIN: Final = "trainer"
DOWNLOADER: Final = "data-downloader"
CHECK: Final = "push-check"
PUSHER: Final = "pusher"

USER: Final = 1000
"""User and group of all containers; the volumes' group too."""
GRACE: Final = 300
"""Seconds between SIGTERM and SIGKILL: for the step at hand, a checkpoint, the adapter, and its push. Only what needs them
takes them; a spot node gives less."""
PUSH: Final = 60
"""Seconds of them that are left for the push, when several processes save."""
HOME: Final = "/home/trainer"
"""Models of the hub are cached below it."""
DATA: Final = f"{MOUNT_ROOT}/{DATA_DIR}"
CONFIG: Final = f"{MOUNT_ROOT}/{CONFIG_DIR}"
RESULTS: Final = f"{MOUNT_ROOT}/{RESULTS_DIR}"
LOGINS: Final = "/logins"
"""Registry logins, a folder for each Secret."""
TOKEN: Final = "HF_TOKEN"
"""Key of the Secret that `modelAccessSecret` names, and the variable that the hub's library reads."""
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
GPU: Final = "nvidia.com/gpu"
TOLERATIONS: Final = (
    {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},  # as KAITO taints its nodes
    {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
)
MODULE: Final = ("python", "-m", "kaito_trainer")

Json = dict[str, Any]


def pod_spec(spec: TuningSpec, image: str, source: DataSource) -> Json:
    """The pod's spec. `source`: where the data is by now; the spec is complete (`resolved`)."""
    placement = spec.placement
    build = _Pod(spec, image, source)
    init, containers = build.containers()
    security: Json = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,  # the volumes belong to it, so that a claim can be written
        "fsGroupChangePolicy": "OnRootMismatch",  # not file by file, each time, on a volume with a million of them
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    selector, affinity = _nodes(spec)
    found: Json = {
        "restartPolicy": "Never",  # each attempt has a pod of its own, whose log stays
        "terminationGracePeriodSeconds": GRACE,
        "automountServiceAccountToken": False,  # nothing in it talks to the API server
        "enableServiceLinks": False,
        "securityContext": security,
        "initContainers": init,
        "containers": containers,
        "volumes": build.volumes(),
        "nodeSelector": selector,
        "affinity": affinity,
        "tolerations": [*map(dict, TOLERATIONS), *map(dict, placement.tolerations)],
        "priorityClassName": placement.priority_class,
        "serviceAccountName": placement.service_account,
        "imagePullSecrets": [{"name": n} for n in placement.image_pull_secrets],
    }
    return {k: v for k, v in found.items() if v not in (None, [], {})}


class _Pod:
    """Containers, and the volumes that they turn out to need."""

    def __init__(self, spec: TuningSpec, image: str, source: DataSource) -> None:
        self.spec, self.image, self.source = spec, image, source
        self.results = spec.config.TrainingArguments.output_dir or RESULTS
        self._volumes: dict[str, Json] = {}

    def containers(self) -> tuple[list[Json], list[Json]]:
        """Init containers, and those that run together."""
        output = self.spec.output
        init = []
        if output.image is not None:
            # Before the data: a wrong login is found in seconds, not after hours of training.
            init.append(self._container(CHECK, [*MODULE, "push", "--check", *self._push()], [self._push_login()]))
        if self.source.volume_source is None:
            init.append(self._downloader())
        containers = [self._trainer()]
        if output.image is not None:
            mounts = [self._results(), self._push_login()]
            command = [*MODULE, "push", "--results", self.results, *self._push()]
            # For the command that fetches an adapter out of the pod, when it cannot be pushed.
            where = [_field("POD_NAMESPACE", "metadata.namespace"), _field("POD_NAME", "metadata.name")]
            containers.append(self._container(PUSHER, command, mounts, where))
        return init, containers

    def volumes(self) -> list[Json]:
        """Those that the containers mount. Call it after `containers`."""
        return [{"name": name, **source} for name, source in self._volumes.items()]

    def _trainer(self) -> Json:
        placement = self.spec.placement
        count = self.spec.gpus("job")
        command = list(MODULE)
        if count > 1:
            # Not through a shell: what is started here is process 1, gets SIGTERM, and hands it on to all of its processes.
            launch = ("torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "kaito_trainer")
            command = ["python", "-m", *launch]
        command += ["train", "--config", f"{CONFIG}/{CONFIG_FILE}"]
        mounts = [
            self._mount("config", CONFIG, {"configMap": {"name": config_name(self.spec)}}, read_only=True),
            self._data(read_only=True),
            self._results(),
            # PyTorch's data loaders and NCCL share memory there; a container's own 64 MiB are too little.
            self._mount("shm", "/dev/shm", {"emptyDir": {"medium": "Memory"}}),
        ]
        env: list[Json] = [{"name": "PYTORCH_CUDA_ALLOC_CONF", "value": "expandable_segments:True"}]
        if count > 1:
            # By default torchrun kills what has not saved 30 s after SIGTERM.
            env.append({"name": "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "value": str(GRACE - PUSH)})
        if secret := self.spec.model_access_secret:
            env.append({"name": TOKEN, "valueFrom": {"secretKeyRef": {"name": secret, "key": TOKEN}}})
        container = self._container(MAIN, command, mounts, env)
        if placement.env_from:
            container["envFrom"] = [{"secretRef": {"name": name}} for name in placement.env_from]
        if placement.gpus != 0:
            container["resources"] = {"limits": {GPU: str(count)}}  # a GPU's request is its limit
        return container

    def _downloader(self) -> Json:
        source = self.source
        sources = [*source.urls] + ([f"image:{source.image}"] if source.image else [])
        mounts, arguments = [self._data(), self._results()], []
        for name in source.image_pull_secrets:
            mounts.append(self._login(name))
            arguments += ["--auth-file", f"{LOGINS}/{name}/config.json"]
        if self.spec.placement.private_urls:
            arguments.append("--allow-private")
        command = [*MODULE, "download", "--target", DATA, "--results", self.results, *arguments, *sources]
        return self._container(DOWNLOADER, command, mounts)

    def _push(self) -> list[str]:
        output = self.spec.output
        preset = find(self.spec.preset)
        login = ["--auth-file", f"{LOGINS}/{output.image_push_secret}/config.json"] if output.image_push_secret else []
        return [*login, "--model", preset.name if preset else self.spec.preset, str(output.image)]

    def _push_login(self) -> Json | None:
        secret = self.spec.output.image_push_secret
        return self._login(secret) if secret else None

    def _container(
        self, name: str, command: Sequence[str], mounts: Sequence[Json | None], env: Sequence[Json] = ()
    ) -> Json:
        shared = [
            self._mount("home", HOME, {"emptyDir": {}}),
            self._mount("tmp", "/tmp", {"emptyDir": {}}),
        ]
        own = {e["name"] for e in env}
        basic: Mapping[str, str] = {"HOME": HOME, "PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        values = {**basic, **self.spec.placement.env}
        return {
            "name": name,
            "image": self.image,
            "command": list(command),
            "env": [*({"name": k, "value": v} for k, v in values.items() if k not in own), *env],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            # The end of a failed container's log is in its status: its error is told even when the log is out of reach.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [m for m in (*mounts, *shared) if m is not None],
        }

    def _data(self, *, read_only: bool = False) -> Json:
        return self._mount("data", DATA, dict(self.source.volume_source or {"emptyDir": {}}), read_only=read_only)

    def _results(self) -> Json:
        return self._mount("results", self.results, dict(self.spec.output.volume_source or {"emptyDir": {}}))

    def _login(self, secret: str) -> Json:
        """A docker login as the file that registry clients read."""
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        source = {"secret": {"secretName": secret, "items": items, "defaultMode": 0o440}}
        return self._mount(f"login-{secret}", f"{LOGINS}/{secret}", source, read_only=True)

    def _mount(self, name: str, path: str, source: Mapping[str, Any], *, read_only: bool = False) -> Json:
        name = name[:63].replace(".", "-").rstrip("-")
        self._volumes.setdefault(name, dict(source))
        return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def _field(name: str, path: str) -> Json:
    """A variable with something of the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _nodes(spec: TuningSpec) -> tuple[Json, Json]:
    """Node selector and affinity: the node size, the spec's label selector, the placement's labels."""
    resource = spec.resource
    selector: Json = {INSTANCE_TYPE: resource.instance_type} if resource.instance_type else {}
    selector |= resource.label_selector.get("matchLabels") or {}
    selector |= spec.placement.node_selector
    expressions = resource.label_selector.get("matchExpressions")
    if not expressions:
        return selector, {}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [*expressions]}]}
    return selector, {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
