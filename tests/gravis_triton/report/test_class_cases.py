import numpy as np
import torch

from gravis_triton.report.class_cases import ClassCase, choose_class_cases, draw_class_cases

RIGHT, WRONG = "most confident, correct", "most confident, wrong"
PROBABILITIES = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]])
LABELS = torch.tensor([0, 0, 1, 1, 0])


def case(**changes):
    image = np.full((20, 20, 3), 200, np.uint8)
    values = {
        "image_id": "ISIC_1",
        "image": image,
        "truth": "nevus",
        "predicted": "nevus",
        "probability": 0.9,
    }
    return ClassCase(**{**values, "map": None, **changes})


def test_cases_are_those_of_the_highest_confidence_right_and_wrong():
    assert choose_class_cases(PROBABILITIES, LABELS) == {RIGHT: [0, 4, 2], WRONG: [3, 1]}
    assert choose_class_cases(PROBABILITIES, LABELS, each=1) == {RIGHT: [0], WRONG: [3]}


def test_without_errors_there_is_no_row_of_them():
    assert list(choose_class_cases(PROBABILITIES[:1], LABELS[:1])) == [RIGHT]


def test_a_case_names_what_was_predicted_and_the_truth_where_it_differs():
    figure = draw_class_cases({RIGHT: [case()], WRONG: [case(predicted="melanoma")]}, None)
    right, wrong = (axes.get_xlabel() for axes in figure.axes)
    assert right == "ISIC_1\nnevus 0.90"
    assert wrong == "ISIC_1\nmelanoma 0.90\ntrue: nevus"


def test_the_image_is_shaded_where_the_class_is_not_seen():
    seen = torch.zeros(8, 8)
    seen[2, 3] = 1
    figure = draw_class_cases({RIGHT: [case(map=seen)]}, "layer4")
    photograph, shade = figure.axes[0].images
    assert photograph.get_extent() == shade.get_extent()
    assert shade.get_alpha()[2, 3] == 0
    assert (shade.get_alpha() == 0).sum() == 1
    assert "layer4" in figure.get_suptitle()
