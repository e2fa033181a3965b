"""What a cluster is sent for a spec: Kubernetes objects as dicts, complete and ready to apply. Pure.

::

    workspace   KAITO's Workspace and its ConfigMap
    job         our own Job and its ConfigMap
    pod         that Job's pod: containers, volumes, rights
    merge       a user's pod template over ours
"""

from .job import Options, job
from .workspace import config_map, workspace

__all__ = ["Options", "config_map", "job", "workspace"]
