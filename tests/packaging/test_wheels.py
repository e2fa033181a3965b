"""What is published: its files, its metadata, and that it works where nothing else is installed."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import kaito_jupyter
import kaito_trainer

from .conftest import ROOT, Distributions, Environment

pytestmark = pytest.mark.timeout(900)  # environments are installed
NAMES = ("kaito-jupyter", "kaito-trainer")


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (n for n in opened.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(opened.read(name).decode())


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {n for n in opened.namelist() if ".dist-info/" not in n}


def test_both_carry_one_version_which_the_changelog_knows() -> None:
    assert kaito_jupyter.__version__ == kaito_trainer.__version__
    heads = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [head for head in heads if head != "Unreleased"]
    assert heads[0] == "Unreleased"
    if released:
        assert released[0] == kaito_jupyter.__version__, "the newest release in the CHANGELOG is another one"
    else:
        assert kaito_jupyter.__version__ == "0.1.0", "the first release is missing in the CHANGELOG"


@pytest.mark.parametrize("name", NAMES)
def test_metadata_says_what_it_is_and_what_it_needs(distributions: Distributions, name: str) -> None:
    said = metadata(distributions.wheels[name])
    assert said["Name"] == name
    assert said["Version"] == kaito_jupyter.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Requires-Python"] == ">=3.11"
    assert said.get_payload().strip(), "no README"
    classifiers = said.get_all("Classifier") or []
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(classifiers)
    needs = [Requirement(text) for text in said.get_all("Requires-Dist") or []]
    always = {need.name for need in needs if need.marker is None}
    assert not always & {"torch", "transformers", "peft", "trl", "datasets", "bitsandbytes"}


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_holds_the_package_and_nothing_else(distributions: Distributions, name: str) -> None:
    held = files(distributions.wheels[name])
    package = name.replace("-", "_")
    assert {path.split("/")[0] for path in held} == {package}
    assert f"{package}/py.typed" in held
    assert not [path for path in held if path.endswith((".js.map", ".pyc")) or "/js/" in path]
    home = ROOT if name == "kaito-jupyter" else ROOT / "trainer"
    modules = {str(p.relative_to(home)) for p in (home / package).rglob("*.py")}
    assert modules <= held, "modules that the wheel lacks"


def test_the_front_end_is_bundled_in_the_wheel_and_in_the_sdist(distributions: Distributions) -> None:
    bundle = {f"kaito_jupyter/panel/static/panel.{kind}" for kind in ("js", "css")}
    assert bundle <= files(distributions.wheels["kaito-jupyter"])
    with tarfile.open(distributions.sdists["kaito-jupyter"]) as opened:
        assert bundle <= {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}


def test_alone_it_gives_magics_cluster_and_panel(plain: Environment) -> None:
    said = plain.run(
        "import importlib.util, sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'kaito_jupyter')\n"
        "import kaito_jupyter, kaito_jupyter.cluster.client, kaito_jupyter.backends.kaito, kaito_jupyter.panel.widget\n"
        "import pandas as pd\n"
        "assert 'site-packages' in kaito_jupyter.__file__, kaito_jupyter.__file__\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "shell.user_ns['df'] = pd.DataFrame({'prompt': ['Say hi'] * 20, 'completion': [f'hi {i}' for i in range(20)]})\n"
        "print(shell.run_line_magic('kaito_tune', 'df --preset phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4"
        " --push-secret login --output image:registry/adapter:1 --yaml'))\n"
    )
    assert "kind: Workspace" in said
    assert "DataDestination" not in said


def test_alone_it_says_how_to_get_a_trainer_for_this_machine(plain: Environment) -> None:
    said = plain.run(
        "import pandas as pd, kaito_jupyter as kaito\n"
        "df = pd.DataFrame({'prompt': ['Say hi'] * 20, 'completion': [f'hi {i}' for i in range(20)]})\n"
        "try:\n"
        "    kaito.tune(df, preset='phi-4-mini-instruct', backend='local')\n"
        "except kaito.KaitoError as e:\n"
        "    print(type(e).__name__, e)\n"
    )
    assert "kaito-jupyter[local]" in said


def test_with_the_extra_it_trains_on_this_machine(local: Environment, tmp_path: Path) -> None:
    from tiny import conversations, make_model

    model = make_model(tmp_path / "tiny")
    said = local.run(
        "import kaito_jupyter as kaito, kaito_trainer, pandas as pd\n"
        "assert 'shared' not in kaito.__file__ and 'local' in kaito.__file__, kaito.__file__\n"
        "assert 'local' in kaito_trainer.__file__, kaito_trainer.__file__\n"
        f"df = pd.DataFrame({conversations(24)!r})\n"
        f"run = kaito.tune(df, preset={str(model)!r}, backend='local', max_steps=2, samples=0)\n"
        "run.wait(timeout=240)\n"
        "print(run.state.state)\n"
    )
    assert "Succeeded" in said
