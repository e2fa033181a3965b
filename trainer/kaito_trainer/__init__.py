"""Fine-tunes a language model as KAITO's tuning config says, in a GPU pod or on this machine, and tells how it goes.

Importing this package, or its `contract`, imports nothing but the standard library.
"""

__version__ = "0.1.0"
