"""The memory of a training step, as torch's allocator saw it: what `kaito_jupyter.preflight`'s formula is held against.

SmolLM2-135M-Instruct, trained by our own trainer's classes on the CPU: a short step first, so that the optimiser has its
state, then one step of the setting under torch's profiler, which hears of every allocation. Each setting runs in a process
of its own. The figures are kept in `benchmarks/memory.json`.

    python -m benchmarks memory [--quick]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

KEPT: Final = Path(__file__).with_name("memory.json")
LINEAR: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Setting:
    """One training."""

    method: str
    batch: int
    length: int
    checkpointing: bool
    rank: int = 8
    targets: tuple[str, ...] = LINEAR
    dtype: str = "bfloat16"
    attention: str = "sdpa"
    trained: int | None = None
    """Tokens of each row that are trained on, its last ones; None: all."""


SETTINGS: Final = (
    Setting("lora", 1, 128, False),
    Setting("lora", 1, 256, False),
    Setting("lora", 1, 256, True),
    Setting("lora", 4, 256, False),
    Setting("lora", 4, 256, True),
    Setting("lora", 1, 1024, False),
    Setting("lora", 1, 1024, True),
    Setting("lora", 8, 128, False),
    Setting("lora", 2, 512, False),
    Setting("lora", 1, 512, False, rank=64),
    Setting("lora", 2, 256, False, targets=("q_proj", "v_proj")),
    Setting("lora", 1, 2048, True),
    Setting("lora", 1, 512, False, attention="eager"),
    Setting("lora", 1, 256, False, dtype="float32"),
    Setting("lora", 2, 256, True, dtype="float32"),
    Setting("qlora", 1, 256, False),
    Setting("qlora", 1, 256, True),
    Setting("qlora", 4, 256, False),
    Setting("qlora", 2, 512, True),
    Setting("qlora", 1, 512, False, rank=64),
    Setting("lora", 4, 256, False, trained=16),
    Setting("lora", 4, 256, True, trained=16),
    Setting("qlora", 2, 1024, True, trained=64),
)
"""All that vary: method, batch, length, checkpointing, rank, target modules, number format, attention."""


def measure(setting: Setting, path: str) -> dict[str, int]:
    """Bytes that lie there between steps (weights, adapter, optimiser), and those that a step adds at its peak."""
    import torch
    from datasets import Dataset
    from torch.profiler import ProfilerActivity, profile
    from transformers import AutoTokenizer, set_seed

    from kaito_trainer import hf_config
    from kaito_trainer import model as models
    from kaito_trainer.contract import TrainingConfig
    from kaito_trainer.trainer import Trainer

    config = TrainingConfig.from_dict(
        {
            "ModelConfig": {"torch_dtype": setting.dtype, "attn_implementation": setting.attention},
            "QuantizationConfig": {"load_in_4bit": setting.method == "qlora"},
            "LoraConfig": {"r": setting.rank, "target_modules": list(setting.targets)},
            "TrainingArguments": {
                "gradient_checkpointing": setting.checkpointing,
                "bf16": setting.dtype == "bfloat16",
                "max_steps": 2,
            },
        }
    )
    set_seed(0)
    device = models.device(config)
    base = models.base(path, config, device)
    with tempfile.TemporaryDirectory() as folder:
        arguments, _ = hf_config.training_arguments(config, Path(folder), device)
        rows = Dataset.from_list([{"input_ids": [1, 2], "labels": [1, 2]}])
        trainer = Trainer(
            base,
            arguments,
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(path),
            peft_config=hf_config.lora(config, list(setting.targets), []),
            plain_loss=True,
        )
        trainer.create_optimizer()
        if setting.checkpointing:
            trainer.recompute()
        model = trainer.accelerator.prepare(
            trainer.model
        )  # as the training loop does: it computes in `dtype` from here on
        model.train()

        def step(batch: int, length: int) -> None:
            ids = torch.arange(batch * length).reshape(batch, length) % 997
            labels = ids.clone()
            if setting.trained is not None:
                labels[:, : -setting.trained] = -100
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
            trainer.get_batch_samples(iter([inputs]), 1, torch.device("cpu"))
            trainer.training_step(model, inputs, (labels[:, 1:] != -100).sum())
            trainer.optimizer.step()
            trainer.model.zero_grad()

        step(1, 8)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as seen:
            step(setting.batch, setting.length)
        live = peak = 0
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        for event in sorted(events, key=lambda e: e.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        lasting = [*trainer.model.parameters(), *trainer.model.buffers()]
        lasting += [v for s in trainer.optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
        for module in trainer.model.modules():  # the scales of 4-bit weights
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            for part in (state, getattr(state, "state2", None)):
                if part is not None:
                    lasting += [t for t in (part.absmax, part.code, part.offset) if torch.is_tensor(t)]
        sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in lasting}
        return {"resident": sum(sizes.values()), "transient": peak}


def apart(setting: Setting, path: str) -> dict[str, int]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", json.dumps(asdict(setting)), path]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{setting}: {done.stderr[-2000:]}")
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(quick: bool = False) -> list[dict[str, Any]]:
    """Measure all settings; without `quick` the figures are kept."""
    from kaito_jupyter.demo import smollm2

    made = []
    for setting in SETTINGS[:2] if quick else SETTINGS:
        figures = apart(setting, str(smollm2()))
        made.append({**asdict(setting), **figures})
        print(f"{setting}: {figures['resident'] / 1e6:,.0f} + {figures['transient'] / 1e6:,.0f} MB", flush=True)
        if not quick:
            KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return made


if __name__ == "__main__":
    told, where = sys.argv[1:]
    asked = json.loads(told)
    for one in asked if isinstance(asked, list) else [asked]:
        print(json.dumps(measure(Setting(**one), where)))
