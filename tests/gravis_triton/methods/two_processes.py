"""A few steps of every method, in several processes: `two_processes.py CACHE OUT [--compile]`; the first process prints
the methods whose trained weights are the same in all processes."""

import sys
from unittest.mock import patch

import torch
import torch.distributed as dist
from forked import PAGES, leave_out
from test_methods import SMALL, TINY

import gravis_triton as gt
from gravis_triton.methods import METHODS
from gravis_triton.workflows import job

cache, out, *flags = sys.argv[1:]
trained = {}
train_epoch = job.train_epoch


def train_and_note(parts, *args):
    stopped = train_epoch(parts, *args)
    trained["weights"] = torch.cat([p.detach().flatten() for p in parts.model.parameters()])
    return stopped


same = []
for method in sorted(METHODS):
    with patch.object(job, "train_epoch", train_and_note), leave_out(PAGES):
        gt.pretrain(
            **TINY | SMALL.get(method, {}),
            method=method,
            cache_dir=cache,
            evaluate=False,
            max_steps=3,
            compile="--compile" in flags,
            output_dir=f"{out}/{method}",
        )
    weights = [torch.empty_like(trained["weights"]) for _ in range(dist.get_world_size())]
    dist.all_gather(weights, trained["weights"])
    same += [method] if all(torch.equal(weights[0], other) for other in weights) else []
if dist.get_rank() == 0:
    print("same weights:", *same)
