"""File and folder names that the notebook, the trainer and KAITO's sidecars agree on.

Source: KAITO v0.12 (`pkg/workspace/tuning`), and `presets/workspace/tuning/text-generation`.
"""

from typing import Final

MOUNT_ROOT: Final = "/mnt"
"""Where KAITO mounts everything in the tuning pod. On a local run the trainer puts the run's folder in its place."""

DATA_DIR: Final = "data"
"""Folder below the mount root with the one data file."""

CONFIG_DIR: Final = "config"
"""Folder below the mount root with the mounted ConfigMap."""

RESULTS_DIR: Final = "results"
"""Folder below the mount root that `output_dir` names by default."""

TRAIN_FILE: Final = "train.parquet"
"""Our one data file. Plainly named: the stock trainer guesses the format from the name (field note K8)."""

CONFIG_FILE: Final = "training_config.yaml"
"""The ConfigMap's key and so the file's name."""

EVENTS_FILE: Final = "events.jsonl"
"""Copy of all event lines, in the output directory."""

SENTINEL_FILE: Final = "fine_tuning_completed.txt"
"""Exists in the output directory when, and only when, training truly completed. KAITO's pusher waits for it."""

RUN_FILE: Final = "kaito_run.json"
"""What a trainer that is started again in the output directory must know of the run: which it is, and what did not fit."""

LOCK_FILE: Final = "trainer.lock"
"""The trainer holds an flock on it in the output directory while it lives."""

NO_TRAINER: Final = 3
"""Exit code of the sidecar when it leaves because the trainer is gone: how that one ended says whether to try again."""

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors")
"""PEFT's adapter, and the only files in the image that KAITO's inference loads."""
