"""How time and memory grow with the number of images, stage by stage, on one core.

    python tests/campaign/growth.py 1000 10000 100000

Makes data sets of small images in a temporary directory (2% of them near duplicates, a seventh of the second class,
three images a patient) and runs each stage in a process of its own. Prints CPU seconds and added memory, without
imports, and the exponent of the growth from each size to the next.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import gravis_triton as gt
from gravis_triton.data import CachedImages, cached_images, open_collection
from gravis_triton.data.splits.leaks import alike_pairs

_SIDE = 32
_FEW = 60


def write_images(folder: Path, count: int) -> None:
    """`count` images and their table."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    lines = ["image,label,patient_id,split"]
    originals = count - count // 50
    coarse = generator.integers(0, 256, (originals, 6, 6, 3)).astype(np.uint8)
    for number in range(count):
        image = Image.fromarray(coarse[number % originals]).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        image.save(folder / "images" / f"{number}.jpg", quality=95 if number < originals else 80)
        split = ("test", "validation", "train", "train", "train")[number // 3 % 5]
        lines.append(f"images/{number}.jpg,{'ab'[number % 7 == 0]},P{number // 3},{split}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def _cached(folder: Path) -> CachedImages:
    records = open_collection(str(folder / "table.csv")).records
    return cached_images(records, short_side=_SIDE, directory=folder / "cache", workers=0)


def _evaluate(folder: Path) -> None:
    gt.evaluate(
        data=str(folder / "table.csv"),
        encoder="random",
        model="test_resnet",
        image_size=_SIDE,
        cache_size=_SIDE,
        num_workers=0,
        cache_dir=str(folder / "cache"),
        output_dir=str(folder / f"run-{os.getpid()}"),
    )


STAGES: dict[str, Callable[[Path], Any]] = {
    "open the table": lambda folder: open_collection(str(folder / "table.csv")),
    "decode into the cache": _cached,
    "open the cache": _cached,
    "near duplicates": lambda folder: alike_pairs(_cached(folder)),
    "near duplicates again": lambda folder: alike_pairs(_cached(folder)),
    "check": lambda folder: gt.check(data=str(folder / "table.csv"), num_workers=1),
    "evaluate": _evaluate,
}


def run_stage(name: str, few: Path, folder: Path) -> None:
    """Run a stage in this process, and print its CPU seconds and added gigabytes as JSON in the last line.

    few: some images to run it on before, so that everything is imported.
    """
    STAGES[name](few)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    STAGES[name](folder)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("\n" + json.dumps([seconds, (peak - memory) / 1e6]))


def main(sizes: list[int]) -> None:
    print("| stage | " + " | ".join(f"{size:,}" for size in sizes) + " | exponents |")
    print("|---" * (len(sizes) + 2) + "|")
    with tempfile.TemporaryDirectory() as directory:
        few, *folders = (Path(directory) / str(size) for size in (_FEW, *sizes))
        for folder, size in zip((few, *folders), (_FEW, *sizes), strict=True):
            write_images(folder, size)
        for name in STAGES:
            measured = [_measure(name, few, folder) for folder in folders]
            cells = [f"{seconds:.1f} s, {gigabytes:.1f} GB" for seconds, gigabytes in measured]
            steps = zip(sizes, measured, sizes[1:], measured[1:], strict=False)
            exponents = [f"{math.log(b[0] / a[0], n / m):.2f}" for m, a, n, b in steps]
            print(f"| {name} | {' | '.join(cells)} | {', '.join(exponents)} |", flush=True)


def _measure(name: str, few: Path, folder: Path) -> tuple[float, float]:
    one_core = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, __file__, name, str(few), str(folder)]
    out = subprocess.run(command, env=one_core, check=True, capture_output=True, text=True).stdout
    seconds, gigabytes = json.loads(out.splitlines()[-1])
    return seconds, gigabytes


if __name__ == "__main__":
    if sys.argv[1] in STAGES:
        run_stage(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main([int(size) for size in sys.argv[1:]])
