"""One training of the comparison, in a process of its own: `python -m benchmarks.trainer_legs LEG ROWS`, figures as JSON.

Legs: `stock` (TRL's SFTTrainer with the defaults of KAITO's trainer, all linear layers), `plain` (TRL as a careful user
sets it: assistant only, batch 1, 2e-4), `ours` (this trainer with its own defaults). All train SmolLM2-135M-Instruct from the
same bfloat16 weights on the same rows, on one thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from kaito_jupyter.demo import smollm2

EVERY = 8
"""Steps between two looks at the held-out rows."""
GOAL, GOAL_END = 0.5, 0.6
"""Cross-entropy on held-out answers, and on the token that closes them."""
HELD_OUT = 32
TRAINING_TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nYou are a helpful AI assistant "
    "named SmolLM, trained by Hugging Face<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The model's own, with the marks that TRL's assistant_only_loss needs."""
THINGS = (
    "the printer",
    "my laptop",
    "the door badge",
    "the VPN",
    "my calendar",
    "the coffee machine",
    "the invoice",
    "my phone",
)
FAULTS = ("does not start", "shows an error", "is very slow", "was lost", "makes a noise", "asks for a password")
TEAMS = {"the printer": "Hardware", "my laptop": "Hardware", "the door badge": "Facilities", "the VPN": "Network",
         "my calendar": "Software", "the coffee machine": "Facilities", "the invoice": "Finance", "my phone": "Hardware"}  # fmt: skip
STEPS = {"does not start": "Restart it, then check the cable.", "shows an error": "Send a picture of the message.",
         "is very slow": "Close what is not needed.", "was lost": "Report it at the desk today.",
         "makes a noise": "Switch it off and wait.", "asks for a password": "Reset the password online."}  # fmt: skip


def rows(count: int) -> list[dict[str, Any]]:
    """Tickets and how they are filed: a form that is learnt, with little chance in it."""
    made = []
    for i in range(count):
        thing, fault = THINGS[(i * 5 + i // 7) % len(THINGS)], FAULTS[(i * 7 + i // 3) % len(FAULTS)]
        day = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")[i * 11 % 5]
        asked = f"Ticket {1000 + i * 37}: since {day} {thing} {fault}. How do we file it?"
        answer = f"Team: {TEAMS[thing]}. Subject: {thing.split(' ', 1)[1]} {fault}. Open since: {day}. First step: {STEPS[fault]}"
        made.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    return made


class Watch(TrainerCallback):
    """CPU seconds of the training alone, and those until the held-out goal was reached. Looking at it is not counted."""

    def __init__(self, held_out: list[tuple[list[int], int]], aim: bool) -> None:
        self.held_out, self.aim = held_out, aim
        self.looked = self.began = 0.0
        self.reached: float | None = None
        self.steps_to_goal: int | None = None
        self.seen: list[tuple[int, float, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not self.aim or self.reached is not None or state.global_step % EVERY:
            return
        began = time.process_time()
        answers, ends = losses(model, self.held_out)
        self.seen.append((state.global_step, round(answers, 3), round(ends, 3)))
        if answers <= GOAL and ends <= GOAL_END:
            self.reached, self.steps_to_goal = began - self.began - self.looked, state.global_step
            control.should_training_stop = True
        self.looked += time.process_time() - began

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds = time.process_time() - self.began - self.looked
        self.steps = state.global_step


def losses(model: Any, held_out: list[tuple[list[int], int]]) -> tuple[float, float]:
    """Mean cross-entropy over the answers' tokens, closing token included, and over the closing tokens alone."""
    import torch
    from torch.nn.functional import cross_entropy

    was_training, total, count, ends = model.training, 0.0, 0, []
    model.eval()
    with torch.no_grad():
        for ids, start in held_out:
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, start - 1 : -1].float()
            each = cross_entropy(logits, torch.tensor(ids[start:]), reduction="none")
            total, count = total + float(each.sum()), count + len(each)
            ends.append(float(each[-1]))
    model.train(was_training)
    return total / count, sum(ends) / len(ends)


def tokenised(tokenizer: Any, some: list[dict[str, Any]]) -> list[tuple[list[int], int]]:
    """Ids up to the closing token, and where the answer begins."""
    made = []
    for row in some:
        prompt = tokenizer.apply_chat_template(row["messages"][:1], tokenize=False, add_generation_prompt=True)
        whole = prompt + row["messages"][1]["content"] + "<|im_end|>"
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        made.append((ids, len(tokenizer(prompt, add_special_tokens=False)["input_ids"])))
    return made


def theirs(leg: str, train: list[dict[str, Any]], watch: Watch, max_steps: int) -> float:
    """TRL's trainer; returns tokens seen."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    tokenizer.chat_template = TRAINING_TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(smollm2(), dtype=torch.bfloat16)
    more = {} if leg == "stock" else {"assistant_only_loss": True, "learning_rate": 2e-4}
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, per_device_train_batch_size=1, num_train_epochs=1, max_steps=max_steps, save_strategy="no",
            report_to="none", disable_tqdm=True, logging_steps=10, bf16=True, use_cpu=True, seed=42, **more,
        )  # fmt: skip
        trainer = SFTTrainer(
            model, arguments, train_dataset=Dataset.from_list(train), processing_class=tokenizer,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"), callbacks=[watch],
        )  # fmt: skip
        trainer.train()
    return float(trainer._total_train_tokens)


def ours(train: list[dict[str, Any]], watch: Watch, max_steps: int) -> tuple[float, float]:
    """This trainer, as a run would have it; returns tokens seen and seconds spent on events."""
    import yaml

    from kaito_trainer import callbacks, sft
    from kaito_trainer.__main__ import main
    from kaito_trainer.contract import decode, kaito_defaults

    spent = [0.0]

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                spent[0] += time.process_time() - began

        return call

    for name in ("on_step_begin", "on_step_end", "on_log", "on_save"):
        setattr(callbacks.EventCallback, name, counted(getattr(callbacks.EventCallback, name)))
    made = sft.Trainer

    class Watched(made):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(watch)

    sft.Trainer = Watched  # type: ignore[misc]
    config = kaito_defaults("lora").merged(
        {
            "ModelConfig": {"pretrained_model_name_or_path": str(smollm2())},
            "LoraConfig": {"lora_alpha": 16},
            "TrainingArguments": {"num_train_epochs": 1, "max_steps": max_steps},
            "TrainerOptions": {"samples": 0},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").mkdir()
        lines = [json.dumps(row) for row in train]
        (root / "data" / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
        (root / "training_config.yaml").write_text(yaml.safe_dump(config.to_document()), encoding="utf-8")
        main(["train", "--config", str(root / "training_config.yaml"), "--mount-root", folder])
        events = map(decode, (root / "results" / "events.jsonl").read_text(encoding="utf-8").splitlines())
        return max(e.data["num_tokens"] for e in events if e is not None and e.type == "log"), spent[0]


def main() -> None:
    leg, count, aim = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "goal"
    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    train, held_out = rows(count), tokenised(tokenizer, rows(count + HELD_OUT)[count:])
    watch, events = Watch(held_out, aim), 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        if leg == "ours":
            tokens, events = ours(train, watch, -1)
        else:
            tokens = theirs(leg, train, watch, -1)
    figures = {
        "tokens": tokens,
        "seconds": watch.seconds,
        "steps": watch.steps,
        "to_goal": watch.reached,
        "steps_to_goal": watch.steps_to_goal,
        "seen": watch.seen,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "events": events,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
