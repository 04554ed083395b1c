import json
import re
import signal

import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

RECIPE = "pretrain.py"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def finished(run_here, tiny, shared):
    """The directory of an uninterrupted run, which the first test that asks for it computes."""
    if not (shared / "stdout.txt").exists():
        status, out, err = run_here(RECIPE, *tiny, "--output-dir", str(shared / "run"))
        assert status == 0, err
        (shared / "stdout.txt").write_text(out)
    return shared / "run"


def test_a_run_ends_with_scores_and_paths(finished):
    out = (finished.parent / "stdout.txt").read_text()
    assert "step: 8 images x 3 views x 1 process = 24 views of 32 px; 6 steps per epoch, 2 epochs" in out
    assert "48 for pre-training, 12 for validation" in out
    assert "untrained -> pre-trained: balanced accuracy" in out
    assert f"encoder: {finished}/encoder" in out
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 6  # every second of twelve steps
    for name in (
        "loss",
        "lr",
        "images/s",
        "views/s",
        "data time",
        "similarity/positives",
        "similarity/negatives",
        "active triplets",
        "attention entropy",
        "eta",
    ):
        assert f" {name} " in lines[-1]


def test_the_run_directory_holds_settings_metrics_summary_picture_and_encoder(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["steps"] == 12
    assert 0 < summary["knn_balanced_accuracy_untrained"] < 1
    assert 0 < summary["knn_balanced_accuracy"] < 1
    assert summary["views_per_second"] > 0
    assert summary["seconds"] > 0
    metrics = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [m["step"] for m in metrics if "loss" in m] == [2, 4, 6, 8, 10, 12]
    assert [m["step"] for m in metrics if "knn_mean_auc" in m] == [0, 12]
    assert summary["loss"] == metrics[-2]["loss"]
    settings = yaml.safe_load((finished / "config.yaml").read_text())
    assert (settings["views"], settings["image_size"], settings["cache_size"]) == (3, 32, 48)
    picture = Image.open(finished / "views.png")
    assert picture.size == (4 * 130 + 2, 8 * 130 + 2)  # a source and three views in each of eight rows
    encoder = timm.create_model(f"local-dir:{finished / 'encoder'}", pretrained=True)
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, encoder.head_hidden_size)
    assert len(json.loads((finished / "encoder" / "image_ids.json").read_text())) == 48


def weights(run):
    return load_file(run / "encoder" / "model.safetensors")


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_saved_config_repeats_the_run_bit_for_bit(run_here, finished, tmp_path):
    status, _, _ = run_here(RECIPE, "--config", str(finished / "config.yaml"), "--output-dir", str(tmp_path / "again"))
    assert status == 0
    assert_same_weights(finished, tmp_path / "again")


def test_a_run_resumed_in_the_middle_of_an_epoch_ends_with_the_same_bits(run_here, tiny, finished, tmp_path):
    run = tmp_path / "run"
    assert run_here(RECIPE, *tiny, "--output-dir", str(run), "--max-steps", "4")[0] == 0
    status, _, _ = run_here(RECIPE, "--resume", str(run), "--max-steps", "None")
    assert status == 0
    assert_same_weights(finished, run)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 2, 4, 4, 6, 8, 10, 12, 12]  # metrics every second step; scores at 0, 4 and 12


def test_a_run_is_not_resumed_on_another_split(run_here, finished):
    status, _, err = run_here(RECIPE, "--resume", str(finished), "--split-seed", "9")
    assert status == 2
    assert "was written by a run on different images" in err


def test_a_terminated_run_saves_itself_and_resumes_to_the_same_bits(launch, run_here, tiny, finished, tmp_path):
    run = tmp_path / "run"
    process = launch(RECIPE, *tiny, "--output-dir", str(run))
    next(line for line in process.lines() if line.startswith("epoch 1/2  step 2"))
    process.send_signal(signal.SIGTERM)
    assert process.wait()[0] == 128 + signal.SIGTERM
    stopped_at = max(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())
    assert 2 <= stopped_at < 12
    status, _, _ = run_here(RECIPE, *tiny, "--output-dir", str(run), "--resume", "auto")
    assert status == 0
    assert_same_weights(finished, run)


def test_two_processes_share_the_batch_and_only_the_first_prints(launch, tiny, tmp_path, with_pages):
    flags = [*tiny, "--batch-size", "4", "--epochs", "1", "--output-dir", str(tmp_path / "run")]
    _, out, err = launch(RECIPE, *flags, processes=2).wait()
    assert out.count("step: 4 images x 3 views x 2 processes = 24 views of 32 px; 6 steps per epoch") == 1, err
    assert out.count("done: 6 steps") == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["processes"], summary["steps"]) == (2, 6)


def test_a_directory_that_holds_a_run_is_refused_without_a_flag(run_here, tiny, finished):
    before = (finished / "summary.json").read_text()
    status, _, err = run_here(RECIPE, *tiny, "--output-dir", str(finished))
    assert status == 2
    assert err.strip().splitlines()[-1].startswith(f"error: {finished} is not empty: use --resume auto")
    assert (finished / "summary.json").read_text() == before


def test_overwrite_empties_a_run_but_nothing_else(run_here, tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    status, _, err = run_here(RECIPE, *tiny, "--output-dir", str(tmp_path), "--overwrite")
    assert status == 2
    assert "contains files but no run" in err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_images_without_labels_train_without_scores(run_here, tiny, tmp_path):
    for i in range(10):
        Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / f"{i}.jpg")
    (tmp_path / "3.jpg").write_bytes((tmp_path / "3.jpg").read_bytes()[:300])
    (tmp_path / "3.jpg").rename(tmp_path / "half.jpg")
    for i in range(10, 30):
        Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / f"{i}.jpg")
    flags = [*tiny, "--data", str(tmp_path), "--max-steps", "1", "--output-dir", str(tmp_path / "run")]
    status, out, _ = run_here(RECIPE, *flags)
    assert status == 0
    assert "29 images, no labels; 29 for pre-training, 0 for validation" in out
    assert "skipped: 1 unreadable images: half" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["knn_balanced_accuracy"] is None
    assert summary["skipped"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "no/such/place"], "no/such/place: no such file or directory"),
        (
            ["--batch-size", "500"],
            "48 images are fewer than one step needs (500 per process x 1 processes)",
        ),
        (["--batch-size", "1"], "a batch of one image has no negatives"),
        (["--model", "resnet-18"], "unknown model 'resnet-18'; did you mean resnet18"),
        (["--model", "vit_tiny_patch16_224", "--image-size", "8"], "does not support --image-size 8"),
        (["--views", "1"], "--views must be at least 2, not 1"),
        (["--loss", "nt-xent", "--margin", "1"], "unknown flag --margin"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
        (["--opt", "sdg"], "unknown optimizer --opt sdg; did you mean sgd"),
        (["--resume", "nowhere"], "--resume nowhere: there is no such run or checkpoint"),
        (["--resume", "auto"], "--resume auto needs --output-dir"),
        (["--tracker", "nonesuch"], "unknown --tracker nonesuch; known: "),
        (["--opt", "sgd", "--lr", "1e30"], "the loss is nan at step"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(run_here, tiny, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_here(RECIPE, *tiny, *flags)
    assert status == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in err


def test_python_gives_the_same_encoder_as_the_command_line(finished, cache, tmp_path):
    import gravis_triton as gt

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = {
        "model": "test_resnet", "image_size": 32, "synthetic_images": 60, "views": 3, "batch_size": 8, "num_workers": 0,
        "log_every": 2, "cache_dir": cache,
    }  # fmt: skip
    try:
        result = gt.pretrain(**settings, epochs=2, output_dir=tmp_path / "run")
        again = gt.evaluate(
            encoder=result.encoder,
            synthetic_images=60,
            num_workers=0,
            cache_dir=cache,
            output_dir=tmp_path / "eval",
        )
    finally:
        torch.set_num_threads(threads)
    assert_same_weights(finished, result.directory)
    assert result.summary.steps == 12
    assert again.probe.images == 12


def test_pre_training_starts_from_another_runs_encoder_and_ends_after_the_views_it_was_given(
    run_here, tiny, finished, tmp_path
):
    flags = [*tiny[4:10], *tiny[12:]]  # without model, image size and epochs
    assert not {"--model", "--image-size", "--epochs"} & set(flags)
    status, out, _ = run_here(
        RECIPE,
        *flags,
        "--encoder",
        str(finished),
        "--total-views",
        "200",
        "--output-dir",
        str(tmp_path / "run"),
    )
    assert status == 0
    assert f"encoder: test_resnet from {finished}" in out
    assert "24 views of 32 px; 6 steps per epoch, 1.3 epochs" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["steps"] == 8  # 200 / 24 views, rounded
    # the untrained scores are those of the encoder it starts from
    before = json.loads((finished / "summary.json").read_text())
    assert summary["knn_mean_auc_untrained"] == pytest.approx(before["knn_mean_auc"])


def test_scores_while_training_are_of_a_sample_and_the_last_ones_of_all_images(tiny, run_here, tmp_path):
    run = tmp_path / "run"
    status, out, _ = run_here(RECIPE, *tiny, "--eval-images", "4", "--max-steps", "2", "--output-dir", str(run))
    assert status == 0
    assert "untrained encoder: kNN" in out
    sampled = int(re.search(r"untrained encoder: .* on (\d+) validation images", out)[1])
    assert sampled < 12  # about four, every class among them
    assert "pre-trained encoder, all images: kNN" in out
    summary = json.loads((run / "summary.json").read_text())
    assert summary["validation_images"] == 12
    assert "on 12 validation images" in out
    assert 0 <= summary["knn_all_balanced_accuracy"] <= 1
    assert summary["knn_balanced_accuracy_untrained"] is not None


def test_no_evaluate_trains_without_scores(tiny, run_here, tmp_path):
    run = tmp_path / "run"
    status, out, _ = run_here(RECIPE, *tiny, "--no-evaluate", "--max-steps", "2", "--output-dir", str(run))
    assert status == 0
    assert "kNN" not in out
    assert json.loads((run / "summary.json").read_text())["knn_mean_auc"] is None
    status, _, err = run_here(RECIPE, *tiny, "--no-evaluate", "--eval-every", "1")
    assert (status, err.count("\n")) == (2, 1)
    assert "--eval-every has no effect with --no-evaluate" in err


@pytest.mark.parametrize(
    "flag",
    [
        "--views 1000000000000000000", "--num-workers 1000000000000000000", "--blur-sigma 1e6", "--brightness 1e308",
        "--cutout-holes 1000000000", "--cache-size 10000000", "--grad-cache-chunk 1", "--seed 9000000000000000000",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_before_anything_runs(tiny, run_here, flag):
    status, _, err = run_here(RECIPE, *tiny, *flag.split())
    assert (status, err.count("\n")) == (2, 1)
    assert f"{flag.split()[0]} must be at" in err


def test_a_score_that_a_kill_cut_off_is_taken_again_and_a_finished_run_adds_nothing(tiny, run_here, tmp_path):
    run = tmp_path / "run"
    flags = [*tiny, "--eval-every", "1", "--output-dir", str(run)]
    assert run_here(RECIPE, *flags, "--max-steps", "6")[0] == 0
    metrics = run / "metrics.jsonl"
    whole = metrics.read_text()
    cut = [line for line in whole.splitlines(keepends=True) if not ("knn" in line and '"step": 6' in line)]
    metrics.write_text("".join(cut))
    for steps in ("6", "12", "12"):
        assert run_here(RECIPE, *flags, "--max-steps", steps, "--resume", "auto")[0] == 0
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in lines if "knn_mean_auc" in line] == [0, 6, 12]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8, 10, 12]


def test_a_finished_run_without_metrics_stays_without(tiny, run_here, tmp_path):
    run = tmp_path / "run"
    flags = [*tiny, "--output-dir", str(run), "--max-steps", "4"]
    assert run_here(RECIPE, *flags)[0] == 0
    (run / "metrics.jsonl").write_text("")
    status, out, err = run_here(RECIPE, *flags, "--resume", "auto")
    assert (status, err) == (0, "")
    assert "loss unknown" in out
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["loss"], summary["knn_mean_auc_untrained"]) == (None, None)
