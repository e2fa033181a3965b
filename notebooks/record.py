"""Make the recordings that notebooks and documentation play: three real trainings of a small model, with LoRA's rank 4, 16 and 64.

`python notebooks/record.py` trains them on this machine (eight minutes on two cores) and writes `recorded/rank-*.jsonl`,
with each one's spec beside it.
"""

from __future__ import annotations

import re
from pathlib import Path

import kaito_jupyter as kaito
from kaito_jupyter.demo import SMOLLM2, docstring_pairs, smollm2

RECORDED = Path(__file__).parent / "recorded"
HUB = f"HuggingFaceTB/{SMOLLM2}"


def main() -> None:
    rows = docstring_pairs().head(400)
    RECORDED.mkdir(exist_ok=True)
    for rank in (4, 16, 64):
        run = kaito.tune(
            rows,
            preset=smollm2(),
            name=f"rank-{rank}",
            backend="local",
            epochs=1,
            batch_size=4,
            learning_rate=3e-4,
            r=rank,
            lora_alpha=2 * rank,
            eval_strategy="steps",
            eval_steps=18,
            samples=2,
        )
        run.wait()
        log = (Path(str(run.adapter)) / "events.jsonl").read_text(encoding="utf-8")
        (RECORDED / f"{run.name}.jsonl").write_text(portable(log), encoding="utf-8")
        (RECORDED / f"{run.name}.yaml").write_text(portable(run.spec.to_yaml()), encoding="utf-8")
        print(run)
        run.delete()


def portable(log: str) -> str:
    """The lines without what belongs to this machine: where its model and its runs lie."""
    log = log.replace(str(smollm2()), HUB)
    return re.sub(r'"[^"]*/(kaito-jupyter/runs/[^"]*)"', r'"~/.local/state/\1"', log)


if __name__ == "__main__":
    main()
