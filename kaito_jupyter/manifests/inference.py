"""An adapter in use: the Workspace with which KAITO serves the base model together with it. Pure.

Source: https://github.com/kaito-project/kaito, `api/v1beta1/workspace_types.go` (`InferenceSpec.Adapters`), and
https://kaito-project.github.io/kaito/docs/inference. `strength` is left out: its vLLM runtime refuses it.
"""

from __future__ import annotations

import yaml

from ..presets import find
from ..spec import TuningSpec


def inference_yaml(spec: TuningSpec, name: str, image: str) -> str:
    """The Workspace as YAML; empty when the model is none of KAITO's presets, which alone it can serve."""
    preset = find(spec.preset)
    if preset is None:
        return ""
    serving = f"{name[:57].rstrip('-')}-serve"
    source: dict[str, object] = {"name": name, "image": image}
    if spec.output.image_push_secret:
        source["imagePullSecrets"] = [spec.output.image_push_secret]
    resource: dict[str, object] = {"labelSelector": {"matchLabels": {"apps": serving}}}
    if spec.resource.instance_type:
        resource = {"instanceType": spec.resource.instance_type, **resource}
    workspace = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": serving, "namespace": spec.namespace},
        "resource": resource,
        "inference": {"preset": {"name": preset.name}, "adapters": [{"source": source}]},
    }
    text: str = yaml.safe_dump(workspace, sort_keys=False)
    return text


__all__ = ["inference_yaml"]
