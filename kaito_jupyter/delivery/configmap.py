"""A small dataset as a ConfigMap: it needs no storage at all.

One that is in the namespace already is used by several runs. Each of them owns it, so that it goes with the last.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

from kaito_trainer.contract.names import TRAIN_FILE

from ..cluster.client import Client
from ..cluster.refusals import Conflict, NotFound
from ..cluster.resources import CONFIG_MAPS
from ..dataset import Dataset
from ..errors import BackendError
from ..spec import DataSource
from ..spec.documents import MANAGED_BY
from .parcel import Parcel, short

LABEL: Final = "kaito-jupyter/dataset"
"""Label: the head of the content's fingerprint. The whole of it stands in the annotation of the same name."""
_TRIES: Final = 5

Json = dict[str, Any]


def find(client: Client, dataset: Dataset, namespace: str) -> str | None:
    """The name of a ConfigMap with this very content; None when there is none."""
    managed = "=".join(MANAGED_BY)
    items, _ = client.list(CONFIG_MAPS, namespace, labels=f"{managed},{LABEL}={short(dataset)}")
    return next((item["metadata"]["name"] for item in items if _holds(item, dataset)), None)


def document(parcel: Parcel, dataset: Dataset, name: str, namespace: str) -> Json:
    """The ConfigMap with `train.parquet`. It cannot be changed: a run that reads it reads what it was made for."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {MANAGED_BY[0]: MANAGED_BY[1], LABEL: short(dataset)},
            "annotations": {LABEL: dataset.fingerprint},
        },
        "immutable": True,
        "binaryData": {TRAIN_FILE: base64.b64encode(parcel.path.read_bytes()).decode()},
    }


def free_name(client: Client, dataset: Dataset, name: str, namespace: str) -> str:
    """The name wished for, or one beside it when other data has it: an earlier revision's, which may still be read."""
    there = client.find(CONFIG_MAPS, name, namespace)
    return name if there is None else f"{name}-{short(dataset)}"


def source(name: str, like: DataSource) -> DataSource:
    """Where the pod finds it."""
    return DataSource(volume_source={"configMap": {"name": name}}, name=like.name)


def own(client: Client, document: Callable[[], Json], name: str, namespace: str, owner: Json) -> None:
    """Have the ConfigMap stay as long as `owner` (an owner reference) does. It is made when it is not (or no more) there."""
    for _ in range(_TRIES):
        try:
            there = client.get(CONFIG_MAPS, name, namespace)["metadata"]
            owners = [o for o in there.get("ownerReferences") or () if o["uid"] != owner["uid"]]
            # With the version that was read: of two runs that own it at the same time, none takes away the other.
            change = {"metadata": {"resourceVersion": there["resourceVersion"], "ownerReferences": [*owners, owner]}}
            client.patch(CONFIG_MAPS, name, change, namespace)
            return
        except NotFound:
            made = document()
            made["metadata"]["ownerReferences"] = [owner]
            try:
                client.create(made)
                return
            except Conflict:
                continue
        except Conflict:
            continue
    raise BackendError(f"the ConfigMap {name} in namespace {namespace} is being changed all the time. Try again.")


def _holds(item: Json, dataset: Dataset) -> bool:
    notes = item["metadata"].get("annotations") or {}
    return bool(notes.get(LABEL) == dataset.fingerprint) and not item["metadata"].get("deletionTimestamp")


__all__ = ["LABEL", "document", "find", "free_name", "own", "source"]
