"""A model's chat template, rendered without the model: how a conversation looks to it, word for word.

Finds the template in a local folder or in the Hugging Face cache, never on the network, and renders it as Transformers'
`apply_chat_template` does (sandboxed Jinja with the same helpers), so that a preview needs neither torch nor transformers.
Source: https://huggingface.co/docs/transformers/chat_templating and `transformers/utils/chat_template_utils.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.spans import Renderer, Template, marks_itself

from .errors import KaitoError
from .tilde import expanded

if TYPE_CHECKING:
    from jinja2 import Template as Compiled

Messages = Sequence[Mapping[str, Any]]

TEMPLATE_FILE: Final = "chat_template.jinja"
TOKENIZER_FILE: Final = "tokenizer_config.json"
SPECIAL_TOKENS: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_HUB_ID: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
"""Private-use characters that mark a `{% generation %}` block while its place is looked for; never in a rendering."""


class RenderError(KaitoError):
    """The template refuses this conversation, or is broken: what it says, in its own words."""


@dataclass(frozen=True)
class ChatTemplate:
    """One model's chat template."""

    source: str
    """The Jinja text."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """Special tokens that the template may name, for example `{"eos_token": "<|im_end|>"}`."""

    origin: str = ""
    """Where it comes from, for people: a model's id, its folder's name, or `ModelConfig.chat_template`."""

    added: tuple[str, ...] = ()
    """Tokens that the tokenizer has beside its vocabulary's own; one of them ends a turn."""

    @classmethod
    def of(cls, model: str | Path, chat_template: str | None = None) -> ChatTemplate | None:
        """The template of a model folder, or of a Hugging Face id that is in this machine's cache; else None.

        `chat_template` is KAITO's `ModelConfig.chat_template`: a path or a one-line template, which goes before the model's.
        """
        folder = model_folder(model)
        config = _json(folder / TOKENIZER_FILE) if folder else {}
        added = _added(config)
        tokens = _tokens(config, _json(folder / "special_tokens_map.json") if folder else {})
        if chat_template is not None:
            return cls(_text(chat_template), tokens, "ModelConfig.chat_template", added)
        if folder is None:
            return None
        file = folder / TEMPLATE_FILE
        source = file.read_text(encoding="utf-8") if file.is_file() else _named(config.get("chat_template"))
        origin = folder.name if expanded(model).is_dir() else str(model)
        return cls(source, tokens, origin, added) if source else None

    def render(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        """The conversation as the model sees it. Raises `RenderError` when the template refuses it."""
        return self._render(messages, add_generation_prompt, marked=False)

    def learnt(self, messages: Messages) -> list[tuple[int, int]]:
        """Where in `render(messages)` the assistant's tokens stand, each answer with what closes it.

        By the trainer's own code (`kaito_trainer.spans`). Raises `RenderError` when the template refuses the conversation.
        """
        from jinja2 import TemplateError

        try:
            return list(Template(self.renderer).assistant([dict(m) for m in messages]).spans)
        except TemplateError as error:
            raise RenderError(f"{error.message or type(error).__name__}") from error

    @property
    def renderer(self) -> Renderer:
        """What the trainer's marking asks for renderings."""
        return _Rendering(self)

    def _render(self, messages: Messages, add_generation_prompt: bool, marked: bool) -> str:
        from jinja2 import TemplateError

        try:
            return self._raw(messages, None, add_generation_prompt, marked)
        except TemplateError as error:
            raise RenderError(f"{error.message or type(error).__name__}") from error

    def _raw(self, messages: Messages, tools: Any, add_generation_prompt: bool, marked: bool) -> str:
        """The rendering. Raises jinja2's `TemplateError`, whatever happened."""
        from jinja2 import TemplateError

        try:
            return _compiled(self.source, marked).render(
                **self.tokens,
                messages=[dict(m) for m in messages],
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
            )
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            # A template is somebody's program: it may fail in any way that a program can.
            raise TemplateError(f"{type(error).__name__}: {error}") from error


class _Rendering:
    """`kaito_trainer.spans.Renderer` of a template."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.added: Sequence[str] = (*template.added, *template.tokens.values())
        self.marks_itself = marks_itself(template.source)

    def render(
        self, conversations: Sequence[list[dict[str, Any]]], tools: Any, *, add_generation_prompt: bool = False
    ) -> list[str]:
        return [self._template._raw(messages, tools, add_generation_prompt, marked=False) for messages in conversations]

    def marked(self, messages: list[dict[str, Any]], tools: Any) -> tuple[str, list[tuple[int, int]]]:
        text = self._template._raw(messages, tools, False, marked=True)
        return re.sub(f"[{_OPEN}{_CLOSE}]", "", text), _marks(text)


@lru_cache(maxsize=16)
def _compiled(source: str, marked: bool) -> Compiled:
    """The template in the environment that Transformers gives it."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}…{% endgeneration %}` around what the assistant says."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_block"), [], [], body).set_lineno(line)

        def _block(self, caller: Any) -> str:
            return f"{_OPEN}{caller()}{_CLOSE}" if marked else str(caller())

    class Environment(ImmutableSandboxedEnvironment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            """`m.role` at once: Jinja would look for such an attribute of the dict, and find it missing, first."""
            if type(obj) is dict and attribute in obj and not hasattr(dict, attribute):
                return obj[attribute]
            return super().getattr(obj, attribute)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def strftime_now(format: str) -> str:
        return datetime.now().strftime(format)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
    template = environment.from_string(source)
    template.globals = dict(template.globals)  # one lookup instead of a chain's, for each of many renderings
    return template


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters; models were trained on plain JSON.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _marks(text: str) -> list[tuple[int, int]]:
    spans, begin, position = [], 0, 0
    for character in text:
        if character == _OPEN:
            begin = position
        elif character == _CLOSE:
            spans.append((begin, position))
        else:
            position += 1
    return spans


def model_folder(model: str | Path) -> Path | None:
    """The model's folder on this machine: its own, or the Hugging Face cache's; None when there is none."""
    path = expanded(model)
    if path.is_dir():
        return path
    if not _HUB_ID.fullmatch(str(model)):
        return None
    repository = hub_cache() / f"models--{str(model).replace('/', '--')}"
    main = repository / "refs" / "main"
    named = [repository / "snapshots" / main.read_text(encoding="utf-8").strip()] if main.is_file() else []
    return next((s for s in [*named, *sorted((repository / "snapshots").glob("*"))] if s.is_dir()), None)


def hub_cache() -> Path:
    """Hugging Face's cache of models, by its variables. Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME")
    below = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return (Path(home) if home else below).expanduser() / "hub"


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _tokens(*configs: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for config in configs:
        for name in SPECIAL_TOKENS:
            value = config.get(name)
            text = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                found.setdefault(name, text)
    return found


def _added(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`added_tokens_decoder` of `tokenizer_config.json`: id -> token."""
    entries = config.get("added_tokens_decoder")
    values = entries.values() if isinstance(entries, Mapping) else ()
    return tuple(e["content"] for e in values if isinstance(e, Mapping) and isinstance(e.get("content"), str))


def _named(value: Any) -> str:
    """`chat_template` of `tokenizer_config.json`: the text, or a list of named ones, of which "default" is meant."""
    if isinstance(value, str):
        return value
    entries: Iterable[Any] = value if isinstance(value, list) else ()
    named = {e["name"]: e["template"] for e in entries if isinstance(e, Mapping) and {"name", "template"} <= e.keys()}
    return str(named.get("default") or next(iter(named.values()), ""))


def _text(chat_template: str) -> str:
    """A Jinja file's text, or the text itself when it is the template (it holds `{`, as every template does)."""
    if "{" in chat_template:
        return chat_template
    try:
        return expanded(chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise RenderError(f"ModelConfig.chat_template: {chat_template} cannot be read: {error.strerror}.") from error
