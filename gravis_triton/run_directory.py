"""Layout of a run directory, defined only here."""

import os
import shutil
import socket
from fnmatch import fnmatch
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from gravis_triton.errors import UserError

# Everything that jobs and their trackers write to a run directory.
_WRITTEN = (
    "config.yaml", "summary.json", "metrics.jsonl", "checkpoints", "encoder", "views.png", "split.csv", "model",
    "masks", "cases.png", "image_scores*.csv", "submission*.csv", "confusion*.png", "curves*.png",
    "export-*", "report.html", "examples.npz", ".lock", ".owner", "gravis-triton", "wandb", "mlruns", "mlflow.db",
    "*.partial", ".partial-*",
)  # fmt: skip

_locks: list[BaseFileLock] = []


def release_locks() -> None:
    """Let others write to the directories that jobs of this process have locked."""
    while _locks:
        _locks.pop().release(force=True)


class RunDirectory:
    """The files of a run: of every job, then of pre-training, and of fine-tuning and evaluation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lock = self.path / ".lock"
        self.owner = self.path / ".owner"  # the process that holds the lock
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

    def foreign_files(self) -> list[str]:
        """Names of files in the directory that do not belong to a run."""
        return sorted(
            path.name for path in self.path.iterdir() if not any(fnmatch(path.name, pattern) for pattern in _WRITTEN)
        )

    def acquire_lock(self) -> None:
        """Create the directory, and lock it against other processes until `release_locks`. Raises UserError if one
        holds the lock, and if that cannot be written."""
        lock = self._lock()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            self.owner.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        except Timeout as error:
            owner = self.owner.read_text() if self.owner.is_file() else "unknown process"
            raise UserError(
                f"another run is writing to {self} ({owner}): wait until it ends, or choose another --output-dir"
            ) from error
        except OSError as error:
            raise UserError(f"cannot write to {self}: {error.strerror}; choose another --output-dir") from error
        _locks.append(lock)

    def is_locked(self) -> bool:
        """Whether another process is running in the directory; unknown, so False, without permission to write."""
        if not self.lock.is_file():
            return False
        try:
            with self._lock():
                return False
        except OSError as error:
            return isinstance(error, Timeout)

    def _lock(self) -> BaseFileLock:
        return FileLock(self.lock, blocking=False, is_singleton=True)  # this process may lock it again

    def clear(self) -> None:
        """Delete everything that a run has written except its lock, and nothing else."""
        kept = {*self.foreign_files(), self.lock.name, self.owner.name}
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
