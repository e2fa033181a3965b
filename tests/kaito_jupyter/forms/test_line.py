"""The line that a form writes, read by the magic, gives the form's spec: for any values that its fields may hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from kernels import kernel

from kaito_jupyter.forms.draft import Draft
from kaito_jupyter.forms.line import line, quoted, unsaid
from kaito_jupyter.magics.arguments import read
from kaito_jupyter.magics.line import expand, split
from kaito_jupyter.magics.tune import given_columns, given_configuration, given_options
from kaito_jupyter.spec import DataDestination, DataSource, Placement, ResourceSpec, TuningSpec
from kaito_trainer.contract import METHODS, Option, TrainingConfig, options

ODD = "abcXYZ019 _-.,:;=#%$@!?'\"`\\/()[]{}<>|&*+~^éß→"
TEXTS = st.text(st.sampled_from(ODD), min_size=1, max_size=24).map(str.strip).filter(bool)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)
NAMESPACE = {"X": "never", "abc": 1, "df": None, "a": "{b}"}


def values(option: Option) -> st.SearchStrategy[Any]:
    """Values of the option's types, allowed and not."""
    words = st.sampled_from(option.choices) if option.choices else TEXTS
    kinds: dict[type, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(-(10**9), 10**9),
        float: st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 100),
        str: words | TEXTS.map(lambda text: f"{text}\n{text}"),
        list: st.lists(TEXTS | NAMES, max_size=4),
        dict: st.dictionaries(NAMES, st.integers(0, 9) | TEXTS, max_size=3),
    }
    return st.one_of(*(kinds[kind] for kind in option.types))


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    chosen = draw(st.lists(st.sampled_from(options()), max_size=6, unique=True))
    sections: dict[str, dict[str, Any]] = {}
    for option in chosen:
        sections.setdefault(option.section, {})[option.name] = draw(values(option))
    if draw(st.booleans()):
        sections.setdefault("TrainingArguments", {})[draw(NAMES).replace("-", "_") + "_zz"] = draw(
            st.integers(0, 9) | st.booleans() | TEXTS | st.lists(st.integers(0, 9), max_size=3)
        )
    image = draw(st.booleans())
    output = draw(
        st.just(DataDestination())
        | TEXTS.map(lambda t: DataDestination(path=f"/mnt/{t}"))
        | NAMES.map(lambda n: DataDestination(volume_source={"persistentVolumeClaim": {"claimName": n}}))
    )
    source = draw(
        st.just(DataSource())
        | NAMES.map(lambda n: DataSource(image=f"registry.example.com/{n}:1", image_pull_secrets=(n,)))
        | NAMES.map(lambda n: DataSource(urls=(f"s3://{n}/data",)))
        | NAMES.map(
            lambda n: DataSource(volume_source={"persistentVolumeClaim": {"claimName": n}}, path=f"{n}/x.parquet")
        )
    )
    maybe = st.none() | NAMES
    spec = TuningSpec(
        preset=draw(st.sampled_from(("phi-4", "owner/model-1")) | TEXTS),
        method=draw(st.sampled_from(METHODS)),
        name=draw(maybe),
        input=source,
        output=DataDestination(image="registry.example.com/a:1", image_push_secret=draw(maybe)) if image else output,
        resource=ResourceSpec(instance_type=draw(maybe)),
        model_access_secret=draw(maybe),
        config=TrainingConfig.from_dict(sections),
        placement=Placement(
            image=draw(maybe),
            gpus=draw(st.none() | st.integers(0, 8)),
            queue=draw(maybe),
            private_urls=draw(st.booleans()),
        ),
    )
    backend = draw(st.sampled_from(("auto", "local", "job", "kaito")))
    columns = draw(st.just(()) | TEXTS.map(lambda t: (("text_column", t),)))
    return Draft(spec, backend, context=draw(maybe), namespace=draw(maybe), columns=columns, word="df")


def read_back(text: str, magics: Any) -> Draft:
    """What the magic reads, as a draft."""
    first, _, body = text.partition("\n")
    cell = body if first.startswith("%%") else None
    words = split(first.partition(" ")[2])
    assert not words.unclosed
    arguments = read(magics.kaito_tune.parser, words.words, NAMESPACE)
    found = list(arguments.problems)
    given = {
        k: v for k, v in given_options(magics, arguments, found).items() if v is not None and k not in ("strict", "fix")
    }
    config = given_configuration(arguments, cell, found)
    assert found == []
    made = Draft.of_options(config=config, **given, **{k: v for k, v in given_columns(arguments).items() if v})
    return replace(made, word=arguments.words["data"].text)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(draft=drafts())
def test_a_line_read_by_the_magic_is_the_draft_that_wrote_it(shell: InteractiveShell, draft: Draft) -> None:
    text = line(draft)
    magics = shell.find_line_magic("kaito_tune").__self__
    assert unsaid(draft) == []
    assert read_back(text, magics) == draft, text


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_a_quoted_text_is_one_word_that_means_itself(text: str) -> None:
    (word,) = split(f"{quoted(text)}").words
    assert expand(word.text, NAMESPACE) == text


@pytest.mark.parametrize(
    ("draft", "text"),
    [
        pytest.param(Draft(word="df"), "%kaito_tune df", id="nothing said"),
        pytest.param(Draft.of_options(preset="phi-4", method="lora", backend="auto"), "%kaito_tune --preset phi-4", id="defaults"),
        pytest.param(
            Draft.of_options(preset="phi-4", epochs=2, learning_rate="2e-4", r=16, target_modules=["q_proj", "v_proj"]),
            "%kaito_tune --preset phi-4 --rank 16 --set 'LoraConfig.target_modules=q_proj, v_proj' --epochs 2 "
            "--learning-rate 0.0002",
            id="flags where there are flags",
        ),
        pytest.param(
            Draft.of_options(preset="phi-4", chat_template="{{ a }}\n{{ b }}"),
            "%%kaito_tune --preset phi-4\nModelConfig:\n  chat_template: |-\n    {{ a }}\n    {{ b }}\n",
            id="lines go below",
        ),
        pytest.param(
            Draft(TuningSpec(preset="phi-4", resource=ResourceSpec(label_selector={"matchLabels": {"a": "b"}})), word="df"),
            "%kaito_tune df --preset phi-4  # not said by this line: resource.labelSelector",
            id="what came with a run",
        ),
    ],
)  # fmt: skip
def test_only_what_differs_from_the_defaults_is_written(draft: Draft, text: str) -> None:
    assert line(draft) == text


def test_the_line_in_a_fresh_kernel_gives_an_equal_spec(tmp_path: Any) -> None:
    draft = Draft.of_options(
        preset="HuggingFaceTB/SmolLM2-135M-Instruct", backend="local", name="from-a-form", epochs=1, r=4,
        learning_rate=3e-4, output=str(tmp_path / "it's {here} $df"),
        config={"ModelConfig": {"chat_template": "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"}},
        assignments=["LoraConfig.target_modules=[q_proj]", "TrainingArguments.optim_args='a=1, b=$x {y}'"],
    )  # fmt: skip
    text = line(replace(draft, word="df"))
    first, newline, body = text.partition("\n")
    assert (first[:14], bool(newline)) == ("%%kaito_tune d", True)
    asked = f"plan = get_ipython().run_cell_magic('kaito_tune', {first[13:] + ' --dry-run'!r}, {body!r})"
    with kernel(tmp_path, {"KUBECONFIG": str(tmp_path / "none")}) as fresh:
        fresh.run("import pandas as pd\ny, x = 1, 2\n%load_ext kaito_jupyter")
        fresh.run("df = pd.DataFrame({'prompt': ['a'] * 40, 'completion': ['b'] * 40})")
        fresh.run(asked)
        said = fresh.run("print(plan.spec.to_yaml())")
    assert TuningSpec.from_yaml(said) == draft.placed(None)
