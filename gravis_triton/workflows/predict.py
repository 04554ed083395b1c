"""Predict diseases or lesion masks with a fine-tuned model."""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gravis_triton.data.datasets.folder import is_image
from gravis_triton.errors import UserError
from gravis_triton.evaluation import save_mask, write_submission_csv
from gravis_triton.prediction import ClassPredictor, MaskPredictor, load
from gravis_triton.settings import PredictSettings


@dataclass(frozen=True, slots=True)
class PredictResult:
    """directory: of the predictions. images: number of images given. skipped: those that could not be read."""

    directory: Path
    images: int
    skipped: tuple[Path, ...]


def predict(settings: PredictSettings) -> PredictResult:
    """Predict image files, or all images of directories, and write masks or probabilities.

    Images that cannot be read are skipped, each with a line on stderr. Raises UserError for what the user can fix.
    """
    files = list(_image_files(settings.images))
    _check_distinct_names(files)
    predictor = load(settings.model, device="cuda" if torch.cuda.is_available() else "cpu")
    output = Path(settings.output_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from error
    skipped = (
        _write_masks(predictor, files, output)
        if isinstance(predictor, MaskPredictor)
        else _write_probabilities(predictor, files, output)
    )
    print(f"{len(files) - len(skipped):,} of {len(files):,} images predicted: {output}")
    return PredictResult(output, len(files), tuple(skipped))


def _image_files(names: Sequence[str]) -> Iterator[Path]:
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


def _check_distinct_names(files: Sequence[Path]) -> None:
    """Predictions are named after their images, so no two images may have the same name."""
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise UserError(f"{seen[file.stem]} and {file} have the same name: predict them separately")
        seen[file.stem] = file


def _write_masks(predictor: MaskPredictor, files: Sequence[Path], output: Path) -> list[Path]:
    """Write one mask per file; returns the files that could not be read."""
    skipped = []
    for file in files:
        try:
            save_mask(output, file.stem, torch.from_numpy(predictor.predict(file)))
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)
            skipped.append(file)
    return skipped


def _write_probabilities(predictor: ClassPredictor, files: Sequence[Path], output: Path) -> list[Path]:
    """Write predictions.csv row by row, then submission.csv in the format of the challenge; returns the files that
    could not be read."""
    names, rows, skipped = [], [], []
    with (output / "predictions.csv").open("w", newline="") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["image", *predictor.classes])
        for file in files:
            try:
                probabilities = predictor.predict(file)
            except UserError as error:
                print(f"skipped: {error}", file=sys.stderr)
                skipped.append(file)
                continue
            names.append(file.stem)
            rows.append(list(probabilities.values()))
            writer.writerow([file.stem, *(f"{value:.9g}" for value in rows[-1])])
            print(f"{file}: " + ", ".join(f"{name} {value:.3f}" for name, value in probabilities.items()))
    if rows:
        write_submission_csv(
            output / "submission.csv", predictor.data_set, names, rows, classes=predictor.classes
        )
    return skipped
