"""What a cluster is sent."""

from kaito_jupyter.manifests import config_map, workspace
from kaito_jupyter.spec import build_spec


def test_the_workspace_names_the_configmap_that_goes_with_it():
    spec = build_spec(
        preset="phi-4",
        name="first",
        namespace="team-a",
        output="pvc:results",
        instance_type="Standard_NC24ads_A100_v4",
        target="kaito",
    )
    ws, cm = workspace(spec), config_map(spec, rows=10)
    assert (ws["apiVersion"], ws["kind"], cm["apiVersion"], cm["kind"]) == (
        "kaito.sh/v1beta1",
        "Workspace",
        "v1",
        "ConfigMap",
    )
    assert ws["tuning"]["config"] == cm["metadata"]["name"] == "first-config"
    assert ws["metadata"]["namespace"] == cm["metadata"]["namespace"] == "team-a"
    assert ws["resource"]["labelSelector"] == {"matchLabels": {"app": "first"}}
    assert ws["tuning"]["output"] == {"volumeSource": {"persistentVolumeClaim": {"claimName": "results"}}}
    assert list(cm["data"]) == ["training_config.yaml"]
    assert "spec" not in ws
