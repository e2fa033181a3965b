"""Examples → token ids and labels: which tokens are trained on is decided here, and nowhere else.

Labels are set by position. Padding is added later, by position too, with label -100; so it does not matter which token
pads, and an end token that also pads is still trained where it ends something (field note K2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from .choices import TOKENIZE_ROWS
from .contract import TrainingConfig
from .data import Example, Format, batches
from .failures import Failure
from .rendering import Rendering
from .spans import Renderer, Template

IGNORED: Final = -100
"""The label that torch's cross-entropy leaves out."""
LossOn = Literal["assistant", "completion", "text"]


class Tokens(NamedTuple):
    """One example as the model sees it."""

    ids: list[int]
    labels: list[int]


@dataclass
class Tokenized:
    """A whole set of examples."""

    dataset: Any
    """`datasets.Dataset` with `input_ids` and `labels`."""
    truncated: int = 0
    """Examples cut at `max_length`."""
    dropped: int = 0
    """Examples without one token to train on, left out."""
    longest: int = 0
    """Tokens of the longest example, after the cut."""


def loss_on(format: Format, config: TrainingConfig) -> LossOn:
    """Which tokens are trained on: the assistant's or the completion's unless the user wants all.

    Raises `Failure` of kind `config` when the config asks for what the data does not have.
    """
    t = config.TrainingArguments
    wanted: dict[Format, tuple[LossOn, str, bool | None]] = {
        "conversational": ("assistant", "assistant_only_loss", t.assistant_only_loss),
        "instruction": ("completion", "completion_only_loss", t.completion_only_loss),
    }
    for of, (_, name, value) in wanted.items():
        if value is True and of != format:
            message = f"TrainingArguments.{name}: true needs {of} data, and this is {format} data."
            raise Failure("config", message, "Leave it out.")
    on, _, value = wanted.get(format, ("text", "", None))
    stock = config.TrainerOptions.compat == "kaito" and value is None
    return "text" if value is False or stock else on


class Tokenizing:
    """The tokenizer and all that it takes to label a format's examples.

    `tokenizer` is one of Transformers', or what does as much (the notebook's preview has its own, and its own `renderer`).
    """

    def __init__(
        self,
        tokenizer: Any,
        format: Format,
        on: LossOn,
        max_length: int | None,
        ends: set[int],
        renderer: Renderer | None = None,
        at_once: int = TOKENIZE_ROWS,
    ) -> None:
        self.at_once = at_once
        self.tokenizer, self.on, self.max_length, self.ends = tokenizer, on, max_length, ends
        if format == "conversational" and not tokenizer.is_fast:
            message = f"{type(tokenizer).__name__} cannot tell which characters a token stands for."
            raise Failure("model", message, "Use a model with a tokenizer.json.")
        self.template = Template(renderer or Rendering(tokenizer)) if format == "conversational" else None
        self.eos: int = tokenizer.eos_token_id
        self._encode = {"conversational": self._conversations, "instruction": self._instructions, "text": self._texts}[
            format
        ]

    def tokens(self, examples: list[Example]) -> list[Tokens]:
        """The examples' tokens, uncut. Raises `Failure` when the chat template refuses a conversation."""
        encoded = self._encode(examples)
        return [Tokens(ids, list(ids)) for ids, _ in encoded] if self.on == "text" else encoded

    def dataset(self, examples: list[Example], tell: Callable[[int], None], *, by_length: bool = False) -> Tokenized:
        """All examples, cut and counted. `tell` hears how many are done; `by_length` sorts, so that less is padded."""
        import pyarrow
        from datasets import Dataset
        from datasets.table import InMemoryTable

        result, pieces, done = Tokenized(None), [], 0
        schema = pyarrow.schema({name: pyarrow.list_(pyarrow.int32()) for name in ("input_ids", "labels")})
        for batch in batches(examples, self.at_once):
            kept = []
            for ids, labels in self.tokens(batch):
                if self.max_length is not None and len(ids) > self.max_length:
                    result.truncated += 1
                    ids, labels = ids[: self.max_length], labels[: self.max_length]
                # The first token is never predicted.
                if any(label != IGNORED for label in labels[1:]):
                    kept.append({"input_ids": ids, "labels": labels})
                    result.longest = max(result.longest, len(ids))
                else:
                    result.dropped += 1
            pieces.append(pyarrow.Table.from_pylist(kept, schema=schema))
            done += len(batch)
            tell(done)
        table = pyarrow.concat_tables(pieces) if pieces else schema.empty_table()
        if by_length and len(table):
            lengths = pyarrow.compute.list_value_length(table["input_ids"])
            table = table.take(pyarrow.compute.sort_indices(lengths))
        result.dataset = Dataset(InMemoryTable(table))
        return result

    def _texts(self, examples: list[Example]) -> list[Tokens]:
        ids = self.tokenizer([e.completion for e in examples])["input_ids"]
        return [self._ended(Tokens(i, list(i))) for i in ids]

    def _instructions(self, examples: list[Example]) -> list[Tokens]:
        """Prompt and completion as one text, where that begins with the prompt's own tokens, as at inference.

        Where a token would span both, the completion is tokenised by itself.
        """
        prompts = self.tokenizer([e.prompt for e in examples])["input_ids"]
        wholes = self.tokenizer([e.prompt + e.completion for e in examples])["input_ids"]
        result = []
        for example, prompt, whole in zip(examples, prompts, wholes, strict=True):
            if prompt and prompt[-1] == self.eos and not example.prompt.endswith(self.tokenizer.eos_token):
                prompt = prompt[:-1]  # this tokenizer ends every text by itself
            if whole[: len(prompt)] != prompt:
                whole = prompt + self.tokenizer(example.completion, add_special_tokens=False)["input_ids"]
            labels = [IGNORED] * len(prompt) + whole[len(prompt) :]
            result.append(self._ended(Tokens(whole, labels)))
        return result

    def _conversations(self, examples: list[Example]) -> list[Tokens]:
        from jinja2 import TemplateError

        assert self.template is not None
        rendered = []
        for example in examples:
            try:
                rendered.append(self.template.assistant(example.messages, example.tools, example.trained_from))
            except TemplateError as error:
                roles = " → ".join(m["role"] for m in example.messages[:6])
                message = f"The model's chat template refuses a conversation ({roles}): {error}"
                raise Failure(
                    "dataset", message, "Change these conversations, or set ModelConfig.chat_template."
                ) from error
        # What follows the assistant's last turn and its closing token says nothing, and would stand before the end.
        texts = [r.text[: r.spans[-1][1]] if r.ends and r.spans else r.text for r in rendered]
        encoding = self.tokenizer(texts, add_special_tokens=False)
        result = []
        for row, (ids, text, r) in enumerate(zip(encoding["input_ids"], texts, rendered, strict=True)):
            labels = [IGNORED] * len(ids)
            for start, end in r.spans:
                held = slice(_token_at(encoding, row, start, text), _token_at(encoding, row, end, text, behind=True))
                labels[held] = ids[held]
            tokens = Tokens(ids, labels)
            result.append(self._ended(tokens) if r.ends and not (ids and ids[-1] in self.ends) else tokens)
        return result

    def _ended(self, tokens: Tokens) -> Tokens:
        """With the end token, trained on."""
        ids, labels = tokens
        if ids and ids[-1] == self.eos:
            labels[-1] = self.eos
        else:
            ids, labels = [*ids, self.eos], [*labels, self.eos]
        return Tokens(ids, labels)


def lengths(dataset: Any) -> list[int]:
    """Tokens of each example, without making Python numbers of all of them."""
    import pyarrow.compute

    column = dataset.with_format("arrow")[:]["input_ids"]
    found: list[int] = pyarrow.compute.list_value_length(column).to_pylist()
    return found


def _token_at(encoding: Any, row: int, character: int, text: str, *, behind: bool = False) -> int:
    """The first token that holds this character or a later one; with `behind`, that holds no earlier one either."""
    while character < len(text):
        token: int | None = encoding.char_to_token(row, character)
        if token is not None:
            return token + (behind and encoding.token_to_chars(row, token).start < character)
        character += 1  # white space that the tokenizer keeps no place of
    return len(encoding["input_ids"][row])


__all__ = ["IGNORED", "LossOn", "Tokenized", "Tokenizing", "Tokens", "lengths", "loss_on"]
