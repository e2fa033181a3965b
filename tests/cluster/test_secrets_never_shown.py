"""No secret's value in anything that a person or another program can see: canaries are planted, a notebook does all it can, and
all that is left of it is searched: outputs, the saved notebook, logs at their loudest, reprs, tracebacks, state, objects, images.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pytest
import yaml
from accounts import account, grant
from nbclient import NotebookClient
from own_jobs import MODEL, mounting, push_secret

from kaito_jupyter.checkup import rights
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.connection import Stop
from kaito_jupyter.cluster.refusals import ClusterError
from kaito_jupyter.cluster.resources import CONFIG_MAPS, EVENTS, JOBS, PODS, SECRETS, WORKSPACES

pytestmark = [pytest.mark.cluster, pytest.mark.train, pytest.mark.timeout(600)]

STUB = Path(__file__).parents[1] / "stub_trainer.py"
HUB = {"HF_TOKEN": "hf_canaryOfTheKernel7f3a", "HUGGING_FACE_HUB_TOKEN": "hf_canaryOfTheKernelToo9c"}
IN_CLUSTER = "hf_canaryOfTheSecret51bd"
WRONG = "canary-Registry+Passw0rd/1a2b"
EXPIRED = "canaryExpiredToken-0123456789abcdef"
NAMES = ("good", "bad", "w-good", "w-bad", "here")
PASSWORD = "canary-Kubeconfig+Passw0rd/3c4d"


@pytest.fixture
def admin(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    yield made
    made.close()


class Planted:
    """The canaries, by what they are."""

    def __init__(self, cluster: Any, namespace: str, admin: Client, folder: Path) -> None:
        self.registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
        login = Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"])
        auth = json.loads(login.read_text())["auths"][self.registry]["auth"]
        wrong = base64.b64encode(f"canary:{WRONG}".encode()).decode()
        self.docker = folder / "docker"
        self.docker.mkdir()
        (self.docker / "config.json").write_text(json.dumps({"auths": {self.registry: {"auth": wrong}}}))
        push_secret(admin, str(login))
        push_secret(admin, str(self.docker / "config.json"), "wrong")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hf"}}
        admin.create({**secret, "data": {"HF_TOKEN": base64.b64encode(IN_CLUSTER.encode()).decode()}})
        me = account(cluster, namespace, folder)
        grant(admin, me, rights.grant(me.user, namespace))
        self.kubeconfig = folder / "kubeconfig"
        config, cert = _contexts(me.kubeconfig, cluster.kubeconfig)
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.values = {
            **HUB,
            "HF_TOKEN in the Secret": IN_CLUSTER,
            "the registry's password": base64.b64decode(auth).decode().partition(":")[2],
            "the registry's login": auth,
            "a wrong password": WRONG,
            "a wrong login": wrong,
            "the kubeconfig's token": me.token,
            "its signature": me.token.rpartition(".")[2],
            "an expired token": EXPIRED,
            "a kubeconfig's password": PASSWORD,
            **cert,
        }

    def found(self, content: bytes) -> set[str]:
        """Which of them stand in it, as they are or encoded."""
        return {what for what, value in self.values.items() if any(form in content for form in _forms(value))}


def _contexts(own: str, admins: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A kubeconfig with every kind of credential, and those that are certificates."""
    config: dict[str, Any] = yaml.safe_load(Path(own).read_text())
    place = config["contexts"][0]["context"]
    certificate = yaml.safe_load(Path(admins).read_text())["users"][0]["user"]
    users = {"expired": {"token": EXPIRED}, "basic": {"username": "ann", "password": PASSWORD}, "cert": certificate}
    for name, user in users.items():
        config["users"].append({"name": name, "user": user})
        config["contexts"].append({"name": name, "context": {**place, "user": name}})
    pem = {k: v for k, v in certificate.items() if k.endswith("-data")}
    assert pem, "the administrator's certificates are files: nothing to look for"
    lines = {k: base64.b64decode(v).decode().splitlines()[2] for k, v in pem.items() if "key" in k}
    return config, {f"{k} as it stands": v[100:200] for k, v in pem.items()} | {
        f"{k} decoded": v for k, v in lines.items()
    }


def _forms(value: str) -> Iterator[bytes]:
    raw = value.encode()
    yield raw
    yield quote(value, safe="").encode()
    yield json.dumps(value)[1:-1].replace("/", "\\/").encode()
    once = [*_encoded(raw)]
    yield from once
    for form in once:  # a login in a Docker config in a Secret
        yield from _encoded(form)


def _encoded(raw: bytes) -> Iterator[bytes]:
    """What base64 makes of it, wherever it stands in what was encoded."""
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]


FRAME = """
import pandas as pd, kaito_jupyter
df = pd.DataFrame({'prompt': [f'What is {i}? ' for i in range(40)], 'completion': [f'It is {i}.' for i in range(40)]})
"""
REPRS = """
runs = [kaito_jupyter.watch(name) for name in ('good', 'bad', 'w-good', 'w-bad')]
for run in runs:
    client = run.backend.client
    things = (run, run.ref, run.spec, run.state, run.backend, client, client._transport, client._transport.login,
              run.spec.to_yaml(), run.diagnose(), run.adapter)
    for thing in things:
        print(repr(thing), str(thing))
"""
ERRORS = """
for ask in (lambda: kaito_jupyter.doctor(context='expired'), lambda: kaito_jupyter.runs(backend='nope'),
            lambda: kaito_jupyter.tune(df, preset='a/b', backend='job', context='basic')):
    try:
        print(ask())
    except Exception as error:
        print(repr(error), error.args, error.__cause__, vars(error))
"""
INTERRUPT = """
import http.client
from kaito_trainer.oci import Image
image = Image('{image}')
try:
    image.check_push()
except Exception as error:
    print(error, image._remote._authorization != '')  # by now it has told the registry who we are
def cut(*_, **__):
    raise KeyboardInterrupt
http.client.HTTPConnection.getresponse = cut
"""


def cells(planted: Planted, namespace: str, folder: Path, model: Path) -> list[str]:
    template = folder / "pod.yaml"
    template.write_text(yaml.safe_dump(mounting(model, env=[{"name": "OMP_NUM_THREADS", "value": "1"}])))
    registry = f"{planted.registry}/{namespace}"
    mine = f"--backend job --preset {MODEL} --max-steps 2 --pod-template {template} --model-access-secret hf"
    kaito = "--backend kaito --preset phi-4-mini-instruct --method qlora --instance-type Standard_NC24ads_A100_v4"
    push = f"--push-secret push --output image:{registry}/adapter"
    refused = f"--push-secret wrong --output image:{registry}/adapter"
    return [
        f"import logging; logging.basicConfig(level='DEBUG', filename={str(folder / 'debug.log')!r})",
        "%load_ext kaito_jupyter",
        FRAME,
        # The doctor, as everybody that the kubeconfig knows.
        f"%kaito doctor --registry {registry}/adapter:1",
        *(f"%kaito doctor --context {name}" for name in ("expired", "basic", "cert")),
        # Logins that are wrong, and data that this machine's login cannot push.
        *(f"%kaito_tune df {mine} {push}:1 --context {name}" for name in ("expired", "basic")),
        f"%kaito_tune df {mine} {push}:1 --input image:{registry}/other:1",
        # Our own Job, its data pushed with a login out of the cluster; and one whose adapter nobody may push.
        f"%kaito_tune df {mine} {push}:3 --name good --input image:{registry}/data:1 --context cert --wait",
        f"%kaito_tune df {mine} {refused}:4 --name bad --wait",
        # KAITO: the same.
        f"%kaito_tune df {kaito} {push}:5 --name w-good --model-access-secret hf --wait",
        f"%kaito_tune df {kaito} {refused}:6 --name w-bad --wait",
        "%kaito_tune df --backend local --preset a/b --max-steps 3 --name here --wait",
        *(f"%kaito {verb} {name}" for name in NAMES for verb in ("watch", "logs --events", "yaml", "diagnose")),
        *(f"%kaito resume {name} --dry-run --fix" for name in NAMES),
        "%kaito runs",
        f"%kaito_tune df {mine} {push}:7 --dry-run",
        f"%kaito_tune df {kaito} {push}:7 --yaml",
        REPRS,
        ERRORS,
        # Defects and an interrupt, with the loudest traceback that IPython has: it shows every frame's variables.
        "%xmode Verbose",
        "client.list(None)",
        "client.apply({'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {}})",
        "%kaito delete w-good --yes",
        INTERRUPT.format(image=f"{registry}/adapter:1"),
        "client.version()",
        "%kaito runs",
        "image.check_push()",
    ]


def executed(sources: list[str], folder: Path) -> Path:
    """The notebook that was run and saved. Errors stay in it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": folder}}
    )
    with (folder / "kernel.log").open("wb") as log, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # zmq and asyncio complain of loops that nbclient leaves to the garbage collector
        client.execute(stdout=log, stderr=log)
    asyncio.set_event_loop(None)
    saved = folder / "saved.ipynb"
    nbformat.write(notebook, saved)
    return saved


def test_no_canary_leaves_its_cage(
    cluster: Any, namespace: str, admin: Client, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = Planted(cluster, namespace, admin, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    for name, value in {
        **HUB,
        "KUBECONFIG": str(planted.kubeconfig),
        "DOCKER_CONFIG": str(planted.docker),
        "KAITO_TRAINER_IMAGE": cluster.env["KAITO_CLUSTER_HOST_IMAGE"],
        "KAITO_LOCAL_TRAINER": shlex.join([sys.executable, str(STUB)]),
        "XDG_STATE_HOME": str(work / "state"),
        "IPYTHONDIR": str(work / "ipython"),
        "PYTHONPATH": ":".join(p for p in sys.path if p),
    }.items():
        monkeypatch.setenv(name, value)
    saved = executed(cells(planted, namespace, work, tiny), work)

    # What is searched holds what it should: the runs went as they were meant to.
    shown = saved.read_text(encoding="utf-8")
    states = {n: admin.get(kind, n)["status"] for kind, n in ((JOBS, "good"), (JOBS, "bad"), (WORKSPACES, "w-bad"))}
    assert states["good"]["succeeded"] == 1, states["good"]
    assert states["bad"]["failed"] == 1, states["bad"]
    for words in (
        "FAILED",
        "log in again",
        "401",
        "adapter:3@sha256:",
        "Traceback",
        "KeyboardInterrupt",
        "self=Client(",
    ):
        assert words in shown, f"{words}: the notebook has not gone as it was meant to"
    # And the search finds what is there to be found.
    secrets = json.dumps(admin.list(SECRETS)[0]).encode()
    assert {"HF_TOKEN in the Secret", "a wrong password", "the registry's password"} <= planted.found(secrets)
    assert planted.found(planted.kubeconfig.read_bytes()) >= {"a kubeconfig's password", "the kubeconfig's token"}

    leaks = {
        str(f.relative_to(work)): found
        for f in work.rglob("*")
        if f.is_file() and (found := planted.found(f.read_bytes()))
    }
    for kind in (PODS, JOBS, WORKSPACES, CONFIG_MAPS, EVENTS):
        for item in admin.list(kind)[0]:
            blob = json.dumps(item).encode()
            blob += b"".join(base64.b64decode(v) for v in (item.get("binaryData") or {}).values())
            if found := planted.found(blob):
                leaks[f"{kind.plural}/{item['metadata']['name']}"] = found
    for pod in admin.list(PODS)[0]:
        for container in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
            if found := planted.found(_log(admin, pod["metadata"]["name"], container["name"])):
                leaks[f"log of {pod['metadata']['name']} {container['name']}"] = found
    for name, content in _pushed(cluster, planted, namespace, tmp_path / "pulled").items():
        if found := planted.found(content):
            leaks[name] = found
    assert leaks == {}


def _log(client: Client, pod: str, container: str) -> bytes:
    try:
        with client.log(pod, None, {"container": container}, stop=Stop(), read_timeout=30) as pieces:
            return b"".join(pieces)
    except ClusterError:  # it never began
        return b""


def _pushed(cluster: Any, planted: Planted, namespace: str, folder: Path) -> dict[str, bytes]:
    """The files of the images that were pushed."""
    from kaito_trainer import oci

    login = (Path(cluster.env["KAITO_CLUSTER_AUTH_FILE"]),)
    for name in ("adapter:3", "data:1"):
        oci.Image(f"{planted.registry}/{namespace}/{name}", auth_files=login).pull(folder / name.replace(":", "-"))
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
