"""Predict diseases or lesion masks with a fine-tuned model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from gravis_triton.data import ImageFile
from gravis_triton.data.datasets.image_files import is_image
from gravis_triton.data.datasets.records import fingerprint_of
from gravis_triton.errors import UserError
from gravis_triton.evaluation.prediction_files import write_submission_csv
from gravis_triton.inference.image_table import ImageTable, join_processes
from gravis_triton.inference.saved_model import load
from gravis_triton.models import weights_hash
from gravis_triton.settings.jobs import PredictSettings
from gravis_triton.tasks.base import Predictor
from gravis_triton.tasks.classification import ClassPredictor


@dataclass(frozen=True, slots=True)
class PredictResult:
    """directory: of the predictions. images: number of input images. skipped: those that could not be read.

    table: has the columns image, path and the probability of each class, or mask and lesion_fraction.
    """

    directory: Path
    images: int
    skipped: tuple[Path, ...]
    table: pa.Table


def predict(settings: PredictSettings) -> PredictResult:
    """Predict image files, or all images of directories, and write a table and masks.

    An interrupted job resumes after its finished predictions. Unreadable images are skipped, each with a line on
    stderr. Call it in every process of a distributed launch. Raises UserError for anything the user can fix.
    """
    files = list(_image_files(settings.images))
    by_name: dict[str, Path] = {}
    for file in files:  # predictions are named after their images
        if (other := by_name.setdefault(file.stem, file)) is not file:
            raise UserError(f"{other} and {file} have the same name: predict them separately")
    processes, display = join_processes()
    predictor = load(settings.model, device=processes.device)

    # the table, in its own directory
    output = Path(settings.output_dir)
    images, names = [ImageFile(file) for file in files], [str(file) for file in files]
    network = [weights_hash(predictor.network), repr(predictor.preprocess), str(predictor.tta), *predictor.classes]
    inputs = [f"{name}:{image.fingerprint()}" for name, image in zip(names, images, strict=True)]
    file = output / f"predictions.{settings.format}"
    table = ImageTable(file, images, names, fingerprint_of([*network, *inputs]))
    if output.exists() and not output.is_dir():
        raise UserError(f"--output-dir {output} is a file")
    is_used = output.is_dir() and any(output.iterdir())
    if is_used and not (settings.overwrite or table.is_begun() or table.is_finished()):
        raise UserError(f"{output} is not empty: use --overwrite, or another --output-dir")

    def rows(indices: Sequence[int], batch: Any | None) -> pa.Table:
        return predicted_rows(predictor, [files[index] for index in indices], batch, output)

    earlier = _earlier_masks(table.path)
    table.write(rows, settings, display, short_side=predictor.preprocess.cache_size, collate=predictor.collate)

    # the complete table
    predicted = _read(table.path)
    masks = _masks(predicted)
    if missing := [mask for mask in masks if not (output / mask).is_file()]:
        raise UserError(
            f"{output}: {len(missing):,} of {len(masks):,} masks are missing, e.g. {missing[0]}: "
            "use --overwrite to predict all images again"
        )
    if processes.is_main_process:
        for mask in earlier.difference(masks):
            (output / mask).unlink(missing_ok=True)
        if isinstance(predictor, ClassPredictor) and len(predicted):
            ids, *columns = (predicted[name].to_pylist() for name in ("image", *predictor.classes))
            probabilities = list(zip(*columns, strict=True))
            write_submission_csv(
                output / "submission.csv", predictor.data_set, ids, probabilities, classes=predictor.classes
            )
    done = set(predicted["path"].to_pylist())
    display.print(f"{len(done):,} of {len(files):,} images predicted: {output}")
    return PredictResult(output, len(files), tuple(f for f in files if str(f) not in done), predicted)


def predicted_rows(predictor: Predictor, files: Sequence[Path], batch: Any | None, directory: Path) -> pa.Table:
    """image, path, and the columns of the predictor, for a batch of image files.

    directory: for predictions that are files themselves, such as masks.
    """
    named = {
        "image": pa.array([file.stem for file in files], pa.string()),
        "path": pa.array(map(str, files), pa.string()),
    }
    return pa.table(named | predictor.columns(files, batch, directory))


def _image_files(names: Sequence[str]) -> Iterator[Path]:
    if not names:
        raise UserError("no images given: list image files or directories of images")
    for path in map(Path, names):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if is_image(file.name))
            if not inside:
                raise UserError(f"{path}: no images directly in this directory; list its subdirectories or files")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise UserError(f"{path}: no such file or directory")


def _earlier_masks(table: Path) -> set[str]:
    """Names of the masks of earlier predictions; none if there are none, or their table is damaged."""
    try:
        masks = _masks(_read(table))
    except (OSError, pa.ArrowInvalid):
        return set()
    return {mask for mask in masks if mask == f"{Path(mask).stem}.png"}  # never a path that leads elsewhere


def _masks(predicted: pa.Table) -> list[str]:
    return predicted["mask"].to_pylist() if "mask" in predicted.column_names else []


def _read(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file)
    text = dict.fromkeys(("image", "path", "mask"), pa.string())  # "0001" is a name, not a number
    return pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(column_types=text))
