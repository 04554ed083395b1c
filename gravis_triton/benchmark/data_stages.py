"""Stages before a batch: decoding (once) and reading the cache."""

from collections.abc import Callable
from itertools import cycle

from gravis_triton.benchmark.clock import Clock
from gravis_triton.benchmark.one_core import decoded, jpeg_of_a_camera
from gravis_triton.data.cache.pixels import resized_pixels
from gravis_triton.data.loading.loader import ImageBatch, image_loader
from gravis_triton.data.loading.pretraining import PretrainingData
from gravis_triton.data.loading.sampler import EpochBatches

_DECODED = 4  # images per sample

DECODE = "decode and resize, once"
CACHE = "batch from the cache"


def measure_data(
    clock: Clock, data: PretrainingData, *, short_side: int, batch_size: int
) -> Callable[[], ImageBatch]:
    """Return a function that samples decoding and reading a batch once in this process, and returns the batch.

    Synthetic images are drawn, not decoded: a 1022 x 767 JPEG stands in for them.
    """
    references = cycle(data.collection.records[i].image for i in data.reference)
    jpeg = jpeg_of_a_camera() if data.collection.name == "synthetic" else None
    batches = EpochBatches(len(data.reference), batch_size=batch_size)
    read = iter(cycle(image_loader(data.images, data.reference, batches, workers=0)))

    def measure() -> ImageBatch:
        with clock.measure(DECODE, images=_DECODED):
            for _ in range(_DECODED):
                if jpeg is None:
                    resized_pixels(next(references).read(short_side), short_side)
                else:
                    decoded(jpeg, short_side)
        with clock.measure(CACHE, images=batch_size):
            return next(read)

    return measure
