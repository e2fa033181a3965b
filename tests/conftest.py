"""For all tests: options of the test run, and Hypothesis without a stopwatch."""

from __future__ import annotations

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


def pytest_configure(config: pytest.Config) -> None:
    import os

    # What no test asked for must not go to a cluster: only those of `tests/cluster` know which one the user named.
    if named := os.environ.get("KUBECONFIG"):
        os.environ.setdefault("KAITO_TEST_KUBECONFIG", named)
    os.environ["KUBECONFIG"] = "/nowhere/kubeconfig"
    settings.load_profile("ci" if os.environ.get("CI") else "ours")
