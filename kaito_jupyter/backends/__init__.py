"""Where training runs: the only rooms with I/O to it. Each backend knows `base` and nothing of the others."""
