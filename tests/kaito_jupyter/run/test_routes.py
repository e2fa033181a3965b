from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import yaml

from kaito_jupyter import tune
from kaito_jupyter.errors import SpecError
from kaito_jupyter.run import Plan

FRAME = pd.DataFrame({"prompt": [f"q{n}" for n in range(40)], "completion": [f"a{n}" for n in range(40)]})


def planned(data: Any = FRAME, **options: Any) -> Plan:
    given = {"preset": "phi-4-mini-instruct", "backend": "kaito", "instance_type": "Standard_NC24ads_A100_v4"}
    return tune(data, dry_run=True, output="pvc:adapters", name="n", **given | options)


def fed(plan: Plan) -> Any:
    return list(yaml.safe_load_all(plan.to_yaml()))[-1]["tuning"]["input"]


def test_a_plan_says_how_its_data_gets_there_and_where_it_will_be() -> None:
    plan = planned()
    assert plan.route is not None
    assert plan.route.note == "The data (1 kB) travels in a ConfigMap."
    assert fed(plan) == {"volumeSource": {"configMap": {"name": "n-data"}}}

    plan = planned(input="image:r.io/data", pull_secret="pull")
    assert plan.dataset is not None
    mark = plan.dataset.fingerprint[:16]
    assert fed(plan) == {"image": f"r.io/data:{mark}", "imagePullSecrets": ["pull"]}
    plan = planned(input="pvc:data")
    assert fed(plan) == {"volumeSource": {"persistentVolumeClaim": {"claimName": "data"}}}
    assert f"dataset_path: data/kaito-data/{mark}/train.parquet" in plan.to_yaml()


def test_without_a_dataframe_the_input_is_what_is_there() -> None:
    plan = planned(None, input="image:r.io/data:1")
    assert plan.route is None
    assert fed(plan) == {"image": "r.io/data:1"}
    assert plan.total_steps is None
    assert planned(None, input="image:r.io/data:1", max_steps=7).total_steps == 7


def test_what_is_wrong_with_the_way_is_told_with_the_rest() -> None:
    with pytest.raises(SpecError) as caught:
        planned(input="https://example.com/folder/train.parquet", instance_type="Standard_X")
    assert [p.path for p in caught.value.problems] == ["resource.instanceType"]
    with pytest.raises(SpecError, match="nothing can be put at an http address"):
        planned(input="https://example.com/folder/train.parquet")
    with pytest.raises(SpecError, match="there is no image to pull"):
        planned(pull_secret="pull")


def test_an_address_of_a_closed_network_needs_a_word() -> None:
    url = "http://10.1.2.3/train.parquet"
    with pytest.raises(SpecError, match="say so with --private-urls"):
        planned(None, input=url)
    assert fed(planned(None, input=url, placement={"private_urls": True})) == {"urls": [url]}
