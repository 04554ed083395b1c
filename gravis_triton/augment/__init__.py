"""Augmentation on the device, built on kornia."""

from gravis_triton.augment.bubbles import RandomGelBubbles
from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.cutout import RandomCutout
from gravis_triton.augment.defocus import RandomDefocus
from gravis_triton.augment.hair import RandomHair
from gravis_triton.augment.illuminant import RandomIlluminant, ShadesOfGray
from gravis_triton.augment.ink import RandomMarkerInk
from gravis_triton.augment.jitter import FusedColorJitter
from gravis_triton.augment.labeled_view import LabeledView
from gravis_triton.augment.ruler import RandomRuler
from gravis_triton.augment.stain import RandomStainShift
from gravis_triton.augment.views import ViewMaker
from gravis_triton.augment.vignette import RandomVignette

__all__ = [
    "FusedColorJitter",
    "LabeledView",
    "RandomCutout",
    "RandomDefocus",
    "RandomGelBubbles",
    "RandomHair",
    "RandomIlluminant",
    "RandomMarkerInk",
    "RandomResizedRotatedCrop",
    "RandomRuler",
    "RandomStainShift",
    "RandomVignette",
    "ShadesOfGray",
    "ViewMaker",
]
