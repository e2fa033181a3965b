"""From a DataFrame (or table, file, Hugging Face Dataset) to a checked dataset that KAITO trains on.

    Dataset.read(df)      what format it is, what is wrong with it, how it looks to the model
           .write(path)   one parquet file, streamed: never a second copy of the frame

Rooms: `sources` (where rows come from, in chunks), `shapes` (which columns mean what), `batches` (a chunk in KAITO's
format, with its defects), `findings` (defects as messages), `measure` (fingerprint, lengths, duplicates), `look` (the
repr). Importing this package loads neither pandas nor pyarrow.
"""

from .dataset import Dataset
from .measure import Lengths
from .shapes import Format

__all__ = ["Dataset", "Format", "Lengths"]
