"""The documentation is true: its code runs, its links lead somewhere, its reference is complete, and the site needs nobody else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from docs_world import DOCS, ROOT, Block, blocks, make_world
from kernels import Kernel, kernel

sys.path.insert(0, str(DOCS / "_site"))
import reference

WRITTEN = {str(f.relative_to(ROOT)): f.read_text(encoding="utf-8") for f in [*DOCS.rglob("*.md"), ROOT / "README.md"]}
PAGES = {**WRITTEN, **{f"docs/{path}": text for path, text in reference.pages()}}
CODE = sorted(path for path, text in PAGES.items() if any(b.language == "python" and not b.mark.startswith("not run") for b in blocks(text)))  # fmt: skip
HOSTS = {
    "github.com", "huggingface.co", "keepachangelog.com", "kaito-project.github.io", "semver.org",
    "squidfunk.github.io", "pytorch.org", "registry.example.com", "example.com",
}  # fmt: skip
"""Where links of the documentation lead: another one is a typo, or is added here by somebody who has looked."""


START = "docs/start.md"
"""Every reader's first page: the others speak of the run `support-bot` that it makes."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel in the world of the documentation, in which somebody has followed the first page."""
    home = tmp_path_factory.mktemp("docs")
    with kernel(home, make_world(home)) as made:
        follow(START, made)
        yield made


def follow(page: str, world: Kernel) -> None:
    """Run the code of a page, from top to bottom."""
    world.run("%reset -f")
    for block in blocks(PAGES[page]):
        if block.language != "python" or block.mark.startswith("not run"):
            continue
        if block.mark != "raises":
            world.run(block.code)
            continue
        with pytest.raises(AssertionError) as raised:
            world.run(block.code)
        said = re.sub(r"\x1b\[[\d;]*m", "", str(raised.value))
        assert "kaito: " in said, f"line {block.line} fails in another way: {said}"
        assert "Traceback" not in said, f"line {block.line} shows a traceback"


@pytest.mark.train
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", CODE)
def test_the_code_of_a_page_does_what_the_page_says(page: str, world: Kernel) -> None:
    if page != START:
        follow(page, world)
        return
    world.run("import kaito_jupyter\nassert kaito_jupyter.watch('support-bot').state.state == 'Succeeded'")


def test_every_block_is_run_or_says_why_not() -> None:
    found = [(page, b) for page, text in PAGES.items() for b in blocks(text)]
    assert len(found) > 60
    for page, block in found:
        where = f"{page}, line {block.line}"
        if block.language == "bash":
            assert block.mark.startswith("not run: "), f"{where}: say why it is not run"
        elif block.language == "python":
            assert block.mark in ("", "raises") or block.mark.startswith("not run: "), f"{where}: {block.mark}"
        elif block.language == "json":
            json.loads(block.code)
        else:
            assert block.language in ("yaml", "text"), f"{where}: what is {block.language!r}?"


@pytest.mark.parametrize(
    ("page", "block"),
    [pytest.param(p, b, id=f"{p}:{b.line}") for p, t in PAGES.items() for b in blocks(t) if b.language == "yaml"],
)
def test_yaml_is_what_we_take(page: str, block: Block) -> None:
    from kaito_jupyter.spec import TuningSpec, read_config

    documents = [d for d in yaml.safe_load_all(block.code) if d]
    assert documents
    if block.mark:  # KAITO's or Kubernetes' alone
        return
    if "training_config" in documents[0]:
        assert read_config(block.code)
        return
    spec = TuningSpec.from_yaml(block.code)
    assert [p for p in spec.check("kaito") if p.severity == "error"] == []


class Page(HTMLParser):
    """A built page: what it links to, what it loads, and where one may jump to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loads.append(given["href"])
        elif given.get("src"):
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The site as `make docs` builds it: not one warning."""
    out = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {file: Page(file) for file in out.rglob("*.html")}


def test_the_site_builds_without_a_warning_and_all_its_links_lead_somewhere(site: dict[Path, Page]) -> None:
    assert len(site) > 30
    astray = []
    for file, page in site.items():
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            found = target.is_file() and (not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in site[target].anchors)  # fmt: skip
            if not found:
                astray.append(f"{file.name}: {link}")
    assert astray == []


def test_the_site_loads_nothing_from_elsewhere(site: dict[Path, Page]) -> None:
    assert {load for page in site.values() for load in page.loads if urlsplit(load).netloc} == set()
    (index,) = {f for page in site for f in page.parent.glob("search/search_index.json")}
    assert len(json.loads(index.read_text(encoding="utf-8"))["docs"]) > 100


def test_links_to_elsewhere_are_addresses_of_known_places(site: dict[Path, Page]) -> None:
    external = {link for page in site.values() for link in page.links if urlsplit(link).netloc}
    assert external
    assert {link for link in external if urlsplit(link).scheme != "https" or " " in link} == set()
    assert {urlsplit(link).hostname for link in external} <= HOSTS


def test_the_reference_has_every_option_verb_and_public_name() -> None:
    import kaito_jupyter
    from kaito_jupyter.magics.kaito import VERBS
    from kaito_trainer.contract import options

    listed = PAGES["docs/reference/options.md"]
    for option in options():
        (row,) = [line for line in _section(listed, option.section) if line.startswith(f"| `{option.name}` ")]
        assert option.help.split(".")[0].replace("|", "\\|")[:40] in row
        assert option.flag in row
    magics = PAGES["docs/reference/magics.md"]
    assert [v for v in VERBS if f"## `%kaito {v}`" not in magics] == []
    python = PAGES["docs/reference/python.md"]
    assert [n for n in kaito_jupyter.__all__ if f"heading: kaito_jupyter.{n}\n" not in python] == []


def test_every_environment_variable_of_ours_is_told() -> None:
    code = [f for package in ("kaito_jupyter", "trainer/kaito_trainer") for f in (ROOT / package).rglob("*.py")]
    ours = {name for f in code for name in re.findall(r"\bKAITO_[A-Z_]+[A-Z]\b", f.read_text(encoding="utf-8"))}
    assert {name for name in ours if f"`{name}`" not in PAGES["docs/reference/environment.md"]} == set()


def test_a_new_option_is_in_the_reference_as_soon_as_the_contract_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from kaito_trainer.contract import options

    made_up = replace(options()[-1], name="made_up", help="Made up.", choices=("a", "b"), flag="--made-up")
    monkeypatch.setattr(reference, "options", lambda: (*options(), made_up))
    page = reference.options_page()
    assert "| `made_up` | Made up. | " in page
    assert "| `a`, `b` | `--made-up` |" in page


def test_the_architecture_shows_each_layer_of_the_law_with_its_promise() -> None:
    import house

    table = house.layers()
    assert "| `magics` | " in table
    assert [line for line in table.splitlines() if line.endswith("|  |")] == []  # a room without a docstring
    assert "kaito-jupyter" in house.role()


def _section(page: str, name: str) -> list[str]:
    lines = page.splitlines()
    start = lines.index(f"## {name}") + 1
    return lines[start : next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines))]


def test_pictures_of_the_documentation_are_there_and_have_a_text() -> None:
    for page, text in WRITTEN.items():
        for alternative, link in re.findall(r"!\[(.*?)\]\((.*?)\)", text):
            assert alternative, f"{page}: {link} has no text for who cannot see it"
            assert ((ROOT / page).parent / link).is_file(), f"{page}: {link}"


def test_magics_verbs_and_options_that_pages_speak_of_exist() -> None:
    from kaito_jupyter.magics.kaito import VERBS
    from kaito_jupyter.magics.kaito_magics import KaitoMagics

    parsers = [KaitoMagics.kaito_tune.parser, KaitoMagics.kaito_form.parser, *(v.parser for v in VERBS.values())]
    options = {name for parser in parsers for name in parser._option_string_actions}
    for page, text in WRITTEN.items():
        for block in blocks(text):
            text = text.replace(block.code, "") if block.mark == "raises" else text
        said = "\n".join(
            line for line in text.splitlines() if not line.startswith(("pip ", "kubectl ", "| a ", "| in "))
        )
        verbs = set(re.findall(r"%kaito ([a-z]+)", said))
        assert verbs <= set(VERBS), f"{page}: {verbs - set(VERBS)}"
        spans = "\n".join(re.findall(r"`([^`]*%kaito[^`]*|--[^`]+)`", said))
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", spans))
        assert flags <= options, f"{page}: {flags - options}"
