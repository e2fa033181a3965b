"""What to train, in KAITO's words: the spec, its check, its defaults, and its documents. Pure but for looking whether a folder exists.

::

    sources     DataSource, DataDestination, ResourceSpec, and their one-word forms
    model       TuningSpec, which ties the rest together
    placement   how our own Job stands on its cluster: image, GPUs, queue, …
    rules       KAITO's webhook rules, one function each
    problems    all that is wrong with a spec on a target
    findings    what a check has found, as faces read it
    fixed       the findings' fixes, applied
    stock       what KAITO's own trainer cannot take
    defaults    the values that we choose where nobody said anything, each with its reason
    options     option names and values -> sections
    build       options, config files and strings -> TuningSpec
    difference  where two specs differ, for people
    documents   TuningSpec -> Workspace and ConfigMap
    read        Workspace and ConfigMap -> TuningSpec
    text        YAML, read and written
"""

from .build import build_spec, gather_spec, read_config
from .defaults import Default
from .difference import Difference
from .findings import Findings
from .fixed import Mended
from .model import TARGETS, Target, TuningSpec
from .options import find_option
from .placement import Placement
from .sources import DataDestination, DataSource, ResourceSpec, parse_destination, parse_source

__all__ = [
    "TARGETS",
    "DataDestination",
    "DataSource",
    "Default",
    "Difference",
    "Findings",
    "Mended",
    "Placement",
    "ResourceSpec",
    "Target",
    "TuningSpec",
    "build_spec",
    "find_option",
    "gather_spec",
    "parse_destination",
    "parse_source",
    "read_config",
]
