"""What is known of a run, folded out of its log lines. Pure: no I/O, no clock, no threads.

`fold` is the run's state, made of `facts` (what events say) and the backend's word; `series` holds its curves, `order`
tells new events from those that were seen, `marks` are the moments that a chart marks, `phases` keeps the time of each kind of work, `pace` estimates the time
left, `failure` says why it failed, `words` puts all of it into one line, and `bulk` reads a long log at once.
"""

from .facts import Restart, Samples, Saved
from .failure import Failure
from .fold import RunState
from .marks import Mark, marks
from .phases import PhaseSpan
from .series import Series
from .words import duration, last_words

__all__ = [
    "Failure",
    "Mark",
    "PhaseSpan",
    "Restart",
    "RunState",
    "Samples",
    "Saved",
    "Series",
    "duration",
    "last_words",
    "marks",
]
