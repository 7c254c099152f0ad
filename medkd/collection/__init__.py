"""Many slides, studies or images on Dask's workers, a task each. Needs the extra: ``pip install "medkd[collection]"``.

What a task is stands in the modules ``slides``, ``studies`` and ``teachers``, which import what they run.
"""

from medkd.collection.cluster import open_cluster
from medkd.collection.run import run_collection

__all__ = ["open_cluster", "run_collection"]
