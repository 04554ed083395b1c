"""Where images come from: collections and the decode-once cache.

Batches of tensors are in `gravis_triton.data.loader`, which is not imported here: processes that only decode
images start faster without torch.
"""

from gravis_triton.data.cache import cached_images, cached_masks, default_directory
from gravis_triton.data.cached_images import CachedImages
from gravis_triton.data.cached_masks import CachedMasks
from gravis_triton.data.collection import open_collection
from gravis_triton.data.leaks import Leaks, describe_leaks, find_leaks
from gravis_triton.data.masks import lesion_pixels, native_mask
from gravis_triton.data.records import Collection, ImageReference, Record, Task
from gravis_triton.data.references import ImageFile, MaskFile
from gravis_triton.data.split import (
    Split,
    describe_split,
    digest_of_split,
    hold_out,
    pooled,
    split_collection,
    write_split,
)
from gravis_triton.data.strata import label_subset

__all__ = [
    "CachedImages",
    "CachedMasks",
    "Collection",
    "ImageFile",
    "ImageReference",
    "Leaks",
    "MaskFile",
    "Record",
    "Split",
    "Task",
    "cached_images",
    "cached_masks",
    "default_directory",
    "describe_leaks",
    "describe_split",
    "digest_of_split",
    "find_leaks",
    "hold_out",
    "label_subset",
    "lesion_pixels",
    "native_mask",
    "open_collection",
    "pooled",
    "split_collection",
    "write_split",
]
