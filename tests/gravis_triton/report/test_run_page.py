"""The page of a run; what a browser shows is tested with whole runs in workflows/test_report.py."""

from gravis_triton.report.run_page import curve_sections

LINES = [
    {"step": 0, "knn_mean_auc": 0.5, "knn_balanced_accuracy": 0.4},
    {"step": 2, "epoch": 1, "epochs": 2, "loss": 1.0, "similarity/positives": 0.9, "bad_steps": 0},
    {
        "step": 4,
        "epoch": 2,
        "epochs": 2,
        "loss": 0.5,
        "similarity/positives": 0.9,
        "similarity/negatives": 0.1,
    },
    {"step": 4, "knn_mean_auc": 0.7, "knn_balanced_accuracy": None},
]


def figures(**runs) -> list[str]:
    (section,) = curve_sections(runs)
    return [picture.alt for picture in section.pictures]


def test_metrics_with_the_same_first_word_share_a_figure():
    assert figures(**{"": LINES}) == [
        "loss over training steps: loss",
        "similarity over training steps: positives, negatives",
        "kNN over training steps: mean AUC, balanced accuracy",
    ]


def test_runs_side_by_side_have_a_figure_per_metric():
    assert figures(first=LINES, second=LINES[:2])[:3] == [
        "loss over training steps: first, second",
        "similarity/positives over training steps: first, second",
        "kNN mean AUC over training steps: first, second",
    ]


def test_without_metrics_there_are_no_figures():
    assert curve_sections({"": []}) == []
    assert curve_sections({"": [{"step": 3, "bad_steps": 0}, {"step": 4, "bad_steps": 0}]}) == []


def test_a_single_point_has_no_figure():
    assert curve_sections({"": LINES[:2]}) == []
