"""TRL's `SFTTrainer`, not to be killed (`keeping`, `oom`), with two changes: a loss that is fast without Triton, and a held-out loss that means something.

TRL's fused head computes the loss in chunks; without Triton (on a CPU) it took 3.2 times as long as torch's own
cross-entropy, and scores the prompts too. Hugging Face averages the held-out loss over batches, so that it depends on
the batch size; here it is the mean over all trained tokens.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import SequentialSampler
from transformers.trainer_utils import EvalLoopOutput

from .clock import Clock
from .grouping import Grouped
from .keeping import Keeping
from .together import added, own_numbers
from .tokens import IGNORED, lengths


class Trainer(Keeping):
    """`plain_loss`: torch's cross-entropy on the trained tokens in place of TRL's fused head."""

    def __init__(self, *args: Any, plain_loss: bool = False, **kwargs: Any) -> None:
        self.clock = Clock()
        """Where the time goes."""
        super().__init__(*args, **kwargs)
        # TRL computes these from its own head.
        special = self.args.loss_type != "nll" or self.label_smoother is not None or self.aux_loss_enabled
        self.plain_loss = plain_loss and not special
        parameters = inspect.signature(self.model.get_base_model().forward).parameters
        self._keeps = "logits_to_keep" in parameters
        self._held_out = torch.zeros(2, dtype=torch.float64)
        for parameter in self.model.parameters():
            if parameter.requires_grad:  # TRL casts the adapters of quantised models to bfloat16: small steps get lost
                parameter.data = parameter.data.float()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        trained = (inputs["labels"][..., 1:] != IGNORED).sum()
        with own_numbers(self.accelerator):
            if self.plain_loss and not return_outputs:
                loss = self._plain_loss(model, inputs, trained, num_items_in_batch)
            else:
                loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not self.model.training:
            mean = loss[0] if return_outputs else loss
            self._held_out += torch.tensor([float(mean) * int(trained), int(trained)], dtype=torch.float64)
        return loss

    def _plain_loss(self, model: Any, inputs: dict[str, Any], trained: Any, num_items_in_batch: Any) -> Any:
        """The logits are made only from the first position to the last whose next token is trained on in any row."""
        labels = inputs["labels"][:, 1:]
        places = (labels != IGNORED).any(dim=0).nonzero().squeeze(1)
        others = {k: v for k, v in inputs.items() if k != "labels"}
        if self._keeps:
            logits = model(**others, use_cache=False, logits_to_keep=places).logits
        else:
            logits = model(**others, use_cache=False).logits[:, places]
        labels = labels[:, places]
        wanted = labels != IGNORED
        picked, target = logits[wanted].float(), labels[wanted]
        count = trained if num_items_in_batch is None else num_items_in_batch
        loss = cross_entropy(picked, target, reduction="sum") / torch.as_tensor(count).clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        self._count(inputs, (picked.argmax(-1) == target).sum(), trained)
        return loss

    def _count(self, inputs: dict[str, Any], right: Any, trained: Any) -> None:
        """The numbers that TRL's own loss keeps for the log."""
        mode = "train" if self.model.training else "eval"
        mask = inputs.get("attention_mask")
        seen = mask.sum() if mask is not None else torch.tensor(inputs["input_ids"].numel())
        right, trained, seen = torch.stack([right, trained, seen]).float().tolist()
        if mode == "train":
            self._total_train_tokens += int(seen)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        self._metrics[mode]["mean_token_accuracy"].append(right / trained if trained else 0.0)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if getattr(self.args, "train_sampling_strategy", "random") != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return Grouped(lengths(rows), step, seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Held-out rows come sorted by length: their order is the best one."""
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    def get_batch_samples(self, epoch_iterator: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().get_batch_samples(self.clock.waiting(epoch_iterator), *args, **kwargs)
        self.clock.count(found[0])
        return found

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with self.clock.on("eval"):
            return super().evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.clock.on("save"):
            super()._save_checkpoint(model, trial)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the numbers of all processes: each has kept its own."""
        kept = self._metrics["train" if self.model.training else "eval"]
        if self.args.world_size > 1 and kept:
            names = sorted(kept)
            sums = added(*(sum(kept[name]) / len(kept[name]) for name in names))
            for name, total in zip(names, sums, strict=True):
                kept[name] = [total if name == "num_tokens" else total / self.args.world_size]
        super().log(logs, start_time)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        self._held_out.zero_()
        output = super().evaluation_loop(*args, **kwargs)
        total, count = self.accelerator.reduce(self._held_out.clone().to(self.args.device)).tolist()
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = total / count if count else float("nan")
        return output

    def held_out(self, back_to: Any = None) -> Any:
        if back_to is not None:
            self._held_out, counted = back_to
            for name, values in self._metrics["eval"].items():
                del values[counted.get(name, 0) :]
        return self._held_out.clone(), {name: len(values) for name, values in self._metrics["eval"].items()}


__all__ = ["Trainer"]
