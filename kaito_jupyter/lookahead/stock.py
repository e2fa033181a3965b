"""What KAITO's own trainer makes of the data: not what ours does, and not what its configuration says.

It hands TRL transformers' `DataCollatorForLanguageModeling(mlm=False)`, which trains on every token but padding (field note K1),
and takes the end token for padding where the tokenizer names no other (K2): then no end is trained on. Source: KAITO
v0.12, `presets/workspace/tuning/text-generation/fine_tuning.py`, and TRL's `SFTTrainer._prepare_dataset`.
"""

from __future__ import annotations

from typing import Any

from kaito_trainer.data import Example
from kaito_trainer.failures import Failure
from kaito_trainer.tokens import IGNORED, Tokenizing, Tokens


class StockTokenizing(Tokenizing):
    """Tokens and labels of KAITO's trainer."""

    def __init__(self, tokenizer: Any, format: Any, max_length: int | None, ends: set[int], renderer: Any) -> None:
        super().__init__(tokenizer, format, "text", max_length, ends, renderer)
        self.pad: int = tokenizer.pad_token_id

    def tokens(self, examples: list[Example]) -> list[Tokens]:
        """The examples' tokens, uncut. Raises `Failure` when the chat template refuses a conversation."""
        render = self._rendered if self.template else self._ended_text
        texts = [render(example) for example in examples]
        encoded: list[list[int]] = self.tokenizer(texts, add_special_tokens=self.template is None)["input_ids"]
        return [Tokens(ids, [IGNORED if i == self.pad else i for i in ids]) for ids in encoded]

    def _ended_text(self, example: Example) -> str:
        text = example.prompt + example.completion
        return text if example.completion.endswith(self.tokenizer.eos_token) else text + self.tokenizer.eos_token

    def _rendered(self, example: Example) -> str:
        """The whole of it, with what the template writes behind the last turn. No end is added."""
        from jinja2 import TemplateError

        assert self.template is not None
        try:
            return self.template.render(example.messages, example.tools)
        except TemplateError as error:
            roles = " → ".join(m["role"] for m in example.messages[:6])
            message = f"The model's chat template refuses a conversation ({roles}): {error}"
            raise Failure("dataset", message) from error


__all__ = ["StockTokenizing"]
