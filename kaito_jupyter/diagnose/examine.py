"""A run's state, status and spec -> its `Diagnosis`, by the table of rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..spec import Target, TuningSpec
from ..state import RunState, duration
from ..status import TERMINAL
from .case import Case, gather
from .diagnosis import WELL, Diagnosis, plain, shown
from .notes import notes
from .rules import RULES, Rule
from .size import larger
from .stall import Stall, stalled

NO_CONTACT = "no contact with the cluster"
"""How a backend says that it hears nothing."""


def diagnose(
    state: RunState,
    spec: TuningSpec,
    target: Target,
    *,
    name: str,
    now: float,
    rows: int | None = None,
    heard: float | None = None,
    written: float | None = None,
) -> Diagnosis:
    """What is wrong with the run at `now` (seconds since the epoch). Hold the run's lock. Never raises.

    `rows` as `TuningSpec.effective_config` takes them; `heard` and `written` as `stalled` does.
    """
    case = gather(state, spec, target, rows=rows)
    said = "\n".join((case.said, *case.details))
    if case.state in ("Succeeded", "Cancelled"):
        verb = "resume" if case.state == "Cancelled" else ""
        command = _command(name, verb, case)
        return Diagnosis(
            name, WELL, _well(case, state, now), state=case.state, command=command, notes=notes(state, case)
        )
    lost = NO_CONTACT in case.place  # then silence is ours
    if not lost and (stuck := stalled(state, now, case.config, heard=heard, written=written)):
        return _stalled(name, case, stuck)
    for rule in RULES:
        found = _match(rule, case, said)
        if found is not None:
            return _told(name, rule, case, found)
    return Diagnosis(name, WELL, _well(case, state, now), state=case.state, notes=notes(state, case))


def _match(rule: Rule, case: Case, said: str) -> dict[str, str] | None:
    """The named groups of a rule that fits; None for one that does not."""
    if rule.when == "failed" and not case.failed:
        return None
    if rule.when == "waiting" and case.failed:
        return None
    if rule.kinds and case.kind not in rule.kinds:
        return None
    groups: dict[str, str] = {}
    place, words = rule.patterns
    if place is not None:
        found = place.search(case.place)
        if found is None:
            return None
        groups |= _groups(found)
    if words is not None:
        found = words.search(said) or _latest(words, case.lines)
        if found is None:
            return None
        groups |= _groups(found)
    return groups


def _latest(pattern: re.Pattern[str], lines: Iterable[str]) -> re.Match[str] | None:
    found = None
    for line in lines:
        found = pattern.search(line) or found
    return found


def _groups(found: re.Match[str]) -> dict[str, str]:
    return {k: v.strip().rstrip(".") for k, v in found.groupdict().items() if v}


def _told(name: str, rule: Rule, case: Case, groups: dict[str, str]) -> Diagnosis:
    words = _Words(case.words() | groups | ({"larger": larger(case)} if "{larger}" in rule.remedy else {}))
    sentence, remedy = plain(rule.sentence.format_map(words)), plain(rule.remedy.format_map(words))
    fix = rule.mend(case) if rule.mend is not None and case.failed else None
    if fix is not None:
        does = " and ".join(f"{c.path.split('.')[1]} {c.shown}" for c in fix.changes)
        remedy = f"Set {does}. If that does not help: {remedy[0].lower()}{remedy[1:]}"
    elif case.advice:
        remedy = f"{plain(case.advice)} {remedy}"
    if "beside it" in case.place and case.state == "Failed":
        remedy += " Its pod goes on and holds the GPU until the run is resumed or deleted."
    if case.retrying:
        first, space, rest = sentence.partition(" ")
        lower = first.lower() if first[1:].islower() else first  # not a name, such as LoRA or KAITO
        sentence = f"Retrying, after this: {lower}{space}{rest}"
    return Diagnosis(
        name,
        rule.cause,
        sentence,
        remedy,
        shown(_evidence(rule, case)),
        case.state,
        case.retrying,
        fix,
        _command(name, "resume --fix" if fix is not None else rule.then, case),
    )


def _command(name: str, verb: str, case: Case) -> str:
    """The line to type next. A run that is alive is ended by it, which has to be said."""
    if "--instance-type" in verb and case.target != "kaito":
        verb = "logs"
    word, _, options = verb.partition(" ")
    alive = case.state not in TERMINAL and word in ("resume", "delete")
    return " ".join(filter(None, (f"%kaito {word} {name}", options, "--yes" if alive else ""))) if word else ""


def _evidence(rule: Rule, case: Case) -> Iterator[str]:
    """The place's words, the program's, then the lines that show the signs, then the log's end."""
    yield case.place
    yield case.said
    yield from [detail for detail in case.details if detail not in case.lines][:4]
    if case.failed:
        _, words = rule.patterns
        if words is not None:
            yield from [line for line in case.lines if words.search(line)][-3:]
        yield from (case.lines or case.details)[-3:]


def _stalled(name: str, case: Case, stuck: Stall) -> Diagnosis:
    usual = "" if stuck.usual is None else f", where one usually takes {duration(max(1.0, stuck.usual))}"
    step = f"step {stuck.step}" + (f" of {case.total}" if case.total else "")
    sentence = f"No step since {duration(stuck.silent)}{usual}: the trainer hangs after {step}."
    remedy = (
        "End it and run it again. A trainer that hangs at the same step again is stuck in its data or between its GPUs: "
        "look at its last lines."
    )
    evidence = shown((f"the last step was {step}, {duration(stuck.silent)} ago", case.place, *case.lines[-4:]))
    return Diagnosis(name, "stall", sentence, remedy, evidence, case.state, command=_command(name, "resume", case))


def _well(case: Case, state: RunState, now: float) -> str:
    return f"Nothing is wrong: {state.describe(now)}."


class _Words(dict[str, Any]):
    """Words for a template; one that nobody said is left open."""

    def __missing__(self, key: str) -> str:
        return "no reason was given"


__all__ = ["diagnose"]
