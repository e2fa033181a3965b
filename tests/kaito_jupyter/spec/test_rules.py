"""KAITO's webhook rules about single values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito_jupyter.spec import rules

ANYTHING = st.text() | st.none() | st.integers() | st.binary() | st.lists(st.text(), max_size=2)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/train.parquet",
        "HTTP://example.com:8080/a/b.csv?download=true#x",
        "https://user@example.com/train.json",
        "http://8.8.8.8/train.csv",
        "http://[2606:4700::1111]/train.csv",
        "http://172.32.0.1/train.csv",
        "http://localhost.example.com/train.csv",
        "http://0.0.0.0/train.csv",
    ],
)
def test_a_public_address_passes(address):
    assert rules.url(address) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "is not an absolute address"),
        ("train.csv", "is not an absolute address"),
        ("/train.csv", "is not an absolute address"),
        ("//example.com/train.csv", "is not an absolute address"),
        ("https://", "is not an absolute address"),
        ("https://exa mple.com/a.csv", "is not an absolute address"),
        ("https://example.com/a\n.csv", "is not an absolute address"),
        ("https://example.com:port/a.csv", "is not an absolute address"),
        ("http://[::1", "is not an absolute address"),
        (5, "is not an absolute address"),
        ("s3://bucket/train.csv", "does not use http or https"),
        ("file:///etc/passwd", "is not an absolute address"),
        ("http://localhost/a.csv", "is on localhost"),
        ("http://LOCALHOST:80/a.csv", "is on localhost"),
        ("http://localhost./a.csv", "is on localhost"),
        ("http://a.localhost/a.csv", "is on localhost"),
        ("http://metadata.google.internal/a.csv", "is a cloud's metadata service"),
        ("http://metadata.google/a.csv", "is a cloud's metadata service"),
        ("http://instance-data.ec2.internal/a.csv", "is a cloud's metadata service"),
        ("http://127.0.0.1/a.csv", "is a loopback address"),
        ("http://127.9.9.9/a.csv", "is a loopback address"),
        ("http://[::1]/a.csv", "is a loopback address"),
        ("http://[::ffff:127.0.0.1]/a.csv", "is a loopback address"),
        ("http://10.0.0.1/a.csv", "is a private address"),
        ("http://172.16.0.1/a.csv", "is a private address"),
        ("http://192.168.1.1/a.csv", "is a private address"),
        ("http://[fd00::1]/a.csv", "is a private address"),
        ("http://169.254.169.254/a.csv", "is a link-local address"),
        ("http://[fe80::1]/a.csv", "is a link-local address"),
        ("http://[fe80::1%25eth0]/a.csv", "is a link-local address"),
        ("http://224.0.0.5/a.csv", "is a link-local address"),
        ("http://[ff02::1]/a.csv", "is a link-local address"),
        ("http://[ff12::1]/a.csv", "is a link-local address"),
    ],
)
def test_an_address_that_a_cluster_must_not_fetch_from_is_refused(address, why):
    assert why in rules.url(address)[0]


def test_our_own_job_may_fetch_from_inside_the_cluster():
    assert rules.url("http://10.1.2.3:9000/train.csv", public=False) is None
    assert rules.url("train.csv", public=False) is not None


@pytest.mark.parametrize(
    "ref",
    [
        "adapter",
        "adapter:1",
        "team/adapter",
        "registry.io/team/adapter:0.0.1",
        "localhost:5000/a",
        "127.0.0.1:26450/a/b:host",
        "Registry.io/team/adapter",
        "[::1]:5000/a",
        "a.b-c__d/e",
        f"reg.io/a@sha256:{'0' * 64}",
        f"reg.io/a:1@sha256:{'0' * 64}",
        "reg.io/a:UPPER_Tag-1.0",
    ],
)
def test_a_docker_reference_passes(ref):
    assert rules.image(ref) is None


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("", "is not an image"),
        (None, "is not an image"),
        ("a b", "is not an image"),
        ("a/", "is not an image"),
        ("/a", "is not an image"),
        ("a:", "is not an image"),
        ("a:1:2", "is not an image"),
        ("-a", "is not an image"),
        ("a..b", "is not an image"),
        ("a___b", "is not an image"),
        ("a@sha256:12", "is not an image"),
        (f"a:{'x' * 129}", "is not an image"),
        ("Adapter", "has upper-case letters in its name"),
        ("reg.io/Team/adapter:1", "has upper-case letters in its name"),
        ("https://reg.io/a:1", "is an address, not an image"),
        ("f" * 64, "is 64 hexadecimal digits"),
        ("/".join(["a" * 50] * 6), "has a name of 305 letters"),
    ],
)
def test_what_is_no_docker_reference_is_refused(ref, why):
    assert why in rules.image(ref)[0]


def test_the_remedy_for_upper_case_is_a_reference_that_passes():
    _, remedy = rules.image("Reg.io/Team/Adapter:V1")
    assert 'use "Reg.io/team/adapter:V1"' in remedy
    assert rules.image("Reg.io/team/adapter:V1") is None


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_a_label_passes(name):
    assert rules.label(name) is None


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "ä", "a\n", None, 5])
def test_what_is_no_label_is_refused(name):
    assert rules.label(name) is not None


@pytest.mark.parametrize(("name", "fine"), [("a.b-c", True), ("a" * 253, True), ("a" * 254, False), ("A", False), ("a..b", False)])  # fmt: skip
def test_a_subdomain_is_labels_with_dots(name, fine):
    assert (rules.subdomain(name) is None) == fine


@pytest.mark.parametrize(
    ("key", "value", "fine"),
    [
        ("app", "x", True),
        ("node.kubernetes.io/instance-type", "Standard_NC24ads_A100_v4", True),
        ("app", "", True),
        ("app", 5, False),
        ("app", "x y", False),
        ("app", "x" * 64, False),
        ("a b", "x", False),
        ("/app", "x", False),
        ("Example.com/app", "x", False),
        ("a" * 64, "x", False),
        (5, "x", False),
    ],
)
def test_a_label_has_a_key_and_a_value_that_kubernetes_takes(key, value, fine):
    assert (rules.label_pair(key, value) is None) == fine


@given(ANYTHING)
def test_any_value_gets_an_answer(value):
    for rule in (rules.url, rules.image, rules.label, rules.subdomain):
        wrong = rule(value)
        assert wrong is None or all(part.endswith((".", "}")) for part in wrong if part)
    assert rules.label_pair(value, value) is None or True


@given(st.from_regex(r"[A-Za-z0-9./:@_-]{1,30}", fullmatch=True))
def test_an_image_that_passes_has_a_lower_case_name(ref):
    if rules.image(ref) is None:
        assert "//" not in ref
        assert not ref.startswith(("/", ".", "-", ":"))
