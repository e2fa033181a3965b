"""TuningSpec -> KAITO's documents: the Workspace and its ConfigMap, as dicts and as YAML text. `read` is the way back.

What KAITO has no word for (a folder of this machine, a DataFrame that we deliver) stands in annotations of the Workspace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kaito_trainer.contract import EPOCHS_DEFAULT, TrainingConfig, train_rows
from kaito_trainer.contract.names import CONFIG_FILE
from kaito_trainer.contract.problems import one_line

from .text import annotated, dump

if TYPE_CHECKING:
    from .model import Target, TuningSpec

API_VERSION: Final = "kaito.sh/v1beta1"
MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "kaito-jupyter")
INPUT_NOTE: Final = "kaito-jupyter/input"
"""Annotation: `dataframe` or `file`, for data of this machine that we deliver."""
INPUT_PATH_NOTE: Final = "kaito-jupyter/input-path"
"""Annotation: the data file's place, on this machine or in the input volume."""
OUTPUT_PATH_NOTE: Final = "kaito-jupyter/output-path"
"""Annotation: the folder of this machine for the adapter."""
PLACEMENT_NOTE: Final = "kaito-jupyter/placement"
"""Annotation: how our own Job is to stand on the cluster, as JSON."""
NOTES: Final = (INPUT_NOTE, INPUT_PATH_NOTE, OUTPUT_PATH_NOTE, PLACEMENT_NOTE)


def config_name(spec: TuningSpec) -> str:
    """Name of the ConfigMap with the configuration."""
    return f"{spec.name or 'tuning'}-config"


def data_name(spec: TuningSpec) -> str:
    """Name of the ConfigMap in which a small DataFrame travels."""
    return f"{spec.name or 'tuning'}-data"


def to_documents(spec: TuningSpec, target: Target | None, rows: int | None) -> list[dict[str, Any]]:
    """The ConfigMap (when there is a configuration) and the Workspace: KAITO looks for the first when it gets the second."""
    reasons = {d.path: d.reason for d in spec.defaults(target, rows=rows)} if target else {}
    full = spec.resolved(target, rows=rows) if target else spec
    config = config_map(full, reasons, stock=target == "kaito") if full.config.to_dict() else None
    return [*([config] if config else []), workspace(full, delivers=target == "kaito", with_config=config is not None)]


def workspace(spec: TuningSpec, *, delivers: bool = False, with_config: bool = True) -> dict[str, Any]:
    """The Workspace. `delivers`: data that we deliver is named as the volume in which it will come."""
    source, output, resource = spec.input, spec.output, spec.resource
    notes = {
        INPUT_NOTE: ("file" if source.path else "dataframe")
        if source.delivered and (delivers or source.path)
        else None,
        INPUT_PATH_NOTE: source.path,
        OUTPUT_PATH_NOTE: output.path,
        PLACEMENT_NOTE: spec.placement.to_json() or None,
    }
    volume = source.volume_source
    if source.delivered and delivers:
        volume = {"configMap": {"name": data_name(spec)}}
    return {
        "apiVersion": API_VERSION,
        "kind": "Workspace",
        "metadata": _metadata(spec, spec.name, {**spec.annotations, **_set(notes)}),
        "resource": _set(
            {
                "count": resource.count if resource.count != 1 else None,
                "instanceType": resource.instance_type,
                "labelSelector": resource.label_selector,
            }
        ),
        "tuning": _set(
            {
                "preset": {"name": spec.preset}
                | ({"presetOptions": {"modelAccessSecret": s}} if (s := spec.model_access_secret) else {}),
                "method": spec.method,
                "config": config_name(spec) if with_config else None,
                "input": _set(
                    {
                        "name": source.name,
                        "urls": list(source.urls) or None,
                        "image": source.image,
                        "imagePullSecrets": list(source.image_pull_secrets) or None,
                        "volumeSource": volume,
                    }
                ),
                "output": _set(
                    {
                        "image": output.image,
                        "imagePushSecret": output.image_push_secret,
                        "volumeSource": output.volume_source,
                    }
                ),
            }
        ),
    }


def config_map(spec: TuningSpec, reasons: Mapping[str, str], *, stock: bool) -> dict[str, Any]:
    """The ConfigMap with `training_config.yaml`. `stock`: for KAITO's trainer, without our own options."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(spec, config_name(spec), {}),
        "data": {CONFIG_FILE: config_text(spec.config, reasons, stock=stock)},
    }


def config_text(config: TrainingConfig, reasons: Mapping[str, str] | None = None, *, stock: bool = False) -> str:
    """The text of `training_config.yaml`, with the reason beside each value that we chose."""
    document = config.to_document(stock=stock)
    sections = document.pop("training_config")
    text = "training_config:" + ("\n" + annotated(sections, reasons or {}, "  ") if sections else " {}\n")
    return text + (annotated(document, {k.split(".", 1)[1]: v for k, v in (reasons or {}).items()}) if document else "")


def to_yaml(spec: TuningSpec, target: Target | None, rows: int | None) -> str:
    """All documents in one file, with a word at its head."""
    documents = to_documents(spec, target, rows)
    head = "".join(f"# {line}\n" for line in _head(spec, target, rows))
    return head + "---\n".join(dump(d) for d in documents)


def _head(spec: TuningSpec, target: Target | None, rows: int | None) -> Iterable[str]:
    name = spec.name or spec.named().name
    if target is None:
        yield "A tuning spec as it was said: what stands nowhere takes its default."
        return
    yield f"KAITO fine-tuning of {one_line(spec.preset)} with {spec.method}, written by kaito-jupyter."
    yield "A comment beside a value: nobody set it, and this is why it was chosen."
    if rows is not None:
        yield _steps(spec, target, rows)
    if target == "kaito":
        yield f"kubectl apply -f FILE; kubectl get workspace {name} -n {spec.namespace} -w"
        yield "KAITO looks for the ConfigMap when it gets the Workspace: before a dry run, apply the ConfigMap."
        if spec.input.delivered:
            yield f"The data comes in the ConfigMap {data_name(spec.named())}: a submission from the notebook makes it."


def _steps(spec: TuningSpec, target: Target, rows: int) -> str:
    config = spec.effective_config(target, rows=rows)
    t, devices = config.TrainingArguments, spec.gpus(target)
    trained = train_rows(config, rows)
    factors = [str(t.per_device_train_batch_size or 1)]
    factors += [str(n) for n in (t.gradient_accumulation_steps or 1, devices) if n != 1]
    product = factors[0] if len(factors) == 1 else f"({' × '.join(factors)})"
    steps = spec.total_steps(rows, target=target)
    if (t.max_steps or 0) > 0:
        return f"{steps} steps (max_steps), over {trained} of {rows} rows."
    epochs = EPOCHS_DEFAULT if t.num_train_epochs is None else t.num_train_epochs
    return f"{steps} steps: {epochs:g} epoch{'' if epochs == 1 else 's'} × ⌈{trained} of {rows} rows / {product}⌉."


def _metadata(spec: TuningSpec, name: str | None, annotations: Mapping[str, str]) -> dict[str, Any]:
    return _set(
        {
            "name": name,
            "namespace": spec.namespace,
            "labels": {MANAGED_BY[0]: MANAGED_BY[1], **spec.labels},
            "annotations": dict(annotations) or None,
        }
    )


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


def flat(spec: TuningSpec) -> dict[str, Any]:
    """Path -> value of all that was said, for `TuningSpec.diff`."""
    ws = workspace(spec, with_config=False)
    values: dict[str, Any] = {}
    for part in ("metadata", "resource", "tuning"):
        values.update(_leaves(part, ws[part]))
    for section, keys in spec.config.to_dict().items():
        values.update({f"{section}.{k}": v for k, v in keys.items()} if isinstance(keys, Mapping) else {section: keys})
    return values


def _leaves(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {path: value}
    return {p: v for key, inner in value.items() for p, v in _leaves(f"{path}.{key}", inner).items()}
