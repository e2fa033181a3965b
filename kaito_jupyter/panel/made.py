"""What an ended run has made, and how it is used: for the panel's last card and the still beside it.

A cluster is not asked: the trainer told of its adapter, and the spec says where it was to go.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ..errors import KaitoError
from ..manifests.inference import inference_yaml

if TYPE_CHECKING:
    from .feed import Shown

PEFT = """\
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = {base!r}
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), {path!r})
"""


def made(run: Shown) -> dict[str, Any] | None:
    """`place`, `digest`, `bytes`, and code to copy (`uses`: a label and a text each); None when it made nothing."""
    state = run.state
    if state.state not in ("Succeeded", "Cancelled") or not (state.adapter or run.spec.output.image):
        return None
    if run.ref.backend == "local":
        return _folder(run)
    told = state.adapter or ""
    image, _, digest = told.partition("@")
    if not digest:
        image = run.spec.output.image if state.state == "Succeeded" and run.spec.output.image else ""
    if not image:
        return _what(told) if told else None
    yaml = inference_yaml(run.spec, run.name, f"{image}@{digest}" if digest else image)
    return _what(image, digest, uses=[["KAITO inference YAML", yaml]] if yaml else [])


def _folder(run: Shown) -> dict[str, Any] | None:
    try:
        adapter = run.adapter
        if adapter is None or not hasattr(adapter, "path"):
            return _what(str(adapter or run.state.adapter or ""))
        with (adapter.path / "adapter_model.safetensors").open("rb") as weights:
            digest = f"sha256:{hashlib.file_digest(weights, 'sha256').hexdigest()}"
        code = PEFT.format(base=adapter.base_model or run.spec.preset, path=str(adapter))
        return _what(str(adapter), digest, adapter.size, [["PEFT code", code]])
    except (OSError, KaitoError):  # a recorded run, or one whose folder is gone
        return _what(run.state.adapter or "")


def _what(place: str, digest: str = "", size: int | None = None, uses: list[list[str]] | None = None) -> dict[str, Any]:
    return {"place": place, "digest": digest, "bytes": size, "uses": uses or []}


__all__ = ["made"]
