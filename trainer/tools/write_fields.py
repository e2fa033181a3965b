"""Writes `kaito_trainer/contract/fields.json`: the fields of Hugging Face's classes, for our releases and for KAITO's.

    python trainer/tools/write_fields.py [FOLDER]

Run it with the project's own Python, after a change of `constraints.txt` or of the releases below. It makes a virtual
environment with the releases of KAITO's image (torch and what does not matter come from the project's own), asks both
Pythons for their fields, and reads off older wheels which names are gone. FOLDER keeps the environment for the next time.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import json
import subprocess
import sys
import tempfile
import types
import typing
import venv
import zipfile
from pathlib import Path
from typing import Any, Final

from field_facts import CHOICES, RANGES, SUCCESSORS

HERE: Final = Path(__file__).resolve()
DATA: Final = HERE.parents[1] / "kaito_trainer" / "contract" / "fields.json"

STOCK: Final = {
    "transformers": "5.14.1", "peft": "0.11.1", "trl": "1.0.0", "bitsandbytes": "0.46.1", "datasets": "4.8.4",
}  # fmt: skip
"""KAITO v0.12's pins. Its trl is `>=1.0.0`: the oldest that an image may hold."""
STOCK_NEEDS: Final = ("tokenizers>=0.22,<=0.23.0", "huggingface-hub>=1.5,<2", "accelerate<1.15")
"""What those releases ask for and the project's own environment has newer."""
BEFORE: Final = {"transformers": "4.40.2", "peft": "0.8.2", "trl": "0.9.4"}
"""The releases that KAITO's tuning document links to."""

WORDS: Final[dict[Any, str]] = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


def main(folder: Path) -> None:
    """Gather from all sides and write the data file."""
    stock = environment(folder)
    ours = asked(Path(sys.executable), "ours")
    theirs = asked(stock, "stock")
    names = {f"{section}.{name}" for section, fields in ours["fields"].items() for name in fields}
    gone = {path: "" for path in SUCCESSORS if path not in names or path.startswith("ModelConfig.load_in_")}
    gone |= {path: until for path, until in removed(folder, stock).items() if path not in names}
    facts = {
        "releases": {"ours": ours["releases"], "stock": theirs["releases"], "before": BEFORE},
        "ours": ours["fields"],
        "stock": theirs["fields"],
        "gone": {path: successor(path, until) for path, until in sorted(gone.items())},
    }
    DATA.write_text(written(facts), encoding="utf-8")


def successor(path: str, until: str) -> dict[str, str]:
    """What to write in place of a name that is gone."""
    now, why = SUCCESSORS.get(path, ("", ""))
    return {k: v for k, v in {"until": until, "now": now, "why": why}.items() if v}


def written(facts: dict[str, Any], depth: int = 0) -> str:
    """JSON with a line for each field, so that a change shows as one."""
    if depth == 3 or not any(isinstance(v, dict) for v in facts.values()):
        return json.dumps(facts, ensure_ascii=False)
    pad = "  " * (depth + 1)
    rows = [f"{pad}{json.dumps(k)}: {written(v, depth + 1)}" for k, v in facts.items()]
    return "{\n" + ",\n".join(rows) + "\n" + "  " * depth + "}" + ("\n" if not depth else "")


def environment(folder: Path) -> Path:
    """The Python with the releases of KAITO's image."""
    python = folder / "stock" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "stock", with_pip=True)
        pins = [f"{name}=={release}" for name, release in STOCK.items()]
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *pins, *STOCK_NEEDS], check=True)
        site = next((folder / "stock" / "lib").glob("python*/site-packages"))
        (site / "zz-own.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    return python


def asked(python: Path, image: str) -> dict[str, Any]:
    """The fields as that Python's libraries have them."""
    command = [python, "-W", "ignore", HERE, "--read", image]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(answer.strip().splitlines()[-1]))


def removed(folder: Path, python: Path) -> dict[str, str]:
    """Section.name -> the last release known to have it, for the fields of the older releases."""
    wheels = folder / "before"
    if not wheels.exists():
        pins = [f"{name}=={release}" for name, release in BEFORE.items()]
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, *pins], check=True)
    places = (
        ("TrainingArguments", "transformers", "transformers/training_args.py", "TrainingArguments"),
        ("TrainingArguments", "trl", "trl/trainer/sft_config.py", "SFTConfig"),
        ("LoraConfig", "peft", "peft/tuners/lora/config.py", "LoraConfig"),
    )
    found = {}
    for section, package, module, cls in places:
        (wheel,) = wheels.glob(f"{package}-*.whl")
        tree = ast.parse(zipfile.ZipFile(wheel).read(module))
        body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls)
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
                found[f"{section}.{node.target.id}"] = f"{package} {BEFORE[package]}"
    return found


# What follows runs in each of the two Pythons.


def read(image: str) -> dict[str, Any]:
    """The releases that are installed here, and the fields of their classes."""
    from importlib.metadata import version

    return {"releases": {name: version(name) for name in STOCK}, "fields": ours() if image == "ours" else stock()}


def ours() -> dict[str, Any]:
    """The fields as our trainer hands them on: to the classes themselves."""
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig, DataCollatorForLanguageModeling
    from trl import SFTConfig

    return {
        "ModelConfig": {name: {} for name in passed_on()},
        "QuantizationConfig": {**signature(BitsAndBytesConfig), "quant_method": field("quant_method", ["str"], None)},
        "LoraConfig": hinted(LoraConfig),
        "TrainingArguments": hinted(SFTConfig),
        "DataCollator": hinted(DataCollatorForLanguageModeling, skip=("tokenizer",)),
    }


def passed_on() -> list[str]:
    """Names that our trainer hands on to `from_pretrained`, and those that it takes for KAITO's sake and leaves out."""
    from kaito_trainer.contract.sections import ModelSection
    from kaito_trainer.hf_config import MODEL_IGNORED, MODEL_KEYS

    return sorted(MODEL_KEYS | MODEL_IGNORED | {f.name for f in dataclasses.fields(ModelSection)} - {"extra"})


def signature(cls: Any) -> dict[str, Any]:
    """The fields of a class that says their types by their defaults alone."""
    told = {"llm_int8_skip_modules": ["list"], "bnb_4bit_compute_dtype": ["str"], "bnb_4bit_quant_storage": ["str"]}
    found = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name not in ("self", "kwargs"):
            kinds = told.get(name) or [WORDS[type(parameter.default)]]
            found[name] = field(name, kinds, parameter.default)
    return found


def hinted(cls: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass, by their type hints."""
    hints = resolved(cls)
    own = set(inspect.get_annotations(cls)) if cls.__name__ == "SFTConfig" else set()
    found = {}
    for f in dataclasses.fields(cls):
        if f.name in skip or f.name[0] == "_" or not f.init:
            continue
        kinds, choices = kinds_of(hints.get(f.name, typing.Any))
        choices = [str(c) for c in f.metadata.get("choices", choices)]
        found[f.name] = field(f.name, kinds, default(f), choices, own=f.name in own)
        if "deprecated" in str(f.metadata.get("help", "")).lower():
            found[f.name]["deprecated"] = True
    return found


def resolved(cls: Any) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        space = {**vars(typing), **vars(sys.modules[base.__module__])}
        for name, hint in inspect.get_annotations(base).items():
            try:
                hints[name] = eval(hint, space) if isinstance(hint, str) else hint
            except Exception:  # noqa: BLE001 (a name that only type checkers import)
                hints[name] = typing.Any
    return hints


def kinds_of(hint: Any) -> tuple[list[str], list[str]]:
    """Words for the types that a hint allows, and the only values, when it names them."""
    kinds, choices = [], []
    for member in members(hint):
        origin = typing.get_origin(member) or member
        if origin is typing.Literal:
            choices += [v for v in typing.get_args(member) if isinstance(v, str)]
            kinds += [WORDS.get(type(v), "any") for v in typing.get_args(member) if v is not None]
        elif isinstance(origin, type) and issubclass(origin, enum.Enum):
            choices += [m.value for m in origin]
            kinds.append("str")
        elif origin is list:
            kinds.append("list")
        elif origin in WORDS:
            kinds.append(WORDS[origin])
        elif origin in (set, tuple):
            kinds.append("list")
        elif origin is not type(None):
            kinds.append("dict" if dataclasses.is_dataclass(origin) else "any")
    plain = list(dict.fromkeys(kinds))
    return plain, choices if set(plain) == {"str"} and all_closed(hint) else []


def members(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [m for part in typing.get_args(hint) for m in members(part)]
    return [hint]


def all_closed(hint: Any) -> bool:
    """Whether every text that is allowed is named: `SchedulerType | str` in a signature means the enum's values too."""
    return any(
        typing.get_origin(m) is typing.Literal or (isinstance(m, type) and issubclass(m, enum.Enum))
        for m in members(hint)
    ) and str not in [m for m in members(hint) if typing.get_origin(m) is typing.Literal]


def default(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else None


def field(name: str, kinds: list[str], value: Any, choices: Any = (), *, own: bool = False) -> dict[str, Any]:
    """One field's facts, without the empty ones."""
    value = value.value if isinstance(value, enum.Enum) else value
    facts: dict[str, Any] = {"types": kinds if "any" not in kinds else []}
    if isinstance(value, bool | int | float | str):
        facts["default"] = value
    choices = CHOICES.get(name, choices)
    facts |= {"choices": list(choices)} if choices else {}
    facts |= RANGES.get(name, {})
    return {k: v for k, v in facts.items() if v != []} | ({"of": "trl"} if own else {})


def stock() -> dict[str, Any]:
    """The fields as KAITO's parser sees them: `HfArgumentParser` over its six classes, of which four are its own.

    Source: KAITO v0.12, `presets/workspace/tuning/text-generation/{cli,parser}.py`.
    """
    from peft import LoraConfig
    from transformers import DataCollatorForLanguageModeling
    from trl import SFTConfig

    # Fields that KAITO declares anew, since the parser cannot read how Hugging Face declares them.
    names, numbers = typing.Optional[typing.List[str]], typing.Optional[typing.List[int]]  # noqa: UP006, UP045
    lora = extended(
        LoraConfig,
        {"init_lora_weights": (bool, True), "target_modules": (names, None), "layers_to_transform": (numbers, None),
         "layers_pattern": (names, None), "loftq_config": (dict, {})},
    )  # fmt: skip
    collator = extended(DataCollatorForLanguageModeling, {"tokenizer": (typing.Optional[str], None)})  # noqa: UP045
    text = typing.Optional[str]  # noqa: UP045
    model = {
        "pretrained_model_name_or_path": (text, "/workspace/tfs/weights"), "state_dict": (dict, {}),
        "cache_dir": (text, None), "from_tf": (bool, False), "force_download": (bool, False),
        "resume_download": (bool, False), "proxies": (text, None), "output_loading_info": (bool, False),
        "local_files_only": (bool, False), "revision": (str, "main"), "trust_remote_code": (bool, False),
        "load_in_4bit": (bool, False), "load_in_8bit": (bool, False), "torch_dtype": (text, None),
        "device_map": (str, "auto"), "chat_template": (text, None),
    }  # fmt: skip
    bits = {
        "quant_method": (str, "bitsandbytes"), "load_in_8bit": (bool, False), "load_in_4bit": (bool, False),
        "llm_int8_threshold": (float, 6.0), "llm_int8_skip_modules": (names, None),
        "llm_int8_enable_fp32_cpu_offload": (bool, False), "llm_int8_has_fp16_weight": (bool, False),
        "bnb_4bit_compute_dtype": (str, "float32"), "bnb_4bit_quant_type": (str, "fp4"),
        "bnb_4bit_use_double_quant": (bool, False),
    }  # fmt: skip
    data = {
        "dataset_path": (text, None), "dataset_extension": (text, None), "shuffle_dataset": (bool, True),
        "shuffle_seed": (int, 42), "context_column": (text, None), "response_column": (str, "text"),
        "messages_column": (text, None), "train_test_split": (float, 0.8),
    }  # fmt: skip
    return {
        "ModelConfig": parsed(extended(object, model)),
        "QuantizationConfig": parsed(extended(object, bits)),
        "LoraConfig": parsed(lora),
        "TrainingArguments": parsed(SFTConfig),
        "DataCollator": parsed(collator, skip=("tokenizer",)),
        "DatasetConfig": parsed(extended(object, data)),
    }


def extended(base: Any, more: dict[str, tuple[Any, Any]]) -> Any:
    """A dataclass with those fields: name -> (type, default)."""

    def made(value: Any) -> Any:
        return dataclasses.field(default_factory=dict) if value == {} else dataclasses.field(default=value)

    listed = [(name, hint, made(value)) for name, (hint, value) in more.items()]
    return dataclasses.make_dataclass("Own", listed, bases=() if base is object else (base,))


def parsed(cls: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a class as the parser's options."""
    from transformers import HfArgumentParser

    own = set(inspect.get_annotations(cls)) if cls.__name__ == "SFTConfig" else set()
    hints = resolved(cls)
    defaults = {f.name: default(f) for f in dataclasses.fields(cls)}
    found = {}
    for action in HfArgumentParser((cls,))._actions:
        if action.dest in defaults and action.dest not in skip and action.dest[0] != "_" and action.const is not False:
            kind = kind_of(action.type)
            choices = action.choices or kinds_of(hints.get(action.dest, typing.Any))[1]
            facts = field(action.dest, [kind] if kind else [], defaults[action.dest], choices, own=action.dest in own)
            facts |= {} if kind else {"unreadable": True}
            if "deprecated" in str(action.help or "").lower():
                facts["deprecated"] = True
            found[action.dest] = facts | ({"many": True} if action.nargs in ("+", "*") else {})
    return found


def kind_of(read: Any) -> str:
    """The word for what an option's text is turned into; empty when no text can be (a mapping, a list of pairs)."""
    name = getattr(read, "__name__", "")
    if name == "string_to_bool":
        return "bool"
    if typing.get_origin(read) or read is dict or dataclasses.is_dataclass(read):
        return ""
    return WORDS.get(read, "str")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        sys.stdout.write(json.dumps(read(sys.argv[2])) + "\n")
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as made_here:
            main(Path(made_here))
