"""What the model will see of the data, before anything is paid for: chat template, tokens, what is trained on, what is cut.

Above spec and dataset, below run. Needs the model's tokenizer alone: no torch, no transformers, no network.
"""

from .ahead import Lookahead, glance, look_ahead, looked, preview

__all__ = ["Lookahead", "glance", "look_ahead", "looked", "preview"]
