"""How a DataFrame's file reaches the pod: a KAITO `input` out of data that is in the notebook.

::

    route      which way it goes, and what to say of it; pure
    deliver    the one call that the backends make: the data is at its place afterwards, and was sent at most once
    parcel     the dataset as the one file `train.parquet`, with its size and its checksum
    configmap  ≤ 900 kB of parquet: an object of the cluster, nothing else is needed
    image      a data image of one layer, pushed to a registry
    volume     a file in a claim: through this notebook's own mount of it (`mounted`), else through a pod that lives for
               as long as it takes (`helper`)
    url        a file in an object store, by an address that is signed for the pod
    again      data that was delivered once, for another run

Data is known by its content (`Dataset.fingerprint`): what is there already is not sent again, whoever sent it. This machine's
own backend needs none of this: there the file lies in the run's folder.
"""

from .again import again
from .deliver import Delivered, deliver, rehearsed
from .route import Route, route

__all__ = ["Delivered", "Route", "again", "deliver", "rehearsed", "route"]
