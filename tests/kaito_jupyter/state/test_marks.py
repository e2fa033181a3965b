"""The moments that a chart marks."""

from __future__ import annotations

from scripted import ScriptedRun

from kaito_jupyter.state import marks
from kaito_jupyter.state.marks import MOST
from kaito_jupyter.status import Status
from kaito_trainer.contract import events as ev


def test_checkpoints_restarts_and_revisions_are_marked_where_they_happened() -> None:
    run = ScriptedRun()
    run.begin()
    assert marks(run.state) == [], "the first beginning is no restart"
    run.train(50)
    run.say(ev.Save(global_step=50, path="/c/50"))
    run.train(57)
    run.say(ev.TrainBegin(max_steps=400, global_step=50, told_to=57))
    assert [(m.kind, m.global_step, m.text) for m in marks(run.state)] == [
        ("checkpoint", 50, "checkpoint at step 50"),
        ("restart", 50, "restarted from step 50, 7 steps made again"),
    ]
    run.state.apply(Status("Running", revision=2))
    (mark,) = marks(run.state)
    assert (mark.kind, mark.global_step) == ("revision", 0)
    assert mark.text.startswith("revision 2 begins (revision 1 ended at step 50, loss ")


def test_a_run_with_many_checkpoints_does_not_become_a_comb_and_its_adapter_is_no_checkpoint() -> None:
    run = ScriptedRun()
    run.begin()
    for step in range(1, 200):
        run.say(ev.Save(global_step=step, path="/c"))
    run.say(ev.Save(global_step=200, path="/a", final=True))
    steps = [m.global_step for m in marks(run.state)]
    assert len(steps) <= MOST
    assert steps[-1] == 199
