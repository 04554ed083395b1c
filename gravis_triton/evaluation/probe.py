"""A linear probe on frozen features."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from gravis_triton.evaluation.classification import selection_score
from gravis_triton.evaluation.features import LabeledFeatures

INVERSE_PENALTIES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Values of C that `fit_probe` tries; small ones suit many features and few images."""
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """inverse_penalty: the C of its logistic regression, chosen on the validation set."""

    model: Pipeline
    inverse_penalty: float
    classes: int

    def probabilities(self, features: Tensor) -> Tensor:
        """(images, classes) float64; 0 for a class without training images."""
        p = torch.zeros(len(features), self.classes, dtype=torch.float64)
        p[:, torch.from_numpy(self.model.classes_)] = torch.from_numpy(
            self.model.predict_proba(features.double().numpy())
        )
        return p


def fit_probe(
    train: LabeledFeatures,
    validation: LabeledFeatures,
    *,
    classes: int,
    scored: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> LinearProbe:
    """A multinomial logistic regression on the training features, standardized by their own mean and deviation.

    It minimizes |w|^2 / 2 + C * sum of the log-losses, each weighted inversely to the frequency of its class. C has the
    highest `selection_score` on the validation set; the smallest of equal ones. The probe is not refitted on training
    and validation images together. progress: called with (done, total) probes.
    Raises ValueError where all training images are of one class.
    """
    probes: list[LinearProbe] = []
    for inverse_penalty in INVERSE_PENALTIES:
        probes.append(_fitted(train, inverse_penalty, classes))
        if progress is not None:
            progress(len(probes), len(INVERSE_PENALTIES))
    known = validation.labels.numpy()
    scores = [
        selection_score(probe.probabilities(validation.features).numpy(), known, scored) for probe in probes
    ]
    return probes[int(np.argmax(scores))]


def _fitted(train: LabeledFeatures, inverse_penalty: float, classes: int) -> LinearProbe:
    regression = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=_STEPS)
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        # a probe that has not converged is still scored on the validation set
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train.features.double().numpy(), train.labels.numpy())
    return LinearProbe(model, inverse_penalty, classes)
