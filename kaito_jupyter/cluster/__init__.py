"""Kubernetes, as far as a run needs it: a client, watches, container logs, and one run's merged stream.

What the backends `kaito` and `job` stand on, and the only room that imports the package `kubernetes` (late: `Client.connect`).
Each layer makes one promise:

========== ================================================================================================
client     one call: plain dicts in and out, a timeout on each, our errors, one new login when a token expired
watch      for ever: every change of a kind of object, whatever happens to connections and to the server's memory
podlogs    every line of one container's log once and in order, to the container's end
follow     one run: all containers of all its pods as one stream of lines, with a `Status` whenever it changes
pods       pure: what a pod's status means
judge      pure: what a Job (or a Workspace) and its pods mean for the run
========== ================================================================================================

"The stream has ended" never means "the run has ended": only objects tell that.
"""
