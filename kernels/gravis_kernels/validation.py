"""What the losses accept as embeddings; everything else is a ValueError with the value."""

import torch
import torch.distributed as dist
from torch import Tensor


def check_embeddings(embeddings: Tensor, alone: bool) -> None:
    """alone: no other process takes part; otherwise numbers are checked once all are known, so that all refuse."""
    if embeddings.ndim != 3:
        raise ValueError(f"embeddings must be (sources, views, dim), got shape {tuple(embeddings.shape)}")
    if embeddings.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        raise ValueError(f"embeddings must be float32, bfloat16, float16 or float64, got {embeddings.dtype}")
    sources, views, dim = embeddings.shape
    if dim < 1:
        raise ValueError(f"embeddings must have at least 1 dimension, got shape {tuple(embeddings.shape)}")
    if alone and sources < 2:
        raise ValueError(f"the loss needs at least 2 sources to have negatives, got {sources}")
    if alone and views < 2:
        raise ValueError(f"the loss needs at least 2 views of a source to have positives, got {views}")


def check_member(process_group: dist.ProcessGroup | None) -> None:
    """ValueError on a rank that is not in the group."""
    # what torch.distributed.new_group returns there
    if dist.is_available() and process_group is dist.GroupMember.NON_GROUP_MEMBER:
        raise ValueError("this process is not in process_group: call the loss on its members only")
