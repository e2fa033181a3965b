"""What a place to train has and lacks, looked at before a run depends on it: `%kaito doctor`.

::

    look       all looks, in the order of a person's questions -> Report
    access     the API server, who we are, KAITO, our rights
    capacity   GPUs and storage
    machine    the registry, the trainer's image, the trainer on this machine
    rights     RIGHTS: all that we ask of a cluster, as a Role, in one table
    report     Line and Report: text, HTML, and the YAML that grants what is missing

Looks change nothing: dry runs, reads, and an upload that is given up again. None raises: what cannot be looked at is a line.
The room is not called after its one public function, `kaito_jupyter.doctor`: a module of that name would hide it.
"""

from .look import doctor
from .report import Line, Report

__all__ = ["Line", "Report", "doctor"]
