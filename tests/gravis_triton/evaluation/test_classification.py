import math

import numpy as np
import pytest
import torch
from sklearn.metrics import auc as area
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from gravis_triton.evaluation.classification import (
    argmax_or_tie,
    auc,
    average_precision,
    calibration_bins,
    classification_scores,
    expected_calibration_error,
    nanmean,
    operating_points,
    partial_auc,
    recalls,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)

NAN = float("nan")


def scores_of(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def flags(*values: int) -> np.ndarray:
    return np.array(values, bool)


def binary(*positive: float) -> np.ndarray:
    """Probabilities of two classes from that of the second."""
    return np.array([[1 - p, p] for p in positive])


def test_auc_is_the_fraction_of_ordered_pairs_with_ties_as_half():
    # positives 0.8 and 0.4 against negatives 0.4, 0.2, 0.6: 3 pairs won by 0.8; by 0.4: a tie, a win, a loss
    assert auc(scores_of(0.8, 0.4, 0.4, 0.2, 0.6), flags(1, 1, 0, 0, 0)) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("positive", [flags(0, 0), flags(1, 1)])
def test_single_class_has_no_auc_average_precision_or_operating_point(positive):
    p = scores_of(0.2, 0.7)
    values = [
        auc(p, positive),
        partial_auc(p, positive),
        average_precision(p, positive),
        sensitivity_at_specificity(p, positive, 0.8),
        specificity_at_sensitivity(p, positive, 0.8),
    ]
    assert all(math.isnan(value) for value in values)


def test_partial_auc_is_the_area_above_a_sensitivity():
    # positives at 0.9, 0.7, 0.6, 0.4, 0.2, negatives at 0.8, 0.5, 0.3, 0.1: the ROC curve reaches a sensitivity of 3/5
    # at a false positive rate of 1/4, of 4/5 at 2/4 and of 1 at 3/4, in steps
    p = scores_of(0.9, 0.7, 0.6, 0.4, 0.2, 0.8, 0.5, 0.3, 0.1)
    positive = flags(1, 1, 1, 1, 1, 0, 0, 0, 0)
    assert partial_auc(p, positive) == pytest.approx(1 / 4 * 1 / 5)
    assert partial_auc(p, positive, sensitivity=0.6) == pytest.approx(1 / 4 * 2 / 5 + 1 / 4 * 1 / 5)
    assert partial_auc(p, positive, sensitivity=0.7) == pytest.approx(1 / 4 * 3 / 10 + 1 / 4 * 1 / 10)
    assert partial_auc(p, positive, sensitivity=0.0) == pytest.approx(auc(p, positive))


def test_partial_auc_is_0_2_at_best_and_0_02_by_chance():
    assert partial_auc(scores_of(0.9, 0.8, 0.1), flags(1, 1, 0)) == pytest.approx(0.2)
    assert partial_auc(scores_of(0.5, 0.5, 0.5), flags(1, 1, 0)) == pytest.approx(0.02)
    assert partial_auc(scores_of(0.1, 0.2, 0.9), flags(1, 1, 0)) == pytest.approx(0.0)


def isic_2024_score(p: np.ndarray, positive: np.ndarray) -> float:
    """As the challenge's scorer (github.com/ISIC-Research/Challenge-2024-Metrics): the curve of the complements, cut at
    a false positive rate of 0.2 between its points."""
    false_positive_rate, true_positive_rate, _ = roc_curve(1 - positive.astype(int), -p)
    kept = false_positive_rate <= 0.2
    at_the_end = np.interp(0.2, false_positive_rate, true_positive_rate)
    return area(np.append(false_positive_rate[kept], 0.2), np.append(true_positive_rate[kept], at_the_end))


@pytest.mark.parametrize("seed", range(5))
def test_partial_auc_equals_the_scorer_of_isic_2024(seed):
    generator = np.random.default_rng(seed)
    positive = generator.random(400) < 0.1
    p = (generator.random(400) + 0.3 * positive).round(2)  # with ties
    assert partial_auc(p, positive) == pytest.approx(isic_2024_score(p, positive), abs=1e-12)


def test_average_precision_is_not_interpolated():
    # from the top: positive (1/1), negative, positive (2/3), negative, positive (3/5)
    p = scores_of(0.9, 0.8, 0.7, 0.6, 0.5)
    assert average_precision(p, flags(1, 0, 1, 0, 1)) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # a tie is one threshold: both at once, precision 1/2
    assert average_precision(scores_of(0.5, 0.5), flags(1, 0)) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_and_operating_points_equal_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    positive = generator.random(300) < 0.2
    p = (generator.random(300) + 0.3 * positive).round(2)  # with ties
    assert average_precision(p, positive) == pytest.approx(average_precision_score(positive, p), abs=1e-12)
    assert auc(p, positive) == pytest.approx(roc_auc_score(positive, p), abs=1e-12)
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, p, drop_intermediate=False)
    negatives, positives = operating_points(p, positive)
    assert negatives / (~positive).sum() == pytest.approx(false_positive_rate)
    assert positives / positive.sum() == pytest.approx(true_positive_rate)


def test_specificity_is_at_the_first_threshold_with_the_sensitivity():
    # positives at 0.9, 0.7, 0.3, 0.2; negatives at 0.8, 0.6, 0.5, 0.1
    p = scores_of(0.9, 0.7, 0.3, 0.2, 0.8, 0.6, 0.5, 0.1)
    positive = flags(1, 1, 1, 1, 0, 0, 0, 0)
    assert specificity_at_sensitivity(p, positive, 0.5) == pytest.approx(3 / 4)  # threshold 0.7: one false alarm
    assert specificity_at_sensitivity(p, positive, 0.51) == pytest.approx(1 / 4)  # 0.3: all but 0.1
    assert specificity_at_sensitivity(p, positive, 0.82) == pytest.approx(1 / 4)  # 0.2: still all but 0.1
    # between the thresholds nothing is interpolated
    assert sensitivity_at_specificity(p, positive, 0.75) == pytest.approx(2 / 4)
    assert sensitivity_at_specificity(p, positive, 0.8) == pytest.approx(1 / 4)


def test_collinear_points_of_the_curve_are_thresholds():
    # ROC points (0, 0), (1/3, 1/3), (2/3, 2/3), (1, 1): at sensitivity 0.5 the threshold of (2/3, 2/3) does
    p, positive = scores_of(0.9, 0.9, 0.5, 0.5, 0.1, 0.1), flags(1, 0, 1, 0, 1, 0)
    assert specificity_at_sensitivity(p, positive, 0.5) == pytest.approx(1 / 3)


def test_sensitivity_is_0_at_a_threshold_above_all_scores():
    assert sensitivity_at_specificity(scores_of(0.9, 0.1), flags(0, 1), 0.8) == 0.0


def test_tied_prediction_is_wrong():
    p = np.array([[0.4, 0.4, 0.2], [0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.1, 0.8]])
    assert argmax_or_tie(p).tolist() == [-1, 0, -1, 2]
    result = classification_scores(p, [0, 0, 1, 2], classes=("a", "b", "c"), scored=())
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert result.accuracy == pytest.approx(2 / 4)
    assert result.ties == 2
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_balanced_accuracy_is_the_mean_recall_of_present_classes():
    # 3 of 4, 0 of 1, and a class without images; plain accuracy is 3/5
    predicted, labels = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 0, 0, 1])
    recall = recalls(predicted, labels, classes=3)
    assert recall[:2].tolist() == [0.75, 0.0]
    assert math.isnan(recall[2])
    assert nanmean(recall) == pytest.approx(0.375)


def test_confusion_matrix_has_a_row_per_true_class():
    result = classification_scores(binary(0.9, 0.8, 0.1, 0.5), [0, 0, 1, 1], classes=("a", "b"), scored=())
    assert result.confusion.tolist() == [[0, 2], [1, 0]]
    assert result.ties == 1


def test_calibration_error_weighs_bins_by_images():
    # two bins of confidence: (0, 0.5] empty, (0.5, 1]; with 10 bins: 0.6 (right, wrong), 0.9 (right), 1.0 (wrong)
    p = binary(0.6, 0.6, 0.1, 1.0)
    labels = np.array([1, 0, 0, 0])
    assert expected_calibration_error(p, labels, bins=2) == pytest.approx(abs(2 / 4 - 3.1 / 4))
    by_hand = 2 / 4 * abs(0.5 - 0.6) + 1 / 4 * abs(1 - 0.9) + 1 / 4 * abs(0 - 1.0)
    assert expected_calibration_error(p, labels, bins=10) == pytest.approx(by_hand)


def test_calibration_bin_includes_its_upper_edge():
    bins = calibration_bins(binary(0.5, 0.75, 1.0), np.array([0, 1, 1]), bins=4)
    assert bins.images.tolist() == [0, 1, 1, 1]
    assert bins.confidence[1:].tolist() == [0.5, 0.75, 1.0]
    assert bins.accuracy[1:].tolist() == [0.0, 1.0, 1.0]  # a tie at 0.5 is wrong
    assert math.isnan(bins.accuracy[0])


def test_isic_2017_score_is_the_mean_of_two_aucs():
    # melanoma: 0.6, 0.3 against 0.5, 0.1, 0.2: pairs 3 + 2 of 6; keratosis: 0.4 against 0.3, 0.3, 0.2, 0.5: 3 of 4
    p = np.array([[0.6, 0.3, 0.1], [0.3, 0.2, 0.5], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    result = classification_scores(
        torch.tensor(p),
        torch.tensor([0, 0, 1, 2, 2]),
        classes=("melanoma", "seborrheic_keratosis", "nevus"),
        scored=("melanoma", "seborrheic_keratosis"),
    )
    assert [one.auc for one in result.classes[:2]] == pytest.approx([5 / 6, 3 / 4])
    assert result.mean_auc == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    melanoma = result.classes[0]
    assert (melanoma.images, melanoma.recall) == (2, 0.5)
    assert (melanoma.sensitivity, melanoma.specificity) == (0.5, 1.0)  # only 0.6 is above 0.5; 0.5 is not
    assert melanoma.specificity_at[0.95] == pytest.approx(2 / 3)
    assert result.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    flat = result.flat()
    assert flat["auc_seborrheic_keratosis"] == pytest.approx(3 / 4)
    # 0.3 is the melanoma that counts: above two of three others; 0.4 is the only keratosis
    assert flat["partial_auc_melanoma"] == pytest.approx(0.2 * 2 / 3)
    assert flat["mean_partial_auc"] == pytest.approx(0.2 * (2 / 3 + 3 / 4) / 2)
    assert flat["specificity_at_sensitivity_95_melanoma"] == pytest.approx(2 / 3)
    assert flat["sensitivity_at_specificity_80_melanoma"] == pytest.approx(1 / 2)


def test_scored_class_without_images_is_left_out_of_means():
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]])
    result = classification_scores(p, [0, 1], classes=("a", "b", "c"), scored=("a", "c"))
    assert math.isnan(result.classes[2].auc)
    assert math.isnan(result.classes[2].recall)
    assert (result.mean_auc, result.mean_average_precision, result.balanced_accuracy) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.5]], [0, 1], r"labels of shape \(2,\) for 1 images"),
        ([[0.2, 0.3, 0.5]], [0], r"probabilities of shape \(1, 3\): expected \(images, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, int), "no images to score"),
        ([[1.0, 0.0], [NAN, 1.0]], [0, 1], "probabilities of image 1 are not finite"),
        ([[2.5, -1.5]], [0], r"probabilities of image 0 are outside \[0, 1\]: logits"),
        ([[0.5, 0.5], [0.9, 0.9]], [0, 1], "probabilities of image 1 sum to 1.8, not 1"),
        ([[0.5, 0.5]], [2], "labels must be integers from 0 to 1"),
        ([[0.5, 0.5]], [0.5], "labels must be integers from 0 to 1"),
    ],
)
def test_invalid_probabilities_and_labels_raise(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_scores(probabilities, labels, classes=("a", "b"), scored=())


def test_unknown_scored_class_raises():
    with pytest.raises(ValueError, match="scored classes naevus are not among nevus, melanoma"):
        classification_scores([[0.5, 0.5]], [0], classes=("nevus", "melanoma"), scored=("naevus",))


def test_scores_of_several_classes_per_image():
    # AUC of a: 1, of b: the positives 0.6 and 0.2 against 0.4: 1 of 2; no image has c, all have d
    p = np.array([[0.9, 0.6, 0.1, 0.8], [0.2, 0.4, 0.1, 0.8], [0.1, 0.2, 0.6, 0.3]])
    y = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 1]])
    scores = classification_scores(p, y, classes=("a", "b", "c", "d"), scored=())
    a, b, c, d = scores.classes
    assert (a.auc, b.auc) == (1.0, 0.5)
    assert (math.isnan(c.auc), math.isnan(d.auc)) == (True, True)
    assert scores.mean_auc == pytest.approx(0.75)
    assert (a.images, b.images, c.images, d.images) == (1, 2, 0, 3)
    # above 0.5 is a decision for a class: of b, one of two positives and the negative are right
    assert (b.sensitivity, b.specificity, b.recall) == (0.5, 1.0, 0.5)
    assert scores.balanced_accuracy == pytest.approx((1 + 0.75 + 2 / 3 + 2 / 3) / 4)
    assert scores.accuracy == pytest.approx(9 / 12)
    assert scores.confusion[1].tolist() == [[1, 0], [1, 1]]
    assert scores.flat()["auc_b"] == 0.5


def test_calibration_of_several_classes_is_over_all_decisions():
    # confidences 0.9, 0.8 (right) and 0.7 (wrong: 0.3 of a class that the image has)
    p, y = np.array([[0.9, 0.2, 0.3]]), np.array([[1, 0, 1]])
    assert expected_calibration_error(p, y, bins=10) == pytest.approx((0.1 + 0.2 + 0.7) / 3)


def test_labels_of_several_classes_are_0_or_1():
    with pytest.raises(ValueError, match="labels must be integers from 0 to 1"):
        classification_scores([[0.5, 0.5]], [[2, 0]], classes=("a", "b"), scored=())
