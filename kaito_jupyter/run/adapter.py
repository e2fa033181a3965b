"""What a finished run has made: an adapter in PEFT's format, and how it is used. Nothing here imports torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaito_trainer.contract.names import ADAPTER_FILES


@dataclass(frozen=True, slots=True)
class Adapter(os.PathLike[str]):
    """An adapter's folder. It can be given wherever a path is wanted: `PeftModel.from_pretrained(model, run.adapter)`."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> dict[str, Any]:
        """PEFT's `adapter_config.json`; empty when it cannot be read."""
        try:
            content = json.loads((self.path / ADAPTER_FILES[0]).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def base_model(self) -> str:
        """The model that it belongs to, by Hugging Face id or folder; empty when it does not say."""
        return str(self.config.get("base_model_name_or_path") or "")

    @property
    def files(self) -> dict[str, int]:
        """Name -> bytes of all files that lie in its folder itself (checkpoints have folders of their own)."""
        return {f.name: f.stat().st_size for f in sorted(self.path.iterdir()) if f.is_file()}

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return (self.path / ADAPTER_FILES[1]).stat().st_size

    def __repr__(self) -> str:
        base = self.base_model or "…"
        return "\n".join(
            (
                f"Adapter({str(self.path)!r})   {self.size / 1e6:.1f} MB for {base}",
                "",
                "    from peft import PeftModel",
                "    from transformers import AutoModelForCausalLM, AutoTokenizer",
                f"    model = AutoModelForCausalLM.from_pretrained({base!r})",
                f"    tokenizer = AutoTokenizer.from_pretrained({base!r})",
                f"    model = PeftModel.from_pretrained(model, {str(self.path)!r})",
            )
        )
