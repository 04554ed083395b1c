"""DINO with its parameters sharded over two processes, and replicated: `two_shards.py CACHE OUT`.

accelerate shards on GPUs only; here it takes CPUs for GPUs.
"""

import os
import sys
from unittest.mock import patch

import torch.distributed as dist
from accelerate import Accelerator, DistributedType, PartialState
from test_methods import SHARDED
from torch.distributed.tensor import DTensor

import gravis_triton as gt
from gravis_triton.training import setup
from gravis_triton.workflows import pretrain

cache, out = sys.argv[1:]
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "Block",
}


class ShardingAccelerator(Accelerator):
    def __init__(self, *args, fsdp_plugin=None, **kwargs):
        super().__init__(*args, fsdp_plugin=fsdp_plugin, **kwargs)
        self.state.fsdp_plugin = fsdp_plugin
        PartialState._shared_state["distributed_type"] = self.state.distributed_type = DistributedType.FSDP

    def prepare(self, model, optimizer):
        prepared = super().prepare(model, optimizer)
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
        return prepared


def run(name, **given):
    gt.pretrain(**SHARDED | {"evaluate": False} | given, cache_dir=cache, output_dir=f"{out}/{name}")


with patch.object(pretrain, "write_run_page"):
    run("replicated")
    with patch.object(setup, "Accelerator", ShardingAccelerator), patch.dict(os.environ, FSDP):
        run("sharded")
        run("parts", max_steps=1, evaluate=True)
        run("parts", resume="auto")
dist.destroy_process_group()
