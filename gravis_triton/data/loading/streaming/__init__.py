"""Images streamed from their shards instead of being decoded into the cache first."""

from gravis_triton.data.loading.streaming.batches import StreamedBatches
from gravis_triton.data.loading.streaming.image_shards import ImageShards, Row
from gravis_triton.data.loading.streaming.open_shards import open_shards
from gravis_triton.data.loading.streaming.plan import Plan, ShardSlice, divide, plan_epoch
from gravis_triton.data.loading.streaming.validation import labeled_images

__all__ = [
    "ImageShards",
    "Plan",
    "Row",
    "ShardSlice",
    "StreamedBatches",
    "divide",
    "labeled_images",
    "open_shards",
    "plan_epoch",
]
