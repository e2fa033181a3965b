"""Names of Hugging Face's own fields that we don't explain: they pass through, but a typo of one should not.

Read off transformers 5.23 (`TrainingArguments`, `BitsAndBytesConfig`, `DataCollatorForLanguageModeling`), trl 1.16 (`SFTConfig`)
and peft 0.21 (`LoraConfig`). A name that is not here may come from a later release: it is passed on with a warning.
"""

from __future__ import annotations

from typing import Final

HUGGING_FACE: Final[dict[str, frozenset[str]]] = {
    "TrainingArguments": frozenset(
        """
        accelerator_config activation_checkpointing activation_checkpointing_kwargs activation_offloading adam_beta1
        adam_beta2 adam_epsilon auto_find_batch_size average_tokens_across_devices batch_eval_metrics bf16_full_eval
        chat_template_path data_seed dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context
        dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor
        dataset_kwargs dataset_num_proc dataset_text_field ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
        ddp_static_graph ddp_timeout debug deepspeed disable_tqdm do_eval do_predict do_train enable_jit_checkpoint
        eos_token eval_accumulation_steps eval_delay eval_do_concat_batches eval_on_start eval_packing
        eval_use_gather_object fp16_full_eval fsdp fsdp_config full_determinism gradient_checkpointing_kwargs
        greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token
        ignore_data_skip include_for_metrics include_num_input_tokens_seen label_names label_smoothing_factor
        length_column_name liger_kernel_config load_best_model_at_end local_rank log_level log_level_replica
        log_on_each_node logging_first_step logging_nan_inf_filter loss_type lr_scheduler_kwargs
        metric_for_best_model model_init_kwargs neftune_noise_alpha optim_args optim_target_modules
        packing_strategy pad_to_multiple_of pad_token padding_free parallelism_config prediction_loss_only project
        push_to_hub remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint
        router_aux_loss_coef run_name save_on_each_node save_only_model shuffle_dataset skip_memory_metrics tf32
        torch_compile torch_compile_backend torch_compile_mode torch_empty_cache_steps trackio_bucket_id
        trackio_space_id trackio_static_space_id train_sampling_strategy truncation_mode trust_remote_code use_cache
        use_liger_kernel
        """.split()
    ),
    "LoraConfig": frozenset(
        """
        alora_invocation_tokens alpha_pattern arrow_config auto_mapping base_model_name_or_path corda_config
        ensure_weight_tying eva_config exclude_modules fan_in_fan_out inference_mode init_lora_weights kasa_config
        layer_replication layers_pattern layers_to_transform loftq_config lora_bias lora_ga_config megatron_config
        megatron_core monteclora_config peft_type peft_version qalora_group_size rank_pattern revision runtime_config
        target_parameters trainable_token_indices use_bdlora use_qalora velora_config
        """.split()
    ),
    "QuantizationConfig": frozenset(
        """
        bnb_4bit_quant_storage llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight llm_int8_skip_modules
        llm_int8_threshold quant_method
        """.split()
    ),
    "DataCollator": frozenset(
        """
        mask_replace_prob mlm_probability pad_to_multiple_of random_replace_prob return_tensors seed whole_word_mask
        """.split()
    ),
}
"""Section -> the fields of its Hugging Face class that `sections` does not explain."""

RENAMED: Final = {
    "TrainingArguments.max_seq_length": "Write max_length.",
    "TrainingArguments.evaluation_strategy": "Write eval_strategy.",
    "TrainingArguments.warmup_ratio": "Write warmup_steps: a number below 1 is a share of all steps.",
    "TrainingArguments.no_cuda": "Write use_cpu.",
    "TrainingArguments.group_by_length": "Write train_sampling_strategy: group_by_length.",
    "TrainingArguments.per_gpu_train_batch_size": "Write per_device_train_batch_size.",
    "TrainingArguments.logging_dir": "Leave it out: what is logged comes as events.",
    "TrainingArguments.overwrite_output_dir": "Leave it out: the output folder is never emptied.",
    "TrainingArguments.save_safetensors": "Leave it out: adapters are always written as safetensors.",
    "TrainingArguments.batch_size": "Write per_device_train_batch_size.",
    "TrainingArguments.epochs": "Write num_train_epochs.",
    "LoraConfig.rank": "Write r.",
    "LoraConfig.lora_r": "Write r.",
    "ModelConfig.dtype": "Write torch_dtype.",
    "ModelConfig.load_in_4bit": "Write it in QuantizationConfig.",
    "ModelConfig.load_in_8bit": "Write it in QuantizationConfig.",
}
"""Names that Hugging Face knew once, and near ones that people try -> what to do."""
