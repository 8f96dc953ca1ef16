"""NVIDIA DALI over the same datasets: ``from fastdata.dali import DALILoader``.

Python makes the plans, with the very draws of the other loaders; DALI decodes, resizes and flips
what they ask for, in its own threads or on the GPU. ``import fastdata`` imports nothing of this.

Reading order: ``graph`` (which operators a plan needs), ``feed`` (what goes into them), ``runner``
(a pipeline that runs), ``supply`` (deliveries, and what is done about bad samples), ``loader``.
"""

from __future__ import annotations

from .loader import DALILoader

__all__ = ["DALILoader"]
