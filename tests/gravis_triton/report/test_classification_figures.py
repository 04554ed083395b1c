import numpy as np
import pytest
from PIL import Image

from gravis_triton.evaluation import classification_scores
from gravis_triton.report.classification_figures import draw_confusion, draw_curves
from gravis_triton.report.figures import write_figure

CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")


def predictions() -> tuple[np.ndarray, np.ndarray]:
    p = np.array([[0.6, 0.3, 0.1], [0.3, 0.2, 0.5], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2]])
    return p, np.array([0, 0, 1, 2, 2])


def test_each_cell_of_the_confusion_matrix_tells_its_count_and_its_share_of_the_true_class():
    p, y = predictions()
    figure = draw_confusion(classification_scores(p, y, classes=CLASSES, scored=()))
    (axes,) = figure.axes
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells[0, 0] == "1\n50%"
    assert cells[0, 2] == "1\n50%"
    assert cells[1, 0] == "1\n100%"
    assert cells[2, 2] == "1\n50%"  # the other nevus is ties
    assert len(cells) == 9
    assert axes.get_title() == "balanced accuracy 0.333, 5 images"
    assert axes.get_xlabel() == "predicted class (1 ties not shown)"
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "melanoma",
        "seborrheic keratosis",
        "nevus",
    ]


def test_the_curves_are_those_of_the_scored_classes_with_their_auc():
    p, y = predictions()
    left, right = draw_curves(p, y, classes=CLASSES, scored=("melanoma", "seborrheic_keratosis")).axes
    legend = [text.get_text() for text in left.get_legend().get_texts()]
    # melanoma: 0.6 and 0.3 against 0.5, 0.1, 0.4: 3 + 1 of 6 pairs; keratosis: 0.4 against 0.3, 0.2, 0.3, 0.4: 3.5 of 4
    assert legend == ["melanoma: AUC 0.667", "seborrheic keratosis: AUC 0.875"]
    melanoma = left.lines[1]
    assert np.array(melanoma.get_xdata()).tolist() == pytest.approx([0, 0, 2 / 3, 2 / 3, 1])
    assert np.array(melanoma.get_ydata()).tolist() == pytest.approx([0, 0.5, 0.5, 1, 1])
    # confidences 0.4 (a tie: wrong), 0.5 twice (wrong), 0.6 twice (right)
    assert right.get_title() == f"expected calibration error {(0.4 + 2 * 0.5 + 2 * 0.4) / 5:.3f}"


def test_a_class_without_images_has_no_curve():
    p = np.array([[0.7, 0.1, 0.2], [0.1, 0.1, 0.8]])
    left, _ = draw_curves(p, np.array([0, 2]), classes=CLASSES, scored=()).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "melanoma: AUC 1.000",
        "nevus: AUC 1.000",
    ]


def test_a_figure_is_written_whole(tmp_path):
    p, y = predictions()
    write_figure(draw_curves(p, y, classes=CLASSES, scored=()), tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size == (1440, 690)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_matrix_of_very_many_classes_is_no_larger_than_that_of_many(tmp_path):
    many = [f"class {number}" for number in range(200)]
    figure = draw_confusion(classification_scores(np.eye(200), np.arange(200), classes=many, scored=many))
    write_figure(figure, tmp_path / "a.png")
    assert max(Image.open(tmp_path / "a.png").size) < 4000
