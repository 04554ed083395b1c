"""Where images come from: collections and the decode-once cache.

Batches of tensors are in `gravis_triton.data.loader`, which is not imported here: processes that only decode
images start faster without torch.
"""

from gravis_triton.data.cache import cached_images, default_directory
from gravis_triton.data.cached_images import CachedImages
from gravis_triton.data.collection import open_collection
from gravis_triton.data.records import Collection, ImageReference, Record
from gravis_triton.data.references import ImageFile, MaskFile
from gravis_triton.data.split import hold_out, pooled

__all__ = [
    "CachedImages",
    "Collection",
    "ImageFile",
    "ImageReference",
    "MaskFile",
    "Record",
    "cached_images",
    "default_directory",
    "hold_out",
    "open_collection",
    "pooled",
]
