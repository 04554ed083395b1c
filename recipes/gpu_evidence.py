"""The next unfinished pieces of a comparison, as many as fit into one call of a few minutes:

    python recipes/gpu_evidence.py OUT --data DIR

Repeat it until it prints "all done"; OUT may move to another machine in between. A piece is a whole run: pre-training,
fine-tuning, evaluation. OUT keeps what is small: settings, scores, metrics, predictions, and encoders as bfloat16 in
parts of at most 16 MiB, from which a later call restores the weights. They are rounded before anything is scored.
"""

import argparse
import dataclasses
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save, save_file

from gravis_triton.cli import run_job
from gravis_triton.comparison.grid import PlannedRun, plan_runs, read_grid
from gravis_triton.errors import UserError
from gravis_triton.files import read_json, write_checksums
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.config import find_config
from gravis_triton.workflows.compare import WORKFLOWS

PART = 16 * 2**20  # bytes


def main() -> None:
    start = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", metavar="OUT", help="directory of the comparison")
    parser.add_argument("--data", help="images (default: the grid's)")
    parser.add_argument("--grid", default="compare-isic2017-small", help="grid (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=9, help="end within this time (default: %(default)s)")
    options = parser.parse_args()
    grid = read_grid(find_config(options.grid))
    grid = dataclasses.replace(grid, data=options.data or grid.data, output_dir=options.out)
    runs = plan_runs(grid)
    for run in runs:
        unpack(run.directory)
    for run in runs:
        left = 60 * options.minutes - (time.monotonic() - start)
        if not run.finished and expected_seconds(run, runs) < left:
            print(f"\n{run.name} ({left:.0f} s left)", flush=True)
            WORKFLOWS[run.task](run.settings)
            keep_small(run.directory)
    missing = [run.name for run in runs if not run.finished]
    print(f"{len(missing)} of {len(runs)} runs are missing: {'; '.join(missing)}" if missing else "all done")
    if not missing:
        run_job("compare", [options.grid, "--data", grid.data, "--output-dir", options.out])


def expected_seconds(run: PlannedRun, runs: list[PlannedRun]) -> float:
    """The time of the slowest finished run of the same task and a tenth, or 0 if none has finished."""
    finished = [other for other in runs if other.finished and other.task == run.task]
    seconds = [read_json(other.directory.summary).get("seconds", 0) for other in finished]
    return 1.1 * max(seconds) + 10 if seconds else 0.0


def keep_small(run: RunDirectory) -> None:
    """Delete checkpoints and fine-tuned weights; round the encoder's weights to bfloat16 and write them in parts."""
    for directory in (run.checkpoints, run.model):
        shutil.rmtree(directory, ignore_errors=True)
    if not run.encoder.is_dir():
        return
    weights = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in load_file(run.encoder / "model.safetensors").items()
    }
    content = save(weights)
    parts = run.path / "parts"
    parts.mkdir(exist_ok=True)
    for number, first in enumerate(range(0, len(content), PART)):
        (parts / f"{number:03}").write_bytes(content[first : first + PART])
    write_weights(run.encoder, weights)


def unpack(run: RunDirectory) -> None:
    """Restore the weights of an encoder from its parts, if only these came along."""
    parts = sorted((run.path / "parts").glob("*"))
    if parts and not (run.encoder / "model.safetensors").is_file():
        write_weights(run.encoder, load(b"".join(part.read_bytes() for part in parts)))


def write_weights(encoder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write the weights as float32, which represents bfloat16 exactly."""
    exact = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    save_file(exact, encoder / "model.safetensors", metadata={"format": "pt"})
    write_checksums(encoder)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
