"""What is measured while training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """Metrics of the steps since the last ones; similarities and attention are those of the last step.

    step: optimiser steps so far. epoch: from 1. images_per_second and views_per_second count all processes.
    waiting: share of the time spent waiting for data. See `GroupingStatistics` for the last four.
    """

    step: int
    epoch: int
    epochs: int
    loss: float
    lr: float
    images_per_second: float
    views_per_second: float
    waiting: float
    positive_similarity: float
    negative_similarity: float
    violated: float
    attention_entropy: float

    def texts(self) -> dict[str, str]:
        """The metrics as short texts, by their short names."""
        return {
            "loss": f"{self.loss:.4f}",
            "lr": f"{self.lr:.2e}",
            "images/s": f"{self.images_per_second:.0f}",
            "views/s": f"{self.views_per_second:.0f}",
            "waiting": f"{self.waiting:.0%}",
            "positives": f"{self.positive_similarity:.3f}",
            "negatives": f"{self.negative_similarity:.3f}",
            "violated": f"{self.violated:.1%}",
            "attention entropy": f"{self.attention_entropy:.3f}",
        }

    def line(self) -> str:
        """All of it on one line of a log."""
        texts = "  ".join(f"{name} {text}" for name, text in self.texts().items())
        return f"epoch {self.epoch}/{self.epochs}  step {self.step}  {texts}"
