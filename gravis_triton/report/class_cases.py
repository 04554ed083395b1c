"""A figure of the most confident class predictions, correct and wrong, with their saliency maps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gravis_triton.data import Collection
from gravis_triton.data.loading.loader import Images, Pixels, collate_central_squares
from gravis_triton.evaluation import Saliency
from gravis_triton.report.figures import LONGEST, PANEL, draw_cases, shown_name, write_figure
from gravis_triton.run_directory import RunDirectory

_DARKEST = 0.6  # opacity of the shade at zero saliency


@dataclass(frozen=True, slots=True)
class ClassCase:
    """One central square (side, side, 3) uint8. map: saliency of the predicted class (size, size), in [0, 1]."""

    image_id: str
    image: Pixels
    truth: str
    predicted: str
    probability: float
    map: Tensor | None


def choose_class_cases(probabilities: Tensor, labels: Tensor, *, each: int = 4) -> dict[str, list[int]]:
    """Indices of the most confident predictions, correct and wrong, up to `each` of a kind; the first of ties. A kind
    without images is left out."""
    confidence, predicted = probabilities.max(1)
    order = confidence.argsort(descending=True, stable=True).tolist()
    right = (predicted == labels).tolist()
    kinds = {
        "most confident, correct": [index for index in order if right[index]][:each],
        "most confident, wrong": [index for index in order if not right[index]][:each],
    }
    return {kind: row for kind, row in kinds.items() if row}


def draw_class_cases(cases: dict[str, list[ClassCase]], layer: str | None) -> Figure:
    """One row of images per kind, with predicted and true class. layer: of the maps, or None without maps."""
    columns = max(len(row) for row in cases.values())
    figure = draw_cases(
        cases, _draw_case, width=PANEL * columns + 0.4, height=(PANEL + 0.6) * len(cases) + 0.3
    )
    if layer is not None:
        figure.suptitle(f"bright: evidence for the predicted class (Grad-CAM, {layer})", fontsize=10)
    return figure


def _draw_case(axes: Axes, case: ClassCase) -> None:
    step = max(1, case.image.shape[0] // LONGEST)
    extent = (0, 1, 1, 0)
    axes.imshow(case.image[::step, ::step], extent=extent)
    if case.map is not None:
        shade = _DARKEST * (1 - case.map.numpy())  # darken: skin or a color chart may have any color
        axes.imshow(np.zeros_like(shade), extent=extent, cmap="gray", vmin=0, vmax=1, alpha=shade)
    truth = "" if case.truth == case.predicted else f"\ntrue: {shown_name(case.truth)}"
    axes.set_xlabel(
        f"{case.image_id}\n{shown_name(case.predicted)} {case.probability:.2f}{truth}", fontsize=8
    )


def write_class_cases(
    run: RunDirectory,
    collection: Collection,
    images: Images,
    indices: Sequence[int],
    probabilities: Tensor,
    find_saliency: Callable[[Tensor, Tensor], Saliency | None],
    *,
    caption: str = "",
) -> None:
    """Write cases.png: the most confident predictions, correct and wrong, among the labeled images `indices`.
    find_saliency: saliency of central squares (images, 3, side, side) uint8 for one class each."""
    labels = collection.labels(indices)
    kinds = choose_class_cases(probabilities, torch.tensor(labels))
    chosen = [number for row in kinds.values() for number in row]
    squares = collate_central_squares([images[indices[number]] for number in chosen])
    predicted = probabilities[chosen].argmax(1)
    saliency = find_saliency(squares, predicted)
    made = {
        number: ClassCase(
            image_id=collection.records[indices[number]].id,
            image=squares[place].permute(1, 2, 0).numpy(),
            truth=collection.classes[labels[number]],
            predicted=collection.classes[int(predicted[place])],
            probability=float(probabilities[number, predicted[place]]),
            map=None if saliency is None else saliency.maps[place],
        )
        for place, number in enumerate(chosen)
    }
    cases = {kind: [made[number] for number in row] for kind, row in kinds.items()}
    figure = draw_class_cases(cases, layer=None if saliency is None else saliency.layer)
    write_figure(figure, run.cases, caption=caption)
