"""Find the loops of a compiled kernel and count their instructions."""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton

Range = tuple[int, int]  # first and last address of a loop


@dataclass(frozen=True)
class Loop:
    """A loop over positives. direction: "rows" or "columns". instructions: per similarity of the tile."""

    direction: str
    instructions: float
    most_frequent: dict[str, int]


def nvidia_usage(asm: dict[str, Any]) -> tuple[int, int]:
    """Registers per thread and bytes spilled."""
    usage = cuobjdump("--dump-resource-usage", asm["cubin"])
    registers, stack, local = (int(re.search(rf"{n}:(\d+)", usage)[1]) for n in ("REG", "STACK", "LOCAL"))
    return registers, stack + local


def amd_usage(asm: dict[str, Any]) -> tuple[int, int]:
    """Registers per thread and bytes spilled."""
    registers, spills = (
        int(re.search(rf"\.{n}:\s+(\d+)", asm["amdgcn"])[1]) for n in ("vgpr_count", "vgpr_spill_count")
    )
    return registers, 4 * spills


def disassembled(cubin: bytes) -> tuple[dict[Range, list[str]], list[Range]]:
    """The instructions of every loop, and the ranges that forward branches skip. Takes half a second."""
    sass = cuobjdump("--dump-sass", cubin)
    lines = [(int(a, 16), i) for a, i in re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", sass, re.MULTILINE)]
    jumps = [(a, re.search(r"\bBRA\b.*\b0x([0-9a-f]+)", i)) for a, i in lines]
    targets = [(int(jump[1], 16), a) for a, jump in jumps if jump]
    loops = [(to, a) for to, a in targets if to < a]
    skipped = [(a, to) for to, a in targets if to > a]
    return {(first, last): [mnemonic(i) for a, i in lines if first <= a <= last] for first, last in loops}, skipped


def cuobjdump(option: str, cubin: bytes) -> str:
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout


def mnemonic(instruction: str) -> str:
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0].split(".")[0]


def within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def innermost(loops: Iterable[Range]) -> list[Range]:
    return [loop for loop in loops if not any(other != loop and within(other, loop) for other in loops)]


def hot_loops(loops: dict[Range, list[str]], similarities: int) -> dict[Range, Loop]:
    """The loops that compare or exponentiate every similarity of a tile; the longest of several copies of a loop."""
    # the rows' loop comes first, and is the one that stores sums, if any
    found: dict[str, tuple[Range, Loop]] = {}
    sums = any("STG" in loops[place] for place in innermost(loops))
    for place in sorted(innermost(loops)):
        body = loops[place]
        counts = {name: body.count(name) for name in dict.fromkeys(body)}
        work = max(counts.get(name, 0) for name in ("FSET", "FSETP", "MUFU"))
        if work < similarities or any("MMA" in name for name in counts):
            continue
        loop = Loop(
            "rows" if "STG" in counts or not (found or sums) else "columns",
            round(len(body) / similarities, 2),
            dict(sorted(counts.items(), key=lambda item: -item[1])[:8]),
        )
        if loop.direction not in found or found[loop.direction][1].instructions < loop.instructions:
            found[loop.direction] = place, loop
    return dict(found.values())


def outside_loops(loops: dict[Range, list[str]], hot: list[Range], similarities: int) -> tuple[Range, int]:
    """The loop over tiles, and how many of its instructions are outside its inner loops.

    It is the loop around the hot loops; without hot loops, the one that exponentiates every similarity.
    """
    if hot:
        around = [loop for loop in loops if loop not in hot and all(within(h, loop) for h in hot)]
    else:
        around = [loop for loop in loops if loops[loop].count("MUFU") >= similarities]
    tiles = min(around, key=lambda loop: loop[1] - loop[0])
    inside = [loop for loop in innermost(loops) if loop != tiles and within(loop, tiles)]
    return tiles, len(loops[tiles]) - sum(len(loops[loop]) for loop in inside)


def mask_of_tile(tiles: Range, body: list[str], skipped: list[Range], similarities: int) -> int:
    """Number of instructions in the loop over tiles that mask all similarities, behind a branch that skips them."""
    size = (tiles[1] - tiles[0]) // (len(body) - 1)  # bytes per instruction
    regions = [
        body[(first - tiles[0]) // size + 1 : (last - tiles[0]) // size]
        for first, last in skipped
        if tiles[0] <= first and last <= tiles[1]
    ]
    masks = [
        len(region)
        for region in regions
        if region.count("FSEL") >= similarities and not any("MMA" in name for name in region)
    ]
    return max(masks, default=0)
