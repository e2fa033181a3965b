"""Runs followed in a real cluster: every line once, in order, and the truth about how they stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from cluster_runs import Following, job, only_pod, python, shell

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.follow import snapshot
from kaito_jupyter.cluster.judge import JobJudge
from kaito_jupyter.cluster.resources import CONFIG_MAPS, JOBS, PODS
from kaito_jupyter.status import Lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def client(cluster, namespace: str) -> Iterator[Client]:
    made = Client.connect(namespace=namespace, kubeconfig=cluster.kubeconfig)
    yield made
    made.close()


@pytest.fixture
def image(cluster) -> str:
    if "KAITO_CLUSTER_HOST_IMAGE" not in cluster.env:
        pytest.skip("needs an image with Python and a shell: KAITO_CLUSTER_HOST_IMAGE")
    return cluster.env["KAITO_CLUSTER_HOST_IMAGE"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 120
    while left := [t.name for t in threading.enumerate() if t not in before and t.name.startswith("kaito")]:
        assert time.monotonic() < deadline, f"threads outlive their run: {left}"
        time.sleep(0.05)


def numbers(count: int, pause: float = 0.0) -> str:
    return f"import time\nfor i in range({count}):\n    print('line', i)\n    time.sleep({pause})"


def words(count: int) -> list[str]:
    return [f"line {i}" for i in range(count)]


def test_a_run_is_followed_from_pending_to_its_end_through_all_containers(client: Client, image: str) -> None:
    with Following(client, "whole") as followed:
        followed.until(lambda f: f.statuses)
        client.apply(
            job(
                "whole",
                image,
                python(numbers(200, 0.01)),
                init={"first": shell("echo one"), "second": shell("echo two")},
                sidecars={"beside": shell("sleep 1; echo beside")},
            )
        )
        status = followed.end()
    assert (status.state, status.reason, status.exit_code) == ("Succeeded", "", 0)
    assert status.created <= status.started <= status.ended
    assert followed.lines("first") == ["one"]
    assert followed.lines("second") == ["two"]
    assert followed.lines() == words(200)
    assert followed.lines("beside") == ["beside"]
    sources = list(dict.fromkeys(b.source for b in followed.batches))
    assert sources[:3] == ["first", "second", "main"]
    states = list(dict.fromkeys(s.state for s in followed.statuses))
    assert states == ["Pending", "Running", "Succeeded"]


def test_a_late_reader_gets_the_same_lines_and_is_told_when_it_has_them_all(client: Client, image: str) -> None:
    code = numbers(3000) + "\ntime.sleep(600)"
    client.apply(job("late", image, python(code), sidecars={"beside": shell("echo beside; sleep 600")}))
    only_pod(client, "late")
    with Following(client, "late") as first:
        first.until(lambda f: len(f.lines()) == 3000)
    with Following(client, "late") as second:
        second.until(lambda f: len(f.lines("beside")) == 1)
        second.until(lambda f: None in f.items[-1:])
        assert second.lines() == words(3000)
        order = [b.source for b in second.batches]
        assert order == sorted(order, key=["main", "beside"].index), "the trainer's lines come before the sidecar's"
    assert first.items[-1] is None or isinstance(first.items[-1], Lines), "a stop is no end of the run"


def test_another_process_goes_on_after_any_cursor(client: Client, image: str) -> None:
    client.apply(job("cursors", image, python(numbers(400, 0.003)), init={"first": shell("echo one")}))
    with Following(client, "cursors") as whole:
        whole.end()
    assert whole.lines() == words(400)
    for i in range(0, len(whole.batches), max(1, len(whole.batches) // 6)):
        seen = [t for b in whole.batches[: i + 1] if b.source == "main" for t in b.texts]
        with Following(client, "cursors", since=whole.batches[i].cursor) as rest:
            rest.end()
        assert seen + rest.lines() == words(400)
        assert "first" not in {b.source for b in rest.batches}


def test_long_lines_odd_bytes_and_a_missing_newline_arrive_as_they_were_written(client: Client, image: str) -> None:
    code = (
        "import sys\nw = sys.stdout.buffer.write\n"
        "w(b'a' * 100000 + b'\\n'); w(b'b' * 16384 + b'\\n'); w(b'c' * 16385 + b'\\n')\n"
        "w(b'bad \\xff\\xfe\\n'); w(b'\\n'); w(b'1%\\r2%\\n'); w('\\u00fc <script>\\n'.encode()); w(b'no newline')\n"
    )
    client.apply(job("odd", image, python(code)))
    with Following(client, "odd") as followed:
        followed.end()
    assert followed.lines() == [
        "a" * 100000,
        "b" * 16384,
        "c" * 16385,
        "bad ��",
        "",
        "1%\r2%",
        "ü <script>",
        "no newline",
    ]


def test_a_log_that_is_rotated_goes_on_and_what_is_lost_is_told(client: Client, image: str) -> None:
    # 12 MB: kubelets rotate at 10 MiB by default, looking every 10 s.
    code = (
        "import time\nfor i in range(120_000):\n    print(f'line {i} {90 * chr(120)}\\n', end='')\n"
        "    i < 118_500 or time.sleep(0.012)"
    )
    client.apply(job("rotated", image, python(code)))
    with Following(client, "rotated") as followed:
        followed.end()
    whole = [line.split() for line in followed.lines() if line.startswith("line ") and line.endswith(" " + 90 * "x")]
    numbers = [int(words[1]) for words in whole]
    assert numbers == sorted(set(numbers)), "none twice, none out of order"
    assert numbers[-1] == 119_999
    # A runtime that is told to begin a new file ends the old one with what it has of a line.
    torn = len(followed.lines()) - len(numbers)
    assert torn <= 4
    if len(numbers) < 120_000 - torn:
        assert followed.lines("kaito-jupyter") == ["main's log was rotated: lines may be missing here"]


def test_a_trainer_dead_behind_its_sidecar_has_failed_though_the_pod_runs(client: Client, image: str) -> None:
    main = shell("echo about to die; exit 137")
    client.apply(job("dead", image, main, sidecars={"pusher": shell("sleep 600")}))
    with Following(client, "dead") as followed:
        status = followed.end()
    assert status.state == "Failed"
    assert status.reason.startswith("main ")
    assert status.reason.endswith(", and pusher still runs beside it")
    assert status.exit_code == -9
    assert status.kind == "killed"
    assert followed.lines() == ["about to die"]
    assert client.get(PODS, only_pod(client, "dead")["metadata"]["name"])["status"]["phase"] == "Running"


def test_a_job_that_tries_again_is_one_stream_and_fails_only_at_its_end(client: Client, image: str) -> None:
    client.apply(job("retry", image, python(numbers(20) + "\nraise SystemExit(7)"), backoff=1))
    with Following(client, "retry") as followed:
        status = followed.end()
    assert followed.lines() == words(20) * 2
    assert (status.state, status.exit_code) == ("Failed", 7)
    assert status.reason == "main ended with exit code 7, 2 times"
    told = [s.reason for s in followed.statuses]
    assert any(t.startswith("retrying (attempt 2 of 2): main ended with exit code 7") for t in told)
    assert [s.state for s in followed.statuses].count("Failed") == 1


def test_a_container_that_is_started_anew_goes_on_in_the_same_stream(client: Client, image: str) -> None:
    # The second instance sees what the first has left, in the pod's own volume.
    code = "import os, sys\nn = len(os.listdir('/keep'))\nopen(f'/keep/{n}', 'w')\nprint('instance', n)\n"
    code += "sys.exit(1 if n == 0 else 0)"
    document = job(
        "anew",
        image,
        python(code) | {"volumeMounts": [{"name": "keep", "mountPath": "/keep"}]},
        restart="OnFailure",
        backoff=4,
    )
    document["spec"]["template"]["spec"]["volumes"] = [{"name": "keep", "emptyDir": {}}]
    client.apply(document)
    with Following(client, "anew") as followed:
        status = followed.end()
    assert followed.lines() == ["instance 0", "instance 1"]
    assert status.state == "Succeeded"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"resources": {"limits": {"nvidia.com/gpu": "64"}}},
            ["no node takes the pod: 0/", "Insufficient nvidia.com/gpu"],
        ),
        (
            {"image": "127.0.0.1:1/no/such:image"},
            ["main: the image 127.0.0.1:1/no/such:image cannot be pulled", "refused"],
        ),
        (
            {"envFrom": [{"secretRef": {"name": "hf"}}]},
            ["main: its container cannot be configured", 'secret "hf" not found'],
        ),
        ({"volumeMounts": [{"name": "data", "mountPath": "/x"}]}, ["main: it is being started, but:", "data"]),
    ],
    ids=["no node fits", "no such image", "no such secret", "no such volume"],
)
def test_a_run_that_cannot_start_says_why(change: dict, told: list[str], client: Client, image: str) -> None:
    document = job("stuck", image, shell("echo never") | change)
    document["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "configMap": {"name": "data"}}]
    if "volumeMounts" not in change:
        client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "data"}, "data": {}})
    client.apply(document)
    with Following(client, "stuck") as followed:
        followed.until(lambda f: f.statuses and all(t in f.statuses[-1].reason for t in told))
        assert followed.statuses[-1].state == "Pending"
        assert all("cannot" not in s.reason or told[0] in s.reason for s in followed.statuses), "nothing false was told"


def test_a_quota_that_lets_no_pod_be_made_is_told(client: Client, image: str, cluster, namespace: str) -> None:
    from kubernetes.client import CoreV1Api

    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    CoreV1Api(cluster.api).create_namespaced_resource_quota(namespace, quota)
    client.apply(job("quota", image, shell("echo never")))
    with Following(client, "quota") as followed:
        followed.until(lambda f: f.statuses and "exceeded quota" in f.statuses[-1].reason)
        assert followed.statuses[-1].reason.startswith("the Job's pod cannot be created: ")


def test_a_job_that_is_deleted_was_cancelled_and_its_last_words_are_heard(client: Client, image: str) -> None:
    code = (
        "import signal, sys, time\n"
        "def bye(*_):\n    print('saved')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\nprint('ready')\ntime.sleep(600)"
    )
    client.apply(job("deleted", image, python(code)))
    with Following(client, "deleted") as followed:
        followed.until(lambda f: f.lines() == ["ready"])
        client.delete(JOBS, "deleted")
        status = followed.end()
    assert (status.state, status.reason) == ("Cancelled", "the Job was deleted")
    assert followed.lines() == ["ready", "saved"]


def test_a_job_out_of_time_says_so(client: Client, image: str) -> None:
    client.apply(job("slow", image, python("import time; print('begun'); time.sleep(600)"), activeDeadlineSeconds=5))
    with Following(client, "slow") as followed:
        status = followed.end()
    assert (status.state, status.reason) == ("Failed", "the Job took longer than its deadline")
    assert followed.lines() == ["begun"]


def test_the_same_truth_without_following(client: Client, image: str) -> None:
    client.apply(job("seen", image, shell("echo x")))
    with Following(client, "seen") as followed:
        last = followed.end()
    judge = JobJudge("seen", "main")
    assert judge(snapshot(client, namespace=None, labels="job-name=seen", judge=judge)) == last


def test_a_run_that_is_not_there_is_awaited_and_a_stop_ends_that(client: Client) -> None:
    with Following(client, "nobody") as followed:
        followed.until(lambda f: None in f.items)
        assert [s.reason for s in followed.statuses] == ["waiting for the Job"]
    assert followed.error is None


def test_an_apply_is_repeatable_and_strict(client: Client) -> None:
    from kaito_jupyter.cluster.refusals import Conflict, Invalid

    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}}
    assert client.apply(document, dry_run=True)["data"] == {"a": "1"}
    assert client.find(CONFIG_MAPS, "x") is None
    first, second = client.apply(document), client.apply(document)
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    with pytest.raises(Invalid, match=r"field not declared in schema|unknown field"):
        client.apply(document | {"dada": {}})
    client.patch(CONFIG_MAPS, "x", {"data": {"b": "2"}})
    assert client.apply({**document, "data": {"a": "3"}})["data"] == {"a": "3", "b": "2"}
    with pytest.raises(Conflict):
        client.create(document)
    assert client.delete(CONFIG_MAPS, "x")
    assert not client.delete(CONFIG_MAPS, "x")
