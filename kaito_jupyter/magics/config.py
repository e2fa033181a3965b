"""`%config KaitoMagics`: what the magics take when the line says nothing.

In a notebook `%config KaitoMagics.namespace = "team-a"`, for all notebooks `c.KaitoMagics.namespace = "team-a"` in
`ipython_config.py`. An option on the line always wins.
"""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics
from traitlets import Float, Int, TraitError, Unicode, validate

from kaito_trainer.contract import METHODS
from kaito_trainer.contract.problems import close_match, listing

from .arguments import BACKENDS


class Defaults(Magics):
    """The traits alone: the magics themselves are in `KaitoMagics`, which `%config` shows."""

    preset = Unicode(
        "", help="Model: a KAITO preset, a Hugging Face id, or a folder. Empty: --preset must be given."
    ).tag(config=True)
    method = Unicode("lora", help='Tuning method, "lora" or "qlora".').tag(config=True)
    namespace = Unicode("", help='Kubernetes namespace. Empty: "default".').tag(config=True)
    backend = Unicode("auto", help='Where to train: "auto", "local", "job" or "kaito".').tag(config=True)
    context = Unicode("", help="Context of the kubeconfig. Empty: the current one.").tag(config=True)
    instance_type = Unicode("", help="GPU node that KAITO is to take, for example Standard_NC24ads_A100_v4.").tag(
        config=True
    )
    output = Unicode(
        "", help="Where adapters go: image:REF, pvc:CLAIM/path or a folder. Empty: the run's own folder."
    ).tag(config=True)
    push_secret = Unicode("", help="Kubernetes Secret with which an adapter image is pushed (its name).").tag(
        config=True
    )
    price_per_hour = Float(
        0.0,
        min=0,
        help="What an hour of the GPU node costs, in any money: for the estimate of a dry run. 0: not known.",
    ).tag(config=True)
    log_lines = Int(200, min=1, help="Lines that `%kaito logs` shows without --tail.").tag(config=True)

    @validate("method")
    def _method(self, proposal: Any) -> str:
        return _one_of("method", proposal["value"], METHODS)

    @validate("backend")
    def _backend(self, proposal: Any) -> str:
        return _one_of("backend", proposal["value"], BACKENDS)

    def default(self, name: str) -> Any:
        """The default of an option, None when it is empty."""
        return getattr(self, name) or None


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value in allowed:
        return value
    hint = f"{close_match(value, allowed)} Use {listing(allowed)}.".strip()
    raise TraitError(f'KaitoMagics.{name}: "{value}" is not allowed. {hint}')
