"""Augmentation on the device, built on kornia."""

from gravis_triton.views.artifacts import RandomGelBubbles, RandomHair, RandomMarkerInk, RandomRuler
from gravis_triton.views.color import FusedColorJitter, RandomIlluminant, RandomStainShift, ShadesOfGray
from gravis_triton.views.crop import RandomResizedRotatedCrop
from gravis_triton.views.lens import RandomDefocus, RandomVignette
from gravis_triton.views.view_maker import LabeledView, RandomCutout, ViewMaker
