"""What can be wrong with a placement, and what is said to it."""

from __future__ import annotations

from typing import Any

import pytest

from kaito_jupyter.spec import Placement

SECRET = "this looks like a secret, and everybody who may read Jobs would see its value."


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"image": "No Image"}, "image", "No Image"),
        ({"gpus": -1}, "gpus", "-1 is not allowed."),
        ({"gpus": True}, "gpus", "is not allowed."),
        ({"deadline": 0}, "deadline", "0 is not allowed."),
        ({"queue": "Team Queue"}, "queue", "Team Queue"),
        ({"image_pull_secrets": ["Upper"]}, "image_pull_secrets[0]", "Upper"),
        ({"env_from": ["a", "b c"]}, "env_from[1]", "b c"),
        ({"env": {"HF_TOKEN": "hf_canary"}}, "env.HF_TOKEN", SECRET),
        ({"env": {"1X": "a"}}, "env.1X", "no name of a variable"),
        ({"env": {"X": 1}}, "env.X", "its value is not text."),
        ({"node_selector": {"a b": "c"}}, "node_selector", "a b"),
        ({"labels": {"a": "b c"}}, "labels", "b c"),
        ({"annotations": {"a": 1}}, "annotations.a", "its value is not text."),
        ({"pod_template": {"containers": []}}, "pod_template.containers", "metadata and spec only"),
        ({"pod_template": []}, "pod_template", "is no mapping"),
        (
            {
                "pod_template": {
                    "spec": {"containers": [{"name": "trainer", "env": [{"name": "API_KEY", "value": "canary"}]}]}
                }
            },
            "pod_template.spec.containers.trainer.env.API_KEY",
            SECRET,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_is_said_where_it_is(given: dict[str, Any], path: str, message: str) -> None:
    (problem,) = Placement.of(given).problems()
    assert problem.path == f"placement.{path}"
    assert message in problem.message
    assert problem.remedy
    assert "canary" not in str(problem)


def test_a_secret_that_is_only_named_is_none() -> None:
    variable = {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}}
    template = {"spec": {"containers": [{"name": "trainer", "env": [variable]}], "initContainers": None}}
    assert list(Placement.of({"pod_template": template, "env_from": ["keys"]}).problems()) == []


def test_an_unknown_field_is_told_with_its_likely_meaning() -> None:
    with pytest.raises(TypeError, match="priority_class"):
        Placement.of({"priority_clas": "x"})
