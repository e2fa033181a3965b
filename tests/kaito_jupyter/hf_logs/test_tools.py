"""The last words of curl, skopeo and oras."""

from __future__ import annotations

import pytest

from kaito_jupyter.hf_logs import explain_tool

TABLE = [
    (
        'time="2026-11-24T15:43:00Z" level=fatal msg="trying to reuse blob sha256:00 at destination: authentication required"',
        "registry-auth",
    ),
    ("Error response from registry: unauthorized: authentication required", "registry-auth"),
    ("Error: failed to push: connection refused", "push"),
    ('time="x" level=fatal msg="writing blob: initiating layer upload: received unexpected HTTP status: 500"', "push"),
    (
        'time="x" level=fatal msg="initializing source docker://r/no:1: reading manifest 1 in r/no: manifest unknown"',
        "download",
    ),
    ("curl: (6) Could not resolve host: example.com", "download"),
    ("Failed to download https://example.com/a.parquet after 3 attempts", "download"),
    ("curl: (22) The requested URL returned error: 403", "download"),
    ('time="x" level=fatal msg="writing blob: write /x: no space left on device"', "disk-full"),
]


@pytest.mark.parametrize(("line", "kind"), TABLE)
def test_the_line_that_a_tool_ends_with_is_a_failure_of_its_kind(line: str, kind: str) -> None:
    found = explain_tool(["+ skopeo copy a b", line, ""])
    assert found is not None
    assert found.kind == kind
    assert found.remedy
    assert "level=" not in found.message


@pytest.mark.parametrize("line", ["{'loss': 1}", "Downloading source", "Error", "+ skopeo copy docker://source dest"])
def test_other_lines_say_nothing(line: str) -> None:
    assert explain_tool([line]) is None
