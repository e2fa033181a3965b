"""Which fields the form has. Those of the training come from the contract's table, the others stand here, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from kaito_trainer.contract import METHODS, Option, options
from kaito_trainer.contract.sections import (
    CollatorSection,
    DatasetSection,
    LoraSection,
    ModelSection,
    QuantizationSection,
    TrainerSection,
    TrainingSection,
)

from ..presets import MODELS, PRESETS, SKUS

Kind = Literal["text", "choice", "suggest"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where its value goes, how it is called, and what may stand in it."""

    path: str
    """Of the draft: `Section.field`, or a word of the spec's problems."""
    label: str
    help: str
    kind: Kind = "text"
    """`text`: anything; `choice`: one of `choices`; `suggest`: anything, with `choices` to pick from."""
    choices: tuple[tuple[str, str], ...] = ()
    """(what is shown, the text that it means)."""
    empty: str = ""
    """What an empty field means."""
    option: bool = False
    """Whether it is a training option, which is called by its own name."""


SECTIONS: Final = {
    TrainingSection.NAME: "Training",
    LoraSection.NAME: "Adapter (LoRA)",
    QuantizationSection.NAME: "Quantisation",
    ModelSection.NAME: "Loading the model",
    DatasetSection.NAME: "Reading the data",
    CollatorSection.NAME: "Collator",
    TrainerSection.NAME: "Our trainer's own",
}
"""Sections of the configuration -> how the form calls them, in its order. One that is missing here goes by its own name."""

DATA: Final = (
    Field(
        "messages_column",
        "Messages column",
        "Conversations: lists of role and content.",
        "choice",
        empty="found by itself",
    ),
    Field("prompt_column", "Prompt column", "What is asked.", "choice", empty="found by itself"),
    Field("completion_column", "Completion column", "What is to be answered.", "choice", empty="found by itself"),
    Field("text_column", "Text column", "Plain text, all of which is learnt.", "choice", empty="found by itself"),
)

MODEL: Final = (
    Field(
        "tuning.preset.name", "Model", "A KAITO preset, a Hugging Face id (owner/name), or a folder with a model.", "suggest",
        tuple((n, n) for n in (*(p.name for p in PRESETS.values() if not p.retired), *(m.id for m in MODELS.values()))),
        empty="phi-4-mini-instruct",
    ),
    Field(
        "tuning.method", "Method", "lora keeps the model as it is in memory, qlora packs it into 4 bits.", "choice",
        tuple((m, m) for m in METHODS),
    ),
    Field("metadata.name", "Name of the run", "Small letters, digits and hyphens.", empty="made up"),
)  # fmt: skip

WHERE: Final = (
    Field(
        "backend", "Backend", "Where the training runs.", "choice",
        (
            ("chosen by itself", "auto"), ("this machine (local)", "local"), ("our own Job (job)", "job"),
            ("KAITO's operator (kaito)", "kaito"),
        ),
    ),
    Field("tuning.output", "Adapter goes to", "image:REF, pvc:CLAIM or, on this machine, a folder.", empty="the run's own folder"),
)  # fmt: skip

CLUSTER: Final = (
    Field("context", "Context", "Which cluster of the kubeconfig.", "choice", empty="the current one"),
    Field("metadata.namespace", "Namespace", "Of the cluster.", "suggest", empty="that of the context"),
    Field(
        "resource.instanceType", "GPU node (SKU)", "Size of the node, as KAITO and the cloud call it.", "suggest",
        tuple((f"{s.name} · {s.gpus} × {s.gpu}, {s.memory_gib} GiB", s.name) for s in SKUS.values()), empty="not said",
    ),
    Field("tuning.output.imagePushSecret", "Push secret", "Secret with which the adapter's image is pushed.", "suggest", empty="none"),
    Field(
        "tuning.preset.presetOptions.modelAccessSecret", "Model access secret",
        "Secret with the Hugging Face token (key HF_TOKEN), for models that ask for one.", "suggest", empty="none",
    ),
    Field(
        "tuning.input", "Data on the cluster",
        "image:REF, pvc:CLAIM[/PATH], https://… or s3://…: where your data shall go, or where it is already.",
        empty="the lightest way that fits",
    ),
    Field("tuning.input.imagePullSecrets", "Pull secret", "Secret with which the data's image is pulled.", "suggest", empty="none"),
)  # fmt: skip

JOB: Final = (
    Field("placement.image", "Trainer's image", "Of our own Job.", empty="KAITO_TRAINER_IMAGE"),
    Field("placement.gpus", "GPUs", "Of one node; 0 trains on the CPU.", empty="those of the node"),
    Field("placement.queue", "Queue", "Kueue's queue that the Job waits in.", empty="none"),
    Field("placement.priority_class", "Priority class", "Of the pod.", empty="none"),
)


def training() -> Iterator[tuple[str, list[Field], list[Field]]]:
    """(title, simple fields, the others) for each section of the contract."""
    found: dict[str, tuple[list[Field], list[Field]]] = {name: ([], []) for name in SECTIONS}
    for option in options():
        found.setdefault(option.section, ([], []))[0 if option.simple else 1].append(of_option(option))
    for name, (simple, more) in found.items():
        yield SECTIONS.get(name, name), simple, more


def of_option(option: Option) -> Field:
    """The field of a training option: its type makes the control, its own words the help."""
    field = Field(option.path, option.name, _help(option), empty="left to the trainer", option=True)
    if option.choices:
        return replace(field, kind="choice", choices=tuple((c, c) for c in option.choices))
    if bool in option.types:
        return replace(field, kind="choice", choices=(("true", "true"), ("false", "false")))
    return field


def _help(option: Option) -> str:
    bounds = [option.unit] if option.unit else []
    bounds += [f"at least {option.minimum:g}"] if option.minimum is not None else []
    bounds += [f"above {option.above:g}"] if option.above is not None else []
    bounds += [f"at most {option.maximum:g}"] if option.maximum is not None else []
    within = f" ({', '.join(bounds)})" if bounds else ""
    return f"{option.help.rstrip('.')}{within}."
