"""The table's first part: what has failed. The exact rules stand first, and what a cluster did before what a program made of it."""

from __future__ import annotations

from typing import Final

from .mend import known_modules, less_memory, more_memory
from .rule import ABSENT, AUTH, SILENT, Rule

FAILURES: Final[tuple[Rule, ...]] = (
    # What the cluster or the machine did to the run
    Rule(
        "evicted",
        "The node evicted the pod {at}, because something on it ran short: {why}.",
        "Run it again. If it happens again, ask for the memory or disk that it needs (requests in the pod template), "
        "or use a node with more.",
        place=r"the node evicted the pod(?:: (?P<why>[^;]*))?",
    ),
    Rule(
        "preempted",
        "The pod was ended {at} to make room for one with a higher priority.",
        "Run it again, with a priority class that is not preempted (placement.priority_class) if there is one for you.",
        place=r"[Pp]reempt",
    ),
    Rule(
        "drained",
        "The pod was ended {at} because its node is being emptied ({why}).",
        "Run it again: it goes to another node.",
        place=r"(?P<why>EvictionByEvictionAPI|DeletionByTaintManager|node (?:is|was) (?:being )?drained|drain\w*)",
    ),
    Rule(
        "node-gone",
        "The node that the pod was on went away {at}.",
        "Run it again: it goes to another node. On spot nodes this is normal; save_steps keeps checkpoints.",
        place=r"pod's node was (?:lost|shut down)|NodeLost|NodeShutdown|node .{0,60}(?:not ready|unreachable)"
        r"|TerminationByKubelet|PodGC",
    ),
    Rule(
        "evicted",
        "The pod was evicted or deleted from outside {at}, or its node went away.",
        "Run it again. `kubectl get events` in namespace {namespace} may say who did it; checkpoints are kept in a volume.",
        place=r"the pod was evicted or deleted from outside|its pod is gone",
    ),
    Rule(
        "deadline",
        "The run took longer than its deadline and was ended {at}.",
        "Give it more time (placement.deadline), or fewer steps.",
        place=r"longer than its deadline|DeadlineExceeded",
    ),
    Rule(
        "oom-killed",
        "The trainer needed more of the machine's own memory (not the GPU's) than there was, and was killed {at}.",
        "Raise the container's memory limit (placement.pod_template), or use a machine with more memory.",
        place=r"OOMKilled|memory ran out and the system killed",
        mend=more_memory,
    ),
    Rule(
        "reboot",
        "The machine was restarted while the run was on it.",
        "Run it again; from a checkpoint if it wrote one.",
        kinds=("reboot",),
    ),
    # What the trainer ran into
    Rule(
        "cuda-oom",
        "The GPU ran out of memory {at}, with batches of {batch} and examples of up to {length} tokens ({method}).",
        "Take a larger GPU ({larger}), or shorter examples (max_length).",
        kinds=("out-of-memory",),
        said=r"CUDA|HIP|GPU|OutOfMemoryError|CUBLAS|device ran out",
        mend=less_memory,
        then="resume --instance-type SKU",
    ),
    Rule(
        "out-of-memory",
        "Memory ran out {at}, with batches of {batch} and examples of up to {length} tokens ({method}).",
        "Use a machine with more memory, or shorter examples (max_length).",
        kinds=("out-of-memory",),
        mend=less_memory,
        then="logs",
    ),
    Rule(
        "target-modules",
        "LoRA is to adapt layers ({modules}) that {preset} does not have.",
        "Name linear layers that the model has, or leave LoraConfig.target_modules unset.",
        kinds=("target-modules",),
        mend=known_modules,
        then="resume --set LoraConfig.target_modules=[NAMES]",
    ),
    Rule(
        "gated-model",
        "{preset} may only be loaded by who has accepted its licence, with a Hugging Face token.",
        "Accept the licence on the model's page, put a token into a Secret (key HF_TOKEN) of namespace {namespace}, and "
        "name it: --model-access-secret NAME. On this machine, set HF_TOKEN.",
        kinds=("gated-model",),
        then="resume --model-access-secret SECRET",
    ),
    Rule(
        "model",
        "The base model {preset} could not be loaded.",
        "Check its name, and that the place where it trains reaches the model hub (or holds its files).",
        kinds=("model",),
    ),
    Rule(
        "dataset-missing",
        "The trainer found no data in {input}.",
        "Check that a csv, json, jsonl or parquet file lies there (in an image: below /data), and its name.",
        kinds=("dataset",),
        said=r"no dataset file|DataFilesNotFound|unable to load the dataset|FileNotFound|no such file|does not exist"
        r"|no (?:data|file)|(?:file|folder|data) .{0,80}not found",
    ),
    Rule(
        "dataset-malformed",
        "The data in {input} is not as the trainer needs it.",
        "Give columns messages, or prompt and completion, or text; `kaito_jupyter.Dataset.read` checks and converts a DataFrame.",
        kinds=("dataset",),
    ),
    Rule(
        "config",
        "The configuration cannot work.",
        "Change the field that the evidence names, with --set SECTION.FIELD=VALUE.",
        kinds=("config",),
        then="resume --set SECTION.FIELD=VALUE",
    ),
    Rule(
        "dependency",
        "A Python package is missing, or does not fit, where the trainer runs.",
        "Install what the evidence names there: in the trainer's image, or here with `pip install 'kaito-jupyter[local]'`.",
        kinds=("dependency",),
    ),
    Rule(
        "volume",
        "The volume of the output folder cannot be written to.",
        "Check that it is mounted and may be written to, then run it again.",
        kinds=("volume",),
    ),
    Rule(
        "disk-full",
        "The disk or volume that the run writes to is full.",
        "Free space, give a larger volume, or keep fewer checkpoints (save_total_limit).",
        kinds=("disk-full",),
    ),
    # What stands before and beside the trainer
    Rule(
        "push-refused",
        "The registry would not let the adapter be pushed to {output} (push secret: {push_secret}).",
        "Give a Secret with credentials that may push there: --push-secret NAME. The training has not begun.",
        kinds=("registry-auth", "push"),
        place=r"push-check",
        then="resume --push-secret SECRET",
    ),
    Rule(
        "push-refused",
        "The registry did not let the adapter be pushed to {output} (push secret: {push_secret}).",
        "Give a Secret with credentials that may push there: --push-secret NAME. The training itself was completed.",
        kinds=("registry-auth",),
        place=r"push",
        then="resume --push-secret SECRET",
    ),
    Rule(
        "push-refused",
        "The registry did not let the adapter be pushed to {output} (push secret: {push_secret}).",
        "Give a Secret with credentials that may push there: --push-secret NAME.",
        kinds=("registry-auth", "push"),
        said=rf"(?=.*(?:push|dest|upload|writ))(?=.*(?:{AUTH}))",
        then="resume --push-secret SECRET",
    ),
    Rule(
        "push",
        "The adapter could not be pushed to {output}.",
        "Check the image's name, and that its registry can be reached from the cluster.",
        kinds=("push",),
    ),
    Rule(
        "download-refused",
        "The place that {input} is at did not let it be fetched.",
        "Give a pull secret for a private image, or a signed address for a private file.",
        kinds=("registry-auth",),
        then="resume --pull-secret SECRET",
    ),
    Rule(
        "download-missing",
        "There is nothing to fetch at {input}.",
        "Check the address or the image's name and tag.",
        kinds=("download",),
        said=ABSENT,
    ),
    Rule(
        "download-refused",
        "The place that {input} is at did not let it be fetched.",
        "Give a signed address for a private file.",
        kinds=("download",),
        said=AUTH,
        then="logs",
    ),
    Rule(
        "download-unreachable",
        "{input} cannot be reached from where it is to be fetched.",
        "Check the address, and that the cluster's network lets pods out to it (a proxy, a firewall).",
        kinds=("download",),
        said=SILENT,
    ),
    Rule(
        "download",
        "The data could not be fetched from {input}.",
        "Check that it exists, and that it can be reached from where the trainer runs.",
        kinds=("download",),
    ),
    Rule(
        "killed",
        "The trainer was killed from outside {at}, without a word of its own.",
        "Run it again. If it happens again, the node's memory may be short: smaller batches need less.",
        kinds=("killed",),
    ),
)

UNKNOWN: Final = Rule(
    "crash",
    "The run failed {at}, in a way that is not known here.",
    "Look at the evidence and at the log.",
    then="logs",
)
"""Fits whatever has failed."""

__all__ = ["FAILURES", "UNKNOWN"]
