import numpy as np
import pytest
import torch
from PIL import Image

from gravis_triton.evaluation.classification import classification_scores
from gravis_triton.report.classification import (
    ClassCase,
    choose_class_cases,
    draw_class_cases,
    draw_confusion,
    draw_curves,
    write_class_figures,
)
from gravis_triton.run_directory import RunDirectory

CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")
CORRECT, WRONG = "most confident, correct", "most confident, wrong"
PROBABILITIES = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
LABELS = torch.tensor([0, 0, 1, 1, 0])


def predictions() -> tuple[np.ndarray, np.ndarray]:
    p = np.array([[0.6, 0.3, 0.1], [0.3, 0.2, 0.5], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2]])
    return p, np.array([0, 0, 1, 2, 2])


def curves(p: np.ndarray, y: np.ndarray, scored: tuple[str, ...] = ()):
    return draw_curves(classification_scores(p, y, classes=CLASSES, scored=scored), p, y).axes


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_cells_of_the_confusion_matrix_have_counts_and_fractions_of_the_true_class():
    p, y = predictions()
    figure = draw_confusion(classification_scores(p, y, classes=CLASSES, scored=()))
    (axes,) = figure.axes
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells[0, 0] == "1\n50%"
    assert cells[0, 2] == "1\n50%"
    assert cells[1, 0] == "1\n100%"
    assert cells[2, 2] == "1\n50%"  # the other nevus is a tie
    assert len(cells) == 9
    assert axes.get_title() == "balanced accuracy 0.333, 5 images"
    assert axes.get_xlabel() == "predicted class (1 ties not shown)"
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "melanoma",
        "seborrheic keratosis",
        "nevus",
    ]


def test_curves_are_those_of_the_scored_classes_with_their_areas():
    p, y = predictions()
    roc, precision, calibration = curves(p, y, scored=("melanoma", "seborrheic_keratosis"))
    # melanoma: 0.6 and 0.3 against 0.5, 0.1, 0.4: 3 + 1 of 6 pairs; keratosis: 0.4 against 0.3, 0.2, 0.3, 0.4: 3.5 of 4
    assert legend(roc) == ["melanoma: AUC 0.667", "seborrheic keratosis: AUC 0.875"]
    melanoma = roc.lines[1]
    assert np.array(melanoma.get_xdata()).tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 2 / 3, 1])
    assert np.array(melanoma.get_ydata()).tolist() == pytest.approx([0, 0.5, 0.5, 0.5, 1, 1])
    # melanoma: precision 1 at recall 1/2, 2/4 at recall 1; keratosis: 1/2 at recall 1
    assert legend(precision) == ["melanoma: AP 0.750", "seborrheic keratosis: AP 0.500"]
    # confidences 0.4 (a tie: wrong), 0.5 twice (wrong), 0.6 twice (correct)
    assert calibration.get_title() == f"expected calibration error {(0.4 + 2 * 0.5 + 2 * 0.4) / 5:.3f}"


def test_a_class_without_images_has_no_curve():
    roc, precision, _ = curves(np.array([[0.7, 0.1, 0.2], [0.1, 0.1, 0.8]]), np.array([0, 2]))
    assert legend(roc) == ["melanoma: AUC 1.000", "nevus: AUC 1.000"]
    assert legend(precision) == ["melanoma: AP 1.000", "nevus: AP 1.000"]


def test_a_confusion_matrix_of_very_many_classes_is_no_larger_than_that_of_many():
    def inches(classes):
        names = [f"class {number}" for number in range(classes)]
        scores = classification_scores(np.eye(classes), np.arange(classes), classes=names, scored=())
        return draw_confusion(scores).get_size_inches().tolist()

    assert inches(40) == inches(25)
    assert max(inches(40)) < 20


def test_figures_are_named_after_the_classifier(tmp_path):
    p, y = predictions()
    scores = classification_scores(p, y, classes=CLASSES, scored=())
    write_class_figures(RunDirectory(tmp_path), scores, p, y, name="knn")
    write_class_figures(RunDirectory(tmp_path), scores, p, y)
    names = {"confusion_knn.png", "curves_knn.png", "confusion.png", "curves.png"}
    assert {file.name for file in tmp_path.iterdir()} == names
    for name in names:
        Image.open(tmp_path / name).verify()


def case(**changes):
    values = {
        "image_id": "ISIC_1",
        "image": np.full((20, 20, 3), 200, np.uint8),
        "truth": "nevus",
        "predicted": "nevus",
        "probability": 0.9,
        "map": None,
    }
    return ClassCase(**{**values, **changes})


def test_cases_are_those_of_the_highest_confidence_correct_and_wrong():
    assert choose_class_cases(PROBABILITIES, LABELS) == {CORRECT: [0, 4, 2], WRONG: [3, 1]}
    assert choose_class_cases(PROBABILITIES, LABELS, count=1) == {CORRECT: [0], WRONG: [3]}


def test_without_errors_there_is_no_row_of_them():
    assert list(choose_class_cases(PROBABILITIES[:1], LABELS[:1])) == [CORRECT]


def test_a_case_names_the_predicted_class_and_the_true_one_if_it_differs():
    figure = draw_class_cases({CORRECT: [case()], WRONG: [case(predicted="melanoma")]}, None)
    correct, wrong = (axes.get_xlabel() for axes in figure.axes)
    assert correct == "ISIC_1\nnevus 0.90"
    assert wrong == "ISIC_1\nmelanoma 0.90\ntrue: nevus"


def test_an_image_is_shaded_where_saliency_is_low():
    salient = torch.zeros(8, 8)
    salient[2, 3] = 1
    figure = draw_class_cases({CORRECT: [case(map=salient)]}, "layer4")
    image, shade = figure.axes[0].images
    assert image.get_extent() == shade.get_extent()
    assert shade.get_alpha()[2, 3] == 0
    assert (shade.get_alpha() == 0).sum() == 1
    assert "layer4" in figure.get_suptitle()
