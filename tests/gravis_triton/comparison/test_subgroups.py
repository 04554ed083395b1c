import numpy as np
import pytest

from gravis_triton.comparison.bootstrap import ClassPredictions, MaskPredictions
from gravis_triton.comparison.subgroups import name_subgroups, score_subgroups


def predictions(labels: list[int], p: list[float], groups: list[str] | None = None) -> ClassPredictions:
    """Of two classes, from the probability of the second, the only scored one."""
    ids = tuple(f"i{n:02d}" for n in range(len(labels)))
    probabilities = np.stack([1 - np.array(p), p], axis=1)
    return ClassPredictions(ids, tuple(groups or [""] * len(labels)), np.array(labels), probabilities, (1,))


def names(column: str, values: list[str]) -> list[str]:
    _, ordered, of_image = name_subgroups(column, values)
    return [ordered[number] for number in of_image]


def test_each_subgroup_has_the_scores_of_its_own_images():
    # the light images are in order; of the 5 x 5 dark pairs, the malignant image at 0.1 loses its 5
    labels = [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    found = predictions(labels, [0.2] * 5 + [0.9] * 5 + [0.2] * 5 + [0.9] * 4 + [0.1])
    tone = dict(zip(found.ids, ["light"] * 10 + ["dark"] * 10, strict=True))
    dark, light = score_subgroups(found, {"skin_tone": tone}, classes=("benign", "malignant"))
    assert (dark.name, light.name) == ("dark", "light")
    assert (dark.images, light.images) == (10, 10)
    assert light.scores["mean_auc"] == (1.0, 1.0, 1.0)
    value, low, high = dark.scores["mean_auc"]
    assert value == pytest.approx(20 / 25)
    assert low < value < high
    assert dark.scores["balanced_accuracy"][0] == pytest.approx((1 + 4 / 5) / 2)


def test_a_class_with_too_few_images_is_left_out_of_a_subgroup():
    labels = [0] * 5 + [1] * 5 + [2] * 4
    p = np.eye(3)[labels]
    p[5] = [0, 0, 1]  # an image of class 1
    ids = tuple(f"i{n:02d}" for n in range(14))
    found = ClassPredictions(ids, ("",) * 14, np.array(labels), p, (0, 1, 2))
    (only,) = score_subgroups(found, {"sex": dict.fromkeys(ids, "female")}, classes=("nv", "mel", "df"))
    assert (only.images, only.left_out) == (14, ("df",))
    assert only.scores["balanced_accuracy"][0] == pytest.approx((1 + 4 / 5) / 2)
    assert only.scores["mean_auc"][0] == pytest.approx((1 + (4 * 5 + 2.5) / 25) / 2)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0] * 20 + [1] * 4, None),
        ([0] * 20 + [1] * 6, [""] * 20 + ["a", "a", "a", "b", "c", "d"]),  # six images of four patients
    ],
)
def test_a_subgroup_with_too_few_lesions_or_patients_has_a_number_and_no_scores(labels, groups):
    found = predictions(labels, [0.5] * len(labels), groups)
    (only,) = score_subgroups(found, {"sex": dict.fromkeys(found.ids, "male")}, classes=("benign", "mel"))
    assert (only.images, only.left_out, only.scores) == (len(labels), ("mel",), {})


def test_masks_are_scored_by_subgroup():
    ids = tuple("abcdefgh")
    found = MaskPredictions(ids, ("",) * 8, {"jaccard": np.array([0.2, 0.4, 0.6, 0.8, 1.0, 0.9, 0.9, 0.9])})
    sites = dict(zip(ids, ["arm"] * 5 + ["leg"] * 3, strict=True))
    arm, leg = score_subgroups(found, {"site": sites}, classes=())
    assert arm.scores["jaccard"][0] == pytest.approx(0.6)
    assert (leg.images, leg.scores, leg.left_out) == (3, {}, ())


def test_images_without_a_value_come_last():
    found = predictions([0, 1, 0], [0.1, 0.9, 0.2])
    subgroups = score_subgroups(found, {"sex": {"i01": "male", "i02": "zz"}}, classes=("benign", "malignant"))
    assert [(one.name, one.images) for one in subgroups] == [("male", 1), ("zz", 1), ("unknown", 1)]


def test_ages_are_cut_into_decades_in_order_of_age():
    ages = ["5", "35.0", "30", "39", "100", "40", "61", "62", "63", "64", "65", ""]
    cut, ordered, of_image = name_subgroups("age_approx", ages)
    assert cut == "decades"
    assert ordered == ["0 to 9", "30 to 39", "40 to 49", "60 to 69", "100 to 109", "unknown"]
    assert of_image.tolist() == [0, 1, 1, 1, 4, 2, 3, 3, 3, 3, 3, 5]


def test_other_numbers_are_cut_into_quartiles():
    values = [str(number) for number in range(12, 0, -1)]
    cut, ordered, of_image = name_subgroups("image_diameter", values)  # "age" in it is no word
    assert cut == "quartiles"
    assert ordered == ["1 to 3", "4 to 6", "7 to 9", "10 to 12"]
    assert of_image.tolist() == [3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]


def test_few_numbers_are_names():
    assert names("fitzpatrick", ["1.0", "6", "", "1"]) == ["1", "6", "unknown", "1"]
    assert name_subgroups("fitzpatrick", ["12", "2"])[:2] == ("", ["2", "12"])


def test_several_classes_per_image_are_scored_by_subgroup():
    # hair: 5 of 10 images in order; ink: 4 have it, too few
    ids = tuple(f"i{n:02d}" for n in range(10))
    labels = np.stack([[1] * 5 + [0] * 5, [0] * 6 + [1] * 4], axis=1)
    p = np.stack([[0.9] * 4 + [0.2] + [0.1] * 4 + [0.3], [0.5] * 10], axis=1)
    found = ClassPredictions(ids, ("",) * 10, labels, p, (0, 1))
    (only,) = score_subgroups(found, {"sex": dict.fromkeys(ids, "male")}, classes=("hair", "ink"))
    assert (only.images, only.left_out) == (10, ("ink",))
    assert only.scores["mean_auc"][0] == pytest.approx(24 / 25)
    assert only.scores["balanced_accuracy"][0] == pytest.approx((4 / 5 + 1) / 2)
