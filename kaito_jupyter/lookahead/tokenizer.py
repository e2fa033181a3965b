"""A model's tokenizer without transformers: as much of one as the trainer's labelling asks for, from `tokenizer.json`.

Does what Transformers' `TokenizersBackend` does with the file: no truncation, no padding, and special tokens that the
file lacks are added; what begins and ends a text is the file's word alone, `add_bos_token` in the config counts no more.
Source: `transformers/tokenization_utils_tokenizers.py`, 5.23. Nothing is asked of the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from ..chat import SPECIAL_TOKENS, TOKENIZER_FILE, model_folder

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

FILE: Final = "tokenizer.json"


class Place(NamedTuple):
    """Characters that a token stands for, as Transformers' `CharSpan`."""

    start: int
    end: int


class Encoded(Protocol):
    """Texts as tokens, as Transformers' `BatchEncoding`."""

    def __getitem__(self, name: str) -> list[list[int]]: ...
    def char_to_token(self, row: int, character: int) -> int | None: ...
    def token_to_chars(self, row: int, token: int) -> Place | None: ...


class Tokens(Protocol):
    """A tokenizer, exact or not: what `kaito_trainer.tokens.Tokenizing` and the drawing ask for."""

    is_fast: bool
    exact: bool
    """Whether it is the model's own."""
    eos_token: str
    eos_token_id: int
    pad_token_id: int
    """What KAITO's trainer takes for padding: the end token where the tokenizer names no other."""
    added: Sequence[str]
    """Tokens beside the vocabulary's own."""

    def __call__(self, texts: list[str] | str, add_special_tokens: bool = True) -> Any: ...
    def decode(self, ids: list[int]) -> str: ...
    def special(self, token: int) -> bool:
        """Whether it is a token that no text makes by itself, such as `<|im_end|>`."""
        ...


class NoTokenizer(Exception):
    """Why there is no tokenizer, as a sentence without its stop."""


class ModelTokenizer:
    """The model's own tokenizer."""

    is_fast = True
    exact = True

    def __init__(
        self, tokenizer: Tokenizer, eos_token: str, ends: Sequence[int] = (), pad_token: str | None = None
    ) -> None:
        self._tokenizer = tokenizer
        found = tokenizer.get_added_tokens_decoder()
        self.added: Sequence[str] = tuple(token.content for token in found.values())
        self._special = {id for id, token in found.items() if token.special}
        eos = tokenizer.token_to_id(eos_token)
        if eos is None:
            raise NoTokenizer(f"its tokenizer does not know its own end token {eos_token}")
        self.eos_token, self.eos_token_id = eos_token, eos
        pad = None if pad_token is None else tokenizer.token_to_id(pad_token)
        self.pad_token_id = eos if pad is None else pad
        self.ends = {eos, *ends}
        """Tokens at which the model's generation stops."""

    @classmethod
    def of(cls, model: str | Path, eos_token: str | None = None) -> Self:
        """The tokenizer of a folder, or of a Hugging Face id in this machine's cache. Raises `NoTokenizer`.

        `eos_token` is `TrainingArguments.eos_token`, which goes before the model's own.
        """
        from tokenizers import Tokenizer

        folder = model_folder(model)
        if folder is None:
            raise NoTokenizer("the model is not on this machine")
        if not (folder / FILE).is_file():
            raise NoTokenizer(f"the model's folder has no {FILE}")
        try:
            tokenizer = Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # tokenizers raises Exception itself
            raise NoTokenizer(f"its {FILE} cannot be read: {' '.join(str(error).split())[:200]}") from error
        config = _json(folder / TOKENIZER_FILE)
        named = _special(config)
        _complete(tokenizer, config, named)
        eos = eos_token or named.get("eos_token")
        if eos is None:
            raise NoTokenizer("its tokenizer has no end token")
        return cls(tokenizer, eos, _ends(folder), named.get("pad_token"))

    def __call__(self, texts: list[str] | str, add_special_tokens: bool = True) -> Any:
        if isinstance(texts, str):
            return {"input_ids": self._tokenizer.encode(texts, add_special_tokens=add_special_tokens).ids}
        return _Encoded(self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens))

    @property
    def vocabulary(self) -> Iterable[str]:
        """Its tokens as it writes them, without the added ones."""
        return self._tokenizer.get_vocab(with_added_tokens=False)

    @property
    def apart(self) -> bool:
        """Whether added tokens take nothing of what stands beside them."""
        found = self._tokenizer.get_added_tokens_decoder().values()
        return not any(t.lstrip or t.rstrip or t.single_word or t.content[:1].isalnum() for t in found)

    @property
    def around(self) -> tuple[list[int], list[int]]:
        """What it puts before and behind a text."""
        alone, ids = (self._tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
        at = next((i for i in range(len(ids)) if ids[i : i + len(alone)] == alone), len(ids))
        return ids[:at], ids[at + len(alone) :]

    def counts(self, texts: list[str]) -> list[int]:
        """Tokens of each text by itself."""
        return [len(e) for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def place(self, text: str, character: int, behind: bool) -> int:
        """The first token that holds this character or a later one; with `behind`, that holds no earlier one either."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        for at in range(character, len(text)):
            token = encoding.char_to_token(at)
            if token is not None:
                span = encoding.token_to_chars(token)
                return token + (behind and span is not None and span[0] < at)
        return len(encoding)

    def decode(self, ids: list[int]) -> str:
        """The tokens as text, special ones too."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def special(self, token: int) -> bool:
        return token in self._special


class _Encoded:
    def __init__(self, encodings: list[Encoding]) -> None:
        self._encodings = encodings
        self._ids = [e.ids for e in encodings]

    def __getitem__(self, name: str) -> list[list[int]]:
        return {"input_ids": self._ids}[name]

    def char_to_token(self, row: int, character: int) -> int | None:
        return self._encodings[row].char_to_token(character)

    def token_to_chars(self, row: int, token: int) -> Place | None:
        span = self._encodings[row].token_to_chars(token)
        return None if span is None else Place(*span)


def _complete(tokenizer: Tokenizer, config: Mapping[str, Any], named: Mapping[str, str]) -> None:
    """Make of the file's tokenizer what Transformers makes of it."""
    from tokenizers import AddedToken

    tokenizer.no_truncation()
    tokenizer.no_padding()
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
    values = extra.values() if isinstance(extra, Mapping) else extra
    for text in dict.fromkeys([*named.values(), *(v for v in map(_content, values) if v)]):
        known = {t.content for t in tokenizer.get_added_tokens_decoder().values()}
        if text not in known:
            tokenizer.add_special_tokens([AddedToken(text, special=True)])


def _ends(folder: Path) -> list[int]:
    """`eos_token_id` of the generation's configuration, which Transformers makes of the model's when there is none."""
    file = folder / "generation_config.json"
    told = _json(file if file.is_file() else folder / "config.json").get("eos_token_id")
    return [told] if isinstance(told, int) else [t for t in told or () if isinstance(t, int)]


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: text for name in SPECIAL_TOKENS if (text := _content(config.get(name)))}


def _content(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
