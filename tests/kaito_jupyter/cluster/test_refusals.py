"""Every way in which an API server says no, and what we make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kaito_jupyter.cluster import refusals as r
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, NODES, PODS, WORKSPACES
from kaito_jupyter.errors import BackendError

LIST_PODS = r.Asked.of("list", PODS, "team-a")
APPLY_JOB = r.Asked.of("apply", JOBS, "team-a", "run-1")
APPLY_WORKSPACE = r.Asked.of("apply", WORKSPACES, "team-a", "run-1")


def status(message: str, reason: str = "", **details: Any) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details}).encode()


TABLE: list[tuple[str, r.Asked, int, bytes, type[r.ClusterError], str]] = [
    (
        "no right in a namespace",
        LIST_PODS,
        403,
        status(
            'pods is forbidden: User "system:serviceaccount:team-a:notebook" cannot list resource "pods" in API group ""'
        ),
        r.Forbidden,
        (
            "cannot list pods in namespace team-a: system:serviceaccount:team-a:notebook has no right to (403). Ask for a "
            'Role in namespace team-a with apiGroups [""], resources ["pods"], verbs ["list"], bound to it; '
            "`%kaito doctor` prints the one with all that runs need."
        ),
    ),
    (
        "no right in the cluster",
        r.Asked.of("list", NODES, None),
        403,
        status('nodes is forbidden: User "me" cannot list resource "nodes" in API group "" at the cluster scope'),
        r.Forbidden,
        (
            'cannot list nodes: me has no right to (403). Ask for a ClusterRole with apiGroups [""], resources ["nodes"], '
            'verbs ["list"], bound to it.'
        ),
    ),
    (
        "an apply needs two rights",
        APPLY_JOB,
        403,
        status('jobs.batch "run-1" is forbidden: User "me" cannot patch resource "jobs" in API group "batch"'),
        r.Forbidden,
        (
            "cannot write jobs `run-1` in namespace team-a: me has no right to (403). Ask for a Role in namespace team-a with "
            'apiGroups ["batch"], resources ["jobs"], verbs ["create", "patch"], bound to it; '
            "`%kaito doctor` prints the one with all that runs need."
        ),
    ),
    (
        "a quota",
        APPLY_JOB,
        403,
        status('pods "run-1" is forbidden: exceeded quota: gpu, requested: nvidia.com/gpu=8, used: 0, limited: 4'),
        r.Denied,
        (
            'cannot write jobs `run-1` in namespace team-a: pods "run-1" is forbidden: exceeded quota: gpu, requested: '
            "nvidia.com/gpu=8, used: 0, limited: 4 (403). Ask for less, wait until other work has ended, or ask for a larger "
            "quota."
        ),
    ),
    (
        "a webhook",
        APPLY_WORKSPACE,
        400,
        status(
            'admission webhook "validation.workspace.kaito.sh" denied the request: validation failed: no preset',
            "BadRequest",
        ),
        r.Denied,
        (
            'cannot write workspaces `run-1` in namespace team-a: admission webhook "validation.workspace.kaito.sh" denied the '
            "request: validation failed: no preset (400)."
        ),
    ),
    (
        "a webhook that does not answer",
        APPLY_WORKSPACE,
        500,
        status('Internal error occurred: failed calling webhook "x": connection refused'),
        r.ServerFailed,
        (
            'cannot write workspaces `run-1` in namespace team-a: Internal error occurred: failed calling webhook "x": '
            "connection refused (500). A webhook that checks such objects does not answer (for Workspaces: is KAITO's operator "
            "up?). Try again."
        ),
    ),
    (
        "strict validation",
        APPLY_WORKSPACE,
        400,
        status('strict decoding error: unknown field "resource.foo", unknown field "tuning.bar"', "BadRequest"),
        r.Invalid,
        (
            "cannot write workspaces `run-1` in namespace team-a: 2 things are wrong in it (400):\n"
            '  unknown field "resource.foo"\n  unknown field "tuning.bar"'
        ),
    ),
    (
        "an apply against the schema, which is answered as if the server had failed",
        APPLY_WORKSPACE,
        500,
        status(
            "failed to create typed patch object (a/b; kaito.sh/v1beta1, Kind=Workspace): errors:\n  .a: field not declared"
        ),
        r.Invalid,
        "cannot write workspaces `run-1` in namespace team-a: 1 thing is wrong in it (500):\n  .a: field not declared",
    ),
    (
        "the same from an older server",
        r.Asked.of("apply", CONFIG_MAPS, "team-a", "x"),
        500,
        status("failed to create typed patch object: .dada: field not declared in schema"),
        r.Invalid,
        (
            "cannot write configmaps `x` in namespace team-a: 1 thing is wrong in it (500):\n"
            "  .dada: field not declared in schema"
        ),
    ),
    (
        "several causes",
        APPLY_JOB,
        422,
        status(
            "Job is invalid",
            "Invalid",
            causes=[{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "too long"}],
        ),
        r.Invalid,
        (
            "cannot write jobs `run-1` in namespace team-a: 2 things are wrong in it (422):\n"
            "  spec.a: Required value\n  spec.b: too long"
        ),
    ),
    (
        "another writer's field",
        r.Asked.of("apply", CONFIG_MAPS, "team-a", "x"),
        409,
        status("conflict", "Conflict", causes=[{"field": ".data.a", "message": 'conflict with "other"'}]),
        r.Conflict,
        (
            "cannot write configmaps `x` in namespace team-a: 1 of its fields belongs to another writer (409):\n"
            '  .data.a: conflict with "other"\nTake that writer\'s change back, or take the fields over (force).'
        ),
    ),
    (
        "a name that is taken",
        r.Asked.of("create", CONFIG_MAPS, "team-a", "x"),
        409,
        status('configmaps "x" already exists', "AlreadyExists"),
        r.Conflict,
        (
            "cannot create configmaps `x` in namespace team-a: there is one already (409). Take another name, or delete that "
            "one first."
        ),
    ),
    (
        "no such object",
        r.Asked.of("get", JOBS, "team-a", "x"),
        404,
        status('jobs.batch "x" not found', "NotFound", name="x", kind="jobs"),
        r.NotFound,
        "cannot read jobs `x` in namespace team-a: there is none (404).",
    ),
    (
        "no such namespace",
        APPLY_JOB,
        404,
        status('namespaces "team-a" not found', "NotFound", name="team-a", kind="namespaces"),
        r.NotFound,
        (
            "cannot write jobs `run-1` in namespace team-a: there is no namespace team-a (404). Create it (`kubectl create "
            "namespace team-a`), or name another."
        ),
    ),
    (
        "no KAITO",
        r.Asked.of("list", WORKSPACES, "team-a"),
        404,
        b"404 page not found\n",
        r.NotFound,
        (
            "cannot list workspaces in namespace team-a: the cluster serves no workspaces of kaito.sh (404). Install KAITO on "
            "the cluster, or train with our own Job."
        ),
    ),
    (
        "an expired login",
        LIST_PODS,
        401,
        status("Unauthorized"),
        r.Unauthorized,
        (
            "cannot list pods in namespace team-a: Unauthorized (401). The login has expired or is wrong: log in again (`kubectl "
            "get pods` must work), or give another context."
        ),
    ),
    (
        "too many requests",
        LIST_PODS,
        429,
        status("too many requests"),
        r.Busy,
        "cannot list pods in namespace team-a: too many requests (429). Wait a moment and try again.",
    ),
    (
        "history that is forgotten",
        LIST_PODS,
        410,
        status("too old resource version: 1 (2)", "Expired"),
        r.Gone,
        "cannot list pods in namespace team-a: too old resource version: 1 (2) (410).",
    ),
    (
        "a proxy's page",
        LIST_PODS,
        502,
        b"<html><body><h1>502 Bad Gateway</h1>nginx</body></html>",
        r.ServerFailed,
        (
            "cannot list pods in namespace team-a: 502 Bad Gateway nginx (502). Try again; if it stays so, the cluster's "
            "administrators have to look."
        ),
    ),
    (
        "nothing at all",
        LIST_PODS,
        503,
        b"",
        r.ServerFailed,
        (
            "cannot list pods in namespace team-a: no reason given (503). Try again; if it stays so, the cluster's administrators "
            "have to look."
        ),
    ),
]


@pytest.mark.parametrize(
    ("asked", "code", "body", "kind", "message"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_a_refusal_says_what_was_asked_what_was_said_and_what_to_do(
    asked: r.Asked, code: int, body: bytes, kind: type[r.ClusterError], message: str
) -> None:
    error = r.refusal(asked, code, body)
    assert type(error) is kind
    assert str(error) == message
    assert error.code == code
    assert isinstance(error, BackendError)


def test_what_passes_by_itself_is_told_from_what_does_not() -> None:
    passing = {kind for *_, kind, _ in TABLE if kind.passing}
    assert passing == {r.Busy, r.ServerFailed}
    assert r.Unreachable.passing
    assert not r.Untrusted.passing


def test_many_causes_are_counted_and_all_kept() -> None:
    causes = [{"field": f"spec.f{i}", "message": "bad"} for i in range(40)]
    error = r.refusal(APPLY_JOB, 422, status("no", "Invalid", causes=causes))
    assert len(error.causes) == 40
    assert str(error).endswith("  … and 28 more")


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    assert r.refusal(LIST_PODS, 429, b"", {"Retry-After": "7"}).retry_after == 7.0
    assert r.refusal(LIST_PODS, 429, b"", {"Retry-After": "Tue, 24 Nov 2026"}).retry_after is None


def test_a_long_answer_is_cut() -> None:
    assert len(str(r.refusal(LIST_PODS, 500, status("x" * 100_000)))) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "proxy http://jo:CANARY-secret@proxy:3128 failed",
        "Authorization: Bearer CANARY-secret-0123456789",
        "Authorization: Basic CANARYsecret0123456789==",
        "token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARY-secret rejected",
    ],
)
def test_what_looks_like_a_credential_does_not_get_into_a_message(text: str) -> None:
    error = r.refusal(LIST_PODS, 500, status(text))
    assert "CANARY" not in str(error)
    assert "eyJ" not in str(error)
