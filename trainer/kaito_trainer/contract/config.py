"""The whole tuning configuration, and the one table of its options that flags, form, check and docs are made from."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Self, get_args, get_origin

from .sections import (
    ALL_SECTIONS,
    METHODS,
    SECTION_NAMES,
    SECTIONS,
    TRAINER_KEY,
    CollatorSection,
    DatasetSection,
    LoraSection,
    Method,
    ModelSection,
    QuantizationSection,
    Section,
    TrainerSection,
    TrainingSection,
)


@dataclass(kw_only=True)
class TrainingConfig:
    """The whole configuration, `training_config` in the file. `unknown` keeps sections that KAITO doesn't know, for `check`."""

    ModelConfig: ModelSection = field(default_factory=ModelSection)
    QuantizationConfig: QuantizationSection = field(default_factory=QuantizationSection)
    LoraConfig: LoraSection = field(default_factory=LoraSection)
    TrainingArguments: TrainingSection = field(default_factory=TrainingSection)
    DataCollator: CollatorSection = field(default_factory=CollatorSection)
    DatasetConfig: DatasetSection = field(default_factory=DatasetSection)
    TrainerOptions: TrainerSection = field(default_factory=TrainerSection)
    unknown: dict[str, Any] = field(default_factory=dict)

    def sections(self) -> Iterator[Section]:
        """KAITO's six sections in its order, then ours."""
        for cls in ALL_SECTIONS:
            yield getattr(self, cls.NAME)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Section name -> its set keys. Sections without any are left out."""
        filled = {s.NAME: s.to_dict() for s in self.sections()}
        return {name: keys for name, keys in filled.items() if keys} | self.unknown

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From section name -> keys (without the `training_config` key around it).

        A section that is no mapping goes to `unknown` as it came: `check` says what is wrong with it.
        """
        known = {
            s.NAME: s.from_dict(v if v is not None else {})
            for s in ALL_SECTIONS
            if s.NAME in values and isinstance(v := values[s.NAME], Mapping | None)
        }
        return cls(**known, unknown={k: v for k, v in values.items() if k not in known})  # type: ignore[arg-type]

    def to_document(self, *, stock: bool = False) -> dict[str, Any]:
        """The content of `training_config.yaml`; with `stock`, for KAITO's own image, without our own options."""
        sections = self.to_dict()
        ours = sections.pop(TrainerSection.NAME, None)
        return {"training_config": sections} | ({TRAINER_KEY: ours} if ours and not stock else {})

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """From the content of `training_config.yaml`. A missing or odd `training_config` is read as empty: see `check`."""
        sections = document.get("training_config")
        ours = document.get(TRAINER_KEY)
        return cls.from_dict(
            (dict(sections) if isinstance(sections, Mapping) else {})
            | ({TrainerSection.NAME: ours} if isinstance(ours, Mapping) else {})
        )

    def merged(self, other: Mapping[str, Mapping[str, Any]]) -> Self:
        """A copy in which the other's keys win. A key given as None is unset."""
        mine: dict[str, Any] = {
            name: dict(keys) if isinstance(keys, Mapping) else keys for name, keys in self.to_dict().items()
        }
        for name, keys in other.items():
            if isinstance(keys, Mapping) and isinstance(mine.get(name, {}), Mapping):
                both = {**mine.get(name, {}), **keys}
                mine[name] = {k: v for k, v in both.items() if v is not None}
            else:
                mine[name] = keys
        return type(self).from_dict(mine)


@dataclass(frozen=True)
class Option:
    """One field as the faces see it."""

    section: str
    name: str
    types: tuple[type, ...]
    """Python types that a value may have (`int` is fine where a `float` is asked)."""
    help: str
    source: str
    unit: str
    choices: tuple[str, ...]
    minimum: float | None
    above: float | None
    maximum: float | None
    flag: str
    simple: bool

    @property
    def path(self) -> str:
        """`TrainingArguments.learning_rate`."""
        return f"{self.section}.{self.name}"


@cache
def options() -> tuple[Option, ...]:
    """All explained fields in KAITO's order: the one table that flags, form, check and docs are made from."""
    return tuple(
        Option(section=cls.NAME, name=f.name, types=_types(hints[f.name]), **f.metadata)
        for cls in ALL_SECTIONS
        for hints in (typing.get_type_hints(cls),)
        for f in fields(cls)
        if f.name != "extra"
    )


def _types(hint: Any) -> tuple[type, ...]:
    members = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(get_origin(m) or m for m in members if m is not type(None))


def kaito_defaults(method: Method) -> TrainingConfig:
    """KAITO's default ConfigMap (`lora-params-template`, `qlora-params-template`), value for value.

    Source: KAITO v0.12, `charts/kaito/workspace/templates/{lora,qlora}-params.yaml`.
    """
    four_bit: dict[str, Any] = {"load_in_4bit": False}
    if method == "qlora":
        four_bit = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_use_double_quant": True,
        }
    return TrainingConfig.from_dict(
        {
            "ModelConfig": {"torch_dtype": "bfloat16", "local_files_only": True, "device_map": "auto"},
            "QuantizationConfig": four_bit,
            "LoraConfig": {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0},
            "TrainingArguments": {
                "output_dir": "/mnt/results",
                "ddp_find_unused_parameters": False,
                "save_strategy": "no",
                "per_device_train_batch_size": 1,
            },
            "DataCollator": {"mlm": True},
            "DatasetConfig": {"shuffle_dataset": True, "train_test_split": 1},
        }
    )


__all__ = [
    "ALL_SECTIONS",
    "METHODS",
    "SECTIONS",
    "SECTION_NAMES",
    "Method",
    "Option",
    "Section",
    "TrainingConfig",
    "kaito_defaults",
    "options",
]
