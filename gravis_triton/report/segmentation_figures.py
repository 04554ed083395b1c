"""A figure of predicted masks: the best, the median and the worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from PIL import Image
from torch import Tensor

from gravis_triton.data import Collection, lesion_pixels, native_mask
from gravis_triton.data.loading.loader import Images, Pixels
from gravis_triton.evaluation import MaskScores, mask_file
from gravis_triton.report.figures import LONGEST, PANEL, draw_cases, write_figure
from gravis_triton.run_directory import RunDirectory

_TRUTH, _PREDICTED = "#ffffff", "#ffd400"


@dataclass(frozen=True, slots=True)
class MaskCase:
    """One image (height, width, 3) uint8 of any size, with its true and predicted mask, bool, of equal size."""

    image_id: str
    image: Pixels
    truth: Tensor
    predicted: Tensor
    jaccard: float


def choose_cases(scores: Sequence[MaskScores], *, each: int = 3) -> dict[str, list[int]]:
    """Indices of the best, median and worst images by Jaccard index, up to `each` of them; the first of ties. With few
    images they overlap."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index].jaccard, index))
    each = min(each, len(order))
    middle = (len(order) - each) // 2
    return {
        "best": order[:each],
        "median": order[middle : middle + each],
        "worst": order[len(order) - each :],
    }


def draw_mask_cases(cases: dict[str, list[MaskCase]]) -> Figure:
    """One row of images per kind of case, with the contours of the true and predicted masks and the Jaccard index."""
    columns = max(len(row) for row in cases.values())
    aspect = max(case.truth.shape[1] / case.truth.shape[0] for row in cases.values() for case in row)
    figure = draw_cases(
        cases,
        _draw_case,
        width=(PANEL * aspect + 0.1) * columns + 0.4,
        height=(PANEL + 0.5) * len(cases) + 0.4,
    )
    lines = [
        Line2D([], [], color=_TRUTH, linewidth=2, path_effects=_halo(3.5), label="true mask"),
        Line2D([], [], color=_PREDICTED, linewidth=2, path_effects=_halo(3.5), label="predicted mask"),
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=2, frameon=False, fontsize=10)
    return figure


def _draw_case(axes: Axes, case: MaskCase) -> None:
    height, width = case.truth.shape
    step = max(1, max(case.image.shape[:2]) // LONGEST)
    axes.imshow(case.image[::step, ::step], extent=(0, width, height, 0))
    _draw_contour(axes, case.truth, _TRUTH)
    _draw_contour(axes, case.predicted, _PREDICTED)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_xlabel(f"{case.image_id}\nJaccard {case.jaccard:.3f}", fontsize=9)


def _draw_contour(axes: Axes, mask: Tensor, color: str) -> None:
    if not mask.any():
        return
    step = max(1, max(mask.shape) // LONGEST)
    small = mask[::step, ::step].cpu().numpy()
    bordered = np.pad(small, 1).astype(np.float32)  # so that the contour of a lesion at the edge is closed
    rows, columns = ((np.arange(side) - 0.5) * step for side in bordered.shape)
    if bordered.any():
        contour = axes.contour(columns, rows, bordered, levels=[0.5], colors=color, linewidths=1.4)
        contour.set_path_effects(_halo(2.6))


def _halo(width: float) -> list[AbstractPathEffect]:
    return [Stroke(linewidth=width, foreground="black"), Normal()]


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
        record = collection.records[indices[number]]
        with Image.open(mask_file(run.masks, record.id)) as file:
            predicted = lesion_pixels(file)
        return MaskCase(
            record.id,
            images[indices[number]],
            torch.from_numpy(native_mask(record)) > 0,
            torch.from_numpy(predicted) > 0,
            scores[number].jaccard,
        )

    cases = {kind: [case(number) for number in row] for kind, row in choose_cases(scores).items()}
    write_figure(draw_mask_cases(cases), run.cases, caption=caption)
