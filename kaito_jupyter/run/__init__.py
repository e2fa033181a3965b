"""Runs: started, watched, found again, listed. The room that the faces call, and the only one that has threads.

::

    tune       data and options -> checked plan -> a started run
    run        Run: what a person holds
    reader     the one thread of a watched run
    health     what is wrong with a run
    resume     a run that goes on as a new one
    waiting    `wait()` for code that blocks and for code that awaits
    registry   runs found again, by name and as a list         listing  such a list
    keeping    an ended run, made into an entry of the history remarks  notes and tags
    comparison several runs beside each other                  contrast where their specs differ
    versus     how a comparison shows                          export   CSV, and the page that can be sent
    adapter    what a finished run has made
    answers    what the model answered, before and after
"""

from .adapter import Adapter
from .comparison import Comparison, compare
from .listing import Listed, Runs
from .registry import runs, watch
from .run import Run
from .tune import Plan, tune

__all__ = ["Adapter", "Comparison", "Listed", "Plan", "Run", "Runs", "compare", "runs", "tune", "watch"]
