"""For all tests: options of the test run, and Hypothesis without a stopwatch."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A busy machine is no defect; the same examples are drawn in every run of CI, so that a red one can be looked at.
settings.register_profile("ours", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster",
        action="store_true",
        help="run the tests that need a Kubernetes cluster: the one of KUBECONFIG, else a test cluster that is started",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI, what talks to real servers and browsers gets up to two more tries, and the summary names each that took it.

    All else, and all on a developer's machine, has one: what fails there now and then shall be seen and understood.
    """
    if not os.environ.get("CI"):
        return
    for item in items:
        if item.path.parent.name in ("cluster", "browser"):
            item.add_marker(pytest.mark.flaky(reruns=2))


def pytest_configure(config: pytest.Config) -> None:
    # What no test asked for must not go to a cluster: only those of `tests/cluster` know which one the user named.
    if named := os.environ.get("KUBECONFIG"):
        os.environ.setdefault("KAITO_TEST_KUBECONFIG", named)
    os.environ["KUBECONFIG"] = "/nowhere/kubeconfig"
    os.environ["KAITO_HISTORY"] = "off"  # what tests run is nobody's history; those that look at one name a file
    settings.load_profile("ci" if os.environ.get("CI") else "ours")
