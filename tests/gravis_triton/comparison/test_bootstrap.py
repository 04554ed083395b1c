import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from gravis_triton.comparison.bootstrap import (
    ClassPredictions,
    MaskPredictions,
    draw_groups,
    paired_interval,
    resampled_scores,
    weighted_aucs,
    weighted_balanced_accuracies,
)
from gravis_triton.evaluation.classification import classification_scores, partial_auc

ONCE = np.ones((1, 6), np.int64)


def drawn_counts(strata: np.ndarray, groups: list[str], *, resamples: int) -> np.ndarray:
    """How often each image occurs in each resample."""
    counts, group_of = draw_groups(strata, groups, resamples=resamples)
    return counts[:, group_of].astype(np.int64)


def diagnoses(generator: np.random.Generator, *, images: int = 60, signal: float = 1.0) -> ClassPredictions:
    labels = np.arange(images) % 3
    logits = generator.normal(size=(images, 3)) + signal * np.eye(3)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return ClassPredictions(tuple(f"i{n:03d}" for n in range(images)), ("",) * images, labels, p, (0, 1))


def test_every_resample_keeps_the_number_of_images_of_each_class():
    strata = np.array([0] * 50 + [1] * 3 + [2])
    counts = drawn_counts(strata, [""] * 54, resamples=200)
    assert counts.shape == (200, 54)
    assert (counts[:, :50].sum(1) == 50).all()
    assert (counts[:, 50:53].sum(1) == 3).all()
    assert (counts[:, 53] == 1).all()
    assert counts[:, :50].std() == pytest.approx(1.0, abs=0.05)  # multinomial: variance 1 - 1/50


def test_images_of_one_patient_are_drawn_together_and_each_class_keeps_its_groups():
    strata = np.array([0, 1, 0, 0, 1, 0])
    counts = drawn_counts(strata, ["a", "a", "", "b", "", "b"], resamples=500)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert (counts[:, 0] + counts[:, 4] == 2).all()  # the groups that hold the rarer class: patient a, and image 4
    assert (counts[:, 2] + counts[:, 3] == 2).all()  # the others: image 2, and patient b
    assert set(counts[:, 0]) == {0, 1, 2}


def test_groups_of_one_image_are_like_no_groups():
    strata = np.array([0, 1, 1, 2, 0, 1])
    alone = drawn_counts(strata, [""] * 6, resamples=50)
    assert (drawn_counts(strata, list("fedcba"), resamples=50) == alone).all()


def test_intervals_depend_on_the_number_of_patients():
    generator = np.random.default_rng(0)
    patients, images = 100, 8
    values = np.repeat(generator.normal(0, 0.2, patients), images) + generator.normal(0, 0.1, patients * images)
    ids, groups = (tuple(f"{n:03d}" for n in np.arange(patients * images) // each) for each in (1, images))
    spread = resampled_scores(MaskPredictions(ids, groups, {"jaccard": values}))["jaccard"].std()
    assert spread == pytest.approx((0.2**2 / patients + 0.1**2 / (patients * images)) ** 0.5, rel=0.15)
    alone = resampled_scores(MaskPredictions(ids, ("",) * len(ids), {"jaccard": values}))["jaccard"].std()
    assert alone < spread / 2


def test_an_auc_by_hand_with_ties_and_repeated_images():
    scores = np.array([0.1, 0.4, 0.4, 0.8, 0.4, 0.9])
    positive = np.array([False, False, True, True, False, False])
    # once each: 0.4 beats 0.1, ties with two, loses to 0.9: 2 of 4; 0.8 beats three of four: 3 of 4
    assert weighted_aucs(scores, positive, ONCE)[0] == 5 / 8
    # the image of 0.8 drawn twice, that of 0.4 never; 0.1 thrice, 0.9 once, others never: 3 of 4
    assert weighted_aucs(scores, positive, np.array([[3, 0, 0, 2, 0, 1]]))[0] == 3 / 4


def test_weighted_scores_equal_scores_of_the_repeated_images():
    found = diagnoses(np.random.default_rng(3))
    counts = drawn_counts(found.labels, found.groups, resamples=5)
    rounded, positive = found.probabilities[:, 0].round(1), found.labels == 0
    for weights, auc, partial, accuracy in zip(
        counts,
        weighted_aucs(rounded, positive, counts),
        weighted_aucs(rounded, positive, counts, sensitivity=0.8),
        weighted_balanced_accuracies(found.probabilities, found.labels, counts),
        strict=True,
    ):
        drawn = np.repeat(np.arange(60), weights)
        p, y = found.probabilities[drawn], found.labels[drawn]
        assert auc == pytest.approx(roc_auc_score(y == 0, p[:, 0].round(1)), abs=1e-12)
        assert partial == pytest.approx(partial_auc(p[:, 0].round(1), y == 0), abs=1e-12)
        assert accuracy == pytest.approx(balanced_accuracy_score(y, p.argmax(1)), abs=1e-12)


def test_scores_of_each_image_once_equal_those_of_the_evaluation():
    found = diagnoses(np.random.default_rng(5))
    scores = found.scores(np.ones((1, 60), np.int64))
    known = classification_scores(found.probabilities, found.labels, classes=("a", "b", "c"), scored=("a", "b"))
    assert scores["mean_auc"][0] == pytest.approx(known.mean_auc, abs=1e-12)
    assert scores["mean_partial_auc"][0] == pytest.approx(known.mean_partial_auc, abs=1e-12)
    assert scores["balanced_accuracy"][0] == pytest.approx(known.balanced_accuracy, abs=1e-12)


def test_an_encoder_does_not_differ_from_itself():
    found = diagnoses(np.random.default_rng(0))
    one, other = resampled_scores(found), resampled_scores(found)
    interval = paired_interval([0.0] * 3, [one["mean_auc"] - other["mean_auc"]] * 3, same_images=False)
    assert (interval.difference, interval.low, interval.high) == (0, 0, 0)
    assert one["mean_auc"].std() > 0.01  # though the scores themselves are uncertain


def test_a_constant_difference_has_an_interval_of_no_width():
    jaccard = np.random.default_rng(0).uniform(0.2, 0.8, 100)
    ids = tuple(f"i{n:03d}" for n in range(100))
    base = resampled_scores(MaskPredictions(ids, ("",) * len(ids), {"jaccard": jaccard}))["jaccard"]
    better = resampled_scores(MaskPredictions(ids, ("",) * len(ids), {"jaccard": jaccard + 0.1}))["jaccard"]
    interval = paired_interval([0.1, 0.1], [better - base] * 2, same_images=False)
    assert (interval.low, interval.high) == pytest.approx((0.1, 0.1), abs=1e-12)
    assert base.std() == pytest.approx(jaccard.std() / 10, rel=0.1)  # the standard error of a mean


def test_seeds_that_disagree_widen_the_interval_to_their_range():
    """Without noise of images, a replicate of two seeds is the mean of two draws from {0, 0.2}: 0, 0.1, 0.1 or 0.2."""
    differences = [np.zeros(4000), np.full(4000, 0.2)]
    interval = paired_interval([0.0, 0.2], differences, same_images=False)
    assert (interval.difference, interval.low, interval.high) == pytest.approx((0.1, 0.0, 0.2))


def test_image_noise_averages_out_over_seeds_only_if_their_images_differ():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=20_000)
    same = paired_interval([0.0] * 4, [noise] * 4, same_images=True)
    other = paired_interval([0.0] * 4, list(generator.normal(size=(4, 20_000))), same_images=False)
    assert same.high - same.low == pytest.approx(2 * 1.96, rel=0.05)
    assert other.high - other.low == pytest.approx(2 * 1.96 / 2, rel=0.05)


def coverage(*, seeds: int, between: float, same_images: bool = False, trials: int = 300) -> float:
    """How often the interval holds a known mean difference of 0.05, with image noise and differences between seeds.

    With the same images for all seeds, nine tenths of the images' variance are common to them.
    """
    generator = np.random.default_rng(0)
    images, ids = 80, tuple(f"i{n:03d}" for n in range(80))
    held = 0
    for _ in range(trials):
        observed, resampled = [], []
        common = generator.normal(0, 0.2 * 0.9**0.5, images)
        for _ in range(seeds):
            base = generator.normal(0.7, 0.2, images)
            noise = generator.normal(0, 0.2, images)
            if same_images:
                noise = common + 0.1**0.5 * noise
            own = base + 0.05 + generator.normal(0, between) + noise
            observed.append(float((own - base).mean()))
            scores = [
                resampled_scores(MaskPredictions(ids, ("",) * len(ids), {"jaccard": values}), resamples=300)["jaccard"]
                for values in (base, own)
            ]
            resampled.append(scores[1] - scores[0])
        interval = paired_interval(observed, resampled, same_images=same_images)
        held += interval.low <= 0.05 <= interval.high
    return held / trials


def test_coverage_is_conservative_if_image_noise_dominates():
    assert 0.95 <= coverage(seeds=3, between=0.0) <= 1.0


def test_coverage_is_nominal_if_all_seeds_share_their_images():
    assert 0.91 <= coverage(seeds=3, between=0.0, same_images=True) <= 0.98


def test_coverage_is_too_low_if_few_seeds_differ_by_more_than_image_noise():
    assert 0.6 <= coverage(seeds=3, between=0.06) <= 0.9
    assert 0.85 <= coverage(seeds=10, between=0.06, trials=150) <= 0.97


def test_scores_of_several_classes_per_image_equal_those_of_the_evaluation():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=(30, 3))
    p = generator.random((30, 3))
    predictions = ClassPredictions(tuple(map(str, range(30))), ("",) * 30, labels, p, (0, 2))
    once = predictions.scores(np.ones((1, 30), np.int64))
    expected = classification_scores(p, labels, classes=("a", "b", "c"), scored=("a", "c"))
    assert once["mean_auc"][0] == pytest.approx(expected.mean_auc)
    assert once["mean_partial_auc"][0] == pytest.approx(expected.mean_partial_auc)
    assert once["balanced_accuracy"][0] == pytest.approx(expected.balanced_accuracy)
    assert predictions.strata.tolist() == [
        -1 if not row.any() else min(np.flatnonzero(row), key=labels.sum(0).__getitem__) for row in labels
    ]
