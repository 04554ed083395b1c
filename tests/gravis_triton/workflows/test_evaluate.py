import csv
import json

import pytest
import yaml
from PIL import Image

RECIPE = "evaluate.py"
CLASSES = ["melanoma", "seborrheic_keratosis", "nevus"]


@pytest.fixture
def small(cache):
    """Flags that make an evaluation small."""
    return [
        "--image-size",
        "32",
        "--synthetic-images",
        "60",
        "--num-workers",
        "0",
        "--cache-dir",
        str(cache),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory that an evaluation of random weights leaves, made by the first test."""
    return tmp_path_factory.mktemp("evaluated") / "run"


def table(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_evaluation_prints_images_hyperparameters_and_scores(run_here, small, finished, with_figures):
    status, out, err = run_here(RECIPE, *small, "--model", "test_resnet", "--output-dir", str(finished))
    assert status == 0, err
    assert "encoder: test_resnet, random weights" in out
    assert "images with a label: 37 train, 11 validation, 12 test" in out
    assert "linear probe (C = " in out
    assert "on 12 test images" in out
    assert f"scores, predictions, figures: {finished}" in out


def test_evaluation_writes_scores_settings_split_and_figures(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["training_images"], summary["validation_images"], summary["test_images"]) == (37, 11, 12)
    for method in ("knn", "probe"):
        assert 0 <= summary[f"{method}_mean_auc"] <= 1
        assert 0 <= summary[f"{method}_balanced_accuracy"] <= 1
        rows = table(finished / f"image_scores_{method}.csv")
        assert list(rows[0]) == ["image_id", "label", *CLASSES]
        assert len(rows) == 12
        assert all(abs(sum(float(row[name]) for name in CLASSES) - 1) < 1e-5 for row in rows)
        Image.open(finished / f"confusion_{method}.png").verify()
        Image.open(finished / f"curves_{method}.png").verify()
    assert summary["knn_neighbors"] in (1, 2, 5, 10, 20)
    split = table(finished / "split.csv")
    tested = {row["image_id"] for row in split if row["part"] == "test"}
    assert {row["image_id"] for row in table(finished / "image_scores_knn.csv")} == tested
    settings = yaml.safe_load((finished / "config.yaml").read_text())
    assert (settings["model"], settings["image_size"]) == ("test_resnet", 32)


def test_written_probabilities_give_the_written_score(finished):
    rows = table(finished / "image_scores_probe.csv")
    hits = {name: [] for name in CLASSES}
    for row in rows:
        hits[row["label"]].append(max(CLASSES, key=lambda name: float(row[name])) == row["label"])
    recalls = [sum(of_class) / len(of_class) for of_class in hits.values() if of_class]
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["probe_balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls))


def test_saved_config_repeats_the_evaluation(run_here, finished, tmp_path):
    flags = ["--config", str(finished / "config.yaml"), "--output-dir", str(tmp_path / "again")]
    assert run_here(RECIPE, *flags)[0] == 0
    for name in ("image_scores_knn.csv", "image_scores_probe.csv"):
        assert (tmp_path / "again" / name).read_text() == (finished / name).read_text()


def test_evaluation_of_color_histograms_with_few_labels(run_here, small, tmp_path):
    run = tmp_path / "run"
    flags = ["--encoder", "color-histogram", "--label-fraction", "0.2", "--tta", "--output-dir", str(run)]
    status, out, err = run_here(RECIPE, *small, *flags)
    assert status == 0, err
    assert "encoder: color histograms and a thumbnail, no learning" in out
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["encoder"], summary["architecture"]) == ("color-histogram", "color-histogram")
    assert summary["training_images"] < 15
    assert summary["test_images"] == 12  # as with all labels
    assert [row["part"] for row in table(run / "split.csv")].count("train") == summary["training_images"]


def test_evaluation_of_a_pretrained_encoder(run_here, tiny, small, finished, tmp_path):
    flags = [*tiny, "--max-steps", "2", "--output-dir", str(tmp_path / "pretrained")]
    assert run_here("pretrain.py", *flags)[0] == 0
    encoder = str(tmp_path / "pretrained" / "encoder")
    status, out, err = run_here(RECIPE, *small, "--encoder", encoder, "--output-dir", str(tmp_path / "evaluated"))
    assert status == 0, err
    assert "encoder tensors loaded" in out
    assert "the encoder was pre-trained on" not in out  # the test images are those that pre-training held out
    before, after = ((run / "image_scores_probe.csv").read_text() for run in (finished, tmp_path / "evaluated"))
    assert before != after
    assert before.count("\n") == after.count("\n")


def test_leakage_of_test_images_is_reported(run_here, tiny, small, tmp_path):
    flags = [*tiny, "--max-steps", "1", "--split-seed", "5", "--output-dir", str(tmp_path / "pretrained")]
    assert run_here("pretrain.py", *flags)[0] == 0
    status, out, err = run_here(
        RECIPE,
        *small,
        "--encoder",
        str(tmp_path / "pretrained" / "encoder"),
        "--output-dir",
        str(tmp_path / "evaluated"),
    )
    assert status == 0, err
    assert "warning: leakage: the encoder was pre-trained on" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--encoder", "color-histogram", "--model", "resnet50"],
            "--model resnet50 has no effect on --encoder",
        ),
        (["--encoder", "no/such/run"], "--encoder no/such/run: no encoder found"),
        (["--model", "resnet-18"], "unknown model 'resnet-18'"),
        (["--label-fraction", "0"], "--label-fraction must be above 0, not 0"),
        (["--data", "no/such/place", "--model", "test_resnet"], "no/such/place: no such file or directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(run_here, small, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_here(RECIPE, *small, *flags)
    assert status == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_evaluation_without_labels_raises(run_here, small, tmp_path):
    for number in range(4):
        Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / f"{number}.jpg")
    status, _, err = run_here(RECIPE, *small, "--data", str(tmp_path), "--encoder", "color-histogram")
    assert status == 2
    assert "has no image with a label" in err


@pytest.fixture
def table_of_images(tmp_path):
    """Sixty noisy images in a table, 28 of them for the test: red ones are malignant, every other one is of a man."""
    lines = ["image,label,sex,age,split"]
    (tmp_path / "data").mkdir()
    for number in range(60):
        malignant, sex = number // 2 % 2, ("female", "male")[number % 2]
        split = "test" if number < 28 else "train"
        image = Image.effect_noise((40, 40), 90).convert("RGB")
        red = Image.new("RGB", (40, 40), (200 if malignant else 60, 60, 60))
        Image.blend(image, red, 0.5).save(tmp_path / "data" / f"{number}.png")
        lines.append(f"{number}.png,{('benign', 'malignant')[malignant]},{sex},{20 + number // 2},{split}")
    (tmp_path / "data" / "table.csv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "data")


def test_scores_by_subgroup_are_in_the_summary_and_on_the_page(with_pages, run_here, small, table_of_images, tmp_path):
    run = tmp_path / "run"
    flags = ["--data", table_of_images, "--encoder", "color-histogram"]
    status, out, err = run_here("evaluate.py", *small, *flags, "--by", "sex,age", "--output-dir", str(run))
    assert status == 0, err
    assert "probe mean AUC by sex: female 1.000, male 1.000" in out
    subgroups = json.loads((run / "summary.json").read_text())["probe_subgroups"]
    by_sex = [one for one in subgroups if one["column"] == "sex"]
    assert [one["images"] for one in by_sex] == [14, 14]
    assert by_sex[0]["scores"]["mean_auc"] == [1.0, 1.0, 1.0]
    assert {one["cut"] for one in subgroups if one["column"] == "age"} == {"decades"}
    page = (run / "report.html").read_text()
    assert "Scores by sex, with 95% CI" in page
    assert "Scores by age (decades), with 95% CI" in page
    assert "too few" in page


def test_subgroups_by_an_unknown_column_stop_before_anything_is_decoded(run_here, small, table_of_images, tmp_path):
    flags = ["--data", table_of_images, "--encoder", "color-histogram", "--by", "skin_tone"]
    status, _, err = run_here("evaluate.py", *small, *flags, "--output-dir", str(tmp_path / "run"))
    assert status == 2
    assert "error: --by skin_tone: no table in" in err
    assert not (tmp_path / "run").exists()


def test_another_dataset_is_the_test_set(run_here, small, tmp_path):
    lines = ["image,kind,sex"]
    (tmp_path / "other").mkdir()
    for number in range(8):
        Image.effect_noise((40, 30), 10 + number).save(tmp_path / "other" / f"{number}.jpg")
        lines.append(f"{number},{('melanoma', 'nevus')[number % 2]},{('female', 'male')[number % 2]}")
    (tmp_path / "other" / "table.csv").write_text("\n".join(lines) + "\n")
    flags = ["--encoder", "color-histogram", "--test-data", str(tmp_path / "other"), "--by", "sex"]
    flags += ["--test-columns", "label=kind"]
    status, out, err = run_here(RECIPE, *small, *flags, "--output-dir", str(tmp_path / "run"))
    assert status == 0, err
    assert "data: synthetic, tested on other, 68 images" in out
    assert "images with a label: 48 train, 12 validation, 8 test" in out
    assert "female too few (4), male too few (4)" in out  # the subgroups are those of the test images


def test_an_error_in_the_other_dataset_names_its_own_flags(run_here, small, tmp_path):
    Image.effect_noise((40, 30), 10).save(tmp_path / "0.jpg")
    (tmp_path / "table.csv").write_text("photo,kind\n0,nevus\n")
    flags = ["--encoder", "color-histogram", "--test-data", str(tmp_path)]
    status, _, err = run_here(RECIPE, *small, *flags, "--output-dir", str(tmp_path / "run"))
    assert status == 2
    assert "error: --test-data: " in err
    assert "here: --test-columns image=photo" in err
