"""The one table of what can be wrong with a run: cause, its signs, the sentence that names it, the remedy, the mend.

A rule fits when all of its signs do: the contract's kind of error, a pattern in the place's words, a pattern in the
program's. The first that fits counts, so the exact ones stand first: what a node or a cluster did comes before what a
program concluded from it. Sentences and remedies are templates over `Case.words` and the patterns' named groups.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from .mend import Mend, known_modules, less_memory

When = Literal["failed", "waiting", "any"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause."""

    cause: str
    sentence: str
    remedy: str
    kinds: tuple[str, ...] = ()
    """Kinds of error that it may be; empty: whatever it is."""
    place: str = ""
    """A pattern that the place's words must hold."""
    said: str = ""
    """A pattern that the program's words, or the log's last lines, must hold."""
    when: When = "failed"
    """`waiting`: nothing has failed, and nothing goes on. `any`: in either case."""
    mend: Mend | None = None


_AUTH: Final = r"unauthorized|authentication required|denied|forbidden|no basic auth|\b40[13]\b|authorization failed"
_ABSENT: Final = r"not found|manifest unknown|does not exist|\b404\b|no such|name unknown"
_SILENT: Final = r"timed? ?out|timeout|deadline exceeded|refused|unreachable|no route|could(?:n.t| not) (?:connect|resolve)|no such host|reset by peer|\bcurl: \((?:6|7|28|35|52|56)\)"

RULES: Final[tuple[Rule, ...]] = (
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
        "Raise the container's memory limit (placement.pod_template) or use a machine with more memory; less is needed "
        "with a smaller per_device_train_batch_size or max_length.",
        place=r"OOMKilled|memory ran out and the system killed",
        mend=less_memory,
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
        "Train with smaller batches, with checkpointing, with qlora or with shorter examples, or take a larger GPU.",
        kinds=("out-of-memory",),
        said=r"CUDA|HIP|GPU|OutOfMemoryError|CUBLAS|device ran out",
        mend=less_memory,
    ),
    Rule(
        "out-of-memory",
        "Memory ran out {at}, with batches of {batch} and examples of up to {length} tokens ({method}).",
        "Train with smaller batches, with checkpointing, with qlora or with shorter examples, or use a machine with more memory.",
        kinds=("out-of-memory",),
        mend=less_memory,
    ),
    Rule(
        "target-modules",
        "LoRA is to adapt layers ({modules}) that {preset} does not have.",
        "Name linear layers that the model has, or leave LoraConfig.target_modules unset.",
        kinds=("target-modules",),
        mend=known_modules,
    ),
    Rule(
        "gated-model",
        "{preset} may only be loaded by who has accepted its licence, with a Hugging Face token.",
        "Accept the licence on the model's page, put a token into a Secret (key HF_TOKEN) of namespace {namespace}, and "
        "name it: --model-access-secret NAME. On this machine, set HF_TOKEN.",
        kinds=("gated-model",),
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
        "The registry did not let the adapter be pushed to {output} (push secret: {push_secret}).",
        "Give a Secret with credentials that may push there: --push-secret NAME. The training itself was completed.",
        kinds=("registry-auth",),
        place=r"push",
    ),
    Rule(
        "push-refused",
        "The registry did not let the adapter be pushed to {output} (push secret: {push_secret}).",
        "Give a Secret with credentials that may push there: --push-secret NAME.",
        kinds=("registry-auth", "push"),
        said=rf"(?=.*(?:push|dest|upload|writ))(?=.*(?:{_AUTH}))",
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
    ),
    Rule(
        "download-missing",
        "There is nothing to fetch at {input}.",
        "Check the address or the image's name and tag.",
        kinds=("download",),
        said=_ABSENT,
    ),
    Rule(
        "download-refused",
        "The place that {input} is at did not let it be fetched.",
        "Give a pull secret for a private image, or a signed address for a private file.",
        kinds=("download",),
        said=_AUTH,
    ),
    Rule(
        "download-unreachable",
        "{input} cannot be reached from where it is to be fetched.",
        "Check the address, and that the cluster's network lets pods out to it (a proxy, a firewall).",
        kinds=("download",),
        said=_SILENT,
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
    # What keeps a run from starting
    Rule(
        "quota",
        "A quota of namespace {namespace} lets no pod be made: {why}.",
        "Ask for fewer GPUs, end or delete other runs (%kaito runs), or ask for a larger quota.",
        place=r"exceeded quota: (?P<why>[^;]*)",
        when="any",
    ),
    Rule(
        "refused",
        "A rule of the cluster refuses the pod: {why}.",
        "Change what it names (placement.pod_template), or ask the cluster's administrators.",
        place=r"cannot be created: (?P<why>.*(?:denied the request|violates PodSecurity|is forbidden).*)",
        when="any",
    ),
    Rule(
        "image-secret",
        "The registry does not let the node pull {image}.",
        "Give a pull secret for that registry (placement.image_pull_secrets; for data: tuning.input.imagePullSecrets).",
        place=rf"the image (?P<image>\S+) cannot be pulled.*(?:{_AUTH})",
        when="any",
    ),
    Rule(
        "image-missing",
        "There is no image {image} in its registry.",
        "Check its name and tag, and that it was pushed.",
        place=rf"the image (?P<image>\S+) (?:cannot be pulled.*(?:{_ABSENT})|is not on the node)|(?P<name>\S+) is no name of an image",
        when="any",
    ),
    Rule(
        "image-pull",
        "The node cannot pull {image}.",
        "Check that the cluster's nodes reach that registry; the evidence says how it answers.",
        place=r"the image (?P<image>\S+) cannot be pulled",
        when="any",
    ),
    Rule(
        "secret-missing",
        "The pod waits for {kind_of} {name}, which is not in namespace {namespace}.",
        "Create it there, or name another in the spec.",
        place=r"(?P<kind_of>[Ss]ecret|[Cc]onfig[Mm]ap) \\?\"(?P<name>[^\"\\]+)\\?\" not found",
        when="any",
    ),
    Rule(
        "sku",
        "KAITO cannot carry the run out: {why}.",
        "Choose a node size that KAITO knows (--instance-type), or train with our own Job (--backend job).",
        place=r"KAITO cannot carry it out: (?P<why>.*SKU[^;]*)",
        when="any",
    ),
    Rule(
        "kaito",
        "KAITO cannot carry the run out: {why}.",
        "Change what it names; `%kaito yaml` shows what was sent.",
        place=r"KAITO cannot carry it out: (?P<why>[^;]*)",
        when="any",
    ),
    Rule(
        "no-gpu",
        "No node has {gpus} free GPU(s) for the pod.",
        "Wait until another run ends (%kaito runs), ask for fewer GPUs, or add GPU nodes.",
        place=r"no node takes the pod: .*Insufficient (?:nvidia\.com|amd\.com)/gpu",
        when="any",
    ),
    Rule(
        "no-room",
        "No node has enough {what} left for the pod.",
        "Ask for less (placement.pod_template), wait until other work has ended, or add nodes.",
        place=r"no node takes the pod: .*Insufficient (?P<what>[\w./-]+)",
        when="any",
    ),
    Rule(
        "no-volume",
        "No node takes the pod because of its volumes.",
        "Check that the claims exist in namespace {namespace} and are bound, and where their storage can be mounted.",
        place=r"no node takes the pod: .*(?:persistentvolumeclaim|volume|PersistentVolume)",
        when="any",
    ),
    Rule(
        "no-label",
        "No node has the labels that the run asks for.",
        "Check resource.labelSelector (or placement.node_selector) against the nodes' labels.",
        place=r"no node takes the pod: .*(?:didn.t match|node\(s\) had no|affinity|selector)",
        when="any",
    ),
    Rule(
        "tainted",
        "The nodes have a taint that the pod does not tolerate.",
        "Tolerate it (placement.tolerations), or use other nodes; a node that is not ready is tainted too.",
        place=r"no node takes the pod: .*taint",
        when="any",
    ),
    Rule(
        "unschedulable",
        "No node takes the pod.",
        "The evidence says why each of them does not.",
        place=r"no node takes the pod: \S",
        when="any",
    ),
    Rule(
        "mount",
        "A volume of the pod cannot be mounted.",
        "Check that the claim, Secret or ConfigMap exists in namespace {namespace}, and that its storage works.",
        place=r"it is being started, but: (?P<why>.*)",
        when="any",
    ),
    Rule(
        "container",
        "A container of the pod cannot be started.",
        "Change what the evidence names.",
        place=r"cannot be (?:configured|created|started)|it keeps failing",
        when="any",
    ),
    Rule(
        "queued",
        "The run waits for its turn in the queue.",
        "It starts by itself when its queue has room.",
        place=r"waits for its turn in the queue",
        when="waiting",
    ),
    Rule(
        "no-node",
        "The run waits for a GPU node: {node}.",
        "A new node takes some minutes. If none comes: is there quota for that size in the cloud's region?",
        place=r"waiting for a GPU node",
        when="waiting",
    ),
    Rule(
        "no-contact",
        "The cluster does not answer; the run goes on without us.",
        "Check the network or VPN. Nothing of the run is lost: what it wrote meanwhile is read when there is contact.",
        place=r"no contact with the cluster",
        when="any",
    ),
    Rule(
        "crash",
        "The run failed {at}, in a way that is not known here.",
        "Look at the evidence and at the log.",
    ),
)
"""All causes, the exact ones first. The last fits whatever failed."""


def patterns(rule: Rule) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Its two patterns, compiled: for the place's words, and for the program's."""
    return _COMPILED[id(rule)]


_COMPILED: Final = {
    id(r): (
        re.compile(r.place, re.DOTALL) if r.place else None,
        re.compile(r.said, re.DOTALL | re.IGNORECASE) if r.said else None,
    )
    for r in RULES
}

__all__ = ["RULES", "Rule", "patterns"]
