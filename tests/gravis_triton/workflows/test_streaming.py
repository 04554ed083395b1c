import json

import pytest
import torch
from image_shards import write_parquet, write_tars
from safetensors.torch import load_file

RECIPE = "pretrain.py"


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    folder = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("GRAVIS_CACHE", folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", folder)  # of processes
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """90 images in four Parquet shards, one of them damaged, and twelve for validation."""
    folder = tmp_path_factory.mktemp("shards")
    write_parquet(folder, [23, 22, 23, 22], broken=[31])
    write_parquet(folder, [12], split="validation", first=100)
    return folder


@pytest.fixture
def flags(data):
    return (
        f"--data {data} --streaming --shuffle-buffer 7 --model test_resnet --image-size 32 --views 3 --batch-size 8 "
        "--epochs 2 --log-every 1 --num-workers 0"
    ).split()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Run directories of uninterrupted runs, filled by the first test that asks."""
    return tmp_path_factory.mktemp("uninterrupted")


def weights(run):
    return load_file(run / "encoder" / "model.safetensors")


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_resumed_within_an_epoch_by_other_workers_is_bit_identical(run_here, flags, uninterrupted, tmp_path):
    whole, resumed = uninterrupted / "0", tmp_path / "run"
    status, out, _ = run_here(RECIPE, *flags, "--output-dir", str(whole))
    assert status == 0
    assert "90 images streamed from 4 shards; 2 of 12 labeled validation images evaluated against the others" in out
    assert "11 steps per epoch" in out  # of 88 images
    assert run_here(RECIPE, *flags, "--output-dir", str(resumed), "--max-steps", "5")[0] == 0
    assert run_here(RECIPE, "--resume", str(resumed), "--max-steps", "None", "--num-workers", "1")[0] == 0
    assert_same_weights(whole, resumed)
    of_whole, of_resumed = (json.loads((run / "summary.json").read_text()) for run in (whole, resumed))
    for name in ("loss", "steps", "skipped", "knn_balanced_accuracy"):
        assert of_whole[name] == of_resumed[name]
    ids = [json.loads((run / "encoder" / "image_ids.json").read_text()) for run in (whole, resumed)]
    assert ids[0] == ids[1]


def test_the_images_read_and_skipped_are_reported_at_the_end(run_here, flags, tmp_path):
    run = tmp_path / "run"
    status, out, _ = run_here(RECIPE, *flags, "--epochs", "1", "--output-dir", str(run))
    assert status == 0
    assert "skipped: 1 unreadable images: image31 (not an image of a known format)" in out
    assert json.loads((run / "summary.json").read_text())["skipped"] == 1
    ids = json.loads((run / "encoder" / "image_ids.json").read_text())
    assert len(ids) == len(set(ids)) == 88
    assert "image31" not in ids


def test_a_killed_run_resumes_bit_identically(launch, run_here, flags, uninterrupted, tmp_path):
    run = tmp_path / "run"
    process = launch(RECIPE, *flags, "--output-dir", str(run))
    next(line for line in process.lines() if line.startswith("epoch 2/2  step 14"))
    process.kill()
    assert [path.name for path in (run / "checkpoints").glob("step-*")] == ["step-00000011"]
    assert run_here(RECIPE, *flags, "--output-dir", str(run), "--resume", "auto")[0] == 0
    whole = uninterrupted / "0"
    if not whole.exists():
        assert run_here(RECIPE, *flags, "--output-dir", str(whole))[0] == 0
    assert_same_weights(whole, run)


def test_two_processes_end_together_where_the_first_scores_more_images(launch, data, tmp_path):
    flags = (
        f"--data {data} --streaming --shuffle-buffer 5 --model test_resnet --image-size 32 --views 2 --batch-size 4 "
        f"--epochs 1 --num-workers 0 --eval-images 4 --output-dir {tmp_path / 'run'}"
    ).split()
    _, out, err = launch(RECIPE, *flags, processes=2).wait()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["processes"] == 2, err
    assert "pre-trained encoder, all images: kNN" in out


def test_two_processes_share_the_shards_and_end_together(launch, tmp_path):
    write_tars(tmp_path / "data", [25, 24, 26], broken=[5])
    flags = (
        f"--data hf:{tmp_path / 'data'} --streaming --shuffle-buffer 5 --model test_resnet --image-size 32 --views 2 "
        f"--batch-size 4 --epochs 2 --log-every 2 --num-workers 1 --output-dir {tmp_path / 'run'}"
    ).split()
    _, out, err = launch(RECIPE, *flags, processes=2).wait()
    assert "75 images streamed from 3 shards, each read by all 2 processes as they do not divide evenly" in out, err
    assert "no small labeled validation split, so no scores" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["processes"], summary["steps"], summary["skipped"]) == (
        2,
        18,
        1,
    )  # 36 images each, 9 steps
    ids = json.loads((tmp_path / "run" / "encoder" / "image_ids.json").read_text())
    assert 72 <= len(ids) == len(set(ids)) <= 74


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--batch-size", "500"], "90 images in 4 shards are fewer than one step needs"),
        (["--steps-per-epoch", "12"], "--steps-per-epoch 12: 90 images give at most 11 steps"),
        (["--data", "synthetic"], "--streaming cannot read synthetic"),
        (["--shuffle-buffer", "0"], "--shuffle-buffer must be at least 1, not 0"),
        (["--no-streaming", "--steps-per-epoch", "3"], "--steps-per-epoch has no effect without --streaming"),
    ],
)
def test_impossible_settings_are_one_line_and_status_2(run_here, flags, tmp_path, wrong, message):
    status, _, err = run_here(RECIPE, *flags, "--output-dir", str(tmp_path / "run"), *wrong)
    assert status == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line


def test_a_checkpoint_of_another_order_is_rejected(run_here, flags, tmp_path):
    run = tmp_path / "run"
    assert run_here(RECIPE, *flags, "--output-dir", str(run), "--max-steps", "2")[0] == 0
    status, _, err = run_here(RECIPE, "--resume", str(run), "--shuffle-buffer", "9", "--max-steps", "None")
    assert status == 2
    assert "resume with its original --data, --seed" in err
