"""The API server takes our own Job as it is, with all that can be said of it, and drops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.manifests import Options, job
from kaito_jupyter.spec import build_spec

pytestmark = pytest.mark.cluster


def test_no_field_of_it_is_lost(job_client: Client) -> None:
    spec = build_spec(
        preset="phi-4-mini-instruct", name="all", namespace=job_client.namespace, target="job",
        input="image:registry.example.com/data:1", pull_secret="pull", output="image:registry.example.com/adapter:1",
        push_secret="push", instance_type="Standard_NC48ads_A100_v4", model_access_secret="hub",
        label_selector={"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]},
        placement={
            "image_pull_secrets": ["pull"], "queue": "research", "priority_class": "high", "node_selector": {"zone": "1"},
            "tolerations": [{"key": "team", "operator": "Exists"}], "env": {"A": "b"}, "env_from": ["wandb"],
            "labels": {"team": "nlp"}, "annotations": {"cost-centre": "42"}, "service_account": "default",
            "backoff_limit": 2, "deadline": 3600, "keep": 60,
            "pod_template": {"spec": {"containers": [{"name": "trainer", "resources": {"limits": {"memory": "8Gi"}}}]}},
        },
    )  # fmt: skip
    for document in job(spec, Options(image="registry.example.com/trainer:1", labels={"ours": "yes"})):
        assert list(missing(document, job_client.create(document, dry_run=True))) == []


def missing(sent: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where what was kept lacks something of what was sent, or has it otherwise."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key}"
            else:
                yield from missing(value, kept[key], f"{path}.{key}")
    elif isinstance(sent, list):
        if not isinstance(kept, list) or len(sent) != len(kept):
            yield path
        else:
            for i, (one, other) in enumerate(zip(sent, kept, strict=True)):
                yield from missing(one, other, f"{path}[{i}]")
    elif sent != kept:
        yield f"{path}: {kept!r}, not {sent!r}"
