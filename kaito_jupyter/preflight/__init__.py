"""What can be known before a GPU is paid for: how much of its memory a run takes, what would fit, how long it lasts.

::

    memory      the formula: a model's shape and a step's settings -> bytes
    lookup      a model's shape: bundled, in a folder, or in Hugging Face's cache
    settings    a spec -> the step's settings, and the device that it runs on
    pace        hours, by what earlier runs took
    estimating  all of it in one value, and what is wrong when it does not fit
    show        that value as a line, a text, and HTML
"""

from .estimating import Estimate, estimate
from .memory import Load, Memory, memory

__all__ = ["Estimate", "Load", "Memory", "estimate", "memory"]
