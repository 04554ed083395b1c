"""Fine-tuning and prediction, run as a user does."""

import csv
import json
import signal

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import gravis_triton
from gravis_triton.data.synthetic.image import SYNTHETIC_CLASSES
from gravis_triton.models import build_encoder
from gravis_triton.workflows.finetune import BestWeights

RECIPES = {"classification": "finetune_classification.py", "segmentation": "finetune_segmentation.py"}
TASKS = tuple(RECIPES)


@pytest.fixture
def small(cache):
    """Flags that make a fine-tuning run small."""
    return (
        "--model test_resnet --image-size 32 --synthetic-images 60 --batch-size 8 --epochs 2 --min-steps 0 "
        f"--num-workers 0 --log-every 2 --cache-dir {cache}"
    ).split()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A directory for runs that several tests look at."""
    return tmp_path_factory.mktemp("finetuned")


@pytest.fixture
def finished_run(finished, run_here, small, with_figures):
    """A finished run of a task and what it printed."""

    def get(task: str):
        run = finished / task
        if not run.exists():
            status, out, err = run_here(RECIPES[task], *small, "--output-dir", str(run))
            assert status == 0, err
            (finished / f"{task}.txt").write_text(out)
        return run, (finished / f"{task}.txt").read_text()

    return get


def network(run):
    return load_file(run / "model" / "model.safetensors")


@pytest.mark.parametrize("task", TASKS)
def test_run_prints_data_and_test_scores(finished_run, task):
    run, out = finished_run(task)
    assert "encoder: test_resnet, random weights" in out
    assert "37 train, 11 validation, 12 test" in out
    assert "test (12 images):" in out
    assert f"gravis predict {run} IMAGES" in out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test_images"] == 12
    assert summary["steps"] == 8
    assert yaml.safe_load((run / "config.yaml").read_text())["model"] == "test_resnet"


def test_classification_writes_scores_submission_and_figures(finished_run):
    run, _ = finished_run("classification")
    rows = list(csv.DictReader((run / "image_scores.csv").open()))
    assert len(rows) == 12
    assert all(sum(float(row[name]) for name in SYNTHETIC_CLASSES) == pytest.approx(1, abs=1e-4) for row in rows)
    assert len((run / "submission.csv").read_text().splitlines()) == 13
    assert (run / "confusion.png").stat().st_size > 1000
    assert (run / "curves.png").stat().st_size > 1000
    assert (run / "cases.png").stat().st_size > 1000
    summary = json.loads((run / "summary.json").read_text())
    assert 0 <= summary["balanced_accuracy"] <= 1


def test_segmentation_writes_masks_in_the_challenge_format(finished_run):
    run, _ = finished_run("segmentation")
    rows = list(csv.DictReader((run / "image_scores.csv").open()))
    masks = sorted(path.name for path in (run / "masks").iterdir())
    assert masks == sorted(f"{row['image_id']}_segmentation.png" for row in rows)
    with Image.open(run / "masks" / masks[0]) as mask:
        assert mask.size == (256, 256)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["jaccard"] == pytest.approx(np.mean([float(row["jaccard"]) for row in rows]), rel=1e-6)
    assert (run / "cases.png").stat().st_size > 1000


@pytest.mark.parametrize("task", TASKS)
def test_test_images_are_in_no_other_split(finished_run, task):
    run, _ = finished_run(task)
    parts: dict[str, set[str]] = {}
    for row in csv.DictReader((run / "split.csv").open()):
        parts.setdefault(row["part"], set()).add(row["image_id"])
    assert set(parts) == {"train", "validation", "test"}
    assert not parts["test"] & (parts["train"] | parts["validation"])


@pytest.mark.parametrize("task", TASKS)
def test_resume_within_an_epoch_is_bit_identical(run_here, small, finished_run, tmp_path, task):
    whole, _ = finished_run(task)
    cut = tmp_path / "cut"
    assert run_here(RECIPES[task], *small, "--max-steps", "3", "--output-dir", str(cut))[0] == 0
    assert run_here(RECIPES[task], "--resume", str(cut), "--max-steps", "None")[0] == 0
    expected, found = network(whole), network(cut)
    assert all((found[name] == tensor).all() for name, tensor in expected.items())
    assert len(expected) == len(found)


@pytest.mark.parametrize("task", TASKS)
def test_training_options_work_together(run_here, small, tmp_path, task):
    few = ["--label-fraction", "0.3", "--min-steps", "6", "--patience", "1", "--eval-every", "1"]
    flags = [*few, "--layer-decay", "0.7", "--ema", "0.9", "--tta"]
    status, out, err = run_here(RECIPES[task], *small, *flags, "--output-dir", str(tmp_path / "run"))
    assert status == 0, err
    assert "label fraction: " in out
    assert " of 37 training images (" in out


def test_frozen_encoder_is_not_trained(run_here, small, finished_run, tmp_path):
    flags = ["--freeze-encoder", "--output-dir", str(tmp_path / "run")]
    assert run_here(RECIPES["classification"], *small, *flags)[0] == 0
    again = ["--freeze-encoder", "--lr", "1e-2", "--output-dir", str(tmp_path / "again")]
    assert run_here(RECIPES["classification"], *small, *again)[0] == 0
    first, second = network(tmp_path / "run"), network(tmp_path / "again")
    assert all((first[name] == second[name]).all() for name in first if name.startswith("encoder."))
    assert not (first["classifier.weight"] == second["classifier.weight"]).all()


def test_frozen_statistics_are_not_updated(run_here, small, tmp_path):
    means = {}
    for statistics in ("frozen", "batch"):
        run = tmp_path / statistics
        flags = ["--bn-statistics", statistics, "--output-dir", str(run)]
        assert run_here(RECIPES["classification"], *small, *flags)[0] == 0
        means[statistics] = network(run)["encoder.bn1.running_mean"]
    assert (means["frozen"] == 0).all()  # of random weights
    assert (means["batch"] != 0).all()


def test_pretrained_encoder_is_loaded_and_leakage_reported(run_here, tiny, small, tmp_path):
    assert run_here("pretrain.py", *tiny, "--max-steps", "1", "--output-dir", str(tmp_path / "pretrained"))[0] == 0
    encoder = tmp_path / "pretrained" / "encoder"
    kept = [flag for flag in small if flag not in ("--model", "test_resnet", "--image-size", "32")]
    status, out, err = run_here(
        RECIPES["classification"], *kept, "--encoder", str(encoder), "--output-dir", str(tmp_path / "same")
    )
    assert status == 0, err
    assert f"encoder: test_resnet from {encoder}, 90 of 90 encoder tensors loaded" in out
    assert "leakage: the encoder was pre-trained" not in out  # the same split keeps the test images out of pre-training
    status, out, err = run_here(
        RECIPES["classification"], *kept, "--encoder", str(encoder), "--split-seed", "5",
        "--output-dir", str(tmp_path / "other"),
    )  # fmt: skip
    assert status == 0, err
    assert "warning: leakage: the encoder was pre-trained on" in out


@pytest.mark.parametrize("task", TASKS)
def test_finished_run_predicts_new_images(run_here, finished_run, tmp_path, task):
    run, _ = finished_run(task)
    (tmp_path / "images").mkdir()
    for name, size in (("a", (70, 50)), ("b", (40, 40))):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / "images" / f"{name}.png")
    output = tmp_path / "predicted"
    status, out, err = run_here("predict.py", str(run), str(tmp_path / "images"), "--output-dir", str(output))
    assert status == 0, err
    assert "2 of 2 images predicted" in out
    expected = gravis_triton.load(run).predict(tmp_path / "images" / "a.png")
    if task == "segmentation":
        assert np.array_equal(np.asarray(Image.open(output / "a_segmentation.png")) > 128, expected)
    else:
        rows = list(csv.DictReader((output / "predictions.csv").open()))
        assert [row["image"] for row in rows] == ["a", "b"]
        assert (output / "submission.csv").read_text().startswith("image,melanoma,")
        assert float(rows[0]["melanoma"]) == pytest.approx(expected["melanoma"], rel=1e-4)


def test_unreadable_image_is_reported_and_skipped(run_here, finished_run, tmp_path):
    run, _ = finished_run("classification")
    (tmp_path / "broken.png").write_bytes(b"no")
    Image.new("RGB", (40, 40)).save(tmp_path / "whole.png")
    status, out, err = run_here("predict.py", str(run), str(tmp_path), "--output-dir", str(tmp_path / "out"))
    assert status == 1
    assert "1 of 2 images predicted" in out
    assert "broken.png: cannot be read as an image" in err


def test_two_processes_fine_tune_together(launch, small, tmp_path, with_pages):
    run = tmp_path / "run"
    flags = [*small, "--ema", "0.9", "--output-dir", str(run)]
    status, out, err = launch(RECIPES["classification"], *flags, processes=2).wait()
    assert status == 0, err
    assert "step: 8 images x 2 processes; 2 steps per epoch, 2 epochs" in out
    assert out.count("test (12 images):") == 1


def test_resume_after_sigterm_is_bit_identical(launch, run_here, small, finished_run, tmp_path):
    whole, _ = finished_run("classification")
    run = tmp_path / "run"
    process = launch(RECIPES["classification"], *small, "--log-every", "1", "--output-dir", str(run))
    next(line for line in process.lines() if "step 2" in line)
    process.send_signal(signal.SIGTERM)
    assert process.wait()[0] in (128 + signal.SIGTERM, 0)
    assert run_here(RECIPES["classification"], "--resume", str(run), "--log-every", "2")[0] == 0
    expected, found = network(whole), network(run)
    assert all((found[name] == tensor).all() for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("segmentation", ["--image-size", "40"], "--image-size 40: segmentation needs a multiple of 32"),
        ("segmentation", ["--model", "test_vit"], "--decoder unet does not work with test_vit"),
        ("classification", ["--opt", "sdg"], "unknown optimizer --opt sdg; did you mean sgd"),
        ("classification", ["--encoder", "nowhere"], "--encoder nowhere: no encoder found"),
        (
            "classification",
            ["--label-fraction", "0"],
            "--label-fraction must be above 0, not 0",
        ),
        ("classification", ["--ema", "1"], "--ema must be below 1, not 1"),
        ("classification", ["--freeze-encoder", "--layer-decay", "0.5"], "--layer-decay has no effect with"),
        (
            "classification",
            ["--freeze-encoder", "--bn-statistics", "batch"],
            "--bn-statistics batch has no effect with",
        ),
        ("classification", ["--data", "nowhere"], "nowhere: no such file or directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(run_here, small, tmp_path, monkeypatch, task, flags, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_here(RECIPES[task], *small, *flags)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_missing_masks_raise_with_the_expected_folder(run_here, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "ISIC-2017_Training_Data"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.effect_noise((48, 36), 60).convert("RGB").save(folder / f"ISIC_000000{number}.jpg")
    status, _, err = run_here(RECIPES["segmentation"], *small, "--data", str(tmp_path / "data"))
    assert status == 2
    assert (
        "ISIC 2017 has no image with a mask: expected ISIC_*_segmentation.png in ISIC-2017_Training_Part1_GroundTruth"
        in err
    )


@pytest.mark.parametrize(
    "change",
    [
        ["--split-seed", "7"],
        ["--label-fraction", "0.5"],
        ["--encoder", "imagenet"],
        ["--val-fraction", "0.3"],
    ],
)
def test_resume_on_other_images_raises(run_here, finished_run, monkeypatch, change):
    def other_weights(name: str, **_) -> torch.nn.Module:
        torch.manual_seed(1)
        return build_encoder(name, image_size=32)

    if change[0] == "--encoder":
        monkeypatch.setattr("gravis_triton.models.open.build_encoder", other_weights)
    run, _ = finished_run("classification")
    before = (run / "summary.json").read_text()
    status, _, err = run_here(RECIPES["classification"], "--resume", str(run), *change)
    assert status == 2
    assert "was written by a run" in err
    assert (run / "summary.json").read_text() == before


def test_training_on_a_single_labeled_image(run_here, small, tmp_path):
    folder = tmp_path / "data"
    for part, count in (("Training", 12), ("Validation", 3)):
        (folder / f"ISIC-2017_{part}_Data").mkdir(parents=True)
        (folder / f"ISIC-2017_{part}_Part1_GroundTruth").mkdir()
        for number in range(count):
            name = f"ISIC_{part[0] == 'T':d}00000{number:02}"
            noise = Image.effect_noise((64, 64), 60)
            noise.convert("RGB").save(folder / f"ISIC-2017_{part}_Data" / f"{name}.jpg")
            lesion = noise.point(lambda value: 255 * (value > 100))
            lesion.save(folder / f"ISIC-2017_{part}_Part1_GroundTruth" / f"{name}_segmentation.png")
    flags = ["--data", str(folder), "--label-fraction", "0.05", "--image-size", "64"]
    kept = [flag for flag in small if flag not in ("--image-size", "32")]
    status, out, err = run_here(RECIPES["segmentation"], *kept, *flags, "--output-dir", str(tmp_path / "run"))
    assert status == 0, err
    assert "label fraction: 1 of" in out


def test_batch_norm_on_a_single_image_raises(run_here, small, tmp_path):
    flags = ["--batch-size", "1", "--decoder", "deeplabv3plus", "--output-dir", str(tmp_path / "run")]
    status, _, err = run_here(RECIPES["segmentation"], *small, *flags)
    assert status == 2
    assert "BatchNorm cannot train on 1 image per step and process" in err


@pytest.mark.parametrize("task", TASKS)
def test_diverging_training_raises(run_here, small, tmp_path, task):
    flags = ["--lr", "1e30", "--log-every", "100", "--output-dir", str(tmp_path / "run")]
    status, _, err = run_here(RECIPES[task], *small, *flags)
    assert status == 2
    assert "lower --lr" in err
    assert len(err.strip().splitlines()) == 1


def test_best_weights_have_the_highest_score():
    network, best = nn.Linear(1, 1), BestWeights()
    kept = None
    for step, score in enumerate([0.5, 0.8, 0.7, 0.8], start=1):
        nn.init.constant_(network.weight, step)
        best.update(score, step, network)
        kept = best.weights["weight"].item()
    assert (best.score, best.step, best.validations_without_improvement, kept) == (0.8, 2, 2, 2.0)


def test_first_weights_are_kept_if_no_score_is_defined():
    network, best = nn.Linear(1, 1), BestWeights()
    best.update(float("nan"), 1, network)
    best.update(float("nan"), 2, network)
    assert "weight" in best.weights
    assert best.step == 1


def test_defined_score_replaces_an_undefined_one():
    network, best = nn.Linear(1, 1), BestWeights()
    best.update(float("nan"), 1, network)
    best.update(0.1, 2, network)
    best.update(float("nan"), 3, network)
    assert (best.score, best.step, best.validations_without_improvement) == (0.1, 2, 1)
