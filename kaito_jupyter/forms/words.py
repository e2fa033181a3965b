"""What the form says, as HTML: where it runs, what the data looks like, what is found. Everything foreign is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from kaito_trainer.contract import Problem

from ..presets import advice as advised
from ..presets import find, model
from ..spec import Target, TuningSpec, find_option
from .controls import WORDS, marked
from .line import text_of
from .seen import Seen

_BEGIN: Final = ("r", "learning_rate", "per_device_train_batch_size")
"""Words of `presets.advice` that are fields of the training."""


def where(seen: Seen) -> str:
    """Where it goes, and why."""
    place = {"local": "on this machine", "job": "as our own Job on the cluster", "kaito": "by KAITO's operator"}[
        seen.target
    ]
    why = "" if seen.why == "It was asked for." else f" {escape(seen.why)}"
    way = f" {escape(seen.route)}" if seen.route else ""
    return f"<p>It runs <b>{place}</b>.{why}{way}</p>"


def data(seen: Seen) -> str:
    """The data as the model sees it; before that is known, as it is."""
    if seen.look is not None:
        return seen.look._repr_html_()
    return "" if seen.dataset is None else seen.dataset._repr_html_()


def advice(preset: str) -> str:
    """What is known of the model."""
    known, preset_of_kaito = model(preset), find(preset)
    if known is None:
        return (
            "<p>KAITO tunes its presets; any other model is trained by our own trainer (backend local or job).</p>"
            if preset
            else ""
        )
    facts = [f"{known.parameters / 1e9:.2f} billion parameters", f"context {known.shape.context:,} tokens"]
    facts.append("a preset of KAITO" if preset_of_kaito and not preset_of_kaito.retired else "no preset of KAITO")
    told = ", ".join(
        f'<span title="{escape(s.source)}">{escape(name)} {escape(_short(s.value))}</span>'
        for name, s in advised(preset).items()
        if name in (*_BEGIN, "instance_type")
    )
    return f"<p><b>{escape(known.id)}</b>: {', '.join(facts)}. Good to begin with: {told}.</p>"


def beginning(spec: TuningSpec, target: Target) -> dict[str, str]:
    """Path -> text of the values to begin with that the spec leaves open; the GPU node only where there are some."""
    found: dict[str, str] = {}
    said = spec.config.to_dict()
    for name, sourced in advised(spec.preset).items():
        if name == "instance_type" and target != "local" and not spec.resource.instance_type:
            found["resource.instanceType"] = str(sourced.value)
        option = find_option(name) if name in _BEGIN else None
        if option is None or option.name in said.get(option.section, {}):
            continue
        if (text := text_of(option.path, sourced.value)) is not None:
            found[option.path] = text
    return found


def _short(value: Any) -> str:
    return (
        ", ".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def secrets(names: Sequence[str], why: str, what: str) -> str:
    """What there is to choose from, or why nothing is shown."""
    if why:
        return f"You may not list Secrets here, so write its name ({why})."
    if not names:
        return f"No Secret of this namespace seems to {what}."
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"There now: {', '.join(names[:4])}{more}."


def estimate(seen: Seen) -> str:
    """Memory as a bar."""
    if seen.size is None:
        when = (
            "the numbers above are sound" if seen.errors and model(seen.spec.preset) else "the model's numbers are here"
        )
        return f"<p class='kf-quiet'>Reckoned once {when}.</p>"
    return seen.size._repr_html_()


def yaml(seen: Seen) -> str:
    """What would be sent."""
    return f'<pre tabindex="0" role="region" aria-label="YAML">{escape(seen.to_yaml())}</pre>'


def standing(seen: Seen) -> str:
    """How it stands, in a sentence."""
    errors = len(seen.errors)
    warnings = sum(p.severity == "warning" for p in seen.problems)
    if errors:
        return f"{_count(errors, 'error')} to mend before it can start."
    ready = "Ready to start" if seen.whole else "No error so far; the place is being asked"
    return f"{ready}, with {_count(warnings, 'warning')}." if warnings else f"{ready}."


def findings(seen: Seen, loose: Sequence[Problem]) -> str:
    """How it stands, then what belongs to no field, then where the errors are."""
    grave = bool(seen.errors)
    head = f"<p class='kf-standing{' kf-error' if grave else ''}' role='status'>{'✕' if grave else '✓'} {standing(seen)}</p>"
    shown = [*(p for p in seen.errors if p not in loose), *loose]
    rows = "".join(
        f"<li class='kf-finding kf-{p.severity}'><b>{WORDS[p.severity]}</b> <code>{escape(p.path)}</code> "
        f"{marked(f'{p.message} {p.remedy}'.strip())}</li>"
        for p in shown
    )
    return f"{head}<ul>{rows}</ul>" if rows else head


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def repeat(line: str) -> str:
    """The line to copy."""
    rows = min(8, line.count("\n") + 1 + len(line) // 70)
    return (
        "<p class='kf-label'>The same as a line, to copy</p>"
        f"<textarea class='kf-line' readonly rows='{rows}' spellcheck='false' aria-label='The magic line that repeats this form'>"
        f"{escape(line)}</textarea>"
    )
