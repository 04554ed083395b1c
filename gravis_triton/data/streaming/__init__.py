"""Source images that are read where they lie, shard by shard, instead of being decoded into the cache first."""

from gravis_triton.data.streaming.batches import StreamedBatches
from gravis_triton.data.streaming.labelled import labelled_images
from gravis_triton.data.streaming.open import open_shards
from gravis_triton.data.streaming.plan import Piece, Plan, divide, plan_epoch
from gravis_triton.data.streaming.shards import ImageShards, Row

__all__ = [
    "ImageShards",
    "Piece",
    "Plan",
    "Row",
    "StreamedBatches",
    "divide",
    "labelled_images",
    "open_shards",
    "plan_epoch",
]
