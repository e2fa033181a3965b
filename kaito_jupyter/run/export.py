"""A run, or a comparison, as a file that one can send: CSV, or one HTML page that needs nothing beside itself.

Every text that comes from a run is escaped, and what looks like a credential in it is blanked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..diagnose.diagnosis import blanked
from ..errors import KaitoError
from ..state import duration
from ..state.words import amount, shown
from ..tilde import expanded
from .adapter import Adapter

if TYPE_CHECKING:
    from .comparison import Comparison
    from .run import Run

_STYLE: Final = Path(__file__).with_name("export.css")
SAMPLES: Final = 20
"""The most prompts that a report shows."""


class ExportError(KaitoError):
    """A file cannot be written."""


def csv(run: Run, path: str | Path) -> Path:
    """The curve as CSV, with the held-out numbers in columns of their own."""
    with run.lock:
        history, evaluations = run.history, run.evaluations
    same = {name: f"{name}_held_out" for name in evaluations if name in history}
    table = history.join(evaluations.rename(columns=same), how="outer")
    return _written(path, table.to_csv(lineterminator="\n"))


def report(run: Run, path: str | Path | None = None) -> Path:
    """The whole run as one page."""
    with run.lock:
        parts = [
            _head(run),
            _figures(run),
            _failure(run),
            _section("Curves", _curves(run)),
            _section("Data", _table(_data(run))),
            _section("Answers to held-out prompts", _samples(run)),
            _section("What happened", _events(run)),
        ]
    parts += [_section("Adapter", _adapter(run)), _section("Spec", _spec(run)), _notes(run)]
    return _written(path or f"{run.name}.html", _page(run.name, parts))


def report_of_comparison(versus: Comparison, path: str | Path | None = None) -> Path:
    """Picture, figures and specs of several runs as one page."""
    from ..plots.drawing import RunFigure
    from ..plots.vector import svg
    from .versus import alt_text, metrics

    figure = versus.plot()
    assert isinstance(figure, RunFigure)
    about = f"{len(versus.runs)} runs by {versus.by}, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}"
    parts = [
        f"<h1>{escape(' · '.join(versus.labels))}</h1><p class='sub'>{escape(about)}</p>",
        f"<figure class='wide'>{svg(figure, alt_text(versus))}</figure>",
        "".join(f"<p class='quiet'>{escape(note)}</p>" for note in versus.notes()),
        _section("Figures", f"<div class='wide'>{metrics(versus)}</div>"),
        _section("What differs in their specs", f"<div class='wide'>{versus.specs._repr_html_()}</div>"),
    ]
    return _written(path or "comparison.html", _page("Comparison", parts))


def _page(title: str, parts: Iterable[str]) -> str:
    from ..plots.vector import themes

    style = themes(":root") + _STYLE.read_text(encoding="utf-8")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        # Nothing is loaded and nothing runs, whatever stood in a run's texts.
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(parts)}"
        f"<footer>Written by kaito-jupyter, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}.</footer></main></body></html>\n"
    )


def _head(run: Run) -> str:
    state, spec = run.state, run.spec
    method = {"lora": "LoRA", "qlora": "QLoRA"}.get(spec.method, spec.method)
    about = [f"{method} on {spec.preset}", {"local": "this machine"}.get(run.ref.backend, run.ref.backend)]
    if spec.resource.instance_type:
        about.append(spec.resource.instance_type)
    if state.created is not None:
        about.append(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(state.created)))
    tags = "".join(f"<span class='tag'>{_text(tag)}</span>" for tag in _remark(run, "tags"))
    return (
        f"<h1>{_text(run.name)}</h1><p class='sub'><span class='state {state.state}'>{state.state}</span> · "
        f"{_text(' · '.join(about))}</p>{f'<p>{tags}</p>' if tags else ''}"
    )


def _figures(run: Run) -> str:
    state = run.state
    losses = [v for v in state.series["loss"] if v == v]
    held = [v for v in state.evaluations["eval_loss"] if v == v]
    speeds = sorted(v for v in state.series["tokens_per_second"] if v == v)
    spent = state.elapsed(time.time())
    memory = [v for v in state.series["device_memory_bytes"] if v == v]
    found = [
        ("Loss", shown(losses[-1]), f"first {shown(losses[0])}, best {shown(min(losses))}") if losses else None,
        ("Held-out loss", shown(held[-1]), f"first {shown(held[0])}") if held else None,
        ("Steps", f"{state.global_step:,}", f"of {state.max_steps:,}" if state.max_steps else ""),
        ("Duration", duration(spent), "") if spent is not None else None,
        ("Tokens/s", f"{speeds[len(speeds) // 2]:,.0f}", "median") if speeds else None,
        ("Tokens", f"{state.num_tokens:,.0f}", "trained on") if state.num_tokens else None,
        ("Memory", amount(max(memory), "bytes"), "peak") if memory else None,
    ]
    cells = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{note}</small></dd></div>" for n, v, note in filter(None, found))
    return f"<dl class='figures'>{cells}</dl>"


def _failure(run: Run) -> str:
    failure = run.state.failure
    if failure is None:
        return ""
    details = "\n".join(failure.details[-50:])
    remedy = f"<p><strong>What to do:</strong> {_text(failure.remedy)}</p>" if failure.remedy else ""
    return (
        f"<div class='failure'><p><strong>{_text(failure.kind)}</strong>: {_text(failure.message)}</p>{remedy}"
        f"{f'<pre>{_text(details)}</pre>' if details else ''}</div>"
    )


def _curves(run: Run) -> str:
    from .. import plots
    from ..plots.vector import svg

    if not len(run.state.series) and not len(run.state.evaluations):
        return "<p>No step was made.</p>"
    figure = plots.figure(run.state, learning_rate=True, width=820, height=420)
    return f"<figure class='wide'>{svg(figure, plots.alt_text(run.state, run.name))}</figure>"


def _data(run: Run) -> Iterable[tuple[str, str]]:
    begin = run.state.train_begin
    try:
        rows = run.rows
    except KaitoError:
        rows = None
    if rows is not None:
        yield "Rows sent", f"{rows:,}"
    for key, name in (
        ("train_rows", "Rows trained on"),
        ("eval_rows", "Rows held out"),
        ("truncated_rows", "Rows cut at max_length"),
    ):
        if isinstance(begin.get(key), int):
            yield name, f"{begin[key]:,}"
    if run.dataset is not None:
        yield "Format", run.dataset.format
    if begin.get("loss_on"):
        yield "Loss on", f"{begin['loss_on']} tokens"
    if begin.get("trainable_parameters") and begin.get("total_parameters"):
        share = begin["trainable_parameters"] / begin["total_parameters"]
        yield "Parameters trained", f"{begin['trainable_parameters']:,} of {begin['total_parameters']:,} ({share:.2%})"
    if begin.get("device"):
        yield "Device", f"{begin.get('devices') or 1} × {begin['device']}"
    versions = begin.get("versions")
    if isinstance(versions, dict):
        yield "Versions", ", ".join(f"{k} {v}" for k, v in versions.items())


def _samples(run: Run) -> str:
    rows = list(run.samples.rows())[:SAMPLES]
    if not rows:
        return ""
    heads = "".join(f"<th scope='col'>{name}</th>" for name in ("Prompt", "Before", "After", "In the data"))
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table class='samples'><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _events(run: Run) -> str:
    state = run.state
    found: list[tuple[float, str, str]] = []
    for span in state.phases:
        spent = span.seconds(span.began or 0.0 if span.ended is None else span.ended)
        if span.began is not None:
            found.append(
                (span.began, span.name, duration(spent) if span.ended is not None and spent is not None else "")
            )
    found += [
        (saved.time, "adapter saved" if saved.final else "checkpoint", f"step {saved.global_step}")
        for saved in state.saves
        if saved.time is not None
    ]
    if state.ended is not None:
        found.append((state.ended, state.state, state.reason))
    rows = "".join(
        f"<tr><td>{time.strftime('%H:%M:%S', time.gmtime(at))}</td><td>{_text(what)}</td><td class='quiet'>{_text(more)}</td></tr>"
        for at, what, more in sorted(found, key=lambda e: e[0])
    )
    head = "<thead><tr><th scope='col'>UTC</th><th scope='col'>What</th><th></th></tr></thead>"
    return f"<table>{head}<tbody>{rows}</tbody></table>" if rows else ""


def _adapter(run: Run) -> str:
    try:
        found = run.adapter
    except (KaitoError, OSError):
        found = None
    if isinstance(found, Adapter):
        return f"<pre>{_text(repr(found))}</pre>"
    if isinstance(found, str):
        usage = "\n".join(
            ("# in a KAITO Workspace that serves the model:", "inference:", "  adapters:", "  - source:",
             f"      name: {run.name}", f"      image: {found}", '    strength: "1.0"')
        )  # fmt: skip
        return f"<p><code>{_text(found)}</code></p><pre>{_text(usage)}</pre>"
    return "" if run.state.state == "Failed" else "<p>It is not there (any more), or the run has made none yet.</p>"


def _spec(run: Run) -> str:
    again = "<p class='quiet'>To start it again: save this as spec.yaml, and <code>TuningSpec.from_yaml</code> reads it.</p>"
    return f"<pre>{_text(run.spec.to_yaml())}</pre>{again}"


def _notes(run: Run) -> str:
    rows = [(time.strftime("%Y-%m-%d %H:%M", time.gmtime(note.time)), note.text) for note in _remark(run, "notes")]
    return _section("Notes", _table(rows))


def _remark(run: Run, what: str) -> tuple[Any, ...]:
    """Its notes or tags; none when the history cannot be read."""
    try:
        found: tuple[Any, ...] = getattr(run, what)
    except KaitoError:
        return ()
    return found


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><td class='quiet'>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table><tbody>{body}</tbody></table>" if body else ""


def _text(value: Any) -> str:
    return escape(blanked(str(value)))


def _written(path: str | Path, text: str) -> Path:
    target = expanded(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExportError(f"{target}: {error.strerror or error}. Name a file in a folder that is there.") from error
    return target


__all__ = ["csv", "report", "report_of_comparison"]
