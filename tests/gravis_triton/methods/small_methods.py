"""Methods on small encoders, for tests that need no images."""

from torch import nn

from gravis_triton.methods.gravis import Gravis
from gravis_triton.settings.augmentation import ViewSettings
from gravis_triton.views import ViewMaker


def view_maker(size: int = 32, views: int = 2) -> ViewMaker:
    return ViewMaker(ViewSettings(views=views), size=size, mean=(0.5,) * 3, std=(0.5,) * 3)


def small_method(encoder: nn.Module, features: int, chunk: int | None = None, dim: int = 16) -> Gravis:
    encoder.head_hidden_size = features
    return Gravis(encoder, view_maker(), Gravis.Settings(projection_dim=dim, grad_cache_chunk=chunk))
