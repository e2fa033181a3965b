"""A refusal of KAITO's webhook, as findings under the spec's own paths."""

from __future__ import annotations

import json

import pytest

from kaito_jupyter.backends import webhook
from kaito_jupyter.cluster.refusals import Asked, Denied, refusal

LINES = {
    "GPU partitioning is not supported for tuning workloads: resource.partition": (
        "resource.partition",
        "GPU partitioning is not supported for tuning workloads.",
    ),
    "invalid value: Unsupported tuning preset name llama: tuning.presetName": (
        "tuning.preset.name",
        "Unsupported tuning preset name llama.",
    ),
    "Exactly one of URLs, Volume, or Image must be specified: tuning.Input.Image, tuning.Input.URLs, tuning.Input.Volume": (
        "tuning.input",
        "Exactly one of URLs, Volume, or Image must be specified.",
    ),
    "missing field(s): tuning.Output.Must specify imagePushSecret with destination image": (
        "tuning.output",
        "Must specify imagePushSecret with destination image.",
    ),
    "missing field(s): tuning.Input": ("tuning.input", "it is missing."),
    "Failed to evaluate validateConfigMap: invalid value: Unrecognized section: Foo: training_config.yaml: tuning.Config": (
        "tuning.config",
        "Unrecognized section: Foo.",
    ),
    "Cannot set both 'load_in_4bit' and 'load_in_8bit' to true in ConfigMap 'a': QuantizationConfig: tuning.Config": (
        "QuantizationConfig",
        "Cannot set both 'load_in_4bit' and 'load_in_8bit' to true in ConfigMap 'a'.",
    ),
    "something new that nobody foresaw": ("Workspace", "something new that nobody foresaw."),
    'tuning.methd: unknown field "tuning.methd"': ("tuning.methd", 'unknown field "tuning.methd".'),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_a_problem_under_our_path(line: str) -> None:
    found = webhook.finding(line)
    assert (found.path, found.message) == LINES[line]
    assert found.remedy


def test_a_refusal_in_one_text_becomes_all_of_its_findings() -> None:
    said = 'admission webhook "validation.workspace.kaito.sh" denied the request: validation failed: '
    body = {"kind": "Status", "code": 400, "reason": "BadRequest", "message": said + "\n".join(list(LINES)[:5])}
    error = refusal(Asked("apply", "workspaces", "a", "b", "kaito.sh"), 400, json.dumps(body).encode())
    assert isinstance(error, Denied)
    assert len(error.causes) == 5
    assert str(error).splitlines()[0].endswith("denied the request (400):")
    assert [(p.path, p.message) for p in webhook.problems(error)] == list(LINES.values())[:5]


def test_a_refusal_with_one_finding_is_that_finding() -> None:
    said = 'admission webhook "validation.workspace.kaito.sh" denied the request: validation failed: '
    line = "missing field(s): tuning.Input"
    error = refusal(Asked("apply", "workspaces"), 400, json.dumps({"code": 400, "message": said + line}).encode())
    assert [(p.path, p.message) for p in webhook.problems(error)] == [LINES[line]]
