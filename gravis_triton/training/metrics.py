"""Training metrics."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Metrics over the steps since the last report.

    step: optimizer steps so far, of which bad_steps were skipped for a non-finite gradient. epoch: from 1. loss: mean
    over the steps. images_per_second: over all processes. data_time: share of the time spent waiting for data.
    core_wait: time for which threads of the process were ready to run but had no core, as a share of the time.
    """

    step: int
    epoch: int
    epochs: int
    loss: float
    lr: float
    images_per_second: float
    data_time: float
    core_wait: float = 0.0
    bad_steps: int = 0

    def texts(self) -> dict[str, str]:
        """Formatted metrics by short name."""
        return {
            "loss": f"{self.loss:.4f}",
            "lr": f"{self.lr:.2e}",
            "images/s": f"{self.images_per_second:.0f}",
            "data time": f"{self.data_time:.0%}",
            **({"bad steps": f"{self.bad_steps:,}"} if self.bad_steps else {}),
        }

    def line(self) -> str:
        """All metrics as one line of a log."""
        texts = "  ".join(f"{name} {text}" for name, text in self.texts().items())
        return f"epoch {self.epoch}/{self.epochs}  step {self.step}  {texts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveMetrics(StepMetrics):
    """Metrics of pre-training; similarities and attention are from the last step, see `GroupingStatistics`."""

    views_per_second: float
    positive_similarity: float
    negative_similarity: float
    active_triplets: float
    attention_entropy: float

    def texts(self) -> dict[str, str]:
        entropy = self.attention_entropy
        return {
            **StepMetrics.texts(self),
            "views/s": f"{self.views_per_second:.0f}",
            "positives": f"{self.positive_similarity:.3f}",
            "negatives": f"{self.negative_similarity:.3f}",
            "active triplets": f"{self.active_triplets:.1%}",
            # NaN: a single positive gets all the attention
            **({} if math.isnan(entropy) else {"attention entropy": f"{entropy:.3f}"}),
        }
