"""What each choice for speed buys, as far as a CPU can show it: the same rows with it and without it, in turns, in one call.

SmolLM2-135M-Instruct, LoRA r 8 on all linear layers, one thread, rows of unequal lengths. Both sides are this trainer, built as a
run builds it, and differ in one field of its configuration; rates are real (unpadded) tokens a CPU second of forward, backward and
optimiser, and the median of the rounds' ratios counts. What takes a GPU to show is named as such. The figures of a whole run are kept
in `benchmarks/results/`.

    python -m benchmarks choices [--quick]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).with_name("results")
ROUNDS, QUICK_ROUNDS = 3, 1
ROWS, QUICK_ROWS = 32, 8
FEW: Final = 8
"""Rows where what is compared does not depend on how they are put together."""
PREPARED, QUICK_PREPARED = 5_000, 1_000
_T: Final = "TrainingArguments"
_BATCH: Final = {"per_device_train_batch_size": 4}
SIDES: Final[Mapping[str, dict[str, dict[str, Any]]]] = {
    "single": {},
    "padded": {_T: {**_BATCH, "padding_free": False, "train_sampling_strategy": "random"}},
    "grouped": {_T: {**_BATCH, "padding_free": False, "train_sampling_strategy": "group_by_length"}},
    "flat": {_T: {**_BATCH, "padding_free": True}},
    "packed": {_T: {"packing": True, "max_length": 512}},
    "fused": {"TrainerOptions": {"loss_head": "fused"}},
    "sdpa": {"ModelConfig": {"attn_implementation": "sdpa"}},
    "recomputed": {_T: {"gradient_checkpointing": True}},
    "float32": {"ModelConfig": {"torch_dtype": "float32"}, _T: {"bf16": False}},
}
"""Name -> what the configuration says beside the trainer's own choices."""


@dataclass(frozen=True)
class Pair:
    """One choice: with it, without it."""

    choice: str
    on: str
    off: str
    what: str


PAIRS: Final = (
    Pair("packing", "packed", "single", "packed to 512 against batch 1"),
    Pair("packing", "packed", "padded", "packed to 512 against batch 4, padded"),
    Pair("padding_free", "flat", "padded", "batch 4: end to end against padded"),
    Pair("train_sampling_strategy", "grouped", "padded", "batch 4, padded: grouped by length against random"),
    Pair("loss_head", "single", "fused", "plain cross-entropy against TRL's head, batch 1"),
    Pair("attn_implementation", "single", "sdpa", "eager against sdpa, batch 1"),
    Pair("gradient_checkpointing", "single", "recomputed", "off against on, batch 1"),
    Pair("dtype", "single", "float32", "bfloat16 against float32, batch 1"),
)
GPU: Final = {
    "loss_head": "TRL's fused head by Triton, against plain",
    "use_liger_kernel": "Liger's norms, rotations and gates",
    "attn_implementation": "flash_attention_2 against sdpa",
    "optim": "adamw_8bit and paged_adamw_8bit: what they save",
    "tf32": "tensor cores for what is left in 32 bits",
    "torch_compile": "compiled against not, in a run of hours",
}


def rows(count: int) -> list[dict[str, Any]]:
    """Questions with answers from a few words to some sentences: a few are long, as in most data."""
    steps = ("Restart it.", "Check the cable behind the desk.", "Send a picture of the message to the service desk.",
             "Close what is not needed, and wait for a minute before the next try.", "Write down the number on its back.")  # fmt: skip
    made = []
    for i in range(count):
        answer = " ".join(steps[(i + j) % len(steps)] for j in range(1 + i * 7 % 5 + 9 * (i % 8 == 5)))
        asked = f"Ticket {1000 + i * 37}: the printer on floor {i % 9} makes a noise. What now?"
        made.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    return made


class Side:
    """A trainer of its own, and the batches of one pass over the rows."""

    def __init__(self, sections: dict[str, dict[str, Any]], count: int) -> None:
        from transformers import set_seed

        from kaito_jupyter.demo import smollm2
        from kaito_trainer import fast, hf_config
        from kaito_trainer import model as models
        from kaito_trainer.contract import kaito_defaults
        from kaito_trainer.data import Example
        from kaito_trainer.places import Places
        from kaito_trainer.tokens import Tokenizing
        from kaito_trainer.trainer import Trainer

        path = str(smollm2())
        config = kaito_defaults("lora").merged({"TrainerOptions": {"threads": 1}}).merged(sections)
        if "torch_dtype" not in sections.get("ModelConfig", {}):
            config = config.merged({"ModelConfig": {"torch_dtype": None}})
        set_seed(0)
        device, self._folder = models.device(config), tempfile.TemporaryDirectory()
        output = Path(self._folder.name)
        arguments, chosen = hf_config.training_arguments(config, output, device)
        tokenizer, base = models.tokenizer(path, config, Places(output)), models.base(path, config, device)
        targets, left_out = models.target_modules(base, None)
        tokenizing = Tokenizing(tokenizer, "conversational", "assistant", 512, models.ends(tokenizer, base))
        train = tokenizing.dataset([Example(messages=row["messages"]) for row in rows(count)], lambda done: None)
        none = tokenizing.dataset([], lambda done: None)
        hf_config.settle(arguments, chosen, held_out=0)
        made = fast.settle(base, arguments, chosen, config, device, targets, train, none, 512, output)
        self.chosen = {c.name: c.value for c in made.made}
        self.trainer = Trainer(
            base,
            arguments,
            train_dataset=made.sequences,
            processing_class=tokenizer,
            peft_config=hf_config.lora(config, targets, left_out),
            plain_loss=made["loss_head"] == "plain",
        )
        self.trainer.create_optimizer()
        if arguments.gradient_checkpointing:
            self.trainer.recompute()
        self.model = self.trainer.accelerator.prepare(self.trainer.model)
        self.model.train()
        self.batches = list(self.trainer.get_train_dataloader())
        self.steps(self.batches[:1])

    def steps(self, batches: list[dict[str, Any]]) -> float:
        """Real tokens a CPU second."""
        import torch

        tokens, began = 0, time.process_time()
        for batch in batches:
            inputs = dict(batch)
            mask = inputs.get("attention_mask")
            tokens += int(mask.sum()) if mask is not None else inputs["input_ids"].numel()
            self.trainer.get_batch_samples(iter([inputs]), 1, torch.device("cpu"))
            self.trainer.training_step(self.model, inputs, (inputs["labels"][..., 1:] != -100).sum())
            self.trainer.optimizer.step()
            self.trainer.model.zero_grad()
        return tokens / (time.process_time() - began)


def pairs(quick: bool) -> Iterator[dict[str, Any]]:
    """Each choice's ratio, by what each side makes of all rows in turn with the others."""
    import torch

    torch.set_num_threads(1)
    rounds, count = (QUICK_ROUNDS, QUICK_ROWS) if quick else (ROUNDS, ROWS)
    together = {
        name
        for p in PAIRS
        for name in (p.on, p.off)
        if p.choice in ("packing", "padding_free", "train_sampling_strategy")
    }
    for names in (sorted(together), sorted({*SIDES} - together | {"single"})):
        sides = {name: Side(SIDES[name], count if names[0] == "flat" else FEW) for name in names}
        rates = {name: [] for name in names}  # type: dict[str, list[float]]
        for _ in range(rounds):
            for name, side in sides.items():
                rates[name].append(side.steps(side.batches))
        for pair in PAIRS:
            if pair.on in rates and pair.off in rates:
                each = [a / b for a, b in zip(rates[pair.on], rates[pair.off], strict=True)]
                yield {
                    "choice": pair.choice,
                    "what": pair.what,
                    "unit": "tokens a CPU second",
                    "on": round(statistics.median(rates[pair.on]), 1),
                    "off": round(statistics.median(rates[pair.off]), 1),
                    "ratio": round(statistics.median(each), 3),
                    "rounds": [round(r, 3) for r in each],
                }


def memory() -> dict[str, Any]:
    """What computing activations twice saves of a step's peak."""
    from kaito_jupyter.demo import smollm2

    from .bench_memory import Setting, apart

    kept, twice = (apart(Setting("lora", 1, 256, on), str(smollm2()))["transient"] / 1e6 for on in (False, True))
    what = "on against off: memory of a step, batch 1 of 256 tokens"
    return {"choice": "gradient_checkpointing", "what": what, "unit": "MB", "on": round(twice), "off": round(kept),
            "ratio": round(twice / kept, 3)}  # fmt: skip


def preparation(quick: bool) -> dict[str, Any]:
    """Our own tokenising against TRL's preparation."""
    from .bench_trainer import prepared

    us, them = prepared(QUICK_PREPARED if quick else PREPARED)
    return {"choice": "tokenisation", "what": "our own, in batches, against TRL's preparation", "unit": "rows a CPU second",
            "on": round(us), "off": round(them), "ratio": round(us / them, 2)}  # fmt: skip


WORK: Final = """
import sys, time, torch
threads, count = int(sys.argv[1]), int(sys.argv[2])
if threads: torch.set_num_threads(threads)
x, w = torch.randn(128, 576), torch.randn(576, 1536)
x @ w
began, cpu = time.perf_counter(), time.process_time()
for i in range(count):
    y = (x @ w).relu_() @ w.T
    sum(range(300))
print(time.perf_counter() - began, time.process_time() - cpu)
"""
"""Many small steps with Python between them, as a training step is."""


def threads(quick: bool) -> Iterator[dict[str, Any]]:
    """Two processes on this machine's cores, as pods share a node: sleeping threads and few, against torch's own defaults."""
    from kaito_trainer.__main__ import ENVIRONMENT
    from kaito_trainer.machine import cpus

    settings = {name: value for name, value in ENVIRONMENT.items() if name.startswith(("OMP", "KMP"))}
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("OMP", "KMP", "GOMP"))}

    def once(environment: dict[str, str], number: int, count: int) -> tuple[float, float]:
        command = [sys.executable, "-c", WORK, str(number), str(count)]
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        figures = [[float(n) for n in process.communicate()[0].split()] for process in running]
        return max(f[0] for f in figures), sum(f[1] for f in figures)

    for what, number, environment in (
        ("waiting threads sleep, against torch's own", 0, bare),
        (f"{cpus()} sleeping threads against 16 of a larger node", 16, bare),
    ):
        wall, busy = [], []
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            ours = once(bare | settings, cpus(), 50 if quick else 600)
            theirs = once(environment, number, 50 if quick else 600)
            wall.append(theirs[0] / ours[0])
            busy.append(theirs[1] / ours[1])
        yield {"choice": "threads", "what": f"two processes at once: {what}", "unit": "times as fast (by the clock)",
               "ratio": round(statistics.median(wall), 2), "rounds": [round(r, 2) for r in wall],
               "cpu_seconds_ratio": round(statistics.median(busy), 2)}  # fmt: skip


def optimizer() -> dict[str, Any]:
    """One update of adapters like SmolLM2's, in one kernel against a loop."""
    import torch

    def made(fused: bool) -> torch.optim.Optimizer:
        parameters = [torch.nn.Parameter(torch.zeros(8, 576)) for _ in range(420)]
        for p in parameters:
            p.grad = torch.ones_like(p)
        return torch.optim.AdamW(parameters, fused=fused)

    def rate(one: torch.optim.Optimizer) -> float:
        began = time.process_time()
        for _ in range(20):
            one.step()
        return 20 / (time.process_time() - began)

    on, off = made(True), made(False)
    rate(on), rate(off)
    each = [rate(on) / rate(off) for _ in range(5)]
    return {"choice": "optim", "what": "adamw_torch_fused against adamw_torch, the update alone", "unit": "updates a CPU second",
            "on": round(rate(on)), "off": round(rate(off)), "ratio": round(statistics.median(each), 2)}  # fmt: skip


def main(quick: bool = False) -> list[dict[str, Any]]:
    """Print and return a row for each choice; without `quick` they are kept."""
    from kaito_trainer.facts import versions
    from kaito_trainer.model import _cpu_name

    found: list[dict[str, Any]] = []

    def say(row: dict[str, Any]) -> None:
        found.append(row)
        sides = f"{row['on']:>8,} / {row['off']:>8,} {row['unit']}" if "on" in row else row["unit"]
        more = f" ({row['cpu_seconds_ratio']} times the CPU seconds saved)" if "cpu_seconds_ratio" in row else ""
        print(f"{row['choice']:24} {row['ratio']:6.2f}  {row['what']}: {sides}{more}", flush=True)

    say(preparation(quick))
    say(optimizer())
    for row in threads(quick):
        say(row)
    for row in pairs(quick):
        say(row)
    if not quick:
        say(memory())
    for name, what in GPU.items():
        print(f"{name:24}      -  {what}: needs a GPU")
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        kept = {
            "card": _cpu_name(),
            "date": time.strftime("%Y-%m-%d"),
            "versions": versions(),
            "rows": found,
            "needs a GPU": GPU,
        }
        (RESULTS / "choices-cpu.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
