"""Pre-train with lightly-train on the images of the grid `compare-peer`, one encoder per seed, for its comparison:

    python recipes/pretrain_peer.py --data DIR && gravis compare compare-peer --data DIR

Needs lightly-train on the PATH, best in its own environment: python -m venv peer;
peer/bin/pip install lightly-train timm; PATH=$PATH:peer/bin. Finished encoders are kept.
"""

import argparse
import dataclasses
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from gravis_triton.comparison.grid import plan_runs, read_grid
from gravis_triton.data import ImageFile, Record, hold_out
from gravis_triton.data.loading.prepare import prepare_images
from gravis_triton.models import open_encoder
from gravis_triton.settings.config import find_config
from gravis_triton.settings.defaults import complete
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.training.checkpoint import export_encoder

ENCODER = "lightly-train"  # its name in the grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("grid", nargs="?", default="compare-peer", help=f"grid with the encoder {ENCODER}")
    parser.add_argument("--data", help="images (default: the grid's)")
    options = parser.parse_args()
    grid = read_grid(find_config(options.grid))
    grid = dataclasses.replace(grid, data=options.data or grid.data)
    path = grid.encoders[ENCODER]
    assert isinstance(path, str)
    jobs = {run.seed: run.settings for run in plan_runs(grid) if isinstance(run.settings, PretrainSettings)}
    for seed, settings in jobs.items():
        pretrain(settings, seed, Path(path.replace("{seed}", str(seed))))


def pretrain(settings: PretrainSettings, seed: int, encoder: Path) -> None:
    """Train on the images that `gravis pretrain` with these settings trains on, and write the encoder as it does."""
    if encoder.is_dir():
        return
    settings = complete(settings)
    model, size = settings.model, settings.image_size
    assert size is not None
    collection, _ = prepare_images(settings, seed=seed, progress=lambda done, total: None)
    training, _ = hold_out(collection, fraction=settings.val_fraction, seed=seed)
    records = [collection.records[index] for index in training]
    print(f"{encoder}: {len(records):,} images of {collection.name}")
    with TemporaryDirectory() as directory:
        images, out = Path(directory) / "images", Path(directory) / "run"
        link_images(records, images)
        subprocess.run(
            ["lightly-train", "pretrain", f"out={out}", f"data={images}", f"model=timm/{model}", f"seed={seed}",
             "method=simclr", "epochs=27", "batch_size=96", "num_workers=0", "devices=1", "precision=bf16-mixed",
             f"transform_args.image_size=[{size},{size}]"], check=True,
        )  # fmt: skip
        weights = (out / "exported_models" / "exported_last.pt").rename(out / "weights.pth")
        opened = open_encoder(str(weights), model=model, image_size=size, default_size=size)
    export_encoder(opened.encoder, encoder, image_size=size, image_ids=[record.id for record in records])


def link_images(records: Iterable[Record], directory: Path) -> None:
    """Fill a directory with the images, named by id: links to image files, or else PNG files."""
    for record in records:
        image = record.image
        file = directory / f"{record.id}{image.path.suffix if isinstance(image, ImageFile) else '.png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, ImageFile):
            file.symlink_to(image.path.resolve())
        else:
            image.read().save(file)


if __name__ == "__main__":
    main()
