import csv
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from gravis_triton.comparison.grid import plan_runs, read_grid
from gravis_triton.settings.config import find_config

RECIPE = "compare.py"


@pytest.fixture
def compare(run_here):
    return lambda *flags: run_here(RECIPE, *map(str, flags))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison") / "run"


@pytest.fixture
def write_grid(cache, output, tmp_path):
    def write(**changes) -> Path:
        common = {"synthetic_images": 60, "image_size": 32, "num_workers": 0, "cache_dir": str(cache)}
        common["mixed_precision"] = "no"
        short = {"epochs": 1, "min_steps": 2, "batch_size": 8}
        values = {
            "output_dir": str(output),
            "encoders": {"floor": "color-histogram", "random": "random", "ours": {"loss": "gravis"}},
            "baseline": "random",
            "common": {**common, "val_fraction": 0.3},
            "pretrain": {"model": "test_resnet", "epochs": 1, "views": 2, "batch_size": 8},
            "tasks": {"evaluate": {}, "classification": short, "segmentation": short},
            "label_fractions": [1.0],
            "seeds": [0, 1],
        }
        file = tmp_path / "grid.yaml"
        text = yaml.safe_dump({**values, **changes}, sort_keys=False)
        file.write_text(text.replace("mixed_precision: 'no'", "mixed_precision: no"))  # as people write it
        return file

    return write


def rows(output):
    with (output / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_is_computed_from_pre_training_to_tables_and_figure(compare, write_grid, output):
    status, out, _ = compare(write_grid())
    assert status == 0
    assert f"16 runs, 16 to compute: {output}" in out
    assert "run 9 of 16: evaluate floor with 100% of the labels, seed 1" in out
    found = rows(output)
    assert len(found) == 2 * (2 * 3 + 2 + 2)  # knn and probe of three encoders, two tasks of two
    assert {row["task"] for row in found} == {"knn", "probe", "classification", "segmentation"}
    assert Image.open(output / "comparison.png").size[0] > 1000
    assert "| ours | " in (output / "comparison.md").read_text()
    assert "differences from random on the same images and seeds, with 95% bootstrap intervals" in out


def test_rows_have_the_scores_of_their_runs(output):
    for row in rows(output):
        summary = json.loads((Path(row["directory"]) / "summary.json").read_text())
        prefix = f"{row['task']}_" if row["task"] in ("knn", "probe") else ""
        assert float(row["score"]) == summary[prefix + row["score_name"]]
    names = {row["task"]: row["score_name"] for row in rows(output)}
    assert names == {
        "knn": "mean_auc",
        "probe": "mean_auc",
        "classification": "mean_auc",
        "segmentation": "jaccard",
    }


def test_means_and_differences_are_those_of_the_rows(output):
    by = {(row["task"], row["encoder"], row["seed"]): float(row["score"]) for row in rows(output)}
    entries = json.loads((output / "comparison.json").read_text())["entries"]
    main = [e for e in entries if e["score"] in ("mean_auc", "jaccard")]
    assert len(main) == 3 + 3 + 2 + 2
    for entry in main:
        scores = [by[entry["task"], entry["encoder"], seed] for seed in "01"]
        base = [by[entry["task"], "random", seed] for seed in "01"]
        assert entry["mean"] == pytest.approx(sum(scores) / 2)
        assert entry["spread"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
        against = entry["against_baseline"]
        if entry["encoder"] == "random":
            assert against is None
        else:
            assert against["difference"] == pytest.approx(sum(scores) / 2 - sum(base) / 2)
            assert against["low"] <= against["high"]


def test_encoder_and_tasks_of_a_seed_share_one_split(output):
    def part(directory, expected):
        with (output / directory / "split.csv").open(newline="") as file:
            return {row["image_id"] for row in csv.DictReader(file) if row["part"] == expected}

    for seed in (0, 1):
        tested = part(f"evaluate/ours-1-{seed}", "test")
        assert tested == part(f"segmentation/random-1-{seed}", "test")
        seen = json.loads((output / f"encoders/ours-{seed}/encoder/image_ids.json").read_text())
        assert tested
        assert not tested & set(seen)


def test_evaluation_and_fine_tuning_with_the_same_flags_learn_from_the_same_images(run_here, cache, tmp_path):
    flags = [
        "--model",
        "test_resnet",
        "--image-size",
        "32",
        "--synthetic-images",
        "60",
        "--num-workers",
        "0",
    ]
    flags += ["--cache-dir", str(cache), "--label-fraction", "0.3", "--split-seed", "3", "--seed", "1"]
    short = ["--epochs", "1", "--min-steps", "1", "--batch-size", "4"]
    for recipe, own in (("evaluate", []), ("finetune_classification", short)):
        status, _, err = run_here(f"{recipe}.py", *flags, *own, "--output-dir", str(tmp_path / recipe))
        assert status == 0, err

    evaluated, tuned = (
        [row for row in (tmp_path / recipe / "split.csv").read_text().splitlines() if ",train" in row]
        for recipe in ("evaluate", "finetune_classification")
    )
    assert 8 <= len(evaluated) <= 14  # 30% of the 37 training images
    assert evaluated == tuned


def test_a_finished_comparison_is_not_computed_again(compare, write_grid, output):
    before = (output / "comparison.json").read_text()
    status, out, _ = compare(write_grid())
    assert status == 0
    assert "16 runs, 0 to compute" in out
    assert (output / "comparison.json").read_text() == before


def test_only_missing_runs_are_computed(compare, write_grid, output):
    times = {file: file.stat().st_mtime_ns for file in output.glob("*/*/summary.json")}
    removed = output / "classification" / "ours-1-1" / "summary.json"
    removed.unlink()
    status, out, _ = compare(write_grid())
    assert status == 0
    assert "16 runs, 1 to compute" in out
    assert "run 1 of 1: classification ours with 100% of the labels, seed 1" in out
    changed = {file for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {removed}


def test_a_grid_that_contradicts_a_finished_run_is_an_error(compare, write_grid, output):
    changed = write_grid(pretrain={"model": "test_resnet", "epochs": 2, "views": 2, "batch_size": 8})
    status, _, err = compare(changed)
    assert status == 2
    assert err == (
        f"error: {output}/encoders/ours-0 was run with epochs 1, but the grid has 2: "
        "delete that directory or use another --output-dir\n"
    )


def test_a_failed_run_is_named_and_finished_ones_are_kept(compare, write_grid, tmp_path):
    (tmp_path / "empty").mkdir()
    encoders = {"random": "random", "lost": str(tmp_path / "empty")}
    grid = write_grid(encoders=encoders, tasks={"evaluate": {}}, seeds=[0])
    status, _, err = compare(grid, "--output-dir", tmp_path / "other")
    assert status == 2
    assert err.startswith("error: evaluate lost with 100% of the labels, seed 0: --encoder ")
    assert err.count("\n") == 1
    finished = tmp_path / "other" / "evaluate" / "random-1-0"
    assert (finished / "summary.json").is_file()
    (finished / "image_scores_knn.csv").unlink()  # a second error does not hide the first
    assert compare(grid, "--output-dir", tmp_path / "other")[2] == err
    assert [row["task"] for row in rows(tmp_path / "other")] == ["knn", "probe"]


def test_a_missing_data_directory_is_an_error_before_anything_runs(compare, write_grid, tmp_path):
    status, _, err = compare(write_grid(), "--data", tmp_path / "nowhere", "--output-dir", tmp_path / "other")
    assert status == 2
    assert "no such file or directory" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrain": {"rotation": None}}, "pretrain ours: rotation must be a number, not None"),
        ({"pretrain": {"epochs": -1}}, "pretrain ours: epochs must be at least 1, not -1"),
    ],
)
def test_a_wrong_value_is_an_error_with_the_file(compare, write_grid, tmp_path, changes, message):
    grid = write_grid(**changes)
    status, _, err = compare(grid, "--output-dir", tmp_path / "other")
    assert (status, err) == (2, f"error: {grid}: {message}\n")


def test_several_processes_share_every_run(launch, write_grid, tmp_path):
    short = {"epochs": 1, "min_steps": 2, "batch_size": 4}
    grid = write_grid(
        encoders={"ours": {"loss": "gravis"}},
        baseline="ours",
        tasks={"evaluate": {}, "classification": short},
        seeds=[0],
    )
    status, out, err = launch(RECIPE, str(grid), "--output-dir", str(tmp_path / "two"), processes=2).wait()
    assert status == 0, err
    assert out.count("run 3 of 3: classification ours") == 1  # one process speaks
    assert json.loads((tmp_path / "two/encoders/ours-0/summary.json").read_text())["processes"] == 2
    assert len(rows(tmp_path / "two")) == 3


@pytest.mark.parametrize(
    ("name", "baseline", "runs"),
    [
        ("compare-small", "random", 87),
        ("compare-synthetic", "random", 22),
        ("compare-budget", "simclr", 170),
        ("compare-budget-imagenet", "imagenet", 135),
        ("compare-ham10000-imagenet", "imagenet", 15),
        ("compare-attention", "uniform", 18),
        ("compare-length", "gravis", 6),
        ("compare-isic2017", "imagenet", 234),
        ("compare-peer", "lightly-train", 42),
        ("compare-views", "simclr", 60),
    ],
)
def test_shipped_grids_can_be_planned(name, baseline, runs):
    grid = read_grid(find_config(name))
    assert grid.baseline == baseline
    assert len(plan_runs(grid)) == runs
