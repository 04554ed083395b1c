"""The jobs that are disturbed, how they are taken up again, and what must be the same in the end."""

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SMALL = ["--image-size", "32", "--synthetic-images", "60"]
_RUN = ["--output-dir", "{out}", "--cache-dir", "{cache}"]
_WORKERS = ["--num-workers", "{workers}"]
_TRAINING = [*_SMALL, *_RUN, *_WORKERS, "--model", "test_resnet", "--log-every", "1", "--resume", "auto"]


@dataclass(frozen=True, slots=True)
class Job:
    """flags with {out}, {cache}, {workers}, {encoder}, {model} and {images}; again: what a second attempt adds.

    result: what its directory must hold in the end. needs: jobs whose results it reads.
    """

    name: str
    flags: Sequence[str]
    result: Callable[[Path], object]
    again: Sequence[str] = ()
    needs: Sequence[str] = ()

    def argv(self, again: bool, **places: object) -> list[str]:
        flags = [*self.flags, *(self.again if again else ())]
        return [self.name, *(flag.format(**places) for flag in flags)]


def _digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _metrics(run: Path) -> list[dict[str, object]]:
    """Of every line what does not tell the time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("second", "time", "wait", "per_second", "memory")
    return [{k: v for k, v in line.items() if not any(word in k for word in timed)} for line in lines]


def _pretrained(run: Path) -> object:
    return _digest(run / "encoder" / "model.safetensors"), _metrics(run)


def _finetuned(run: Path) -> object:
    summary = json.loads((run / "summary.json").read_text())
    scores = {k: v for k, v in summary.items() if isinstance(v, float) and "second" not in k}
    return _digest(run / "model" / "model.safetensors"), _metrics(run), scores


def _evaluated(run: Path) -> object:
    summary = json.loads((run / "summary.json").read_text())
    return {k: v for k, v in summary.items() if k.startswith(("knn_", "probe_")) and "second" not in k}


def _table(file: Path) -> object:
    with file.open(newline="") as opened:
        return sorted(tuple(row) for row in csv.reader(opened))


def _features(file: Path) -> object:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(file).to_pylist()


_PRETRAIN = ["--views", "3", "--batch-size", "8", "--epochs", "3", "--eval-every", "1"]
_FINETUNE = ["--encoder", "random", "--batch-size", "8", "--epochs", "3", "--min-steps", "1"]

JOBS = {
    job.name: job
    for job in (
        Job("pretrain", [*_TRAINING, *_PRETRAIN], _pretrained),
        Job("finetune-classification", [*_TRAINING, *_FINETUNE], _finetuned),
        Job("finetune-segmentation", [*_TRAINING, *_FINETUNE], _finetuned),
        Job(
            "evaluate",
            [*_SMALL, *_RUN, *_WORKERS, "--encoder", "{encoder}"],
            _evaluated,
            again=["--overwrite"],
            needs=["pretrain"],
        ),
        Job(
            "embed",
            ["{encoder}", "{images}", "--output", "{out}/features.parquet", "--batch-size", "4", *_WORKERS],
            lambda out: _features(out / "features.parquet"),
            needs=["pretrain"],
        ),
        Job(
            "predict",
            ["{model}", "{images}", "--output-dir", "{out}", "--batch-size", "4", *_WORKERS],
            lambda out: _table(out / "predictions.csv"),
            needs=["finetune-classification"],
        ),
    )
}
