"""From a spec to what it takes, what would fit, how long it lasts, and what is said when it is too large."""

import json
import re
from dataclasses import replace

import pytest

from kaito_jupyter import estimate
from kaito_jupyter.chat import hub_cache
from kaito_jupyter.preflight import settings
from kaito_jupyter.spec import ResourceSpec, TuningSpec
from kaito_jupyter.spec.sources import parse_destination
from kaito_trainer.contract import TrainingConfig

A10, A100 = "Standard_NV36ads_A10_v5", "Standard_NC24ads_A100_v4"
TINY = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 500,
        "intermediate_size": 128, "tie_word_embeddings": True}  # fmt: skip


def problems(spec, target):
    found = estimate(spec, target=target)
    return list(found.problems()) if found else []


def spec_of(preset="phi-4-mini-instruct", method="lora", sku=A100, **sections):
    config = TrainingConfig.from_dict(sections)
    return TuningSpec(preset=preset, method=method, resource=ResourceSpec(instance_type=sku), config=config)


def test_what_fits_is_said_with_what_more_would():
    found = estimate(spec_of(), rows=1000)
    assert found.fits
    assert found.problems is not None
    assert list(found.problems()) == []
    assert (found.parameters, found.device.gpu, found.steps) == (3_836_021_760, "A100", 3000)
    assert found.largest_batch > 1
    assert found.smallest_sku.name == A10
    assert re.fullmatch(r"memory: about [\d.]+ GiB of 80\.0 GiB on the GPU; a batch of up to \d+ fits\.", found.short())


def test_a_batch_that_is_too_large_is_a_warning_with_the_part_of_it_that_fits():
    spec = spec_of(sku=A10, TrainingArguments={"per_device_train_batch_size": 64, "gradient_accumulation_steps": 3})
    (problem,) = problems(spec, "job")
    assert (problem.path, problem.severity) == ("resource.instanceType", "warning")
    batch = int(re.search(r"per_device_train_batch_size: (\d+)", problem.remedy)[1])
    assert batch in (4, 8, 16, 32)
    mended = spec.fixed([problem])
    assert problems(mended, "job") == []
    arguments = mended.config.TrainingArguments
    assert arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps == 192
    assert problems(mended.fixed([replace(problem, fix=((problem.fix[0][0], 2 * batch),))]), "job") != []


def test_the_check_of_a_spec_tells_of_it_for_a_cluster():
    job = replace(spec_of("phi-4", sku=A10), output=parse_destination("pvc:o"))
    assert [p.severity for p in job.check("job")] == ["error"]
    assert job.fixed(job.check("job")).method == "qlora"


def test_weights_that_are_larger_than_the_node_are_an_error_with_the_way_out():
    (problem,) = problems(spec_of("phi-4", sku=A10), "kaito")
    assert problem.severity == "error"
    assert str(problem) == (
        "resource.instanceType: the model's weights alone take 27.3 GiB, and Standard_NV36ads_A10_v5 has 24.0 GiB. "
        f'Use the method "qlora", or take {A100} (A100, 80 GiB a GPU).'
    )
    assert problems(spec_of("phi-4", "qlora", sku=A10), "kaito") == []


def test_our_own_job_takes_less_than_the_stock_trainer_for_the_fused_head():
    spec = spec_of(TrainingArguments={"max_length": 2048})
    ours, stock = estimate(spec, target="job"), estimate(spec, target="kaito")
    assert (ours.load.head, stock.load.head) == ("fused", "stock")
    assert ours.memory.logits < stock.memory.logits / 5
    assert stock.load.checkpointing


def test_our_trainer_computes_activations_twice_only_where_they_would_not_fit():
    def checkpointing(sku, **arguments):
        spec = spec_of("phi-4", "qlora", sku=sku, TrainingArguments={"max_length": 2048, **arguments})
        return estimate(spec, target="job").load.checkpointing

    assert not checkpointing(A100)
    assert checkpointing(A10)
    assert not checkpointing(A10, gradient_checkpointing=False)
    assert checkpointing(A100, gradient_checkpointing=True)


def test_each_of_several_gpus_holds_all_of_it():
    spec = spec_of(sku="Standard_ND96asr_A100_v4")
    found = estimate(spec, rows=800)
    assert found.device.memory == 40 * 2**30
    assert found.device.count == 8
    assert found.steps == 300


def test_on_this_machine_its_own_memory_counts_and_too_little_is_a_warning(monkeypatch):
    monkeypatch.setattr(settings, "machine_memory", lambda: 8 * 2**30)
    monkeypatch.setattr(settings, "knows_bfloat16", lambda: True)
    monkeypatch.setattr(settings, "on_gpu", lambda spec, target: False)
    small, large = spec_of("HuggingFaceTB/SmolLM2-135M-Instruct", sku=None), spec_of("phi-4", sku=None)
    assert problems(small, "local") == []
    (problem,) = problems(large, "local")
    assert (problem.path, problem.severity) == ("memory", "warning")
    assert "this machine has 8.0 GiB" in problem.message
    monkeypatch.setattr(settings, "knows_bfloat16", lambda: False)
    assert estimate(small, target="local").memory.weights == 4 * 134_515_008


def test_a_folder_and_the_hubs_cache_are_read_and_what_is_nowhere_is_not_guessed(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(TINY))
    assert estimate(spec_of(str(folder))).parameters == 500 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 128) + 64

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert estimate(spec_of("owner/tiny")) is None
    snapshot = tmp_path / "hub" / "models--owner--tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(TINY))
    assert estimate(spec_of("owner/tiny")).source == str(snapshot / "config.json")
    (snapshot / "config.json").write_text("[not a config")
    assert estimate(spec_of("owner/tiny")) is None
    assert problems(spec_of("owner/tiny"), "kaito") == []


def test_the_hubs_cache_is_where_its_variables_say(monkeypatch, tmp_path):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hub_cache() == tmp_path / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "/hf")
    assert str(hub_cache()) == "/hf/hub"


def test_hours_and_the_price_follow_from_a_steps_time():
    found = estimate(spec_of(), rows=1000, seconds_per_step=2.4, price_per_hour=3.5)
    assert (found.hours, found.price) == (2.0, 7.0)
    assert "3,000 steps, about 2.0 hours, 7.00 at 3.5 an hour, at 2.4 s a step." in repr(found)
    assert estimate(spec_of(), rows=1000, price_per_hour=3.5).price is None
    assert estimate(spec_of()).steps is None


def test_names_of_split_layers_stand_for_the_fused_ones():
    def targets(told):
        return estimate(spec_of(LoraConfig={"target_modules": told}), target="job").load.targets

    assert targets(["q_proj", "v_proj", "down_proj"]) == ("down_proj", "qkv_proj")
    assert targets("all-linear") is None


@pytest.mark.parametrize(
    "sections",
    [
        {"TrainingArguments": {"per_device_train_batch_size": "many", "max_length": -1, "optim": 3}},
        {"LoraConfig": {"r": None, "target_modules": 5, "lora_dropout": "x"}},
        {"ModelConfig": {"torch_dtype": ["bfloat16"]}, "QuantizationConfig": {"load_in_4bit": "yes"}},
    ],
)
def test_wrong_values_are_others_to_name(sections):
    assert estimate(spec_of(**sections), target="job").memory.total > 0


def test_it_shows_as_a_bar_in_text_and_in_html():
    found = estimate(spec_of("phi-4", sku=A10), rows=100)
    lines = repr(found).splitlines()
    assert len(lines[1].partition("]")[0]) == 49
    assert "on no GPU" in lines[-1]
    page = found._repr_html_()
    assert page.count("<div") == page.count("</div>")
    assert "role='img'" in page
    assert "<script" not in page
    odd = replace(found, preset="<img src=x onerror=alert(1)>")._repr_html_()
    assert "<img" not in odd


def test_the_gpu_of_this_machine_is_asked_of_nvidias_tool(monkeypatch, tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$3" in --id=1) echo "NVIDIA T4, 15360";; *) echo "NVIDIA A10, 23028";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(settings, "on_gpu", lambda spec, target: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings.machine_gpu.cache_clear()
    large = spec_of("phi-4", sku=None)
    assert "that this machine's NVIDIA A10 has" in repr(estimate(large, target="local"))
    (problem,) = problems(large, "local")
    assert (problem.path, problem.severity) == ("memory", "warning")
    assert str(problem).startswith(
        "memory: the model's weights alone take 27.3 GiB, and this machine's NVIDIA A10 has 22.5 GiB."
    )
    assert problem.fix == (("tuning.method", "qlora"),)
    assert f"train on a cluster with {A100}" in problem.remedy
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert estimate(large, target="local").device.memory == 15360 * 2**20
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    settings.machine_gpu.cache_clear()
    assert estimate(large, target="local").device.memory is None
    assert problems(large, "local") == []
    settings.machine_gpu.cache_clear()


def test_a_gpu_that_cuda_may_not_see_is_none(monkeypatch):
    monkeypatch.setattr(settings.Path, "exists", lambda path: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not settings.on_gpu(spec_of(), "local")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert settings.on_gpu(spec_of(), "local")
