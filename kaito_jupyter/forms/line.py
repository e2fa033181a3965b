"""A draft as the magic line that repeats it, with only what differs from the defaults. The way back is `magics`' to read.

A value that a line cannot hold (a text of several lines) goes below it, as the body of `%%kaito_tune`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import options

from ..spec import DataDestination, DataSource, Placement, parse_destination, parse_source
from ..spec.options import assigned, sections_of
from ..spec.text import dump

if TYPE_CHECKING:
    from .draft import Draft

MAGIC: Final = "%kaito_tune"
_PLAIN: Final = re.compile(r"[\w./:@%+=,~-]+")
"""What needs no quotes; a first letter that makes an option or a comment of it is looked at apart."""
_NAME: Final = re.compile(r"\$(?=[A-Za-z_$])")


def line(draft: Draft) -> str:
    """The line, or line and body. What can be said neither there nor there follows as a comment."""
    flags, body = _configuration(draft)
    words = [MAGIC, *([draft.word] if draft.word else []), *_words(draft), *flags]
    missing = [f"  # not said by this line: {', '.join(left)}" for left in [unsaid(draft)] if left]
    text = " ".join(words) + "".join(missing)
    return f"%{text}\n{dump(body)}" if body else text


def _words(draft: Draft) -> Iterator[str]:
    spec = draft.spec
    said: dict[str, str | None] = {
        "--preset": spec.preset or None,
        "--method": spec.method if spec.method != "lora" else None,
        "--name": spec.name,
        "--input": source_text(spec.input) or None,
        "--pull-secret": next(iter(spec.input.image_pull_secrets), None),
        **{f"--{name.replace('_', '-')}": column for name, column in draft.columns},
        "--backend": draft.backend if draft.backend != "auto" else None,
        "--namespace": draft.namespace,
        "--context": draft.context,
        "--instance-type": spec.resource.instance_type,
        "--output": destination_text(spec.output) or None,
        "--push-secret": spec.output.image_push_secret,
        "--model-access-secret": spec.model_access_secret,
        "--image": spec.placement.image,
        "--gpus": None if spec.placement.gpus is None else str(spec.placement.gpus),
        "--queue": spec.placement.queue,
        "--priority-class": spec.placement.priority_class,
    }
    for flag, value in said.items():
        if value is not None:
            yield f"{flag} {quoted(str(value))}"
    if spec.placement.private_urls:
        yield "--private-urls"


def _configuration(draft: Draft) -> tuple[list[str], dict[str, Any]]:
    """Words of the line, and what only a body can say."""
    table = {o.path: o for o in options()}
    words: list[str] = []
    body: dict[str, Any] = {}
    for section, keys in draft.spec.config.to_dict().items():
        for name, value in keys.items() if isinstance(keys, Mapping) else ():
            path = f"{section}.{name}"
            option = table.get(path)
            text = text_of(path, value)
            if text is None or "\n" in text or "\r" in text:
                body.setdefault(section, {})[name] = value
            elif option is not None and option.flag:
                words.append(f"{option.flag} {quoted(text)}")
            else:
                words.append(f"--set {quoted(f'{path}={text}')}")
    return words, body


def unsaid(draft: Draft) -> list[str]:
    """What the spec holds and no line says: what came with another run."""
    spec, left = draft.spec, []
    if spec.input != _said_source(spec.input):
        left.append("tuning.input")
    if spec.output != _said_destination(spec.output):
        left.append("tuning.output")
    if spec.resource.label_selector:
        left.append("resource.labelSelector")
    kept = ("image", "gpus", "queue", "priority_class", "private_urls")
    said = {name: value for name, value in spec.placement.to_dict().items() if name in kept}
    return [*left, *(["placement"] if spec.placement != Placement.of(said) else [])]


def _said_source(source: DataSource) -> DataSource:
    text = source_text(source)
    read = parse_source(text) if text else DataSource()
    return replace(read, image_pull_secrets=source.image_pull_secrets[:1])


def _said_destination(output: DataDestination) -> DataDestination:
    text = destination_text(output)
    read = parse_destination(text) if text else DataDestination()
    return replace(read, image_push_secret=output.image_push_secret)


def source_text(source: DataSource) -> str:
    """`image:REF`, `pvc:CLAIM[/PATH]`, addresses or a path; empty for the DataFrame."""
    if source.image is not None:
        return f"image:{source.image}"
    if (claim := _claim(source.volume_source)) is not None:
        return f"pvc:{claim}/{source.path}" if source.path else f"pvc:{claim}"
    return " ".join(source.urls) or source.path or ""


def destination_text(output: DataDestination) -> str:
    """`image:REF`, `pvc:CLAIM` or a folder; empty for the run's own folder."""
    if output.image is not None:
        return f"image:{output.image}"
    return f"pvc:{claim}" if (claim := _claim(output.volume_source)) is not None else output.path or ""


def _claim(volume: Mapping[str, Any] | None) -> str | None:
    claim = (volume or {}).get("persistentVolumeClaim")
    return str(claim.get("claimName")) if isinstance(claim, Mapping) else None


def text_of(path: str, value: Any) -> str | None:
    """The value as one writes it in a field and behind `--set PATH=`; None when no text gives it back."""
    candidates = [value] if isinstance(value, str) else []
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        candidates.append(", ".join(value))
    try:
        candidates.append(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return None
    for text in candidates:
        values, wrong = assigned([f"{path}={text}"])
        sections, unknown = sections_of(values)
        section, _, name = path.partition(".")
        read = sections.get(section, {}).get(name)
        if not wrong and not unknown and read == value and type(read) is type(value):
            return str(text)
    return None


def quoted(text: str) -> str:
    """The text as one word of a magic's line, safe from its quotes, brackets, and the user's own variables."""
    text = _escaped(text)
    if _PLAIN.fullmatch(text) and text[0] not in "-%":
        return text
    return in_quotes(text)


def in_quotes(text: str) -> str:
    """The text in quotes, as it stands."""
    if "'" not in text:
        return f"'{text}'"
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def _escaped(text: str) -> str:
    """`{…}` and `$name` as the magics leave them alone: doubled."""
    done, at = "", 0
    while (brace := text.find("{", at)) >= 0:
        end = _closing(text, brace)
        if end < 0:
            break
        done += _NAME.sub("$$", text[at:brace]) + "{" + text[brace : end + 1] + "}"
        at = end + 1
    return done + _NAME.sub("$$", text[at:])


def _closing(text: str, at: int) -> int:
    """Where the brace at `at` closes, as the magics see it: braces in quotes don't count. -1 when it does not."""
    depth, quote = 0, ""
    for i in range(at, len(text)):
        c = text[i]
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "{}":
            depth += 1 if c == "{" else -1
            if depth == 0:
                return i
    return -1


__all__ = ["MAGIC", "destination_text", "in_quotes", "line", "quoted", "source_text", "text_of", "unsaid"]
