import csv
import json

import numpy as np
import pytest
from rich.console import Console
from rich.markdown import Markdown

from gravis_triton.comparison.results import (
    Result,
    compare,
    read_predictions,
    write_comparison,
    write_results_csv,
)
from gravis_triton.errors import UserError
from gravis_triton.report.comparison_page import (
    draw_against_labels,
    draw_against_views,
    markdown,
)


def result(tmp_path, encoder: str, seed: int, jaccard: list[float], *, fraction: float = 1.0, ids=None) -> Result:
    """A segmentation cell whose masks have these Jaccard indices."""
    directory = tmp_path / f"{encoder}-{fraction:g}-{seed}"
    directory.mkdir()
    lines = [f"{name},{value},{value},1,1,1" for name, value in zip(ids or "abcdefgh", jaccard, strict=False)]
    images = directory / "image_scores.csv"
    images.write_text("\n".join(["image_id,jaccard,dice,accuracy,sensitivity,specificity", *lines]) + "\n")
    mean = float(np.mean(jaccard))
    return Result(
        encoder=encoder,
        task="segmentation",
        label_fraction=fraction,
        seed=seed,
        values={"jaccard": mean, "dice": mean, "thresholded_jaccard": 0.0},
        directory=directory,
        predictions=images,
    )


def compared(results, **changes):
    return compare(results, **{"baseline": "base", "scored": (), **changes})


def test_mean_and_spread_are_over_seeds_and_the_difference_is_paired_by_seed(tmp_path):
    results = [
        result(tmp_path, "base", 0, [0.2, 0.4]),
        result(tmp_path, "base", 1, [0.6, 0.8]),
        result(tmp_path, "ours", 0, [0.3, 0.5]),
        result(tmp_path, "ours", 1, [0.7, 0.9]),
    ]
    base, ours = compared(results).of("segmentation", "jaccard")
    assert (base.mean, base.spread) == pytest.approx((0.5, 0.08**0.5))  # 0.3 and 0.7
    assert base.against_baseline is None
    against = ours.against_baseline
    assert (against.difference, against.low, against.high) == pytest.approx((0.1, 0.1, 0.1))
    assert against.seeds == 2


def test_the_difference_is_over_the_seeds_that_both_have(tmp_path):
    results = [
        result(tmp_path, "base", 0, [0.2]),
        result(tmp_path, "ours", 0, [0.5]),
        result(tmp_path, "ours", 1, [0.9]),
    ]
    _, ours = compared(results).of("segmentation", "jaccard")
    assert ours.mean == pytest.approx(0.7)
    assert (ours.against_baseline.difference, ours.against_baseline.seeds) == (pytest.approx(0.3), 1)


CURVES = {"base": {10: "base-10", 20: "base-20"}, "ours": {10: "ours-10", 20: "ours-20", 40: "ours-40"}}
"""Encoders pre-trained with several numbers of views."""


@pytest.fixture
def of_curves(tmp_path):
    means = {"base-10": 0.1, "base-20": 0.2, "ours-10": 0.4, "ours-20": 0.6, "ours-40": 0.9, "random": 0.0}
    return compared([result(tmp_path, name, 0, [value] * 2) for name, value in means.items()], curves=CURVES)


def test_encoders_are_compared_with_the_baseline_of_as_many_views(of_curves):
    entries = {entry.encoder: entry.against_baseline for entry in of_curves.of("segmentation", "jaccard")}
    assert {name: one and one.difference for name, one in entries.items()} == {
        "base-10": None,
        "base-20": None,
        "ours-10": pytest.approx(0.3),
        "ours-20": pytest.approx(0.4),
        "ours-40": None,  # no baseline of so many
        "random": pytest.approx(-0.2),  # that with the most
    }
    assert "differences from base with the same number of views on" in markdown(of_curves)


def test_score_against_views_has_a_line_per_curve_and_dashed_lines_for_other_encoders(of_curves):
    (panel,) = draw_against_views(of_curves, ["segmentation"]).axes
    lines = {line.get_label(): line for line in panel.lines if not line.get_label().startswith("_")}
    assert lines["random"].get_linestyle() == "--"
    curves = {container.get_label(): container.lines[0] for container in panel.containers}
    assert list(curves["ours"].get_xdata()) == [10, 20, 40]
    assert list(curves["ours"].get_ydata()) == pytest.approx([0.4, 0.6, 0.9])
    assert list(curves["base"].get_ydata()) == pytest.approx([0.1, 0.2])
    assert [text.get_text() for text in panel.get_xticklabels()] == ["10", "20", "40"]


def test_one_seed_has_no_spread_but_an_interval_over_its_images(tmp_path):
    results = [result(tmp_path, "base", 0, [0.2] * 8), result(tmp_path, "ours", 0, [0.1, 0.7] * 4)]
    _, ours = compared(results).of("segmentation", "jaccard")
    assert ours.spread is None
    # eight draws of -0.1 or 0.5: 0.2 on average, with a standard error of 0.3 / sqrt(8)
    assert ours.against_baseline.difference == pytest.approx(0.2)
    assert ours.against_baseline.high - ours.against_baseline.low == pytest.approx(2 * 1.96 * 0.106, rel=0.2)


def width_over(tmp_path, ids_of_seeds: list[str]) -> float:
    """Width of the interval where every seed finds the same eight differences, on images of these names."""
    results = [
        result(tmp_path, name, seed, scores, ids=ids)
        for name, scores in (("base", [0.2] * 8), ("ours", [0.1, 0.7] * 4))
        for seed, ids in enumerate(ids_of_seeds)
    ]
    _, ours = compared(results).of("segmentation", "jaccard")
    assert ours.against_baseline.seeds == len(ids_of_seeds)
    return ours.against_baseline.high - ours.against_baseline.low


def test_more_seeds_on_the_same_test_images_do_not_narrow_the_interval(tmp_path):
    for name in ("one", "three"):
        (tmp_path / name).mkdir()
    assert width_over(tmp_path / "three", ["abcdefgh"] * 3) == width_over(tmp_path / "one", ["abcdefgh"])


def test_seeds_with_own_test_images_narrow_the_interval_by_the_root_of_their_number(tmp_path):
    # 24 draws of -0.1 or 0.5: a standard error of 0.3 / sqrt(24), that of one seed over sqrt(3)
    assert width_over(tmp_path, ["abcdefgh", "ijklmnop", "qrstuvwx"]) == pytest.approx(2 * 1.96 * 0.0612, rel=0.1)


def test_the_order_of_the_images_in_a_file_does_not_matter(tmp_path):
    results = [
        result(tmp_path, "base", 0, [0.1, 0.5, 0.9], ids="abc"),
        result(tmp_path, "ours", 0, [1.0, 0.2, 0.6], ids="cab"),
    ]
    _, ours = compared(results).of("segmentation", "jaccard")
    against = ours.against_baseline
    assert (against.low, against.high) == pytest.approx((0.1, 0.1))


def test_different_test_images_are_an_error(tmp_path):
    results = [result(tmp_path, "base", 0, [0.1], ids="a"), result(tmp_path, "ours", 0, [0.1], ids="b")]
    with pytest.raises(UserError, match="have different test images"):
        compared(results)


def test_incomplete_predictions_are_an_error_with_a_hint(tmp_path):
    broken = result(tmp_path, "base", 0, [0.1])
    broken.predictions.write_text("image_id,jaccard\na\n")
    with pytest.raises(UserError, match=f"delete {broken.directory} to repeat the run"):
        read_predictions(broken.predictions, ())


def test_class_predictions_are_read_by_class_with_the_scored_ones(tmp_path):
    file = tmp_path / "image_scores_knn.csv"
    file.write_text("image_id,label,mel,nv\nb,nv,0.25,0.75\na,mel,0.5,0.5\n")
    read = read_predictions(file, ("mel",))
    assert read.ids == ("a", "b")
    assert read.labels.tolist() == [0, 1]
    assert read.probabilities.tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert read.scored == (0,)


def test_groups_are_read_with_their_images(tmp_path):
    file = tmp_path / "image_scores.csv"
    file.write_text("image_id,group,label,mel,nv\nb,,nv,0.25,0.75\na,P1,mel,0.5,0.5\n")
    read = read_predictions(file, ())
    assert (read.ids, read.groups, read.labels.tolist()) == (("a", "b"), ("P1", ""), [0, 1])
    assert read.probabilities.tolist() == [[0.5, 0.5], [0.25, 0.75]]


@pytest.fixture
def small(tmp_path):
    generator = np.random.default_rng(0)
    return [
        result(tmp_path, name, seed, list(generator.uniform(0.3, 0.9, 8)), fraction=fraction)
        for name in ("base", "ours")
        for fraction in (0.05, 1.0)
        for seed in (0, 1, 2)
    ]


def test_tables_have_a_row_per_encoder_and_two_columns_per_fraction(small):
    text = markdown(compared(small))
    assert "| jaccard | 5% of labels | against base | 100% of labels | against base |\n| --- | ---: |" in text
    assert text.count("| base |") == text.count("| ours |") == 3  # scores
    console = Console(width=200)
    with console.capture() as capture:
        console.print(Markdown(text))
    assert capture.get().count(" ours ") == 3  # aligned columns, without the marks of Markdown
    assert "|" not in capture.get()
    ours = compared(small).of("segmentation", "jaccard")[1]
    assert "Mean ± standard deviation over 3 seeds; differences from base" in text
    assert f"| ours | {ours.mean:.3f} ± {ours.spread:.3f} | {ours.against_baseline.difference:+.3f} [" in text


def test_the_json_holds_every_score_of_every_seed(small, tmp_path):
    write_comparison(tmp_path / "comparison.json", compared(small))
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert (content["baseline"], content["level"], content["resamples"]) == ("base", 0.95, 1000)
    assert len(content["entries"]) == 2 * 2 * 3  # encoders, fractions, scores
    assert list(content["entries"][0]["values"]) == ["0", "1", "2"]


def test_the_csv_has_a_row_per_result_and_a_column_per_number(small, tmp_path):
    write_results_csv(tmp_path / "results.csv", small)
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(small)
    assert (rows[0]["encoder"], rows[0]["label_fraction"], rows[0]["score_name"]) == (
        "base",
        "0.05",
        "jaccard",
    )
    assert float(rows[0]["score"]) == float(rows[0]["jaccard"]) == small[0].values["jaccard"]


def test_score_against_labels_shows_means_and_spreads(small):
    entries = compared(small).of("segmentation", "jaccard")
    (panel,) = draw_against_labels(compared(small), ["segmentation"]).axes
    assert panel.get_title() == "segmentation"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["5%", "100%"]
    lines = [line for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]
    drawn = sorted(value for line in lines for value in line.get_ydata())
    assert drawn == pytest.approx(sorted(entry.mean for entry in entries))
