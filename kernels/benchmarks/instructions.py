"""Compile every kernel for GPUs that need not be present, and count registers, spills and instructions.

Kernel launches are recorded instead of run, and each distinct kernel is compiled for each target. Prints and
writes as JSON: registers, spills, shared memory and, for the loops over positives, instructions per
(similarity, k), the cost of a fused loss per triple of anchor, positive and negative.

    python kernels/benchmarks/instructions.py --out FILE
"""

import argparse
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)  # read when a kernel is decorated
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # the default, but without the warning

import torch
import triton
from gravis_kernels import configs
from gravis_kernels.gravis.triton import loss_and_gradient
from gravis_kernels.settings import GravisSettings
from loops import Loop, Range, amd_binary, hot_loops, mask_of_tile, nvidia_binary, outside_loops
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

TARGETS = {
    "sm80": GPUTarget("cuda", 80, 32),
    "sm90": GPUTarget("cuda", 90, 32),
    "sm100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# bytes per block; sm80: of the GeForce GPUs that share its launches
SHARED_MEMORY = {"sm80": 99 * 1024, "sm90": 227 * 1024, "sm100": 227 * 1024, "gfx942": 64 * 1024}
DTYPES = {2: torch.bfloat16, 4: torch.float32}
LOSSES = {
    "softmax-hinge-mean": GravisSettings(negatives="mean", penalty="hinge"),
    "softmax-softplus-mean": GravisSettings(negatives="mean", penalty="softplus"),
    "softmax-sigmoid-mean": GravisSettings(negatives="mean", penalty="sigmoid"),
    "softmax-hinge-logsumexp": GravisSettings(negatives="logsumexp", penalty="hinge"),
    "softmax-softplus-logsumexp": GravisSettings(),
    "uniform-softplus-logsumexp": GravisSettings(attention="uniform"),
    "softmax-softplus-logsumexp, t = 0.01": GravisSettings(temperature=0.01),
    "rank": GravisSettings(attention="rank", negatives="mean", penalty="sigmoid"),
}
TORCH_TO_TRITON = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int8: "*i8",
    torch.int32: "*i32",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One call of a loss, whose kernels are compiled."""

    target: str
    loss: str
    dim: int
    element_size: int
    views: int
    gradient: bool


@dataclass(frozen=True)
class Report:
    target: str
    kernel: str
    loss: str
    dim: int
    views: int
    dtype: str
    constants: dict[str, Any]
    registers: int
    spilled_bytes: int
    shared_bytes: int
    shared_limit: int
    loops: list[Loop]
    rest_of_tile: float  # instructions per similarity outside the loops, in a tile with only negatives
    mask: float  # additional instructions in the few other tiles
    asynchronous_copies: int  # in the loop over tiles: columns loaded while the previous tile is computed

    @property
    def per_triple(self) -> float:
        """Instructions per (similarity, k), both directions of a pair together."""
        return sum(loop.instructions for loop in self.loops)


@dataclass(frozen=True)
class RecordedLaunch:
    kernel: JITFunction
    signature: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int]


def recorded(case: Case, sources: int = 2) -> list[RecordedLaunch]:
    """The kernel launches of one call of a loss."""
    launches: list[RecordedLaunch] = []

    def record(kernel: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        named = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
        options = {"num_warps": named.pop("num_warps", 4), "num_stages": named.pop("num_stages", 3)}
        constants = {p.name: named[p.name] for p in kernel.params if p.is_constexpr}
        signature = {n: "constexpr" if n in constants else triton_type(named[n]) for n in kernel.arg_names}
        launches.append(RecordedLaunch(kernel, signature, constants, options))

    columns = torch.zeros(sources * case.views, case.dim, dtype=DTYPES[case.element_size])
    run, machine = JITFunction.run, configs.machine
    try:
        JITFunction.run, configs.machine = record, lambda _: configs.Machine(case.target, 132)
        loss_and_gradient(columns, 0, len(columns), case.views, LOSSES[case.loss], case.gradient, unit_rows=True)
    finally:
        JITFunction.run, configs.machine = run, machine
    return launches


def triton_type(argument: Any) -> str:
    if isinstance(argument, torch.Tensor):
        return TORCH_TO_TRITON[argument.dtype]
    if isinstance(argument, TensorDescriptor):
        block = ",".join(map(str, argument.block_shape))
        return f"tensordesc<{TORCH_TO_TRITON[argument.base.dtype][1:]}[{block}]>"
    return "fp32" if isinstance(argument, float) else "i32"


def examined(launch: RecordedLaunch, case: Case) -> Report:
    pointers = [i for i, n in enumerate(launch.kernel.arg_names) if launch.signature[n].startswith("*")]
    aligned = {(i,): [["tt.divisibility", 16]] for i in pointers}
    binary = triton.compile(
        ASTSource(launch.kernel, launch.signature, launch.constants, aligned),
        target=TARGETS[case.target],
        options=launch.options,
    )
    examine = amd_binary if case.target.startswith("gfx") else nvidia_binary
    registers, spilled, loops, skipped = examine(binary.asm)
    constants = launch.constants
    hot: dict[Range, Loop] = {}
    rest = mask = 0.0
    if launch.kernel.__name__ in ("sweep", "sum_exp", "sum_exp_shifted", "grad_logsumexp") and loops:
        threads = launch.options["num_warps"] * TARGETS[case.target].warp_size
        similarities = constants["BLOCK_M"] * constants["BLOCK_N"] // threads
        if launch.kernel.__name__ == "sweep":
            hot = hot_loops(loops, similarities)
        tiles, outside = outside_loops(loops, list(hot), similarities)
        masking = mask_of_tile(tiles, loops[tiles], skipped, similarities)
        rest, mask = round((outside - masking) / similarities, 2), round(masking / similarities, 2)
    return Report(
        case.target, launch.kernel.__name__, case.loss, case.dim, case.views, str(DTYPES[case.element_size])[6:],
        constants | launch.options, registers, spilled, binary.metadata.shared,
        SHARED_MEMORY[case.target], list(hot.values()), rest, mask,
        len(re.findall(r"async_(?:tma_)?copy_global_to_local", binary.asm["ttgir"])),
    )  # fmt: skip


def every_variant(targets: list[str]) -> list[tuple[Case, list[str]]]:
    """Every row of the launch table with every loss, with and without gradient, and all kernels of each."""
    return [
        (Case(target, loss, width, element_size, 20, gradient), [])
        for kernel, target, element_size, width in configs.TABLE
        for loss in LOSSES
        for gradient in (True, False)
        if kernel == "sums" and target in targets
    ]


def every_kernel(targets: list[str]) -> list[tuple[Case, list[str]]]:
    """Every launch of the table with its kernels in their most demanding variants, and all other kernels once."""
    default = "softmax-softplus-logsumexp"
    launched: dict[configs.Kernel, dict[str, list[str]]] = {
        "sums": {default: ["sum_exp"], f"{default}, t = 0.01": ["sum_exp_shifted"]},
        "gradient": {default: ["grad_logsumexp"], f"{default}, t = 0.01": ["grad_logsumexp"]},
        "sweep": {"softmax-hinge-mean": ["sweep"], "softmax-softplus-mean": ["sweep"]},
    }
    others = {
        "softmax-hinge-mean": ["thresholds", "tile_bounds", "finish_mean"],
        default: ["weigh_logsumexp", "finish_logsumexp"],
        "rank": ["weigh_rank", "finish_rank"],
    }
    return [
        (Case(target, loss, width, element_size, 20, True), kernels)
        for kernel, target, element_size, width in configs.TABLE
        if target in targets
        for loss, kernels in launched[kernel].items()
    ] + [(Case(target, loss, 128, 2, 20, True), kernels) for target in targets for loss, kernels in others.items()]


def distinct(chosen: list[tuple[Case, list[str]]]) -> Iterator[tuple[Case, int]]:
    """Each kernel once, as a case and the index of its launch; all kernels of a case if none is named."""
    seen = set()
    for case, kernels in chosen:
        for index, launch in enumerate(recorded(case)):
            known = case.target, repr(launch)
            if known not in seen and (not kernels or launch.kernel.__name__ in kernels):
                seen.add(known)
                yield case, index


def report(task: tuple[Case, int]) -> Report:
    case, index = task
    return examined(recorded(case)[index], case)


def all_reports(chosen: list[tuple[Case, list[str]]], processes: int) -> list[Report]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(report, distinct(chosen)))


def show(reports: list[Report]) -> None:
    header = f"{'target':8}{'kernel':18}{'loss':28}{'dtype':10}{'dim':>5}{'registers':>11}{'spilled':>9}"
    print("Instructions: per (similarity, k), rows + columns; per similarity outside the loops over k, and in masks")
    print(header + f"{'shared KiB':>12}{'instructions':>23}{'outside':>9}{'mask':>7}")
    for r in reports:
        line = f"{r.target:8}{r.kernel:18}{r.loss:28}{r.dtype:10}{r.dim:5}{r.registers:11}{r.spilled_bytes:9}"
        line += f"{r.shared_bytes / 1024:12.1f}"
        if r.rest_of_tile:
            loops = " + ".join(f"{loop.instructions:.2f}" for loop in r.loops)
            line += (f"{loops} = {r.per_triple:.2f}" if loops else "").rjust(23) + f"{r.rest_of_tile:9.2f}{r.mask:7.2f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--once", action="store_true", help="compile one variant of each kernel per launch")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    choose = every_kernel if arguments.once else every_variant
    reports = all_reports(choose(arguments.targets), arguments.processes)
    show(reports)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(r) | {"instructions_per_triple": round(r.per_triple, 2)} for r in reports]
        versions = {"triton": triton.__version__, "torch": torch.__version__}
        arguments.out.write_text(json.dumps(versions | {"kernels": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
