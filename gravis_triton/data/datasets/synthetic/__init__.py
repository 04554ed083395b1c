"""Procedural dermoscopy: skin, lesions of three classes and artifacts, with an exact lesion mask."""

from gravis_triton.data.datasets.synthetic.render import SyntheticImage, render, render_mask
from gravis_triton.data.datasets.synthetic.traits import SYNTHETIC_CLASSES, label_of

__all__ = ["SYNTHETIC_CLASSES", "SyntheticImage", "label_of", "render", "render_mask"]
