"""Self-supervised methods, a file each; docs/methods.md shows how to write one."""

from collections.abc import Mapping

from gravis_triton.methods.base import Method, Metrics
from gravis_triton.methods.gravis import Gravis, GravisRank, NTXent, Triplet

METHODS: Mapping[str, type[Method]] = {
    "gravis": Gravis,
    "gravis-rank": GravisRank,
    "nt-xent": NTXent,
    "triplet": Triplet,
}
"""The names of `--method`."""

__all__ = ["METHODS", "Method", "Metrics"]
