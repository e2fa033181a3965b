"""Runs: started, watched, found again, listed. The room that the faces call, and the only one that has threads.

::

    tune       data and options -> checked plan -> a started run
    run        Run: what a person holds
    reader     the one thread of a watched run
    health     what is wrong with a run
    resume     a run that goes on as a new one
    waiting    `wait()` for code that blocks and for code that awaits
    registry   runs found again: by name, and as a list
    adapter    what a finished run has made
    answers    what the model answered, before and after
"""

from .adapter import Adapter
from .registry import Listed, Runs, runs, watch
from .run import Run
from .tune import Plan, tune

__all__ = ["Adapter", "Listed", "Plan", "Run", "Runs", "runs", "tune", "watch"]
