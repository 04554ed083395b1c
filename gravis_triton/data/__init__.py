"""The data pipeline: datasets -> cache -> splits -> loading.

`gravis_triton.data.loading` is not imported here: processes that only decode images start faster without torch.
"""

from gravis_triton.data.cache.images import CachedImages, Masks, cached_images
from gravis_triton.data.cache.pixels import lesion_pixels, native_mask
from gravis_triton.data.datasets.common import external_test
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.datasets.records import Annotation, Collection, ImageReference, Record
from gravis_triton.data.datasets.references import ImageFile, MaskFile
from gravis_triton.data.splits.label_fractions import describe_subset, label_subset
from gravis_triton.data.splits.leaks import describe_leaks, find_leaks
from gravis_triton.data.splits.split import (
    Split,
    describe_split,
    hold_out,
    split_collection,
    split_fingerprint,
    write_split,
)
