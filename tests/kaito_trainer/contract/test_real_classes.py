"""What we refuse, Hugging Face's own classes refuse too; what they take, we take. The classes are those installed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kaito_trainer.contract import TrainingConfig, check

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

Sections = dict[str, dict[str, Any]]
EVALUATES: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 10, "save_strategy": "steps", "save_steps": 20}


def built(sections: Sections, folder: Path) -> None:
    """The same configuration, given to the classes as it is, and to torch where they leave it to it."""
    import torch
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, DataCollatorForLanguageModeling, PreTrainedTokenizerFast
    from trl import SFTConfig

    if "LoraConfig" in sections:
        LoraConfig(**sections["LoraConfig"])
    if "QuantizationConfig" in sections:
        BitsAndBytesConfig(**sections["QuantizationConfig"])
    if "DataCollator" in sections:
        from tokenizers import Tokenizer, models

        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), mask_token="a")
        DataCollatorForLanguageModeling(tokenizer=tokenizer, **sections["DataCollator"])
    if "TrainingArguments" in sections:
        arguments = SFTConfig(
            **{"output_dir": str(folder), "use_cpu": True, "bf16": False} | sections["TrainingArguments"]
        )
        used(arguments, torch)


def used(arguments: Any, torch: Any) -> None:
    """What the Trainer does with values that `SFTConfig` only keeps."""
    from transformers import get_scheduler

    weight = torch.nn.Parameter(torch.ones(1))
    betas = (arguments.adam_beta1, arguments.adam_beta2)
    optimiser = torch.optim.AdamW([weight], arguments.learning_rate, betas, arguments.adam_epsilon)
    if arguments.lr_scheduler_type in ("linear", "cosine", "constant"):
        get_scheduler(arguments.lr_scheduler_type, optimiser, arguments.get_warmup_steps(100), 100)
    torch.utils.data.DataLoader(
        [1, 2, 3],
        batch_size=arguments.per_device_train_batch_size,
        num_workers=arguments.dataloader_num_workers,
        prefetch_factor=arguments.dataloader_prefetch_factor,
    )


DEFECTS: dict[str, Sections] = {
    "max_seq_length": {"TrainingArguments": {"max_seq_length": 512}},
    "evaluation_strategy": {"TrainingArguments": {"evaluation_strategy": "no"}},
    "a schedule that is none": {"TrainingArguments": {"lr_scheduler_type": "cosin"}},
    "an optimiser that is none": {"TrainingArguments": {"optim": "adam"}},
    "a strategy that is none": {"TrainingArguments": {"save_strategy": "never"}},
    "a learning rate that is text": {"TrainingArguments": {"learning_rate": "fast"}},
    "a negative warm-up": {"TrainingArguments": {"warmup_steps": -5}},
    "half a logging step": {"TrainingArguments": {"logging_steps": 2.5}},
    "no logging steps": {"TrainingArguments": {"logging_steps": 0}},
    "bf16 and fp16": {"TrainingArguments": {"bf16": True, "fp16": True}},
    "both for the evaluation": {"TrainingArguments": {"bf16_full_eval": True, "fp16_full_eval": True}},
    "the best without evaluating": {
        "TrainingArguments": {"load_best_model_at_end": True, "eval_strategy": "no", "save_strategy": "steps"}
    },
    "the best by other steps": {"TrainingArguments": {**EVALUATES, "load_best_model_at_end": True, "save_steps": 15}},
    "a plateau without evaluating": {
        "TrainingArguments": {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "no"}
    },
    "fetching ahead without workers": {"TrainingArguments": {"dataloader_prefetch_factor": 2}},
    "workers below none": {"TrainingArguments": {"dataloader_num_workers": -1}},
    "a beta of one": {"TrainingArguments": {"adam_beta1": 1.0}},
    "a batch of none": {"TrainingArguments": {"per_device_train_batch_size": 0}},
    "emptying the cache never": {"TrainingArguments": {"torch_empty_cache_steps": 0}},
    "an unknown key of LoRA": {"LoraConfig": {"rank": 8}},
    "a task that is none": {"LoraConfig": {"task_type": "CAUSAL"}},
    "a pattern and layers": {"LoraConfig": {"target_modules": "q_.*", "layers_to_transform": [0]}},
    "layers' pattern alone": {"LoraConfig": {"layers_pattern": "layers"}},
    "loftq without its own": {"LoraConfig": {"init_lora_weights": "loftq"}},
    "a bias in DoRA": {"LoraConfig": {"lora_bias": True, "use_dora": True}},
    "4 bits and 8 bits": {"QuantizationConfig": {"load_in_4bit": True, "load_in_8bit": True}},
    "bits as text": {"QuantizationConfig": {"load_in_4bit": "yes"}},
    "a type that torch lacks": {"QuantizationConfig": {"load_in_4bit": True, "bnb_4bit_compute_dtype": "bf16"}},
    "a storage that is none": {"QuantizationConfig": {"load_in_4bit": True, "bnb_4bit_quant_storage": "int4"}},
    "a whole threshold": {"QuantizationConfig": {"load_in_8bit": True, "llm_int8_threshold": 6}},
    "a threshold that is text": {"QuantizationConfig": {"load_in_8bit": True, "llm_int8_threshold": "six"}},
    "masking above all": {"DataCollator": {"mlm": True, "mask_replace_prob": 0.8, "random_replace_prob": 0.5}},
    "a probability above one": {"DataCollator": {"mlm": True, "mlm_probability": 1.5}},
}

ODD: dict[str, Sections] = {
    "a share as steps": {"TrainingArguments": {"logging_steps": 0.1, "save_steps": 0.5}},
    "whole steps with a point": {"TrainingArguments": {"logging_steps": 5.0}},
    "a share as warm-up": {"TrainingArguments": {"warmup_steps": 0.03}},
    "part of an epoch": {"TrainingArguments": {"num_train_epochs": 0.25}},
    "a whole rate": {"TrainingArguments": {"learning_rate": 1}},
    "a run's name that is a number": {"TrainingArguments": {"run_name": 2024}},
    "a mapping for the schedule": {
        "TrainingArguments": {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
    },
    "the same as JSON": {"TrainingArguments": {"lr_scheduler_kwargs": '{"min_lr_rate": 0.1}'}},
    "how to checkpoint": {"TrainingArguments": {"gradient_checkpointing_kwargs": {"use_reentrant": False}}},
    "how to load": {"TrainingArguments": {"accelerator_config": {"split_batches": True}}},
    "the best one by steps": {"TrainingArguments": {**EVALUATES, "load_best_model_at_end": True}},
    "the best one by epochs": {
        "TrainingArguments": {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"}
    },
    "only the best one": {
        "TrainingArguments": {"save_strategy": "best", "eval_strategy": "epoch", "metric_for_best_model": "loss"}
    },
    "no clipping": {"TrainingArguments": {"max_grad_norm": 0}},
    "reports to several": {"TrainingArguments": {"report_to": ["none"]}},
    "no steps' limit": {"TrainingArguments": {"max_steps": -1}},
    "noise": {"TrainingArguments": {"neftune_noise_alpha": 5}},
    "an old optimiser": {"TrainingArguments": {"optim": "adafactor"}},
    "packing in a row": {"TrainingArguments": {"packing": True, "packing_strategy": "wrapped", "eval_packing": False}},
    "workers": {"TrainingArguments": {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 4}},
    "by length": {"TrainingArguments": {"train_sampling_strategy": "group_by_length"}},
    "ranks by layer": {"LoraConfig": {"r": 8, "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 16}}},
    "a pattern of layers": {"LoraConfig": {"target_modules": r".*\.(q|v)_proj$"}},
    "some layers": {"LoraConfig": {"target_modules": ["q_proj"], "layers_to_transform": [0, 1], "layers_pattern": "h"}},
    "one layer": {"LoraConfig": {"target_modules": ["q_proj"], "layers_to_transform": 3}},
    "a fast start": {"LoraConfig": {"init_lora_weights": "pissa_niter_16"}},
    "no start": {"LoraConfig": {"init_lora_weights": False}},
    "all but the head": {"LoraConfig": {"target_modules": "all-linear", "exclude_modules": ["lm_head"]}},
    "DoRA": {"LoraConfig": {"use_dora": True, "use_rslora": True, "lora_dropout": 0}},
    "8 bits": {
        "QuantizationConfig": {"load_in_8bit": True, "llm_int8_threshold": 0.0, "llm_int8_skip_modules": ["lm_head"]}
    },
    "a storage": {"QuantizationConfig": {"load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}},
    "padding to eights": {"DataCollator": {"mlm": False, "pad_to_multiple_of": 8}},
}


def errors(sections: Sections) -> list[str]:
    return [str(p) for p in check(TrainingConfig.from_dict(sections)) if p.severity == "error"]


@pytest.mark.parametrize("name", DEFECTS)
def test_what_we_refuse_fails_in_the_real_classes(name: str, libraries: None, tmp_path: Path) -> None:
    found = errors(DEFECTS[name])
    with pytest.raises((ValueError, TypeError, AttributeError, ImportError)) as raised:
        built(DEFECTS[name], tmp_path)
    print(f"\n{json.dumps(DEFECTS[name])}\n  theirs: {raised.value}\n  ours:   {found}")
    assert found


@pytest.mark.parametrize("name", ODD)
def test_what_the_real_classes_take_we_take(name: str, libraries: None, tmp_path: Path) -> None:
    built(ODD[name], tmp_path)
    assert errors(ODD[name]) == []


def test_there_are_enough_of_both() -> None:
    assert len(DEFECTS) >= 15
    assert len(ODD) >= 20


@pytest.mark.parametrize("name", DEFECTS)
def test_a_fix_leaves_nothing_to_find_at_its_path(name: str) -> None:
    """Where a defect has a fix, the fixed configuration has no error any more."""
    config = TrainingConfig.from_dict(DEFECTS[name])
    fixes = [change for p in check(config) for change in p.fix]
    if not fixes:
        return
    for path, value in fixes:
        section, _, field = path.partition(".")
        config = config.merged({section: {field: value}})
    assert [str(p) for p in check(config) if p.severity == "error"] == []
