"""Every rule of KAITO's webhook that can be known beforehand, broken: what the webhook says, and what we say first.

The same objects go to both. `docs/refusals.md` is this table (written anew with `KAITO_WRITE_DOCS=1`).
"""

from __future__ import annotations

import copy
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from kaito_jupyter.backends.kaito import KaitoBackend
from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import CONFIG_MAPS, NAMESPACES, WORKSPACES
from kaito_jupyter.errors import SpecError
from kaito_jupyter.spec import TuningSpec, build_spec
from kaito_trainer.contract import Problem
from kaito_trainer.contract.names import CONFIG_FILE

pytestmark = pytest.mark.cluster

DOCS = Path(__file__).parents[2] / "docs" / "refusals.md"
HEAD = """# What KAITO's webhook refuses, and what is said in the notebook before

Each rule of the webhook that can be known beforehand, broken once. The first answer comes from the cluster, the second one before
anything is sent. A test sends all of them to both and compares with this page. Left out is what can only be known there: whether the
cluster makes its nodes itself (where it does not, KAITO wants no node size, and does not tune).

| broken | refused by | in its words | in the notebook |
| --- | --- | --- | --- |
"""
PVC = {"persistentVolumeClaim": {"claimName": "data"}}

Json = dict[str, Any]
Spoil = Callable[[Json], Any]


@dataclass(frozen=True)
class Row:
    """One rule, broken."""

    rule: str
    path: str
    """Where we say it."""
    said: str
    """A piece of what the webhook says."""
    spoil: Spoil = dict
    """Breaks the Workspace."""
    config: Spoil | str | None = None
    """Breaks the configuration: a function of its document, or what stands in the ConfigMap instead. Empty: no ConfigMap."""
    live: bool = False
    """The rule is about changing a Workspace that is there."""
    by: str = "the webhook"
    """Who refuses it; `the schema` does so before the webhook sees it."""


def put(path: str, value: Any) -> Spoil:
    """Set what stands at a path; None takes it away."""

    def spoil(document: Json) -> None:
        *parents, last = path.split(".")
        for name in parents:
            document = document.setdefault(name, {})
        document.pop(last, None)
        if value is not None:
            document[last] = value

    return spoil


def url(address: str) -> Spoil:
    return put("tuning.input", {"urls": [address]})


def config(path: str, value: Any) -> Spoil:
    return put(f"training_config.{path}", value)


def both(*spoils: Spoil) -> Spoil:
    return lambda document: [spoil(document) for spoil in spoils]


PARSE = "Unable to parse"
CLOSED = "must not target a loopback, private, or link-local address"
LOCAL = "must not target a local or metadata endpoint"
ONE_INPUT = "Exactly one of URLs, Volume, or Image must be specified"
ONE_OUTPUT = "Exactly one of Volume or Image must be specified"
ROWS = [
    Row("a name with a dot", "metadata.name", "RFC 1123", put("metadata.name", "a.b")),
    Row("a name of 64 letters", "metadata.name", "RFC 1123", put("metadata.name", "a" * 64)),
    Row("neither tuning nor inference", "tuning", "but not neither|not neither", put("tuning", None)),
    Row("tuning and inference", "inference", "but not both", put("inference", {"preset": {"name": "phi-4"}})),
    Row("no node size", "resource.instanceType", "is required", put("resource.instanceType", None)),
    Row("two nodes", "resource.count", "multinode", put("resource.count", 2)),
    Row("a part of a GPU", "resource.partition", "GPU partitioning is not supported", put(
        "resource.partition", {"mode": "mig", "profile": "1g.10gb"})),
    Row("a method that is none", "tuning.method", "dora", put("tuning.method", "dora")),
    Row("no input", "data", "tuning.input: Required value", put("tuning.input", None), by="the schema"),
    Row("no output", "tuning.output", "tuning.output: Required value", put("tuning.output", None), by="the schema"),
    Row("no preset", "tuning.preset.name", "tuning.Preset", put("tuning.preset", None)),
    Row("a preset that cannot be tuned", "tuning.preset.name", "Unsupported tuning preset name", put(
        "tuning.preset.name", "llama-3.1-8b-instruct")),
    Row("a URL that is none", "tuning.input.urls[0]", "invalid data source URL", url("data.csv")),
    Row("a URL with a space", "tuning.input.urls[0]", "invalid data source URL", url("https://example.com/a b.csv")),
    Row("a URL of another scheme", "tuning.input.urls[0]", "must use HTTP or HTTPS", url("ftp://example.com/a.csv")),
    Row("a URL on localhost", "tuning.input.urls[0]", LOCAL, url("http://localhost/a.csv")),
    Row("a URL below localhost", "tuning.input.urls[0]", LOCAL, url("http://a.localhost/a.csv")),
    Row("a URL of a cloud's metadata", "tuning.input.urls[0]", LOCAL, url("http://metadata.google.internal/a.csv")),
    Row("a URL with a loopback address", "tuning.input.urls[0]", CLOSED, url("http://127.0.0.1/a.csv")),
    Row("a URL with a private address", "tuning.input.urls[0]", CLOSED, url("http://10.1.2.3/a.csv")),
    Row("a URL with a link-local address", "tuning.input.urls[0]", CLOSED, url("http://169.254.169.254/a.csv")),
    Row("a URL with IPv6 around a private address", "tuning.input.urls[0]", CLOSED, url(
        "http://[::ffff:192.168.0.1]/a.csv")),
    Row("two kinds of input", "tuning.input", ONE_INPUT, put("tuning.input.image", "registry.example.com/data:1")),
    Row("an input of no kind", "data", ONE_INPUT, put("tuning.input", {"name": "data"})),
    Row("an input image with capitals", "tuning.input.image", f"{PARSE} input image", put(
        "tuning.input", {"image": "registry.example.com/Team/data:1"})),
    Row("an input image that is none", "tuning.input.image", f"{PARSE} input image", put("tuning.input", {"image": "a b"})),
    Row("an output image that is none", "tuning.output.image", f"{PARSE} output image", put(
        "tuning.output.image", "registry.example.com/a:1:2")),
    Row("an output image that is taken for an id", "tuning.output.image", f"{PARSE} output image", put(
        "tuning.output.image", "0" * 64)),
    Row("no secret to push with", "tuning.output.imagePushSecret", "Must specify imagePushSecret", put(
        "tuning.output.imagePushSecret", None)),
    Row("two kinds of output", "tuning.output", ONE_OUTPUT, put("tuning.output.volumeSource", PVC)),
    Row("an output of no kind", "tuning.output", ONE_OUTPUT, put("tuning.output", {})),
    Row("a ConfigMap that is not there", "tuning.config", "not found in namespace", config=""),
    Row("a ConfigMap without the file", "training_config.yaml", "does not contain 'training_config.yaml'", config="-"),
    Row("YAML that is none", "training_config.yaml", "Failed to parse", config="training_config: [1"),
    Row("no training_config", "training_config.yaml", "Expected 'training_config' key", config="other: {}\n"),
    Row("an unknown section", "config.Foo", "Unrecognized section: Foo", config=config("Foo", {"a": 1})),
    Row("a section that is a number", "config.5", "Section key must be a string", config="training_config: {5: {a: 1}}\n"),
    Row("4 bits that are a text", "QuantizationConfig.load_in_4bit", "nil or a boolean", config=config(
        "QuantizationConfig.load_in_4bit", "yes")),
    Row("4 bits and 8 bits", "QuantizationConfig", "Cannot set both", both(put("tuning.method", "qlora")), config(
        "QuantizationConfig", {"load_in_4bit": True, "load_in_8bit": True})),
    Row("lora in 4 bits", "QuantizationConfig.load_in_4bit", "must not be true", config=config(
        "QuantizationConfig.load_in_4bit", True)),
    Row("qlora in 16 bits", "QuantizationConfig", "must be true", put("tuning.method", "qlora"), config(
        "QuantizationConfig", {"load_in_4bit": False})),
    Row("an output_dir that is a number", "TrainingArguments.output_dir", "output_dir is not a string", config=config(
        "TrainingArguments.output_dir", 5)),
    Row("an output_dir outside", "TrainingArguments.output_dir", "Invalid output_dir", config=config(
        "TrainingArguments.output_dir", "../etc")),
    Row("an output_dir that is all", "TrainingArguments.output_dir", "Invalid output_dir", config=config(
        "TrainingArguments.output_dir", "/")),
    # A Workspace that is there
    Row("another preset", "tuning.preset.name", "Preset cannot be changed", put("tuning.preset.name", "phi-4"), live=True),
    Row("another secret of the preset", "tuning.preset.presetOptions", "Preset cannot be changed", put(
        "tuning.preset.presetOptions", {"modelAccessSecret": "token"}), live=True),
    Row("another method", "tuning.method", "Method cannot be changed", put("tuning.method", "qlora"), live=True),
    Row("another node size", "resource.instanceType", "cannot be changed once set", put(
        "resource.instanceType", "Standard_NC48ads_A100_v4"), live=True),
    Row("other node labels", "resource.labelSelector", "field is immutable", put(
        "resource.labelSelector.matchLabels", {"app": "other"}), live=True),
    Row("another number of nodes", "resource.count", "field is immutable", put("resource.count", 2), live=True),
    Row("another name of the data", "tuning.input.name", "Name field cannot be changed", put(
        "tuning.input.name", "mine"), live=True),
    Row("a later output image that is none", "tuning.output.image", f"{PARSE} output image", put(
        "tuning.output.image", "a b"), live=True),
    Row("tuning turned into inference", "inference", "cannot be toggled", both(put("tuning", None), put(
        "inference", {"preset": {"name": "phi-4"}})), live=True),
]  # fmt: skip


class Answers(NamedTuple):
    row: Row
    theirs: str
    """What the server says."""
    ours: list[Problem]


class Sides:
    """Asks both."""

    def __init__(self, cluster: Any, namespace: str) -> None:
        self.client = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
        self.backend = KaitoBackend(client=self.client)
        self.cluster, self.namespace = cluster, namespace

    def documents(self, row: Row, name: str) -> tuple[Json, Json | None]:
        made = build_spec(
            preset="phi-4-mini-instruct",
            name=name,
            namespace=self.namespace,
            input="pvc:data",
            output="image:registry.example.com/team/adapter:1",
            push_secret="push",
            instance_type="Standard_NC24ads_A100_v4",
            target="kaito",
        )
        config_map, workspace = made.to_documents("kaito", 100)
        workspace["metadata"].setdefault("annotations", {})["test.kaito.sh/provision-seconds"] = "600"
        workspace, config_map = copy.deepcopy(workspace), copy.deepcopy(config_map)
        row.spoil(workspace)
        if callable(row.config):
            document = yaml.safe_load(config_map["data"][CONFIG_FILE])
            row.config(document)
            config_map["data"][CONFIG_FILE] = yaml.safe_dump(document)
        elif row.config == "":
            return workspace, None
        elif row.config is not None:
            config_map["data"] = {"other.yaml": ""} if row.config == "-" else {CONFIG_FILE: row.config}
        return workspace, config_map

    def ask(self, row: Row) -> Answers:
        name = f"w-{uuid.uuid4().hex[:6]}"
        if row.live:
            self.start(name)
        workspace, config_map = self.documents(row, name)
        ours = self.ours(workspace, config_map, live=row.live)
        if not row.live and config_map is not None:
            self.client.apply(config_map)
        theirs = self.theirs(workspace, name, live=row.live)
        if row.live:
            self.client.delete(WORKSPACES, name)
        if config_map is not None:
            self.client.delete(CONFIG_MAPS, config_map["metadata"]["name"])
        return Answers(row, theirs, ours)

    def start(self, name: str) -> None:
        workspace, config_map = self.documents(Row("", "", ""), name)
        assert config_map is not None
        self.client.apply(config_map)
        self.client.apply(workspace)

    def ours(self, workspace: Json, config_map: Json | None, *, live: bool) -> list[Problem]:
        try:
            spec = TuningSpec.from_documents([workspace, *([config_map] if config_map else [])])
        except SpecError as error:
            return list(error.problems)
        found = spec.problems("kaito") + (self.backend.problems(spec) if live else [])
        if not live and spec.input.delivered:
            found += self.without_data(spec)
        return [p for p in found if p.severity == "error"]

    def without_data(self, spec: TuningSpec) -> list[Problem]:
        """What is said to somebody who neither gives data nor names it."""
        from kaito_jupyter.run import tune

        try:
            tune(
                preset=spec.preset, output=spec.output, instance_type=spec.resource.instance_type, backend=self.backend
            )
        except SpecError as error:
            return [p for p in error.problems if p.path == "data"]
        raise AssertionError("it was started")

    def theirs(self, workspace: Json, name: str, *, live: bool) -> str:
        """The server's answer to the raw object, in a strict dry run."""
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException

        api, where = CustomObjectsApi(self.cluster.api), ("kaito.sh", "v1beta1", self.namespace, "workspaces")
        how: Json = {"dry_run": "All", "field_validation": "Strict"}
        while True:
            try:
                if live:
                    version = self.client.get(WORKSPACES, name)["metadata"]["resourceVersion"]
                    workspace["metadata"]["resourceVersion"] = version
                    api.replace_namespaced_custom_object(*where, name, workspace, **how)
                else:
                    api.create_namespaced_custom_object(*where, workspace, **how)
            except ApiException as error:
                if error.status != 409:  # the operator writes into a new Workspace too
                    return str(json.loads(error.body or "{}").get("message", error))
            else:
                return ""


@pytest.fixture(scope="module")
def answers(cluster: Any) -> Iterator[dict[str, Answers]]:
    if not cluster.has_webhook:
        pytest.skip("nobody checks Workspaces there")
    namespace = f"kaito-jupyter-test-{uuid.uuid4().hex[:8]}"
    sides = Sides(cluster, namespace)
    sides.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for secret in ("push", "token"):
        sides.client.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": namespace}}
        )
    try:
        yield {row.rule: sides.ask(row) for row in ROWS}
    finally:
        sides.client.delete(NAMESPACES, namespace)
        sides.client.close()


@pytest.mark.parametrize("rule", [row.rule for row in ROWS])
def test_the_webhook_refuses_it_and_so_do_we_before(rule: str, answers: dict[str, Answers]) -> None:
    row, theirs, ours = answers[rule]
    print(f"\n{rule}\n  KAITO: {plain(theirs)}\n  ours:  " + "\n         ".join(map(str, ours)))
    assert ("admission webhook" in theirs) == (row.by == "the webhook"), theirs
    assert any(piece in theirs for piece in row.said.split("|")), theirs
    assert row.path in [p.path for p in ours], [str(p) for p in ours]
    for problem in ours:
        assert problem.message.endswith(".")
        assert problem.remedy, "it says how to go on"


def test_the_table_in_the_docs_is_this_one(cluster: Any, answers: dict[str, Answers]) -> None:
    if "KAITO_CLUSTER_DIR" not in cluster.env:
        pytest.skip("the page shows the test cluster's words")
    text = HEAD + "".join(line(a) for a in answers.values())
    if os.environ.get("KAITO_WRITE_DOCS"):
        DOCS.write_text(text, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == text


def plain(theirs: str) -> str:
    """The webhook's words, without what is the same in all of them and what changes from run to run."""
    return " ".join((theirs.partition("validation failed: ")[2] or theirs).split())


def line(answer: Answers) -> str:
    ours = "<br>".join(f"**{cell(p.path)}**: {cell(p.message)} {cell(p.remedy)}" for p in answer.ours)
    return f"| {answer.row.rule} | {answer.row.by} | {cell(plain(answer.theirs))} | {ours} |\n"


def cell(text: str) -> str:
    text = re.sub(r"\bw-[0-9a-f]{6}", "NAME", re.sub(r"kaito-jupyter-test-[0-9a-f]{8}", "NAMESPACE", text))
    return text.replace("|", "\\|").replace("<", "&lt;")
