"""Predict with a fine-tuned model: `python recipes/predict.py RUN IMAGES... [--output-dir DIR]`."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

import gravis_triton.report as report
from gravis_triton.data.folder import is_image
from gravis_triton.errors import UserError
from gravis_triton.evaluation import save_mask, write_submission_csv
from gravis_triton.prediction import DiseasePredictor, MaskPredictor, load
from gravis_triton.settings import parse_flags


@dataclass(frozen=True)
class PredictSettings:
    """Predict diseases or lesion masks of new images with a fine-tuned model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The directory of a fine-tuning run."""
    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES...")]
    """Image files, or directories of them."""
    output_dir: str = "predictions"
    """Where masks go, as IMAGE_segmentation.png, or probabilities, as predictions.csv and submission.csv."""


def main(args: Sequence[str] | None = None) -> int:
    settings = parse_flags(PredictSettings, args)
    files = list(image_files(settings.images))
    refuse_same_names(files)
    predictor = load(settings.run, device="cuda" if torch.cuda.is_available() else "cpu")
    output = Path(settings.output_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from error
    unread = (
        write_masks(predictor, files, output)
        if isinstance(predictor, MaskPredictor)
        else write_probabilities(predictor, files, output)
    )
    print(f"{len(files) - unread:,} of {len(files):,} images predicted: {output}")
    return 1 if unread else 0


def image_files(names: Sequence[str]) -> Iterator[Path]:
    """The files that are named, and the images in the directories that are. Raises UserError where there is none."""
    if not names:
        raise UserError("no images given: name image files, or directories of them")
    for path in map(Path, names):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if is_image(file.name))
            if not inside:
                raise UserError(f"{path}: no images in this directory")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such file or directory")


def refuse_same_names(files: Sequence[Path]) -> None:
    """What is written is named by the image: raises UserError where two have the same name."""
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise UserError(
                f"{seen[file.stem]} and {file} have the same name: predict them one after the other"
            )
        seen[file.stem] = file


def write_masks(predictor: MaskPredictor, files: Sequence[Path], output: Path) -> int:
    """A mask a file; returns how many files could not be read, each told in one line."""
    unread = 0
    for file in files:
        try:
            mask = predictor.predict(file)
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)
            unread += 1
            continue
        save_mask(output, file.stem, torch.from_numpy(mask))
    return unread


def write_probabilities(predictor: DiseasePredictor, files: Sequence[Path], output: Path) -> int:
    """A row a file in predictions.csv, as they come, and in the end submission.csv, as the challenge takes it; returns
    how many files could not be read, each told in one line."""
    names, rows = [], []
    with (output / "predictions.csv").open("w", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["image", *predictor.classes])
        for file in files:
            try:
                probabilities = predictor.predict(file)
            except UserError as error:
                print(f"skipped: {error}", file=sys.stderr)
                continue
            names.append(file.stem)
            rows.append(list(probabilities.values()))
            writer.writerow([file.stem, *(f"{value:.9g}" for value in rows[-1])])
            print(f"{file}: " + ", ".join(f"{name} {value:.3f}" for name, value in probabilities.items()))
    if rows:
        write_submission_csv(
            output / "submission.csv", predictor.data_set, names, rows, classes=predictor.classes
        )
    return len(files) - len(rows)


if __name__ == "__main__":
    report.run_recipe(main)
