"""What comes before a batch: decoding, once, and reading the cache."""

from collections.abc import Callable
from itertools import cycle

from gravis_triton.benchmark.clock import Clock
from gravis_triton.benchmark.one_core import decoded, jpeg_of_a_camera
from gravis_triton.data.loader import SourceBatch, source_loader
from gravis_triton.data.resize import resized_pixels
from gravis_triton.data.sampler import EpochBatches
from gravis_triton.data.sources import SourceImages

_DECODED = 4  # images a sample

DECODE = "decode and resize, once"
CACHE = "batch from the cache"


def measure_sources(
    clock: Clock, data: SourceImages, *, short_side: int, batch_size: int
) -> Callable[[], SourceBatch]:
    """A function that takes one sample of decoding and of reading a batch in this process, and returns the batch.

    Synthetic images are drawn, not decoded: for them a JPEG of 1022 x 767 stands in.
    """
    references = cycle(data.collection.records[i].image for i in data.bank)
    jpeg = jpeg_of_a_camera() if data.collection.name == "synthetic" else None
    batches = EpochBatches(len(data.bank), batch_size=batch_size)
    read = iter(cycle(source_loader(data.images, data.bank, batches, workers=0)))

    def measure() -> SourceBatch:
        with clock.measure(DECODE, images=_DECODED):
            for _ in range(_DECODED):
                if jpeg is None:
                    resized_pixels(next(references).read(short_side), short_side)
                else:
                    decoded(jpeg, short_side)
        with clock.measure(CACHE, images=batch_size):
            return next(read)

    return measure
