"""What `spec.check()` costs an ordinary spec: the first time in an interpreter (the field lists are read) and after that.

Each time in a fresh interpreter that has the package loaded; the middle one counts. torch must not come in.

    python -m benchmarks [--quick] check
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

GOAL_MS = 50.0
CHILD = """
import json, sys, time
from kaito_jupyter.spec import TuningSpec
spec = TuningSpec.from_yaml(TEXT)
began = time.perf_counter()
found = spec.check("{target}")
first = time.perf_counter() - began
began = time.perf_counter()
for _ in range(20):
    spec.check("{target}")
again = (time.perf_counter() - began) / 20
heavy = [m for m in ("torch", "transformers", "pandas", "kubernetes") if m in sys.modules]
print(json.dumps({{"first": first * 1e3, "again": again * 1e3, "errors": [str(p) for p in found if p.severity == "error"], "heavy": heavy}}))
"""
TEXT = """
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: run}
resource: {instanceType: Standard_NC24ads_A100_v4}
tuning:
  preset: {name: phi-4-mini-instruct}
  method: qlora
  config: run-config
  input: {urls: ["https://example.com/train.parquet"]}
  output: {image: "reg.io/a/b:1", imagePushSecret: login}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: run-config}
data:
  training_config.yaml: |
    training_config:
      QuantizationConfig: {load_in_4bit: true, bnb_4bit_quant_type: nf4, bnb_4bit_compute_dtype: bfloat16}
      LoraConfig: {r: 16, lora_alpha: 32, lora_dropout: 0.05, modules_to_save: [lm_head]}
      TrainingArguments:
        num_train_epochs: 2
        learning_rate: 0.0002
        lr_scheduler_type: cosine
        adam_beta2: 0.95
        max_length: 2048
        gradient_accumulation_steps: 8
        dataloader_num_workers: 2
        neftune_noise_alpha: 5
"""


def main(quick: bool = False) -> dict[str, float]:
    """Print a line for each target; the figures come back for the summary."""
    figures = {}
    for target in ("kaito", "job", "local"):
        told = [child(target) for _ in range(3 if quick else 9)]
        first, again = (statistics.median(t[key] for t in told) for key in ("first", "again"))
        errors = told[0]["errors"] if target == "kaito" else []
        print(
            f"{target:6} first {first:6.1f} ms, then {again:6.1f} ms   goal: {GOAL_MS:.0f} ms   "
            f"heavy imports: {', '.join(told[0]['heavy']) or 'none'}{'   ' + '; '.join(errors) if errors else ''}"
        )
        figures |= {f"{target}_first_ms": first, f"{target}_ms": again}
    return figures


def child(target: str) -> dict[str, float | list[str]]:
    """One fresh interpreter's figures."""
    code = f"TEXT = {TEXT!r}\n{CHILD.format(target=target)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
