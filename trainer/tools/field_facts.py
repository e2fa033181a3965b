"""What Hugging Face's classes do not say about their fields themselves: successors, ranges, values. `write_fields` adds it."""

from __future__ import annotations

from typing import Final

SUCCESSORS: Final = {
    "TrainingArguments.max_seq_length": ("max_length", ""),
    "TrainingArguments.evaluation_strategy": ("eval_strategy", ""),
    "TrainingArguments.warmup_ratio": ("warmup_steps", "a number below 1 is a share of all steps"),
    "TrainingArguments.no_cuda": ("use_cpu", ""),
    "TrainingArguments.use_mps_device": ("", "it is used where it is there"),
    "TrainingArguments.group_by_length": ("train_sampling_strategy", 'with "group_by_length"'),
    "TrainingArguments.per_gpu_train_batch_size": ("per_device_train_batch_size", ""),
    "TrainingArguments.per_gpu_eval_batch_size": ("per_device_eval_batch_size", ""),
    "TrainingArguments.eval_batch_size": ("per_device_eval_batch_size", ""),
    "TrainingArguments.batch_size": ("per_device_train_batch_size", ""),
    "TrainingArguments.epochs": ("num_train_epochs", ""),
    "TrainingArguments.num_epochs": ("num_train_epochs", ""),
    "TrainingArguments.lr": ("learning_rate", ""),
    "TrainingArguments.logging_dir": ("", "what is logged comes as events"),
    "TrainingArguments.overwrite_output_dir": ("", "the output folder is never emptied"),
    "TrainingArguments.save_safetensors": ("", "adapters are always written as safetensors"),
    "TrainingArguments.push_to_hub_model_id": ("hub_model_id", ""),
    "TrainingArguments.push_to_hub_organization": ("hub_model_id", "with the organisation before a /"),
    "TrainingArguments.push_to_hub_token": ("hub_token", ""),
    "TrainingArguments.fp16_backend": ("fp16", "true or false"),
    "TrainingArguments.half_precision_backend": ("fp16", "true or false"),
    "TrainingArguments.fp16_opt_level": ("fp16", "true or false"),
    "TrainingArguments.adafactor": ("optim", "with adafactor"),
    "TrainingArguments.torchdynamo": ("torch_compile_backend", ""),
    "TrainingArguments.ray_scope": ("", "nothing looks for parameters here"),
    "TrainingArguments.xpu_backend": ("ddp_backend", ""),
    "TrainingArguments.tpu_num_cores": ("", "KAITO trains on GPUs"),
    "TrainingArguments.tpu_metrics_debug": ("", "KAITO trains on GPUs"),
    "TrainingArguments.num_of_sequences": ("packing", "true or false; the length is max_length"),
    "TrainingArguments.chars_per_token": ("packing", "true or false; tokens are counted, not guessed"),
    "TrainingArguments.dataset_batch_size": ("", "the data is tokenised as it fits"),
    "TrainingArguments.include_inputs_for_metrics": ("include_for_metrics", ""),
    "TrainingArguments.include_tokens_per_second": ("", "tokens are counted without it"),
    "TrainingArguments.jit_mode_eval": ("torch_compile", ""),
    "TrainingArguments.use_legacy_prediction_loop": ("", "there is one way to evaluate"),
    "TrainingArguments.use_ipex": ("", "it is no longer part of transformers"),
    "TrainingArguments.past_index": ("", "it is no longer part of transformers"),
    "TrainingArguments.mp_parameters": ("", "it is no longer part of transformers"),
    "TrainingArguments.split_batches": ("accelerator_config", "with {split_batches: true}"),
    "TrainingArguments.dispatch_batches": ("accelerator_config", "with {dispatch_batches: true}"),
    "TrainingArguments.fsdp_min_num_params": ("fsdp_config", "with {min_num_params: …}"),
    "TrainingArguments.fsdp_transformer_layer_cls_to_wrap": ("fsdp_config", "with {transformer_layer_cls_to_wrap: …}"),
    "LoraConfig.rank": ("r", ""),
    "LoraConfig.lora_r": ("r", ""),
    "LoraConfig.alpha": ("lora_alpha", ""),
    "LoraConfig.dropout": ("lora_dropout", ""),
    "LoraConfig.lora_target_modules": ("target_modules", ""),
    "LoraConfig.merge_weights": ("", "an adapter stays apart until it is merged"),
    "LoraConfig.enable_lora": ("target_modules", ""),
    "ModelConfig.dtype": ("torch_dtype", ""),
    "ModelConfig.use_auth_token": ("", "the token comes from a Secret: --model-access-secret NAME"),
    "ModelConfig.use_flash_attention_2": ("attn_implementation", "with flash_attention_2"),
    "ModelConfig.load_in_4bit": ("QuantizationConfig.load_in_4bit", ""),
    "ModelConfig.load_in_8bit": ("QuantizationConfig.load_in_8bit", ""),
}  # fmt: skip
"""Names that are gone, and near ones that people try -> the field to use (empty: none), and a word about it."""

SHARE: Final = {"minimum": 0, "maximum": 1}
RANGES: Final[dict[str, dict[str, float]]] = {
    "adam_beta1": {"minimum": 0, "maximum": 0.999999}, "adam_beta2": {"minimum": 0, "maximum": 0.999999},
    "adam_epsilon": {"minimum": 0}, "label_smoothing_factor": SHARE, "mlm_probability": SHARE,
    "mask_replace_prob": SHARE, "random_replace_prob": SHARE, "dataloader_num_workers": {"minimum": 0},
    "dataloader_prefetch_factor": {"minimum": 1}, "dataset_num_proc": {"minimum": 1},
    "eval_accumulation_steps": {"minimum": 1}, "eval_delay": {"minimum": 0}, "ddp_timeout": {"minimum": 1},
    "pad_to_multiple_of": {"minimum": 1}, "neftune_noise_alpha": {"minimum": 0}, "data_seed": {"minimum": 0},
    "torch_empty_cache_steps": {"minimum": 1}, "llm_int8_threshold": {"minimum": 0}, "qalora_group_size": {"minimum": 1},
}  # fmt: skip
"""Ranges of fields whose classes state none: what torch's optimisers and loaders refuse, or what would be empty."""

CHOICES: Final = {
    "bnb_4bit_quant_type": ("fp4", "nf4"),
    "bnb_4bit_quant_storage": ("uint8", "int8", "float16", "float32", "float64", "bfloat16"),
    "bnb_4bit_compute_dtype": ("bfloat16", "float16", "float32"),
    "return_tensors": ("pt", "np"),
    "init_lora_weights": ("gaussian", "eva", "olora", "pissa", "corda", "loftq", "orthogonal", "mica"),
    "quant_method": ("bitsandbytes",),
}
"""Values of fields that the classes take for any text, and fail on later."""
