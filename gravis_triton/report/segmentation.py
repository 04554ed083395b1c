"""A figure of predicted masks: the best, the median and the worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from numpy.typing import NDArray
from PIL import Image

from gravis_triton.data import Collection, lesion_pixels, native_mask
from gravis_triton.data.loading.loader import Images
from gravis_triton.evaluation.prediction_files import mask_file
from gravis_triton.evaluation.segmentation import MaskScores
from gravis_triton.report.figures import LONGEST, Pixels, draw_cases, styled, thinned, write_figure
from gravis_triton.run_directory import RunDirectory

Bools = NDArray[np.bool_]

_TRUTH, _PREDICTED = "#ffffff", "#ffd400"


@dataclass(frozen=True, slots=True)
class MaskCase:
    """One image (height, width, 3) uint8 of any size, with its true and predicted mask, bool, of equal size."""

    image_id: str
    image: Pixels
    truth: Bools
    predicted: Bools
    jaccard: float


def write_mask_cases(
    run: RunDirectory,
    collection: Collection,
    images: Images,
    indices: Sequence[int],
    scores: Sequence[MaskScores],
    *,
    caption: str = "",
) -> None:
    """Write cases.png: the best, median and worst of the images whose predicted masks are in the run's directory."""

    def case(number: int) -> MaskCase:
        record, image = collection.records[indices[number]], images[indices[number]]
        with Image.open(mask_file(run.masks, record.id)) as file:
            predicted = lesion_pixels(file) > 0
        return MaskCase(record.id, image, native_mask(record) > 0, predicted, scores[number].jaccard)

    chosen = choose_mask_cases([score.jaccard for score in scores])
    cases = {kind: [case(number) for number in row] for kind, row in chosen.items()}
    write_figure(draw_mask_cases(cases), run.cases, caption=caption)


def choose_mask_cases(jaccard: Sequence[float], *, count: int = 3) -> dict[str, list[int]]:
    """Indices of the best, median and worst images by Jaccard index, up to `count` of them; the first of ties. With few
    images they overlap."""
    order = sorted(range(len(jaccard)), key=lambda index: (-jaccard[index], index))
    count = min(count, len(order))
    middle = (len(order) - count) // 2
    return {"best": order[:count], "median": order[middle : middle + count], "worst": order[len(order) - count :]}


@styled
def draw_mask_cases(cases: Mapping[str, Sequence[MaskCase]]) -> Figure:
    """One row of images per kind of case, with the contours of the true and predicted masks and the Jaccard index."""
    aspect = max(case.truth.shape[1] / case.truth.shape[0] for row in cases.values() for case in row)
    figure = draw_cases(cases, _draw_case, aspect=aspect, label_lines=2)
    lines = [
        Line2D([], [], color=color, linewidth=2, path_effects=_halo(3.5), label=label)
        for color, label in ((_TRUTH, "true mask"), (_PREDICTED, "predicted mask"))
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=2)
    return figure


def _draw_case(axes: Axes, case: MaskCase) -> None:
    height, width = case.truth.shape
    axes.imshow(thinned(case.image), extent=(0, width, height, 0))
    _draw_contour(axes, case.truth, _TRUTH)
    _draw_contour(axes, case.predicted, _PREDICTED)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_xlabel(f"{case.image_id}\nJaccard {case.jaccard:.3f}", fontsize="small")


def _draw_contour(axes: Axes, mask: Bools, color: str) -> None:
    step = max(1, max(mask.shape) // LONGEST)
    bordered = np.pad(thinned(mask), 1).astype(np.float32)  # so that the contour of a lesion at the edge is closed
    if bordered.any():
        rows, columns = ((np.arange(side) - 0.5) * step for side in bordered.shape)
        contour = axes.contour(columns, rows, bordered, levels=[0.5], colors=color, linewidths=1.4)
        contour.set_path_effects(_halo(2.6))


def _halo(width: float) -> list[AbstractPathEffect]:
    return [Stroke(linewidth=width, foreground="black"), Normal()]
