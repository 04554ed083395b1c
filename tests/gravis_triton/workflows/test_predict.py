"""Predictions of many images."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import gravis_triton as gt
from gravis_triton.inference import image_table
from gravis_triton.inference.saved_model import save_predictor
from gravis_triton.models import Preprocessing, build_encoder
from gravis_triton.tasks.classification import Classifier, ClassPredictor
from gravis_triton.tasks.segmentation import MaskPredictor, Segmenter
from gravis_triton.workflows import predict as workflow

CLASSES = ("melanoma", "nevus")


@pytest.fixture
def images(tmp_path):
    """20 images of many sizes."""
    (tmp_path / "images").mkdir()
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (60, 50 + index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index:02}.png")
    return tmp_path / "images"


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    network = Classifier(encoder, classes=2)
    predictor = ClassPredictor(network, preprocess=preprocess, classes=CLASSES, data_set="images")
    save_predictor(predictor, tmp_path / "classifier")
    return tmp_path / "classifier"


@pytest.fixture
def segmenter(tmp_path):
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    network = Segmenter(encoder, decoder="unet", image_size=32)
    predictor = MaskPredictor(network, preprocess=preprocess)
    save_predictor(predictor, tmp_path / "segmenter")
    return tmp_path / "segmenter"


def predict(model, images, output, **settings):
    given = {"num_workers": 0, "batch_size": 4, **settings}
    return gt.predict(model=str(model), images=(str(images),), output_dir=output, **given)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_overwrite_removes_earlier_masks(segmenter, images, tmp_path, kind):
    predict(segmenter, images, tmp_path / "out", format=kind)
    (tmp_path / "out" / "notes.png").touch()
    for index in range(18):
        (images / f"{index:02}.png").unlink()
    predict(segmenter, images, tmp_path / "out", format=kind, overwrite=True)
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == [
        "18_segmentation.png", "19_segmentation.png", "notes.png",
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_batched_probabilities_equal_single_ones(classifier, images, tmp_path, workers):
    result = predict(classifier, images, tmp_path / "out", num_workers=workers)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open()))
    assert [row["image"] for row in rows] == [f"{index:02}" for index in range(20)]
    predictor = gt.load(classifier)
    for row in rows:
        single = predictor.predict(row["path"])
        assert [float(row[name]) for name in CLASSES] == pytest.approx(list(single.values()), rel=1e-4)
    assert result.table["image"].to_pylist() == [row["image"] for row in rows]
    assert len((tmp_path / "out" / "submission.csv").read_text().splitlines()) == 21


def test_batched_masks_equal_single_ones(segmenter, images, tmp_path):
    table = predict(segmenter, images, tmp_path / "out").table.to_pandas()
    predictor = gt.load(segmenter)
    for row in table.itertuples():
        mask = np.asarray(Image.open(tmp_path / "out" / row.mask)) > 128
        assert (mask == predictor.predict(row.path)).mean() > 0.99  # sums in another order
        assert row.lesion_fraction == pytest.approx(mask.mean(), abs=1e-5)


def test_predictions_as_parquet(classifier, images, tmp_path):
    result = predict(classifier, images, tmp_path / "out", format="parquet")
    assert pq.read_table(tmp_path / "out" / "predictions.parquet").equals(result.table)


def test_overwrite_is_required(classifier, images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("mine")
    with pytest.raises(gt.UserError, match="is not empty: use --overwrite, or another --output-dir"):
        predict(classifier, images, tmp_path / "out")
    assert (tmp_path / "out" / "predictions.csv").read_text() == "mine"
    assert len(predict(classifier, images, tmp_path / "out", overwrite=True).table) == 20


def test_interrupted_job_resumes(classifier, images, tmp_path, monkeypatch):
    monkeypatch.setattr(image_table, "_PART_ROWS", 8)
    uninterrupted = predict(classifier, images, tmp_path / "whole").table
    original, predicted, stop_before = workflow.predicted_rows, [], {"12"}

    def rows(predictor, files, *arguments):
        if stop_before & {file.stem for file in files}:
            raise KeyboardInterrupt
        predicted.extend(int(file.stem) for file in files)
        return original(predictor, files, *arguments)

    monkeypatch.setattr(workflow, "predicted_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        predict(classifier, images, tmp_path / "out")
    predicted.clear()
    stop_before.clear()
    assert predict(classifier, images, tmp_path / "out").table.equals(uninterrupted)
    assert predicted == list(range(8, 20))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_finished_predictions_are_not_recomputed(classifier, images, tmp_path, monkeypatch, kind):
    first = predict(classifier, images, tmp_path / "out", format=kind).table
    (tmp_path / "out" / "submission.csv").unlink()  # a kill came before it
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "predicted_rows", None)
        assert predict(classifier, images, tmp_path / "out", format=kind).table.equals(first)
    assert (tmp_path / "out" / "submission.csv").is_file()
    file = tmp_path / "out" / f"predictions.{kind}"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(gt.UserError, match="is not empty: use --overwrite"):
        predict(classifier, images, tmp_path / "out", format=kind)
    assert predict(classifier, images, tmp_path / "out", format=kind, overwrite=True).table.equals(first)


def test_deleted_masks_are_reported(segmenter, images, tmp_path):
    predict(segmenter, images, tmp_path / "out")
    (tmp_path / "out" / "03_segmentation.png").unlink()
    with pytest.raises(gt.UserError, match=r"1 of 20 masks are missing, e.g. 03_segmentation.png: use"):
        predict(segmenter, images, tmp_path / "out")
    predict(segmenter, images, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "03_segmentation.png").is_file()


def test_kill_before_cleanup_loses_nothing(classifier, images, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("gravis_triton.inference.image_table.shutil.rmtree", None)
        with pytest.raises(TypeError):
            predict(classifier, images, tmp_path / "out")
    again = predict(classifier, images, tmp_path / "out").table
    assert not list((tmp_path / "out").glob(".predictions.csv-*"))
    assert again.equals(predict(classifier, images, tmp_path / "other").table)


def test_unreadable_images_are_skipped(segmenter, images, tmp_path, capsys):
    for file in sorted(images.iterdir())[:5]:
        file.write_bytes(b"no")
    result = predict(segmenter, images, tmp_path / "out")
    assert [file.name for file in result.skipped] == [f"0{index}.png" for index in range(5)]
    assert len(result.table) == len(list((tmp_path / "out").glob("*_segmentation.png"))) == 15
    assert capsys.readouterr().err.count("cannot be read as an image") == 5


def test_two_processes_predict_the_same(classifier, images, tmp_path, launch):
    one = predict(classifier, images, tmp_path / "one").table
    flags = [str(classifier), str(images), "--output-dir", str(tmp_path / "two"), "--num-workers", "0"]
    status, _, err = launch("predict.py", *flags, processes=2).wait()
    assert status == 0, err
    rows = list(csv.DictReader((tmp_path / "two" / "predictions.csv").open()))
    assert [row["image"] for row in rows] == one["image"].to_pylist()
    assert [float(row["nevus"]) for row in rows] == pytest.approx(one["nevus"].to_pylist(), rel=1e-4)
