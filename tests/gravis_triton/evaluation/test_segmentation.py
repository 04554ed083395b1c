import pytest
import torch
from torch import Tensor

from gravis_triton.evaluation.segmentation import (
    MaskScores,
    mask_scores,
    resize_probability,
    segmentation_scores,
)


def mask(*rows: str) -> Tensor:
    """A mask drawn with # for lesion."""
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])


def scored(jaccard: float) -> MaskScores:
    return MaskScores(jaccard=jaccard, dice=0.0, accuracy=0.0, sensitivity=0.0, specificity=0.0)


def test_mask_scores_of_a_hand_computed_case():
    # 2 found, 1 too many, 2 missed, 3 rightly left: of 8
    scores = mask_scores(mask("###.", "...."), mask(".##.", ".##."))
    assert scores.jaccard == pytest.approx(2 / 5)
    assert scores.dice == pytest.approx(4 / 7)
    assert scores.accuracy == pytest.approx(5 / 8)
    assert scores.sensitivity == pytest.approx(2 / 4)
    assert scores.specificity == pytest.approx(3 / 4)


def test_masks_need_not_be_contiguous():
    predicted, truth = mask("###.", "...."), mask(".##.", ".##.")
    assert mask_scores(predicted.T, truth.T) == mask_scores(predicted, truth)


def test_two_empty_masks_match():
    scores = mask_scores(mask("..", ".."), mask("..", ".."))
    assert (scores.jaccard, scores.dice, scores.accuracy) == (1.0, 1.0, 1.0)
    assert (scores.sensitivity, scores.specificity) == (1.0, 1.0)


def test_empty_true_mask_has_sensitivity_1():
    scores = mask_scores(mask("#...", "...."), mask("....", "...."))
    assert (scores.jaccard, scores.dice, scores.sensitivity) == (0.0, 0.0, 1.0)
    assert scores.specificity == pytest.approx(7 / 8)


def test_full_true_mask_has_specificity_1():
    scores = mask_scores(mask("##", "#."), mask("##", "##"))
    assert (scores.jaccard, scores.sensitivity, scores.specificity) == (0.75, 0.75, 1.0)


def test_scores_are_averaged_over_images_not_pixels():
    # image 1: nothing there and nothing found: 1, without a pixel in either count; image 2: 3 found of 4: 0.75.
    nothing = mask_scores(mask("..", ".."), mask("..", ".."))
    lesion = mask_scores(mask("##", "#."), mask("##", "##"))
    found, union = 0 + 3, 0 + 4
    assert found / union == 0.75
    assert segmentation_scores([nothing, lesion])["jaccard"] == 0.875


def test_thresholded_jaccard_below_0_65_is_0():
    scores = segmentation_scores([scored(0.64), scored(0.65), scored(0.95)])
    assert scores["thresholded_jaccard"] == pytest.approx((0 + 0.65 + 0.95) / 3)
    assert scores["jaccard"] == pytest.approx((0.64 + 0.65 + 0.95) / 3)


def test_masks_of_different_shape_or_type_raise():
    with pytest.raises(ValueError, match=r"masks are \(1, 2\) and \(2, 1\): expected the same non-empty shape"):
        mask_scores(mask(".."), mask(".", "."))
    with pytest.raises(ValueError, match=r"masks must be bool, not torch\.uint8 and torch\.bool: threshold them first"):
        mask_scores(mask("..").byte(), mask(".."))
    with pytest.raises(ValueError, match="no masks to score"):
        segmentation_scores([])


def test_probability_is_resized_before_thresholding():
    # on 8 pixels the right one of two weighs 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1: 0.75 times that exceeds 0.5 from 7/8 on
    wide = resize_probability(torch.tensor([[0.0, 0.75]]), (2, 8))
    assert wide.tolist() == [[False] * 5 + [True] * 3] * 2


def test_probability_of_exactly_half_is_not_lesion():
    assert not resize_probability(torch.full((3, 3), 0.5), (5, 7)).any()
    striped = torch.tensor([[0.0, 0.9, 0.9, 0.0] * 4] * 2)
    assert not resize_probability(striped, (1, 4)).any()  # less than half on average, though the middles are all 0.9
    assert resize_probability(torch.full((8, 8), 0.6), (3, 2)).tolist() == [[True, True]] * 3
