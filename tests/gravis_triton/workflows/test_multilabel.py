"""Evaluation and fine-tuning on a table in which images have several classes."""

import json

import pytest
from PIL import Image

import gravis_triton
from gravis_triton.comparison.results import read_predictions
from gravis_triton.run_directory import RunDirectory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Red images are melanoma, dark ones have hair; ink is on images of the training set only."""
    folder = tmp_path_factory.mktemp("several")
    lines = ["image,melanoma,hair,ink,split"]
    for number in range(48):
        melanoma, hair, test = number % 2, number // 2 % 2, number % 3 == 0
        noise = Image.effect_noise((40, 40), 60).convert("RGB")
        color = Image.new("RGB", (40, 40), (200 if melanoma else 20, 20 if hair else 200, 60))
        Image.blend(noise, color, 0.6).save(folder / f"{number}.png")
        lines.append(f"{number},{melanoma},{hair},{int(not test and number % 5 == 0)},{'test' if test else 'train'}")
    (folder / "table.csv").write_text("\n".join(lines))
    return ["--data", str(folder), "--columns", "labels=melanoma+hair+ink"]


def test_evaluation_scores_every_class(data, with_pages, run_here, cache, tmp_path):
    run = tmp_path / "run"
    flags = ["--encoder", "color-histogram", "--image-size", "32", "--num-workers", "0", "--cache-dir", str(cache)]
    status, out, err = run_here("evaluate.py", *data, *flags, "--output-dir", str(run))
    assert status == 0, err
    assert "warning: no test image of ink, which the mean AUC leaves out" in out
    assert "linear probe (a C for each class): mean AUC 1.000" in out
    assert "AUC: melanoma 1.000, hair 1.000, ink nan" in out
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["probe_auc_hair"], summary["probe_auc_ink"], summary["probe_mean_auc"]) == (1.0, None, 1.0)
    assert len(summary["probe_inverse_penalty"]) == 3
    predictions = read_predictions(RunDirectory(run).predictions("image_scores.csv", "probe"), ())
    of_image = dict(zip(predictions.ids, predictions.labels.tolist(), strict=True))
    assert (of_image["0.png"], of_image["3.png"], of_image["6.png"]) == ([0, 0, 0], [1, 1, 0], [0, 1, 0])
    assert not (run / "confusion_probe.png").exists()
    page = (run / "report.html").read_text()
    assert "left out of the means, as all or no test images are of them: ink" in page
    assert "lowest probability of a correct decision" in page


def test_fine_tuned_network_predicts_each_class_by_itself(data, with_figures, run_here, cache, tmp_path):
    run = tmp_path / "run"
    flags = (
        "--model test_resnet --image-size 32 --epochs 1 --min-steps 2 --batch-size 16 --num-workers 0 "
        f"--class-loss focal --oversample 0.4 --label-fraction 0.8 --cache-dir {cache}"
    ).split()
    status, out, err = run_here("finetune-classification", *data, *flags, "--output-dir", str(run))
    assert status == 0, err
    assert "label fraction: " in out
    assert "repeated images of rare classes" in out
    assert "AUC melanoma" in out
    predictor = gravis_triton.load(run)
    p = predictor.predict(Image.new("RGB", (40, 40), (200, 200, 60)))
    assert list(p) == ["melanoma", "hair", "ink"]
    assert sum(p.values()) != pytest.approx(1.0, abs=1e-3)
    scores = json.loads((run / "summary.json").read_text())
    assert scores["mean_auc"] == pytest.approx((scores["auc_melanoma"] + scores["auc_hair"]) / 2)
