"""A hash of weights."""

import hashlib

from torch import nn


def weights_hash(network: nn.Module) -> str:
    """A hash of all tensors of a network."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()
