"""`Reader`: text of the stock trainer's log in, events out."""

from __future__ import annotations

import math
import re
import time as _time
from collections.abc import Callable
from typing import Any, Final

from kaito_trainer.contract.events import Evaluate, Event, Payload, Phase, Save, TrainBegin, TrainEnd

from .bars import BAR, ESCAPES, Bar, bar
from .errors import Tracebacks
from .steps import Steps

LONGEST: Final = 1 << 20
"""Characters of a line that are kept while its end has not come."""

_DICT: Final = re.compile(r"\{'(?:[\w./ -]{1,80})': [^{}\r\n]{1,4000}\}")
_PAIR: Final = re.compile(r"'(?P<key>[\w./ -]{1,80})': (?:'(?P<text>[^']{0,200})'|(?P<plain>[^,}']{1,200}))")
_ENDS: Final = re.compile(r"[\r\n]")
_PARAMETERS: Final = re.compile(r"trainable params: ([\d,]{1,30}) \|\| all params: ([\d,]{1,30})")
_TOTAL: Final = re.compile(r"Total optimization steps = ([\d,]{1,15})")
_EPOCHS: Final = re.compile(r"Num Epochs = ([\d,]{1,12})")
_CHECKPOINT: Final = re.compile(r"Saving model checkpoint to (\S{1,1000})")
_STEP: Final = re.compile(r"checkpoint-(\d{1,15})")
_PHASES: Final = (
    ("downloading", re.compile(r"^(?:downloading|fetching \d{1,6} files)", re.IGNORECASE)),
    ("loading", re.compile(r"\bloading (?:checkpoint shards|weights|pipeline)|model loaded", re.IGNORECASE)),
    (
        "tokenizing",
        re.compile(
            r"loaded \d{1,12} examples|"
            r"^(?:map|filter|tokeniz|truncat|packing|adding eos|applying|converting|formatting|generating)",
            re.IGNORECASE,
        ),
    ),
)
"""Phases, and how the lines and the bars' descriptions begin that tell of them."""
_DETAIL: Final = 200


class Reader:
    """Reads a log that comes in pieces. What is known of the run makes the step numbers certain from the first on.

    `logging_steps` as in the configuration (below 1: a share of all steps), `max_steps` all optimiser steps, `epochs`
    the `num_train_epochs`. `clock` gives the time for text of which nobody knows when it was written.
    """

    def __init__(
        self,
        *,
        logging_steps: float | None = None,
        max_steps: int | None = None,
        epochs: float | None = None,
        clock: Callable[[], float] = _time.time,
    ) -> None:
        self._steps = Steps(logging_steps, max_steps, epochs)
        self._clock = clock
        self._seq = 0
        self._half = ""
        self._begun = self._over = self._completed = False
        self._epoch = 0.0  # of the latest dict
        self._phase = ""
        self._facts: dict[str, int] = {}
        self._held: dict[str, float] | None = None
        self._tracebacks = Tracebacks()
        self._time: float | None = None
        self._anchor: float | None = None
        self._spent = 0
        self._events: list[Event] = []

    def feed(self, text: str, time: float | None = None) -> list[Event]:
        """The events in the text so far. A line's rest is kept until its end comes. Never raises.

        `time`: when it was written (seconds since the epoch), if that is known.
        """
        self._events, self._time = [], time
        *lines, half = _ENDS.split(self._half + text)
        self._half = half[-LONGEST:]
        for line in lines:
            if line:
                self._line(line)
        return self._events

    def _line(self, line: str) -> None:
        nested = "\x1b[A" in line  # drawn below another bar: an evaluation's
        if "\x1b" in line:
            line = ESCAPES.sub("", line)
        if "%|" not in line and "{'" not in line:
            self._text(line)
            return
        at = 0
        found = [m for pattern in (BAR, _DICT) for m in pattern.finditer(line)]
        for match in sorted(found, key=re.Match.start):
            if match.start() < at:
                continue
            before, at = line[at : match.start()], match.end()
            if match.re is _DICT:
                self._text(before)
                self._dict(match[0])
                continue
            what = before.strip()
            if (drawn := bar(match)) is not None:
                if what.endswith(":"):
                    self._described(what[:-1], drawn)
                    continue
                if not nested and drawn.counts_steps:
                    self._training(drawn)
            self._text(before)
        self._text(line[at:])

    # Bars

    def _training(self, drawn: Bar) -> None:
        done, total = int(drawn.done), int(drawn.total)
        # A bar comes with its newline, so after a completed training's last line: it is no new beginning.
        again = self._over and not self._completed and done == 0
        if not self._begun or again:
            self._anchor = None
            self._begin(done, total)
        elif total != self._steps.total:
            return
        if self._anchor is None:
            self._anchor = self._clock() - drawn.spent
        self._spent = max(self._spent, drawn.spent)
        moved = self._steps.draw(done)
        self._release()
        if moved:
            self._emit(Phase(phase="training", done=done, total=total, unit="steps"))

    def _described(self, what: str, drawn: Bar) -> None:
        for phase, pattern in _PHASES:
            if pattern.search(what):
                self._phase = phase
                self._emit(
                    Phase(
                        phase=phase,
                        detail=what[:_DETAIL],
                        done=int(drawn.done),
                        total=int(drawn.total),
                        unit=drawn.unit or None,
                    )
                )
                return

    def _begin(self, step: int, total: int | None) -> None:
        self._begun, self._over, self._completed, self._held, self._spent = True, False, False, None, 0
        self._tracebacks.reset()
        if total is not None:
            self._steps.begin(step, total)
        most = total if total is not None else self._steps.total
        facts: dict[str, Any] = {"num_train_epochs": self._steps.epochs, **self._facts}
        values = TrainBegin(max_steps=most or 0, global_step=step, **facts).to_dict()
        if most is None:
            del values["max_steps"]
        self._add("train_begin", values)

    # Dicts

    def _dict(self, text: str) -> None:
        values = _numbers(text)
        if "train_runtime" in values:
            self._end(values)
        elif "eval_loss" in values:
            self._release()
            others = {k: v for k, v in values.items() if k not in ("eval_loss", "epoch")}
            step = self._steps.now()
            self._emit(
                Evaluate(global_step=step, eval_loss=values["eval_loss"], epoch=values.get("epoch"), metrics=others)
            )
        elif "'loss'" in text and ("epoch" in values or "learning_rate" in values):
            self._log(values)

    def _log(self, values: dict[str, float]) -> None:
        # The sentence that ends a training comes on another stream than its dicts, and may overtake the last of them.
        straggler = self._completed and values.get("epoch", 0.0) > self._epoch
        self._epoch = values.get("epoch", 0.0)
        if self._completed and self._steps.total and not straggler:
            self._begin(0, self._steps.total)  # the next revision of the run
        elif not self._begun:
            self._begin(0, None)
        self._release()
        step = self._steps.log(values.get("epoch"))
        if step is None:
            self._held = values
        else:
            self._add("log", {"global_step": step, **values})

    def _release(self) -> None:
        """Give the dict that waited for a step number."""
        if self._held is not None:
            values, self._held = self._held, None
            self._add("log", {"global_step": self._steps.late(), **values})

    def _end(self, values: dict[str, float]) -> None:
        self._release()
        if self._over:
            return
        self._over = self._completed = True
        self._emit(
            TrainEnd(
                status="completed",
                global_step=self._steps.total if self._steps.total and self._begun else self._steps.now(),
                train_runtime=values.get("train_runtime"),
                train_loss=values.get("train_loss"),
            )
        )

    # Sentences

    def _text(self, line: str) -> None:
        if not line or line.isspace():
            return
        if (error := self._tracebacks.feed(line.rstrip())) is not None:
            self._release()
            self._over = True
            self._emit(error)
        elif match := _PARAMETERS.search(line):
            trainable, total = (int(number.replace(",", "") or 0) for number in match.groups())
            self._facts = {"trainable_parameters": trainable, "total_parameters": total}
        elif match := _TOTAL.search(line):
            self._steps.total = int(match[1].replace(",", "") or 0) or self._steps.total
        elif match := _EPOCHS.search(line):
            self._steps.epochs = float(match[1].replace(",", "") or 0) or self._steps.epochs
        elif match := _CHECKPOINT.search(line):
            step = _STEP.search(match[1])
            self._emit(Save(global_step=int(step[1]) if step else self._steps.now(), path=match[1]))
        elif "Fine-Tuning completed" in line:
            self._end({})
        elif not self._begun:
            for phase, pattern in _PHASES:
                if phase != self._phase and pattern.search(line.strip()):
                    self._phase = phase
                    self._emit(Phase(phase=phase, detail=line.strip()[:_DETAIL]))
                    return

    def _emit(self, payload: Payload) -> None:
        self._add(payload.TYPE, payload.to_dict())

    def _add(self, kind: str, values: dict[str, Any]) -> None:
        """A log that is read again shows its pace in the bars' clock, a live one better in ours: the later of both."""
        time = self._time
        if time is None:
            time = self._clock()
            if self._anchor is not None:
                time = max(time, self._anchor + self._spent)
        self._seq += 1
        self._events.append(Event(kind, self._seq, time, values))


def _numbers(text: str) -> dict[str, float]:
    """The finite numbers of a dict's repr, by key; older releases print numbers, newer ones their text."""
    values: dict[str, float] = {}
    for match in _PAIR.finditer(text):
        try:
            value = float(match["plain"] if match["text"] is None else match["text"])
        except ValueError:
            continue
        if math.isfinite(value):
            values[match["key"]] = value
    return values
