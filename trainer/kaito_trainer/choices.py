"""What decides the speed, one named choice each: from facts about device, packages, data and model to a value and its reason.

Pure: nothing is looked up and nothing is changed here (`fast` does both), so each rule stands in a table of its test, those for
GPUs too. What the user wrote always wins, and is said as such. `benchmarks/bench_choices.py` measures what each one buys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .batching import Costs
from .defaults import SHORT, SMALL, Device

AMPERE: Final = (8, 0)
"""Compute capability from which on a GPU has bfloat16, TF32 and the flash kernels."""
PAYS: Final = 0.95
"""Share of the operations that another way to batch must stay below: what it saves must not be noise."""
TOKENIZE_ROWS: Final = 512
"""Rows tokenised at once."""
GIB: Final = 2**30


@dataclass(frozen=True)
class Choice:
    """One choice as `train_begin` tells it."""

    name: str
    value: Any
    why: str
    switch: str
    """The field that chooses otherwise."""
    yours: bool = False
    """Whether the user wrote it."""

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "why": self.why, "switch": self.switch, "yours": self.yours}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that the choices follow from. The defaults are a machine and a model about which nothing is known."""

    device: Device = field(default_factory=lambda: Device("cpu", "cpu", 1, bf16=False))
    told: Mapping[str, Any] = field(default_factory=dict)
    """What the user wrote, by `Section.field`."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """What the run in the output folder was begun with: it goes on only with the same."""
    compat: bool = False
    """Whether the stock trainer's learning is wanted."""
    installed: frozenset[str] = frozenset()
    """Optional packages that are there: flash_attn, liger_kernel, bitsandbytes."""
    cpus: int = 1
    """CPUs that the process may keep busy."""
    threads: int = 1
    """Threads that torch would use by itself."""
    waiting: str = "PASSIVE"
    """`OMP_WAIT_POLICY`: whether threads that wait sleep or spin."""
    attention: str = "sdpa"
    """What the model attends with by itself."""
    flash: bool = False
    """Whether the model can take the flash kernels."""
    liger: bool = False
    """Whether Liger has kernels for this architecture."""
    half: bool = True
    """Whether it computes in 16 bits."""
    batch: int = 1
    longest: int = 0
    """Tokens of the longest row."""
    costs: Costs = field(default_factory=Costs)
    leak: str = ""
    """Why rows must not lie end to end with this model; nothing: it was tried and keeps them apart, or not tried yet."""
    parameters: int = 0
    need: int | None = None
    """Bytes at a step's peak, all activations kept; None: no estimate."""
    need_recomputed: int | None = None
    """The same with activations computed twice."""
    state: int = 0
    """Bytes of the optimiser's state, in 32 bits."""
    room: int | None = None
    """Bytes that a step may take of the device."""

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def ampere(self) -> bool:
        return self.gpu and (self.device.capability or (0, 0)) >= AMPERE


def tokenisation(f: Facts) -> Choice:
    why = "Whole batches go through the tokenizer's own threads, before TRL sees the data."
    return _made(f, "tokenisation", "TrainerOptions.tokenize_rows", TOKENIZE_ROWS, why, lambda rows: rows)


def threads(f: Facts) -> Choice:
    sleep = "they sleep" if f.waiting.upper() == "PASSIVE" else f"OMP_WAIT_POLICY is {f.waiting}"
    why = f"{f.cpus} CPU{'s' * (f.cpus != 1)} may be used by this process; where its threads wait, {sleep}."
    switch, asked = "TrainerOptions.threads", f.told.get("OMP_NUM_THREADS")
    if asked is not None and f.told.get(switch) is None:
        return Choice("threads", asked, f"OMP_NUM_THREADS says so; where threads wait, {sleep}.", switch, yours=True)
    return _made(f, "threads", switch, min(f.threads, f.cpus), why)


def dtype(f: Facts) -> Choice:
    if f.device.bf16:
        value, why = "bfloat16", "The device computes in it at full speed, in half the memory."
    elif f.gpu:
        value, why = "float16", "This GPU is older than Ampere and has no bfloat16."
    else:
        value, why = "float32", "This processor has no instructions for bfloat16."
    return _made(f, "dtype", "ModelConfig.torch_dtype", value, why)


def attention(f: Facts, tokens: int) -> Choice:
    """`tokens`: of the longest sequence as the model gets it."""
    value, why = f.attention, "The model's own choice."
    if f.gpu:
        missing = _no_flash(f)
        if not missing:
            value, why = (
                "flash_attention_2",
                "flash-attn is installed, and the GPU, the precision and the model take it.",
            )
        else:
            why = f"The model's own choice; no flash_attention_2: {missing}."
    elif f.attention == "sdpa":
        if tokens <= SHORT:
            value, why = "eager", f"On a CPU it is faster up to {SHORT} tokens; the longest sequence has {tokens}."
        else:
            why = f"A sequence has up to {tokens} tokens: eager's memory grows with their square."
    return _made(f, "attn_implementation", "ModelConfig.attn_implementation", value, why)


def _no_flash(f: Facts) -> str:
    if "flash_attn" not in f.installed:
        return "flash-attn is not installed"
    if not f.ampere:
        return "the GPU is older than Ampere"
    return "it computes in 32 bits" if not f.half else "" if f.flash else "the model does not take it"


def packing(f: Facts) -> Choice:
    switch, asked = "TrainingArguments.packing", f.told.get("TrainingArguments.packing")
    if asked and f.leak:
        return Choice("packing", False, f"{f.leak[0].upper()}{f.leak[1:]}.", switch)
    why = "Several rows a sequence make fewer steps of the same data, and one epoch then learnt less (end token 1.15, not 0.57)."
    return _made(f, "packing", switch, False, why)


def padding_free(f: Facts) -> Choice:
    name, switch = "padding_free", "TrainingArguments.padding_free"
    if f.told.get(switch) and f.leak:
        return Choice(name, False, f"{f.leak[0].upper()}{f.leak[1:]}.", switch)
    flat, least = _flat(f), min(f.costs.padded, f.costs.grouped)
    if packing(f).value:
        value, why = False, "Packed sequences have no padding."
    elif f.batch < 2:
        value, why = False, "A batch of one row has no padding."
    elif flat > PAYS * least:
        value, why = (
            False,
            f"Rows end to end would cost {flat:.2f} times the operations of unpadded ones, batches of rows {least:.2f} times.",
        )
    elif f.leak:
        value, why = False, f"{f.leak[0].upper()}{f.leak[1:]}."
    else:
        value, why = (
            True,
            f"Rows end to end cost {flat:.2f} times the operations of unpadded ones, padded ones {f.costs.padded:.2f} times; the model keeps them apart.",
        )
    return _made(f, name, switch, value, why)


def _flat(f: Facts) -> float:
    return f.costs.apart if attention(f, f.longest).value.startswith("flash") else f.costs.flat


def sampling(f: Facts) -> Choice:
    name, switch = "train_sampling_strategy", "TrainingArguments.train_sampling_strategy"
    value, why = "random", "Nothing is padded that grouping rows of like length could save."
    if f.compat:
        why = "As the stock trainer does (compat)."
    elif name in f.before:
        value, why = f.before[name], "The run in the output folder began so."
    elif f.batch > 1 and not packing(f).value and not padding_free(f).value:
        saved = f"Rows of like length in a batch cost {f.costs.grouped:.2f} times the operations of unpadded ones, random ones {f.costs.padded:.2f} times."
        value, why = ("group_by_length" if f.costs.grouped <= PAYS * f.costs.padded else "random"), saved
    return _made(f, name, switch, value, why)


def loss_head(f: Facts) -> Choice:
    if f.gpu:
        value, why = "fused", "TRL's head makes the loss in pieces by Triton: the logits are never whole in memory."
    else:
        value, why = "plain", "Without Triton TRL's fused head is slower, and it scores the prompts, too."
    return _made(f, "loss_head", "TrainerOptions.loss_head", value, why)


def kernels(f: Facts) -> Choice:
    if not f.gpu:
        value, why = False, "Liger's kernels are for GPUs."
    elif "liger_kernel" not in f.installed:
        value, why = False, "liger-kernel is not installed."
    elif not f.ampere:
        value, why = False, "The GPU is older than Ampere."
    elif not f.liger:
        value, why = False, "Liger has no kernels for this architecture."
    else:
        value, why = (
            True,
            "liger-kernel is installed and knows this architecture: norms, rotations and gates in one pass each.",
        )
    return _made(f, "use_liger_kernel", "TrainingArguments.use_liger_kernel", value, why)


def gradient_checkpointing(f: Facts) -> Choice:
    if f.need is None or f.room is None:
        value = f.gpu and f.parameters >= SMALL
        why = f"There is no estimate for this model; {f.parameters / 1e9:.1f} billion parameters {'are' if value else 'or a CPU are not'} taken for short of memory."
    else:
        value = f.need > f.room
        why = f"A step takes about {_gib(f.need)} of {_gib(f.room)} with all activations kept"
        why += (
            f", {_gib(f.need_recomputed or 0)} computing them twice, in 1.2 to 1.7 times the time."
            if value
            else ": it fits, and computing them twice takes 1.2 to 1.7 times as long."
        )
    return _made(f, "gradient_checkpointing", "TrainingArguments.gradient_checkpointing", value, why)


def optimizer(f: Facts) -> Choice:
    name, short = "optim", 0
    if f.need is not None and f.need_recomputed is not None and f.room is not None:
        need = f.need_recomputed if gradient_checkpointing(f).value else f.need
        short = max(0, need - f.room)
    value, why = "adamw_torch_fused", "All of a step's updates in one kernel; the memory is not short."
    if f.gpu and short and "bitsandbytes" in f.installed:
        if short <= 3 * f.state // 4:
            value, why = (
                "adamw_8bit",
                f"The estimate is {_gib(short)} short: in 8 bits its state takes a quarter of {_gib(f.state)}.",
            )
        else:
            value, why = (
                "paged_adamw_8bit",
                f"The estimate is {_gib(short)} short: its state goes to the CPU's memory when need be.",
            )
    elif short:
        why = f"All of a step's updates in one kernel. The estimate is {_gib(short)} short" + (
            ", and bitsandbytes is not installed." if f.gpu else ", and adapters' states are small beside it."
        )
    if name in f.before:
        value, why = f.before[name], "The run in the output folder began so."
    return _made(f, name, "TrainingArguments.optim", value, why)


def torch_compile(f: Facts) -> Choice:
    why = "It compiles for minutes at the start, and anew for each new length of a batch: ask for it where a run takes hours."
    return _made(f, "torch_compile", "TrainingArguments.torch_compile", False, why)


def tf32(f: Facts) -> Choice:
    value = f.ampere
    why = (
        "What is left in 32 bits is multiplied by the tensor cores, with the mantissa cut to 10 bits."
        if value
        else "Only GPUs from Ampere on have it."
    )
    return _made(f, "tf32", "TrainingArguments.tf32", value, why)


def all_choices(f: Facts, tokens: int) -> list[Choice]:
    """Every choice. `tokens`: of the longest sequence as the model gets it."""
    return [
        tokenisation(f), packing(f), padding_free(f), sampling(f), loss_head(f), kernels(f), gradient_checkpointing(f),
        dtype(f), attention(f, tokens), threads(f), optimizer(f), torch_compile(f), tf32(f),
    ]  # fmt: skip


def _made(
    f: Facts, name: str, switch: str, value: Any, why: str, read: Callable[[Any], Any] = lambda value: value
) -> Choice:
    """The choice, or what the user wrote in its place."""
    if (told := f.told.get(switch)) is not None:
        return Choice(name, read(told), f"Written as {switch}.", switch, yours=True)
    return Choice(name, value, why, switch)


def _gib(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"


__all__ = ["TOKENIZE_ROWS", "Choice", "Facts", "all_choices"]
