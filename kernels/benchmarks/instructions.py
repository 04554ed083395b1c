"""Compile every kernel for GPUs that need not be present, and count registers, spills and instructions.

Kernel launches are recorded instead of run, and each distinct kernel is compiled for each target. Prints and
writes as JSON: registers, spills, shared memory and, for the loops over positives, instructions per
(similarity, k), the cost of a fused loss per triple of anchor, positive and negative.

    python kernels/benchmarks/instructions.py --out FILE

--once, as the tests do: one kernel per launch of the table, all kernels in bfloat16 with 128 dimensions; and
instructions only of those for Hopper, as disassembling a kernel takes as long as compiling it.
"""

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)  # read when a kernel is decorated
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # the default, but without the warning
os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # compiles faster

import torch
import triton
from gravis_kernels import configs
from gravis_kernels.clip import triton as clip
from gravis_kernels.gravis import triton as gravis
from gravis_kernels.settings import complete_settings
from gravis_kernels.siglip import triton as siglip
from gravis_kernels.supcon import triton as supcon
from loops import Loop, Range, amd_usage, disassembled, hot_loops, mask_of_tile, nvidia_usage, outside_loops
from torch import Tensor
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
Loss = Callable[[Tensor, int, bool], object]  # of columns (rows, dim), views per source, whether with gradient


def grouping(**settings: Any) -> Loss:
    def loss(columns: Tensor, views: int, gradient: bool) -> None:
        chosen = complete_settings(**settings)
        gravis.loss_and_gradient(columns, 0, len(columns), views, chosen, gradient, unit_rows=True)

    return loss


def labeled(columns: Tensor, views: int, gradient: bool) -> None:
    labels = torch.arange(len(columns)) // views
    supcon.loss_and_gradient(columns, 0, len(columns), labels, 0.2, gradient, unit_rows=True)


def two_towers(module: Any) -> Loss:
    def loss(columns: Tensor, views: int, gradient: bool) -> None:
        module.loss_and_gradient(columns.unflatten(0, (-1, 2)), torch.zeros(()), 0, len(columns) // 2, gradient)

    return loss


DEFAULT, SHIFTED = "softmax-softplus-logsumexp", "softmax-softplus-logsumexp, t = 0.01"
LOSSES: dict[str, Loss] = {
    "softmax-hinge-mean": grouping(penalty="hinge"),
    "softmax-softplus-mean": grouping(penalty="softplus", negatives="mean"),
    "softmax-sigmoid-mean": grouping(penalty="sigmoid"),
    "softmax-hinge-logsumexp": grouping(penalty="hinge", negatives="logsumexp"),
    DEFAULT: grouping(),
    "uniform-softplus-logsumexp": grouping(attention="uniform"),
    SHIFTED: grouping(temperature=0.01),
    "rank": grouping(attention="rank"),
    "supcon": labeled,
    "clip": two_towers(clip),
    "siglip": two_towers(siglip),
}
COUNTED = ("sweep", "sum_exp", "sum_exp_shifted", "grad_logsumexp")
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
        LOSSES[case.loss](columns, case.views, case.gradient)
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


def examined(launch: RecordedLaunch, case: Case, count: bool) -> Report:
    """The launch compiled; count: also its instructions, if it has a loop over tiles on a GPU of NVIDIA's."""
    pointers = [i for i, n in enumerate(launch.kernel.arg_names) if launch.signature[n].startswith("*")]
    aligned = {(i,): [["tt.divisibility", 16]] for i in pointers}
    binary = triton.compile(
        ASTSource(launch.kernel, launch.signature, launch.constants, aligned),
        target=TARGETS[case.target],
        options=launch.options,
    )
    registers, spilled = (amd_usage if case.target.startswith("gfx") else nvidia_usage)(binary.asm)
    constants = launch.constants
    hot: dict[Range, Loop] = {}
    rest = mask = 0.0
    if count and launch.kernel.__name__ in COUNTED and "cubin" in binary.asm:
        loops, skipped = disassembled(binary.asm["cubin"])
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
        (Case(target, loss, width, element_size, views, gradient), [])
        for kernel, target, element_size, width in configs.TABLE
        for loss in LOSSES
        for views in (20, configs.LARGEST_VIEWS)
        for gradient in (True, False)
        if kernel == "sums" and target in targets
    ]


def every_kernel(targets: list[str]) -> list[tuple[Case, list[str]]]:
    """Every launch of the table with one kernel; all kernels in bfloat16 with 128 dimensions; on Hopper those of the
    other losses also in float32, and those that hold a matrix of views x views also for the most views."""
    launched: dict[configs.Kernel, tuple[str, list[str]]] = {
        "sums": (DEFAULT, ["sum_exp"]),
        "gradient": (SHIFTED, ["grad_logsumexp"]),
        "sweep": ("softmax-hinge-mean", ["sweep"]),
    }
    kernels = {
        "softmax-hinge-mean": ["thresholds", "tile_bounds", "finish_mean"],
        "softmax-softplus-mean": ["sweep"],
        DEFAULT: ["weigh_logsumexp", "grad_logsumexp", "finish_logsumexp"],
        SHIFTED: ["sum_exp_shifted"],
        "rank": ["weigh_rank", "finish_rank"],
        "supcon": ["grad_supcon"],
        "clip": ["grad_clip"],
        "siglip": ["grad_siglip"],
    }
    of_launches = [
        (Case(target, launched[kernel][0], width, element_size, 20, True), launched[kernel][1])
        for kernel, target, element_size, width in configs.TABLE
        if target in targets
    ]
    of_losses = [(Case(target, loss, 128, 2, 20, True), kernels[loss]) for target in targets for loss in kernels]
    on_hopper = [(Case("sm90", loss, 128, 4, 20, True), kernels[loss]) for loss in ("supcon", "clip", "siglip")]
    on_hopper += [
        (Case("sm90", loss, 128, 2, configs.LARGEST_VIEWS, True), names)
        for loss, names in {"softmax-hinge-mean": ["finish_mean"], "rank": ["weigh_rank", "finish_rank"]}.items()
    ]
    return of_launches + of_losses + (on_hopper if "sm90" in targets else [])


def distinct(chosen: list[tuple[Case, list[str]]]) -> Iterator[tuple[Case, int]]:
    """Each kernel once, as a case and the index of its launch; all kernels of a case if none is named."""
    seen = set()
    for case, kernels in chosen:
        for index, launch in enumerate(recorded(case)):
            known = case.target, repr(launch)
            if known not in seen and (not kernels or launch.kernel.__name__ in kernels):
                seen.add(known)
                yield case, index


def report(case: Case, index: int, count: bool) -> Report:
    return examined(recorded(case)[index], case, count)


def all_reports(chosen: list[tuple[Case, list[str]]], processes: int, once: bool) -> list[Report]:
    tasks = [
        (case, index, not once or (case.target, case.element_size, case.dim) == ("sm90", 2, 128))
        for case, index in distinct(chosen)
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        return list(pool.map(report, *zip(*tasks, strict=True)))


def show(reports: list[Report]) -> None:
    header = f"{'target':8}{'kernel':18}{'loss':38}{'dtype':10}{'dim':>5}{'views':>6}{'registers':>11}{'spilled':>9}"
    print("Instructions: per (similarity, k), rows + columns; per similarity outside the loops over k, and in masks")
    print(header + f"{'shared KiB':>12}{'instructions':>23}{'outside':>9}{'mask':>7}")
    for r in reports:
        line = (
            f"{r.target:8}{r.kernel:18}{r.loss:38}{r.dtype:10}{r.dim:5}{r.views:6}{r.registers:11}{r.spilled_bytes:9}"
        )
        line += f"{r.shared_bytes / 1024:12.1f}"
        if r.rest_of_tile:
            loops = " + ".join(f"{loop.instructions:.2f}" for loop in r.loops)
            line += (f"{loops} = {r.per_triple:.2f}" if loops else "").rjust(23) + f"{r.rest_of_tile:9.2f}{r.mask:7.2f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--once", action="store_true", help="compile one kernel per launch")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    chosen = (every_kernel if arguments.once else every_variant)(arguments.targets)
    reports = all_reports(chosen, arguments.processes, arguments.once)
    show(reports)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(r) | {"instructions_per_triple": round(r.per_triple, 2)} for r in reports]
        versions = {"triton": triton.__version__, "torch": torch.__version__}
        arguments.out.write_text(json.dumps(versions | {"kernels": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
