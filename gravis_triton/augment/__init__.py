"""Augmentation on the device, built on kornia."""

from gravis_triton.augment.crop import RandomResizedRotatedCrop
from gravis_triton.augment.views import ViewMaker, ViewRecipe

__all__ = ["RandomResizedRotatedCrop", "ViewMaker", "ViewRecipe"]
