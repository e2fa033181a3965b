"""The form in JupyterLab against a cluster: what is there is offered by name, and what is filled in becomes a Workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser.conftest import browser, jupyter, server
from browser.test_form import tab_to, write
from browsing import Jupyter
from own_jobs import push_secret, until
from playwright.sync_api import expect

from kaito_jupyter.cluster.client import Client
from kaito_jupyter.cluster.resources import WORKSPACES

pytestmark = [pytest.mark.cluster, pytest.mark.browser]
__all__ = ["browser", "jupyter", "server"]  # fixtures

SETUP = """import os, pandas as pd
os.environ["KUBECONFIG"] = "{}"
df = pd.DataFrame({{"prompt": [f"What is {{i}}?" for i in range(40)], "completion": [f"It is {{i}}." for i in range(40)]}})
%load_ext kaito_jupyter"""
SKU = "Standard_NC24ads_A100_v4"
"""Of the test cluster's node."""


@pytest.fixture
def client(cluster: Any, namespace: str) -> Iterator[Client]:
    made = Client.connect(kubeconfig=cluster.kubeconfig, namespace=namespace)
    push_secret(made, cluster.env["KAITO_CLUSTER_AUTH_FILE"])
    yield made
    made.close()


def offered(page: Any, label: str) -> list[str]:
    """What the field of that label has to choose from."""
    values: list[str] = page.get_by_label(label, exact=True).evaluate(
        "field => [...document.getElementById(field.getAttribute('list')).options].map(option => option.value)"
    )
    return values


def test_secrets_and_nodes_are_chosen_by_name_and_the_form_starts_a_workspace(
    jupyter: Jupyter, cluster: Any, client: Client, namespace: str
) -> None:
    registry = cluster.env["KAITO_CLUSTER_AUTH_REGISTRY"]
    cells = [
        SETUP.format(cluster.kubeconfig),
        f"form = %kaito_form df --namespace {namespace}",
        f"again = %kaito_form df --from by-hand --namespace {namespace} --backend kaito",
        "print(again.spec == form.spec, again.line == form.line, [p.path for p in again.problems if p.severity == 'error'])",
        "form.run.delete()",
    ]
    notebook = jupyter.open(jupyter.write("form-cluster.ipynb", cells))
    page = notebook.page
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Control+Enter")
    form = notebook.output(1).locator(".kaito-form")
    expect(form).to_contain_text("It runs by KAITO's operator", timeout=120_000)
    write(page, "Model", "phi-4-mini-instruct")
    write(page, "Name of the run", "by-hand")
    write(page, "Adapter goes to", f"image:{registry}/by-hand/adapter:1")
    expect(form).to_contain_text("an image is pushed with the login of a Secret", timeout=120_000)
    expect(form).to_contain_text("There now: push.", timeout=120_000)
    assert offered(page, "Push secret") == ["push"]
    assert offered(page, "GPU node (SKU)")[0] == SKU
    assert namespace in offered(page, "Namespace")
    write(page, "GPU node (SKU)", SKU)
    write(page, "Push secret", "push")
    expect(form).to_contain_text("Ready to start", timeout=120_000)
    expect(form).to_contain_text(f"one A100 of {SKU}", timeout=60_000)
    tab_to(page, "Submit")
    page.keyboard.press("Enter")
    made = until(lambda: client.find(WORKSPACES, "by-hand"), 180)
    assert made["resource"]["instanceType"] == SKU
    assert made["tuning"]["preset"]["name"] == "phi-4-mini-instruct"
    assert made["tuning"]["output"]["imagePushSecret"] == "push"
    expect(notebook.panel(1)).to_be_visible(timeout=120_000)
    expect(form).to_contain_text("by-hand was started", timeout=120_000)
    notebook.run(2)
    notebook.run(3, milliseconds=120_000)
    assert "True False []" in notebook.text(3), notebook.text(3)
    notebook.run(4)
    assert jupyter.problems == []


def test_who_may_not_list_secrets_writes_their_names(cluster: Any, namespace: str) -> None:
    from kaito_jupyter.forms import places, words

    client = Client.connect(kubeconfig=cluster.env["KAITO_CLUSTER_NOTEBOOK_KUBECONFIG"], namespace=namespace)
    offer = places.offer(client, namespace)
    client.close()
    assert offer.logins == ()
    told = words.secrets(offer.logins, offer.why("secrets"), "log in to a registry")
    assert told.startswith("You may not list Secrets here, so write its name (")
