"""The log of a trainer that speaks no events, KAITO's own above all, read as events all the same.

What there is to read: Transformers' log dicts (a Python repr, numbers as text, no step number), tqdm's bars (redrawn by
carriage returns, late, glued to other text), tracebacks, and a few sentences. `bars` knows bars and how a terminal shows
a line, `steps` numbers the dicts, `errors` explains tracebacks, `reader` puts it together. Pure text work: nothing is
evaluated, and no text makes it raise.
"""

from .bars import visible
from .errors import REMEDIES, explain
from .reader import Reader
from .tools import explain_tool

__all__ = ["REMEDIES", "Reader", "explain", "explain_tool", "visible"]
