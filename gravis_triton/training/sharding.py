"""FSDP2: the parameters of a method, their gradients and the optimizer's state, sharded over the processes.

`accelerate launch --use_fsdp --fsdp_version 2` asks for it; accelerate shards on GPUs only.
"""

import copy
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn

from gravis_triton.errors import UserError
from gravis_triton.process import launcher_asks_for
from gravis_triton.settings.groups import RunSettings
from gravis_triton.settings.jobs import PretrainSettings


def fsdp_plugin() -> FullyShardedDataParallelPlugin | None:
    """What the launcher asks for, with checkpoints of full weights, and without what accelerate would add to it:
    parameters in half precision, as autocast does this where DDP would, and weights only in the first process.

    Raises UserError for FSDP1.
    """
    if not launcher_asks_for("FSDP"):
        return None
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise UserError("the launcher asks for FSDP 1, which is not supported: add --fsdp_version 2")
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return FullyShardedDataParallelPlugin(
        mixed_precision_policy=MixedPrecisionPolicy(),
        state_dict_type="FULL_STATE_DICT",  # files of shards contain pickled code
        cpu_ram_efficient_loading=False,  # it cannot load buffers
    )


def is_sharded(accelerator: Accelerator) -> bool:
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def check_sharding(accelerator: Accelerator, settings: RunSettings) -> None:
    """Raise UserError if sharding cannot be done as asked for."""
    if not is_sharded(accelerator):
        raise UserError("the launcher asks for FSDP, which accelerate does on several GPUs only: use torchrun (DDP)")
    if not isinstance(settings, PretrainSettings):
        raise UserError("the launcher asks for FSDP, which only pretrain does: start this job with --multi_gpu")
    if settings.compile or accelerator.mixed_precision not in ("no", "bf16"):
        raise UserError("FSDP works with --mixed-precision no or bf16, without --compile")


def prepare_for_sharding(model: nn.Module, accelerator: Accelerator) -> nn.Module | None:
    """Use the accelerator's autocast in a model's forward pass; returns a copy for `full_weights` in the first process.
    Call it before `accelerator.prepare`."""
    whole = copy.deepcopy(model) if accelerator.is_main_process else None
    model.forward = accelerator.autocast()(model.forward)
    return whole


@contextmanager
def full_weights(accelerator: Accelerator, model: Any, whole: Any | None) -> Iterator[Any]:
    """The model with all its weights on the device, in the first process; call it in all. A model that is not sharded
    is returned as it is.

    whole: the copy of `prepare_for_sharding`, which is on the CPU outside.
    """
    if not is_sharded(accelerator):
        yield model
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if whole is None:
        yield model
        return
    whole.load_state_dict(weights)
    yield whole.to(accelerator.device)
    whole.cpu()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether tensors are finite; if they are sharded, in all processes, which all call it."""
    tensors = list(tensors)
    shards = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    finite = torch.stack([shard.isfinite().all() for shard in shards]).all()
    if any(shard is not tensor for shard, tensor in zip(shards, tensors, strict=True)):
        finite = finite.int()
        dist.all_reduce(finite, dist.ReduceOp.MIN)
    return bool(finite)
