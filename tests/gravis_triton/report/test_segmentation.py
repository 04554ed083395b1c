import numpy as np

from gravis_triton.report.figures import write_figure
from gravis_triton.report.segmentation import MaskCase, choose_mask_cases, draw_mask_cases


def case(truth: np.ndarray, predicted: np.ndarray, jaccard: float = 0.5) -> MaskCase:
    image = np.full((20, 30, 3), 200, np.uint8)
    return MaskCase(image_id="ISIC_1", image=image, truth=truth, predicted=predicted, jaccard=jaccard)


def contours(case: MaskCase) -> list[np.ndarray]:
    """The vertices of each contour that is drawn for a case."""
    (axes,) = draw_mask_cases({"best": [case]}).axes
    return [path.vertices for drawn in axes.collections for path in drawn.get_paths()]


def test_cases_are_the_best_the_median_and_the_worst():
    scores = [0.1, 0.9, 0.5, 0.7, 0.3]
    assert choose_mask_cases(scores, count=1) == {"best": [1], "median": [2], "worst": [0]}
    assert choose_mask_cases(scores, count=2) == {"best": [1, 3], "median": [3, 2], "worst": [4, 0]}


def test_few_images_are_in_several_rows():
    assert choose_mask_cases([0.2, 0.4]) == {"best": [1, 0], "median": [1, 0], "worst": [1, 0]}


def test_a_contour_is_halfway_between_lesion_and_skin():
    truth = np.zeros((40, 60), bool)
    truth[10:20, 30:50] = True
    (contour,) = contours(case(truth, np.zeros_like(truth)))  # an empty mask has none
    assert (contour[:, 0].min(), contour[:, 0].max()) == (30, 50)
    assert (contour[:, 1].min(), contour[:, 1].max()) == (10, 20)


def test_the_contour_of_a_full_mask_is_the_edge_of_the_image():
    full = np.ones((40, 60), bool)
    _, predicted = contours(case(full, full))
    assert (predicted[:, 0].min(), predicted[:, 0].max()) == (0, 60)
    assert (predicted[:, 1].min(), predicted[:, 1].max()) == (0, 40)


def test_large_masks_are_drawn_at_the_resolution_of_the_figure():
    truth = np.zeros((3000, 4000), bool)
    truth[1000:2000, 1000:3000] = True
    (contour,) = contours(case(truth, np.zeros_like(truth)))
    assert len(contour) < 2000
    np.testing.assert_allclose([contour[:, 0].min(), contour[:, 0].max()], [1000, 3000], atol=7)


def test_panels_have_the_image_id_and_the_jaccard_index(tmp_path):
    mask = np.ones((40, 60), bool)
    figure = draw_mask_cases({"best": [case(mask, mask, 1.0)] * 2, "worst": [case(mask, ~mask, 0.0)]})
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["ISIC_1\nJaccard 1.000", "ISIC_1\nJaccard 1.000", "ISIC_1\nJaccard 0.000", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["best", "", "worst", ""]
    write_figure(figure, tmp_path / "cases.png")
    assert (tmp_path / "cases.png").stat().st_size > 1000
