"""Our own Job on the test cluster: whose pods run this checkout."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CLAIMS, CONFIG_MAPS, JOBS, PODS, SECRETS, Resource

MODEL = "/workspace/model"
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)


def until(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What it gives as soon as that is true; a test that waits in vain fails."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def mounting(model: Path, **trainer: Any) -> dict[str, Any]:
    """A pod template in which the trainer finds a model of this machine; `trainer` changes its container."""
    mount = {"name": "model", "mountPath": MODEL, "readOnly": True}
    return {
        "spec": {
            "containers": [{"name": "trainer", "volumeMounts": [mount], **trainer}],
            "volumes": [{"name": "model", "hostPath": {"path": str(model), "type": "Directory"}}],
        }
    }


def tiny_model(folder: Path) -> Path:
    """A tiny model there, which the pods' user may read. Made by a process of its own: torch stays out of this one."""
    code = f"from pathlib import Path; from tiny import make_model; make_model(Path({str(folder)!r}))"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env={**os.environ, "PYTHONPATH": paths})
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def peft_loads(adapter: Path, model: Path) -> bool:
    """Whether PEFT puts the adapter onto the model, and it has learnt something. In a process of its own."""
    code = (
        "import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM as M\n"
        "model = PeftModel.from_pretrained(M.from_pretrained(sys.argv[2]), sys.argv[1])\n"
        "sys.exit(not any('lora_B' in n and bool(p.abs().sum() > 0) for n, p in model.named_parameters()))"
    )
    return (
        subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(adapter), str(model)], check=False).returncode
        == 0
    )


def push_secret(client: Client, auth_file: str, name: str = "push") -> str:
    """A Secret with that docker login."""
    content = base64.b64encode(Path(auth_file).read_bytes()).decode()
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name},
            "data": {".dockerconfigjson": content},
        }
    )
    return name


def claim(client: Client, name: str) -> Path:
    """A bound claim, and where its volume is on this machine. Everybody may write into it: the class knows no fsGroup."""
    size = {"requests": {"storage": "1Gi"}}
    document = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": size},
    }
    client.create(document)
    volume = until(lambda: client.get(CLAIMS, name)["spec"].get("volumeName"))
    facts = client.get(VOLUMES, volume)
    folder = Path(facts["spec"]["hostPath"]["path"])
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    return folder


def pods_of(client: Client, name: str) -> list[dict[str, Any]]:
    return client.list(PODS, labels=f"job-name={name}")[0]


def left_of(client: Client) -> list[str]:
    """What is in the namespace besides what every namespace has and what the user made."""
    usual = ("kube-root-ca.crt", "push", "hub")
    found = [
        f"{r.plural}/{o['metadata']['name']}" for r in (JOBS, PODS, CONFIG_MAPS, SECRETS) for o in client.list(r)[0]
    ]
    return [name for name in found if name.partition("/")[2] not in usual and "default-token" not in name]
