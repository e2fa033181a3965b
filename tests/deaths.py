"""Every way in which tuning runs are known to die, for `tests/kaito_jupyter/test_how_runs_die.py` and the page made from it.

Sources: KAITO's tuning document (its troubleshooting), the traps of KAITO's own trainer (K1 to K15, of the field notes), the
failures that the stand-in operator makes, KAITO's webhook, and the errors of transformers, TRL and PEFT themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """A death that can be foreseen: told in the cell, before anything is sent."""

    name: str
    source: str
    dies: str
    """What happens in the pod, or what the cluster answers."""
    path: str
    """Where the finding is."""
    given: Json = field(default_factory=dict)
    """What is changed in a good spec."""
    target: str = "kaito"
    rows: list[Json] | None = None
    """Data, for a death that is in the data."""
    model: str = ""
    """A chat template (or `none`) of the model whose tokenizer is at hand, for a death that shows as the rows meet the model."""
    told: str = "error"
    """`error`: refused. `note`: repaired. `warning`: told, and refused with --strict."""


def config(section: str, **keys: Any) -> Json:
    return {"config": {section: keys}}


def args(**keys: Any) -> Json:
    return config("TrainingArguments", **keys)


PARSER = "KAITO's parser ends: some specified arguments are not used"
A100 = "Standard_NC24ads_A100_v4"
CHATML = "{% for m in messages %}<|im_start|> {{ m['role'] }} {{ m['content'] }} <|im_end|> {% endfor %}"
ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
    "{% endif %}<|im_start|> {{ m['role'] }} {{ m['content'] }} <|im_end|> {% endfor %}"
)
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

FORESEEN: list[Known] = [
    # KAITO's own trainer
    Known("a batch of two", "K3", "unable to create tensor, as soon as two rows differ in length",
          "TrainingArguments.per_device_train_batch_size", args(per_device_train_batch_size=2)),
    Known("a batch of four in the evaluation", "K3", "the same, at the first evaluation", "TrainingArguments.per_device_eval_batch_size",
          {"options": {"per_device_eval_batch_size": 4, "eval_strategy": "epoch", "train_test_split": 0.9}}),
    Known("packing", "K4", "ValueError: Passing a custom data collator is not supported when using padding-free",
          "TrainingArguments.packing", args(packing=True)),
    Known("no padding", "K4", "ValueError: Passing a custom data collator is not supported", "TrainingArguments.padding_free", args(padding_free=True)),
    Known("a mapping", "K5", PARSER, "TrainingArguments.gradient_checkpointing_kwargs",
          args(gradient_checkpointing_kwargs={"use_reentrant": False})),
    Known("the schedule's own options", "K5", PARSER, "TrainingArguments.lr_scheduler_kwargs", args(lr_scheduler_kwargs={"a": 1})),
    Known("ranks by layer", "K5", "KAITO's parser ends: invalid dict value", "LoraConfig.rank_pattern",
          config("LoraConfig", rank_pattern={"q_proj": 4})),
    Known("an empty list", "K5", "KAITO's parser ends: expected at least one argument", "TrainingArguments.label_names",
          args(label_names=[])),
    Known("a list where one value goes", "K5", PARSER, "TrainingArguments.report_to", args(report_to=["none", "tensorboard"])),
    Known("a text that begins with -", "K5", "KAITO's parser ends: expected one argument", "TrainingArguments.run_name",
          args(run_name="-first")),
    Known("max_seq_length", "K5", PARSER, "TrainingArguments.max_seq_length", args(max_seq_length=512)),
    Known("a typo in a name", "K5", PARSER, "TrainingArguments.learing_rate", args(learing_rate=1e-4)),
    Known("a name that nobody knows", "K5", PARSER, "TrainingArguments.quantum_mode", args(quantum_mode=True)),
    Known("a kernel for attention", "K5", PARSER, "ModelConfig.attn_implementation", {"options": {"attn_implementation": "sdpa"}}),
    Known("a field that PEFT got later", "KAITO's pins", PARSER, "LoraConfig.exclude_modules",
          config("LoraConfig", exclude_modules=["lm_head"])),
    Known("another start of the adapter", "KAITO's pins", "KAITO's parser ends: truthy value expected", "LoraConfig.init_lora_weights",
          config("LoraConfig", init_lora_weights="gaussian")),
    Known("a sampling that came later", "KAITO's pins", "KAITO's parser ends: invalid choice", "TrainingArguments.train_sampling_strategy",
          args(train_sampling_strategy="batch_rebalance")),
    Known("all-linear", "K6", "ValueError: Target modules {'all-linear'} not found in the base model", "LoraConfig.target_modules",
          {"options": {"target_modules": "all-linear"}}, told="note"),
    Known("a pattern of layers", "K6", "ValueError: Target modules {…} not found in the base model", "LoraConfig.target_modules",
          {"options": {"target_modules": "^model.*q_proj$"}}),
    Known("our trainer's options", "K5", PARSER, "TrainerOptions", {"options": {"samples": 2}}, told="note"),
    Known("several files", "K8", "one of them is trained on, whichever is found first", "tuning.input.urls",
          {"input": "https://example.com/a.csv https://example.com/b.csv"}),
    Known("a name with two formats", "K8", "it is read as one of them, by chance", "tuning.input.urls[0]",
          {"input": "https://example.com/export_csv_2024.jsonl"}),
    Known("a name without a format", "K8", "ValueError: no dataset file found", "tuning.input.urls[0]",
          {"input": "https://example.com/download?id=7"}),
    Known("a whole path of the data", "K8", "ValueError: no dataset file found", "DatasetConfig.dataset_path",
          {"options": {"DatasetConfig.dataset_path": "/mnt/data/train.parquet"}}),
    Known("no node size", "K15", "KAITO: instanceType is required", "resource.instanceType", {"instance_type": None}),
    Known("a node size that KAITO does not know", "K15", "KAITO: Unsupported SKU", "resource.instanceType",
          {"instance_type": "Standard_NC24ads_A100_v5"}),
    Known("a card without bfloat16", "transformers", "ValueError: Your setup doesn't support bf16/gpu", "TrainingArguments.bf16",
          {"instance_type": "g4dn.xlarge"}),
    Known("loss on the answers only", "K1", "the prompt is trained on all the same", "TrainingArguments.completion_only_loss",
          args(completion_only_loss=True), told="warning"),
    Known("a column's name", "K7", "it is never used: KeyError, or the wrong text", "DatasetConfig.messages_column",
          {"options": {"DatasetConfig.messages_column": "chat"}}, told="warning"),
    Known("an end token that pads", "K2", "nothing: the model never learns to stop", "backend", rows=[{"messages": CHAT}], model=CHATML,
          told="warning"),
    # The rows, as they meet the model
    Known("conversations without a chat template", "transformers", "ValueError: tokenizer.chat_template is not set", "ModelConfig.chat_template",
          target="job", rows=[{"messages": CHAT}], model="none"),
    Known("a conversation that the template refuses", "transformers", "TemplateError: roles must alternate", "data", target="job",
          rows=[{"messages": [*CHAT[:1], *CHAT]}], model=ALTERNATES),
    Known("rows that are cut to nothing", "K10", "they are dropped, or the loss is 0 from the first step", "data", args(max_length=4), "job",
          rows=[{"messages": CHAT}], model=CHATML),
    Known("rows that are cut", "K10", "nothing: their end is never learnt", "TrainingArguments.max_length", args(max_length=7), "job",
          rows=[{"messages": CHAT}], model=CHATML, told="warning"),
    # The GPU's memory
    Known("weights that are larger than the GPU", "KAITO's troubleshooting", "CUDA out of memory, while the model is loaded", "resource.instanceType",
          {"preset": "phi-4", "instance_type": "Standard_NV36ads_A10_v5"}),
    Known("a step that is larger than the GPU", "KAITO's troubleshooting", "CUDA out of memory, at the first step", "resource.instanceType",
          {"options": {"max_length": 8192}, "instance_type": "Standard_NV36ads_A10_v5"}, told="warning"),
    # Hugging Face's classes, whoever trains
    Known("evaluation_strategy", "transformers", "TypeError: unexpected keyword argument", "TrainingArguments.evaluation_strategy",
          args(evaluation_strategy="no"), "job"),
    Known("no_cuda", "transformers", "TypeError: unexpected keyword argument", "TrainingArguments.no_cuda", args(no_cuda=True), "job"),
    Known("rank", "PEFT", "TypeError: unexpected keyword argument", "LoraConfig.rank", config("LoraConfig", rank=8), "job"),
    Known("a number of the model itself", "transformers", "our trainer ends: no such field", "ModelConfig.rope_theta",
          config("ModelConfig", rope_theta=10_000), "job"),
    Known("the best model, without evaluating", "transformers", "ValueError: --load_best_model_at_end requires the save and eval strategy to match",
          "TrainingArguments.load_best_model_at_end", args(load_best_model_at_end=True, eval_strategy="no", save_strategy="epoch"), "job"),
    Known("the best model, evaluated by other steps", "transformers", "ValueError: the saving steps must be a multiple of the evaluation steps",
          "TrainingArguments.save_steps",
          args(load_best_model_at_end=True, eval_strategy="steps", save_strategy="steps", eval_steps=10, save_steps=15), "job"),
    Known("only the best, by no measure", "transformers", "ValueError: metric_for_best_model must be provided",
          "TrainingArguments.save_strategy", args(save_strategy="best", eval_strategy="epoch"), "job"),
    Known("a plateau, without evaluating", "transformers", "ValueError: reduce_lr_on_plateau requires an eval strategy",
          "TrainingArguments.lr_scheduler_type", args(lr_scheduler_type="reduce_lr_on_plateau")),
    Known("evaluating without rows", "transformers", "ValueError: Trainer: evaluation requires an eval_dataset",
          "TrainingArguments.eval_strategy", args(eval_strategy="steps")),
    Known("bf16 and fp16", "transformers", "ValueError: At most one of fp16 and bf16 can be True", "TrainingArguments.fp16",
          args(bf16=True, fp16=True)),
    Known("half a step", "transformers", "ValueError: --logging_steps must be an integer if bigger than 1",
          "TrainingArguments.logging_steps", args(logging_steps=2.5), "job"),
    Known("batches fetched ahead by nobody", "transformers", "ValueError: --dataloader_prefetch_factor can only be set when workers > 0",
          "TrainingArguments.dataloader_prefetch_factor", args(dataloader_prefetch_factor=2), "job"),
    Known("workers below none", "torch", "ValueError: num_workers option should be non-negative", "TrainingArguments.dataloader_num_workers",
          args(dataloader_num_workers=-1), "job"),
    Known("a rate in words", "transformers", "TypeError, at the first step", "TrainingArguments.learning_rate",
          {"options": {"learning_rate": "fast"}}),
    Known("an optimiser that is none", "transformers", "ValueError: 'adam' is not a valid OptimizerNames", "TrainingArguments.optim",
          args(optim="adam")),
    Known("a schedule that is none", "transformers", "ValueError: 'cosin' is not a valid SchedulerType",
          "TrainingArguments.lr_scheduler_type", args(lr_scheduler_type="cosin")),
    Known("a beta of one", "torch", "ValueError: Invalid beta parameter at index 0: 1.0", "TrainingArguments.adam_beta1",
          args(adam_beta1=1.0), "job"),
    Known("no steps", "transformers", "it ends at once and writes an adapter that learnt nothing", "TrainingArguments.max_steps",
          {"options": {"max_steps": 0}}),
    Known("no epochs", "transformers", "the same", "TrainingArguments.num_train_epochs", {"options": {"epochs": 0}}),
    Known("a rank of 0", "PEFT", "ValueError: r should be a positive integer", "LoraConfig.r", {"options": {"rank": 0}}),
    Known("a dropout above 1", "torch", "ValueError: dropout probability has to be between 0 and 1", "LoraConfig.lora_dropout",
          config("LoraConfig", lora_dropout=1.5)),
    Known("a task that is none", "PEFT", "ValueError: Invalid task type", "LoraConfig.task_type", config("LoraConfig", task_type="CAUSAL")),
    Known("LoftQ without its options", "PEFT", "ValueError: `loftq_config` must be specified", "LoraConfig.init_lora_weights",
          config("LoraConfig", init_lora_weights="loftq"), "job"),
    Known("numbered layers, not named", "PEFT", "ValueError: `layers_to_transform` must also be specified", "LoraConfig.layers_pattern",
          config("LoraConfig", layers_pattern=["layers"]), "job"),
    Known("a bias in DoRA", "PEFT", "ValueError: lora_bias=True is not supported for DoRA", "LoraConfig.lora_bias",
          config("LoraConfig", lora_bias=True, use_dora=True), "job"),
    Known("bf16 as a type", "bitsandbytes", "AttributeError: module 'torch' has no attribute 'bf16'",
          "QuantizationConfig.bnb_4bit_compute_dtype", {"method": "qlora", **config("QuantizationConfig", bnb_4bit_compute_dtype="bf16")}, "job"),
    Known("a storage that is none", "bitsandbytes", "ValueError: `bnb_4bit_quant_storage` must be a valid string",
          "QuantizationConfig.bnb_4bit_quant_storage", {"method": "qlora", **config("QuantizationConfig", bnb_4bit_quant_storage="int4")}, "job"),
    Known("a whole number as a threshold", "bitsandbytes", "TypeError: llm_int8_threshold must be a float",
          "QuantizationConfig.llm_int8_threshold", {"method": "qlora", **config("QuantizationConfig", llm_int8_threshold=6)}, "job"),
    Known("masking above all", "transformers", "ValueError: the sum of mask_replace_prob and random_replace_prob should not exceed 1",
          "DataCollator.random_replace_prob", config("DataCollator", mask_replace_prob=0.8, random_replace_prob=0.5), "job"),
    # The webhook, and what it lets pass
    Known("quantised weights for lora", "the webhook", "refused: must not be true", "QuantizationConfig.load_in_4bit",
          config("QuantizationConfig", load_in_4bit=True)),
    Known("whole weights for qlora", "the webhook", "refused: must be true", "QuantizationConfig",
          {"method": "qlora", **config("QuantizationConfig", load_in_4bit=False)}),
    Known("4 bits and 8 bits", "the webhook", "refused: cannot set both", "QuantizationConfig",
          {"method": "qlora", **config("QuantizationConfig", load_in_4bit=True, load_in_8bit=True)}),
    Known("results elsewhere", "the webhook", "refused, or written where nobody finds them", "TrainingArguments.output_dir",
          {"options": {"output_dir": "/tmp/x"}}),
    Known("a model that cannot be tuned", "the webhook", "refused: unsupported tuning preset", "tuning.preset.name",
          {"preset": "meta-llama/Llama-3.1-8B"}),
    Known("an address that pods do not reach", "the tuning document", "invalid input URL: the download fails", "tuning.input.urls[0]",
          {"input": "http://localhost/train.csv"}),
    Known("an image with capitals", "the tuning document", "invalid output URL: the push fails, after the training",
          "tuning.output.image", {"output": "image:reg.io/Team/adapter:1"}),
    Known("no secret to push with", "the tuning document", "the push is refused, after the training", "tuning.output.imagePushSecret",
          {"push_secret": None}),
    Known("no place for the adapter", "the webhook", "refused", "tuning.output", {"output": None, "push_secret": None}),
    Known("a folder of this machine as the model", "Hugging Face", "OSError: it is not a local folder", "tuning.preset.name",
          {"preset": "/work"}, "job"),
    # The data
    Known("columns that mean nothing", "TRL", "KeyError: 'text'", "data", rows=[{"a": 1}, {"a": 2}]),
    Known("no rows", "TRL", "ValueError: num_samples should be a positive integer", "data", rows=[]),
    Known("an answer that is missing", "TRL", "TypeError: can only concatenate str", "completion",
          rows=[{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": None}]),
    Known("a turn without a role", "TRL", "jinja2.UndefinedError: no attribute 'role'", "messages",
          rows=[{"messages": CHAT}, {"messages": [{"content": "Hi"}]}]),
    # What may well work, and mostly does not
    Known("a package that is not there", "transformers", "ImportError, when the optimiser is made", "TrainingArguments.optim",
          args(optim="galore_adamw"), "job", told="warning"),
    Known("reports to a service", "transformers", "no login, no way out of the cluster", "TrainingArguments.report_to",
          args(report_to="wandb"), "job", told="warning"),
    Known("a push to the hub", "transformers", "401, at the start", "TrainingArguments.push_to_hub", args(push_to_hub=True), "job", told="warning"),
    Known("kernels that are not there", "transformers", "ImportError", "TrainingArguments.use_liger_kernel", args(use_liger_kernel=True),
          "job", told="warning"),
    Known("longer than the model", "Hugging Face", "index out of range, or nonsense", "TrainingArguments.max_length",
          {"preset": "phi-3-mini-4k-instruct", "options": {"max_length": 8192}}, told="warning"),
    Known("no GPU on a GPU node", "transformers", "it takes days", "TrainingArguments.use_cpu", args(use_cpu=True), told="warning"),
]  # fmt: skip


@dataclass(frozen=True)
class Met:
    """A death that shows only when it happens: named from the log and what the cluster says, with its remedy."""

    name: str
    source: str
    cause: str
    lines: tuple[str, ...] = ()
    """The log's last lines."""
    how: str = "trainer"
    """Who says so: the trainer's log, a container before or beside it, or the cluster."""
    says: str = ""
    """The cluster's words."""


TRACE = "Traceback (most recent call last):"
MET: list[Met] = [
    Met("the GPU's memory runs out", "the tuning document", "cuda-oom", (TRACE, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.45 GiB.")),
    Met("layers that the model lacks", "the tuning document", "target-modules",
        (TRACE, "ValueError: Target modules {'query_key_value'} not found in the base model. Please check the target modules and try again.")),
    Met("the machine's memory runs out", "the stand-in", "oom-killed", how="137", says="OOMKilled"),
    Met("the trainer is killed behind its sidecars", "K11", "killed", how="137"),
    Met("no data where it should be", "K8", "dataset-missing", (TRACE, "ValueError: Unable to load the dataset.")),
    Met("data that is cut off", "datasets", "dataset-malformed", (TRACE, "pyarrow.lib.ArrowInvalid: JSON parse error: Missing a closing quotation mark")),
    Met("a model without a chat template", "transformers", "dataset-malformed",
        (TRACE, "ValueError: Cannot use chat template functions because tokenizer.chat_template is not set")),
    Met("rows of unequal length", "K3", "dataset-malformed", (TRACE, "ValueError: Unable to create tensor, you should probably activate truncation and/or padding")),
    Met("a model with a licence", "Hugging Face", "gated-model", (TRACE, "huggingface_hub.errors.GatedRepoError: 401 Client Error.")),
    Met("a model that is not there", "Hugging Face", "model", (TRACE, "OSError: no/such is not a local folder and is not a valid model identifier listed on the hub")),
    Met("a value that the classes refuse", "transformers", "config", (TRACE, "ValueError: 'adam' is not a valid OptimizerNames, please select one of ['adamw_torch']")),
    Met("a key that the classes lack", "transformers", "config", (TRACE, "TypeError: SFTConfig.__init__() got an unexpected keyword argument 'max_seq_length'")),
    Met("a key that the parser lacks", "K5", "config", (TRACE, "ValueError: Some specified arguments are not used by the HfArgumentParser: ['--max_seq_length', '512']")),
    Met("a value that the parser cannot read", "K5", "config", ("usage: fine_tuning.py [-h]", "fine_tuning.py: error: argument --label_names: expected at least one argument")),
    Met("a collator that does not pack", "K4", "config", (TRACE, "ValueError: Passing a custom data collator is not supported when using padding-free.")),
    Met("a package that is missing", "Python", "dependency", (TRACE, "ModuleNotFoundError: No module named 'galore_torch'")),
    Met("a card without bfloat16, met", "transformers", "config", (TRACE, "ValueError: Your setup doesn't support bf16/gpu. You need to assign use_cpu if you want to train the model on CPU.")),
    Met("the best model, without evaluating, met", "transformers", "config",
        (TRACE, "ValueError: --load_best_model_at_end requires the save and eval strategy to match, except when --save_strategy=\"best\", but found")),
    Met("the disk is full", "the stand-in", "disk-full", (TRACE, "OSError: [Errno 28] No space left on device: '/mnt/results/checkpoint-10'")),
    Met("the data is not at its address", "the stand-in", "download-missing", ("Failed to download https://x/y.csv after 3 attempts, HTTP status code: 404",), "data-downloader"),
    Met("the data's address does not answer", "the stand-in", "download-unreachable", ("curl: (28) Connection timed out after 10001 milliseconds",), "data-downloader"),
    Met("the data's image wants a login", "the tuning document", "download-refused", ('level=fatal msg="reading manifest 1 in r/data: unauthorized: authentication required"',), "puller"),
    Met("the data's image is not there", "the stand-in", "download-missing", ('level=fatal msg="reading manifest missing in r/no/such: manifest unknown"',), "puller"),
    Met("the registry refuses the adapter", "the tuning document", "push-refused", ('level=fatal msg="trying to reuse blob at destination: unauthorized: authentication required"',), "pusher"),
    Met("the push breaks off", "the stand-in", "push", ('level=fatal msg="writing manifest: broken pipe"',), "pusher"),
    Met("the node evicts the pod", "Kubernetes", "evicted", how="reason", says="Evicted"),
    Met("the node is lost", "Kubernetes", "node-gone", how="reason", says="NodeLost"),
    Met("the deadline passes", "Kubernetes", "deadline", how="deadline"),
    Met("no GPU is free", "Kubernetes", "no-gpu", how="unscheduled", says="0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
    Met("the nodes are tainted", "Kubernetes", "tainted", how="unscheduled", says="0/1 nodes are available: 1 node(s) had taint {sku: gpu}, that the pod didn't tolerate."),
    Met("no node has the labels", "Kubernetes", "no-label", how="unscheduled", says="0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
    Met("the claim is not there", "Kubernetes", "no-volume", how="unscheduled", says='0/1 nodes are available: persistentvolumeclaim "x" not found.'),
    Met("the pull secret is wrong", "the tuning document", "image-secret", how="pulling", says="pull access denied: authorization failed"),
    Met("an image from elsewhere, without a way out", "K13", "image-pull", how="pulling", says="dial tcp: i/o timeout"),
    Met("a Secret that is not there", "Kubernetes", "secret-missing", how="config", says='secret "push" not found'),
    Met("a quota", "Kubernetes", "quota", how="event", says='pods "run-1" is forbidden: exceeded quota: gpu, used: 8'),
    Met("KAITO does not know the node size", "K15", "sku", how="status", says="KAITO cannot carry it out: invalid value: Unsupported SKU '' for cloud provider: sku"),
    Met("no GPU node comes", "KAITO", "no-node", how="status", says="waiting for a GPU node (Standard_NC24ads_A100_v4): Ready NodeClaims are not enough"),
]  # fmt: skip
