"""What is wrong with a run, and what to do about it. Pure: what is known goes in, a `Diagnosis` comes out.

::

    case        what a rule may look at, gathered from state, status and spec
    rules       the one table: cause -> signs, sentence, remedy, mend; its parts are `failures` and `waits`
    stall       whether a run that lives makes no steps any more
    mend        spec -> changed spec, for what a spec can change
    notes       what a run that goes well could do better
    size        what the estimate of the run's memory adds to it
    diagnosis   Diagnosis and Fix, and how they show
    examine     all of it in one call
"""

from .diagnosis import Change, Diagnosis, Fix
from .examine import diagnose
from .notes import Note
from .stall import Stall, stalled

__all__ = ["Change", "Diagnosis", "Fix", "Note", "Stall", "diagnose", "stalled"]
