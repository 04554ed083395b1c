import numpy as np
import torch

from gravis_triton.evaluation import MaskScores
from gravis_triton.report.figures import write_figure
from gravis_triton.report.segmentation_figures import MaskCase, choose_cases, draw_mask_cases


def scored(jaccard: float) -> MaskScores:
    return MaskScores(jaccard=jaccard, dice=0.0, accuracy=0.0, sensitivity=0.0, specificity=0.0)


def case(truth: torch.Tensor, predicted: torch.Tensor, jaccard: float = 0.5) -> MaskCase:
    image = np.full((20, 30, 3), 200, np.uint8)
    return MaskCase(image_id="ISIC_1", image=image, truth=truth, predicted=predicted, jaccard=jaccard)


def outlines(case: MaskCase) -> list[np.ndarray]:
    """The vertices of each outline that is drawn for a case."""
    (axes,) = draw_mask_cases({"best": [case]}).axes
    return [path.vertices for drawn in axes.collections for path in drawn.get_paths()]


def test_cases_are_the_best_the_middle_and_the_worst():
    scores = [scored(value) for value in (0.1, 0.9, 0.5, 0.7, 0.3)]
    assert choose_cases(scores, each=1) == {"best": [1], "median": [2], "worst": [0]}
    assert choose_cases(scores, each=2) == {"best": [1, 3], "median": [3, 2], "worst": [4, 0]}


def test_fewer_images_than_places_are_shown_once_a_row():
    assert choose_cases([scored(0.2), scored(0.4)]) == {"best": [1, 0], "median": [1, 0], "worst": [1, 0]}


def test_an_outline_runs_halfway_between_lesion_and_skin():
    truth = torch.zeros(40, 60, dtype=torch.bool)
    truth[10:20, 30:50] = True
    (outline,) = outlines(case(truth, torch.zeros_like(truth)))  # an empty mask has none
    assert (outline[:, 0].min(), outline[:, 0].max()) == (30, 50)
    assert (outline[:, 1].min(), outline[:, 1].max()) == (10, 20)


def test_a_lesion_that_fills_the_image_is_outlined_along_its_edges():
    full = torch.ones(40, 60, dtype=torch.bool)
    _, predicted = outlines(case(full, full))
    assert (predicted[:, 0].min(), predicted[:, 0].max()) == (0, 60)
    assert (predicted[:, 1].min(), predicted[:, 1].max()) == (0, 40)


def test_large_masks_are_drawn_at_the_resolution_of_the_picture():
    truth = torch.zeros(3000, 4000, dtype=torch.bool)
    truth[1000:2000, 1000:3000] = True
    (outline,) = outlines(case(truth, torch.zeros_like(truth)))
    assert len(outline) < 2000
    np.testing.assert_allclose([outline[:, 0].min(), outline[:, 0].max()], [1000, 3000], atol=7)


def test_each_panel_tells_its_image_and_its_jaccard_index(tmp_path):
    mask = torch.ones(40, 60, dtype=torch.bool)
    figure = draw_mask_cases({"best": [case(mask, mask, 1.0)] * 2, "worst": [case(mask, ~mask, 0.0)]})
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["ISIC_1\nJaccard 1.000", "ISIC_1\nJaccard 1.000", "ISIC_1\nJaccard 0.000", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["best", "", "worst", ""]
    write_figure(figure, tmp_path / "cases.png")
    assert (tmp_path / "cases.png").stat().st_size > 1000
