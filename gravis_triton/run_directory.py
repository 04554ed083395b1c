"""Layout of a run directory, defined only here."""

import fcntl
import os
import shutil
import socket
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from gravis_triton.errors import UserError

# Everything that jobs and their trackers write to a run directory.
_WRITTEN = (
    "config.yaml", "summary.json", "metrics.jsonl", "checkpoints", "encoder", "views.png", "split.csv", "model",
    "masks", "cases.png", "image_scores*.csv", "submission*.csv", "confusion*.png", "curves*.png",
    "export-*", "report.html", "examples.npz", ".lock", "gravis-triton", "wandb", "mlruns", "mlflow.db", "*.partial",
    ".partial-*",
)  # fmt: skip

_locks: list[IO[str]] = []  # files whose closing would release their locks


class RunDirectory:
    """The files of a run: of every job, then of pre-training, and of fine-tuning and evaluation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lock = self.path / ".lock"
        self.config = self.path / "config.yaml"
        self.summary = self.path / "summary.json"
        self.metrics = self.path / "metrics.jsonl"
        self.report = self.path / "report.html"
        self.checkpoints = self.path / "checkpoints"

        self.encoder = self.path / "encoder"
        self.views = self.path / "views.png"
        self.examples = self.path / "examples.npz"

        self.split = self.path / "split.csv"
        self.model = self.path / "model"
        self.masks = self.path / "masks"
        self.cases = self.path / "cases.png"

    def is_written(self) -> bool:
        """Whether a job has written to the directory."""
        kept = (self.lock, self.metrics, self.summary, self.checkpoints)
        return self.config.is_file() and any(path.exists() for path in kept)

    def others(self) -> list[str]:
        """Names of files in the directory that do not belong to a run."""
        return sorted(
            path.name
            for path in self.path.iterdir()
            if not any(fnmatch(path.name, pattern) for pattern in _WRITTEN)
        )

    def keep_others_out(self) -> None:
        """Lock the directory against other processes until this one ends. Raises UserError if one holds the lock."""
        try:
            file = self.lock.open("a+")
        except OSError as error:
            raise UserError(
                f"cannot write to {self}: {error.strerror}; choose another --output-dir"
            ) from error
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UserError(
                f"another run is writing to {self} ({file.read() or 'unknown process'}): wait until it ends, or "
                "choose another --output-dir"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        _locks.append(file)

    def is_locked(self) -> bool:
        """Whether another process is running in the directory."""
        if not self.lock.is_file():
            return False
        with self.lock.open() as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # needs no permission to write
            except OSError:
                return True
        return False

    def clear(self) -> None:
        """Delete everything that a run has written except its lock, and nothing else."""
        kept = {*self.others(), self.lock.name}
        for path in self.path.iterdir():
            if path.name not in kept:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    @classmethod
    def of(cls, path: str | Path) -> "RunDirectory":
        """The run that a path names: the directory itself, or the one that contains the checkpoint."""
        path = Path(path)
        return cls(path.parent.parent if path.parent.name == "checkpoints" else path)

    def predictions(self, kind: str, predictor: str = "") -> Path:
        """A file about the test images; predictor: knn or probe, if a run has both.

        kind: image_scores.csv, submission.csv, confusion.png or curves.png.
        """
        name, suffix = kind.split(".")
        return self.path / (f"{name}_{predictor}.{suffix}" if predictor else kind)

    def __str__(self) -> str:
        return str(self.path)
