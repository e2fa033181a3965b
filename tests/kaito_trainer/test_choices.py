"""Every choice for speed by its facts, in a table: those of GPUs, too."""

from __future__ import annotations

from typing import Any

import pytest

from kaito_trainer import choices
from kaito_trainer.batching import Costs
from kaito_trainer.choices import GIB, Choice, Facts, all_choices
from kaito_trainer.defaults import Device

CPU = Device("cpu", "cpu", 1, bf16=False)
CPU16 = Device("cpu", "cpu", 1, bf16=True)
T4 = Device("cuda", "T4", 1, bf16=False, capability=(7, 5))
A100 = Device("cuda", "A100", 1, bf16=True, capability=(8, 0))
H100 = Device("cuda", "H100", 1, bf16=True, capability=(9, 0))
FLASH = frozenset({"flash_attn"})
UNEVEN = Costs(padded=1.6, grouped=1.1, flat=1.2)
LONG = Costs(padded=1.3, grouped=1.1, flat=2.5)
EVEN = Costs(padded=1.02, grouped=1.0, flat=1.2)


def made(name: str, tokens: int = 100, **facts: Any) -> Choice:
    return next(c for c in all_choices(Facts(**facts), tokens) if c.name == name)


@pytest.mark.parametrize(
    ("name", "facts", "value", "says"),
    [
        # dtype
        ("dtype", {"device": CPU}, "float32", "no instructions for bfloat16"),
        ("dtype", {"device": CPU16}, "bfloat16", "full speed"),
        ("dtype", {"device": T4}, "float16", "older than Ampere"),
        ("dtype", {"device": H100}, "bfloat16", "full speed"),
        # attention
        ("attn_implementation", {"device": CPU}, "eager", "longest sequence has 100"),
        ("attn_implementation", {"device": CPU, "attention": "eager"}, "eager", "own choice"),
        ("attn_implementation", {"device": H100, "flash": True}, "sdpa", "flash-attn is not installed"),
        ("attn_implementation", {"device": H100, "flash": True, "installed": FLASH}, "flash_attention_2", "installed"),
        ("attn_implementation", {"device": T4, "flash": True, "installed": FLASH}, "sdpa", "older than Ampere"),
        ("attn_implementation", {"device": H100, "flash": True, "installed": FLASH, "half": False}, "sdpa", "32 bits"),
        ("attn_implementation", {"device": H100, "installed": FLASH}, "sdpa", "the model does not take it"),
        # how rows lie
        ("packing", {}, False, "fewer steps"),
        ("padding_free", {}, False, "one row has no padding"),
        ("padding_free", {"batch": 4, "costs": UNEVEN}, False, "batches of rows 1.10"),
        ("padding_free", {"batch": 4, "costs": Costs(1.6, 1.3, 1.1)}, True, "keeps them apart"),
        ("padding_free", {"batch": 4, "costs": Costs(1.6, 1.3, 1.1), "leak": "falcon leaks"}, False, "Falcon leaks"),
        ("padding_free", {"batch": 4, "costs": EVEN}, False, "1.20 times"),
        ("padding_free", {"batch": 4, "costs": LONG, "device": H100}, False, "2.50 times"),
        ("padding_free", {"batch": 4, "costs": LONG, "device": H100, "flash": True, "installed": FLASH}, True, "1.00"),
        ("train_sampling_strategy", {}, "random", "Nothing is padded"),
        ("train_sampling_strategy", {"batch": 4, "costs": UNEVEN}, "group_by_length", "1.10"),
        ("train_sampling_strategy", {"batch": 4, "costs": EVEN}, "random", "1.02"),
        ("train_sampling_strategy", {"batch": 4, "costs": Costs(1.6, 1.3, 1.1)}, "random", "Nothing is padded"),
        ("train_sampling_strategy", {"batch": 4, "costs": UNEVEN, "compat": True}, "random", "compat"),
        (
            "train_sampling_strategy",
            {"batch": 1, "before": {"train_sampling_strategy": "group_by_length"}},
            "group_by_length",
            "began so",
        ),
        # loss head, kernels
        ("loss_head", {"device": CPU}, "plain", "Without Triton"),
        ("loss_head", {"device": H100}, "fused", "in pieces"),
        ("use_liger_kernel", {"device": CPU}, False, "for GPUs"),
        ("use_liger_kernel", {"device": H100}, False, "not installed"),
        ("use_liger_kernel", {"device": H100, "installed": frozenset({"liger_kernel"})}, False, "no kernels for this"),
        ("use_liger_kernel", {"device": H100, "installed": frozenset({"liger_kernel"}), "liger": True}, True, "knows"),
        ("use_liger_kernel", {"device": T4, "installed": frozenset({"liger_kernel"}), "liger": True}, False, "Ampere"),
        # memory
        ("gradient_checkpointing", {"device": CPU, "parameters": 10**10}, False, "no estimate"),
        ("gradient_checkpointing", {"device": H100, "parameters": 10**8}, False, "no estimate"),
        ("gradient_checkpointing", {"device": H100, "parameters": 10**10}, True, "10.0 billion"),
        ("gradient_checkpointing", {"need": 20 * GIB, "room": 24 * GIB}, False, "20.0 GiB of 24.0 GiB"),
        (
            "gradient_checkpointing",
            {"need": 30 * GIB, "need_recomputed": 9 * GIB, "room": 24 * GIB},
            True,
            "9.0 GiB computing them twice",
        ),
        ("optim", {"device": H100}, "adamw_torch_fused", "not short"),
        ("optim", {"device": CPU}, "adamw_torch_fused", "not short"),
        ("optim", {"before": {"optim": "adamw_8bit"}}, "adamw_8bit", "began so"),
        # threads, compile, tf32
        ("threads", {"cpus": 2, "threads": 64}, 2, "2 CPUs may be used by this process; where its threads wait, they sleep"),
        ("threads", {"cpus": 8, "threads": 1}, 1, "8 CPUs"),
        ("threads", {"cpus": 1, "threads": 2, "waiting": "ACTIVE"}, 1, "OMP_WAIT_POLICY is ACTIVE"),
        ("torch_compile", {"device": H100}, False, "ask for it"),
        ("tf32", {"device": CPU}, False, "Ampere"),
        ("tf32", {"device": T4}, False, "Ampere"),
        ("tf32", {"device": A100}, True, "tensor cores"),
        ("tokenisation", {}, 512, "batches"),
    ],
)  # fmt: skip
def test_each_choice_follows_from_the_facts_and_says_why(
    name: str, facts: dict[str, Any], value: Any, says: str
) -> None:
    choice = made(name, **facts)
    assert (choice.value, choice.yours) == (value, False)
    assert says in choice.why


def test_eager_attention_ends_where_its_memory_grows() -> None:
    assert made("attn_implementation", tokens=512).value == "eager"
    assert made("attn_implementation", tokens=513).value == "sdpa"


@pytest.mark.parametrize(
    ("short", "installed", "device", "value", "says"),
    [
        (1, frozenset({"bitsandbytes"}), H100, "adamw_8bit", "in 8 bits"),
        (4, frozenset({"bitsandbytes"}), H100, "paged_adamw_8bit", "CPU's memory"),
        (4, frozenset(), H100, "adamw_torch_fused", "bitsandbytes is not installed"),
        (4, frozenset({"bitsandbytes"}), CPU, "adamw_torch_fused", "small beside it"),
    ],
)
def test_the_optimiser_gets_smaller_only_when_computing_twice_was_not_enough(
    short: int, installed: frozenset[str], device: Device, value: str, says: str
) -> None:
    facts: dict[str, Any] = {"device": device, "installed": installed, "room": 24 * GIB, "state": 2 * GIB}
    choice = made("optim", need=60 * GIB, need_recomputed=(24 + short) * GIB, **facts)
    assert (choice.value, says in choice.why) == (value, True)
    assert made("optim", need=60 * GIB, need_recomputed=24 * GIB, **facts).value == "adamw_torch_fused"


WRITTEN = {
    "tokenisation": ("TrainerOptions.tokenize_rows", 1),
    "packing": ("TrainingArguments.packing", True),
    "padding_free": ("TrainingArguments.padding_free", True),
    "train_sampling_strategy": ("TrainingArguments.train_sampling_strategy", "sequential"),
    "loss_head": ("TrainerOptions.loss_head", "fused"),
    "use_liger_kernel": ("TrainingArguments.use_liger_kernel", True),
    "gradient_checkpointing": ("TrainingArguments.gradient_checkpointing", True),
    "dtype": ("ModelConfig.torch_dtype", "float16"),
    "attn_implementation": ("ModelConfig.attn_implementation", "flex_attention"),
    "threads": ("TrainerOptions.threads", 7),
    "optim": ("TrainingArguments.optim", "sgd"),
    "torch_compile": ("TrainingArguments.torch_compile", True),
    "tf32": ("TrainingArguments.tf32", True),
}


def test_what_the_user_wrote_wins_always_and_is_said() -> None:
    """Even a choice that the facts speak against: but for rows that would see each other, see below."""
    told = dict(WRITTEN.values())
    found = all_choices(Facts(told=told, before={"optim": "adamw_8bit"}), 100)
    assert {c.name: (c.switch, c.value) for c in found} == WRITTEN
    assert all(c.yours and c.why == f"Written as {c.switch}." for c in found)
    assert all(not c.yours for c in all_choices(Facts(), 100))


def test_an_environment_variable_is_the_users_word_too() -> None:
    choice = made("threads", cpus=2, threads=64, told={"OMP_NUM_THREADS": 16})
    assert (choice.value, choice.yours, "OMP_NUM_THREADS" in choice.why) == (16, True, True)


@pytest.mark.parametrize("name", ["packing", "padding_free"])
def test_rows_that_see_each_other_are_never_put_end_to_end(name: str) -> None:
    choice = made(name, batch=4, told={f"TrainingArguments.{name}": True}, leak="opt lets packed rows see each other")
    assert (choice.value, choice.yours) == (False, False)
    assert choice.why == "Opt lets packed rows see each other."


def test_a_packed_sequence_needs_nothing_else() -> None:
    told = {"TrainingArguments.packing": True}
    assert not made("padding_free", batch=4, costs=Costs(1.6, 1.3, 1.1), told=told).value
    assert made("train_sampling_strategy", batch=4, costs=UNEVEN, told=told).value == "random"


def test_every_choice_tells_how_it_is_switched() -> None:
    from kaito_trainer.contract.config import options
    from kaito_trainer.contract.fields import known

    explained = {o.path for o in options()}
    for choice in all_choices(Facts(), 100):
        section, _, name = choice.switch.partition(".")
        assert choice.switch in explained or name in known("ours", section), choice.switch
        assert choice.to_dict().keys() == {"name", "value", "why", "switch", "yours"}
    assert choices.__all__
