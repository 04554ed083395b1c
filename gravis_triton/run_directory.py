"""What lies where in the directory of a run; nothing else in the package knows."""

from pathlib import Path


class RunDirectory:
    """The files of a run: those of every job, then those of pre-training, and of fine-tuning and evaluation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.summary = self.path / "summary.json"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"

        self.encoder = self.path / "encoder"
        self.views = self.path / "views.png"

        self.split = self.path / "split.csv"
        self.model = self.path / "model"
        self.masks = self.path / "masks"
        self.cases = self.path / "cases.png"

    @classmethod
    def of(cls, path: str | Path) -> "RunDirectory":
        """The run that a path names: the directory itself, or the one that holds the checkpoint."""
        path = Path(path)
        return cls(path.parent.parent if path.parent.name == "checkpoints" else path)

    def predictions(self, kind: str, predictor: str = "") -> Path:
        """A file about the test images; predictor: knn or probe, where a run has both.

        kind: image_scores.csv, submission.csv, confusion.png or curves.png.
        """
        name, suffix = kind.split(".")
        return self.path / (f"{name}_{predictor}.{suffix}" if predictor else kind)

    def __str__(self) -> str:
        return str(self.path)
