"""The table of rights, and the files that are written from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kaito_jupyter.checkup import rights
from kaito_jupyter.checkup.__main__ import main
from kaito_jupyter.cluster.resources import SECRETS

DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.mark.parametrize("name", rights.shipped())
def test_what_is_shipped_is_what_the_table_says(name: str) -> None:
    why = "run `python -m kaito_jupyter.checkup deploy`"
    assert (DEPLOY / name).read_text(encoding="utf-8") == rights.shipped()[name], why


def test_the_files_are_valid_and_bind_the_role_that_is_there(tmp_path: Path) -> None:
    main(str(tmp_path / "deploy"))
    role, binding, look = (
        yaml.safe_load((tmp_path / "deploy" / f"{n}.yaml").read_text()) for n in ("role", "rolebinding", "cluster-role")
    )
    assert role == rights.role()
    assert look == rights.cluster_role()
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])


def test_no_right_is_more_than_it_says() -> None:
    for right in (*rights.RIGHTS, *rights.CLUSTER_WIDE):
        assert "*" not in right.verbs
        assert right.resource is not SECRETS
    words = [(right.what, verb) for right in rights.RIGHTS for verb in right.verbs]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("user", "kind", "name", "bound"),
    [
        ("system:serviceaccount:team-a:notebook", "ServiceAccount", "notebook", "kaito-jupyter-team-a-notebook"),
        ("Ann@Example.com", "User", "Ann@Example.com", "kaito-jupyter-ann-example.com"),
        ("###", "User", "###", "kaito-jupyter-user"),
    ],
)
def test_a_user_becomes_a_subject(user: str, kind: str, name: str, bound: str) -> None:
    binding = rights.binding(user, "team-a")
    assert (binding["subjects"][0]["kind"], binding["subjects"][0]["name"]) == (kind, name)
    assert binding["metadata"] == {"name": bound, "namespace": "team-a"}
