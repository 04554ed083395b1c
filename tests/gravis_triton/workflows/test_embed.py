"""Features of images as a table."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import gravis_triton as gt
from gravis_triton.data import ImageFile, Record, cached_images
from gravis_triton.evaluation.features import extract_features
from gravis_triton.inference import image_table
from gravis_triton.models import build_encoder, open_encoder, save_encoder
from gravis_triton.workflows import embed as workflow


@pytest.fixture
def images(tmp_path):
    """20 images in two folders, one a class."""
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (60, 50 + index, 3), dtype=np.uint8)
        folder = tmp_path / "images" / ("nevus" if index % 2 else "melanoma")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return tmp_path / "images"


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    save_encoder(build_encoder("test_resnet", image_size=32), tmp_path / "encoder", image_size=32)
    return tmp_path / "encoder"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(image_table, "_PART_ROWS", 8)


def embed(encoder, data, output, **settings):
    return gt.embed(encoder=encoder, data=data, output=output, num_workers=0, batch_size=4, **settings)


def test_embedding_has_metadata_and_features_of_each_image(images, encoder, tmp_path):
    result = embed(encoder, images, tmp_path / "features.parquet")
    table = result.table.to_pandas()
    assert len(table) == 20
    assert sorted(table["path"]) == sorted(map(str, images.rglob("*.png")))
    assert all(path.split("/")[-2] == label for path, label in zip(table["path"], table["label"], strict=True))
    records = [Record(row.id, ImageFile(Path(row.path))) for row in table.itertuples()]
    cached = cached_images(records, short_side=48, directory=tmp_path / "cache", workers=0)
    network = open_encoder(str(encoder), model=None, image_size=None, default_size=32).encoder
    expected = extract_features(network, cached, range(20), size=32, device=torch.device("cpu"))
    assert result.features == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-5)


def test_features_in_half_precision(images, encoder, tmp_path):
    whole = embed(encoder, images, tmp_path / "32.parquet").features
    half = embed(encoder, images, tmp_path / "16.parquet", dtype="float16").features
    assert (whole.dtype, half.dtype) == (np.float32, np.float16)
    assert half == pytest.approx(whole, rel=2e-3, abs=1e-3)


def test_interrupted_job_resumes(images, encoder, tmp_path, monkeypatch, small_parts):
    uninterrupted = embed(encoder, images, tmp_path / "whole.parquet").table
    original, encoded, stop_before = workflow.feature_rows, [], {12}  # in the second of three parts

    def rows(encoder, collection, indices, *arguments, **settings):
        if stop_before & set(indices):
            raise KeyboardInterrupt
        encoded.extend(indices)
        return original(encoder, collection, indices, *arguments, **settings)

    monkeypatch.setattr(workflow, "feature_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, images, tmp_path / "features.parquet")
    assert not (tmp_path / "features.parquet").exists()
    encoded.clear()
    stop_before.clear()
    assert embed(encoder, images, tmp_path / "features.parquet").table.equals(uninterrupted)
    assert encoded == list(range(8, 20))
    assert not list(tmp_path.glob(".features*"))


def test_finished_table_is_not_recomputed(images, encoder, tmp_path, monkeypatch):
    first = embed(encoder, images, tmp_path / "features.parquet")
    monkeypatch.setattr(workflow, "feature_rows", None)
    assert embed(encoder, images, tmp_path / "features.parquet").table.equals(first.table)


def test_another_table_is_replaced_only_with_overwrite(images, encoder, tmp_path):
    file = tmp_path / "features.parquet"
    embed(encoder, images, file)
    with pytest.raises(gt.UserError, match="exists: use --overwrite or another file"):
        embed(encoder, images, file, dtype="float16")
    assert embed(encoder, images, file, dtype="float16", overwrite=True).features.dtype == np.float16


def test_unreadable_image_is_skipped_and_named(images, encoder, tmp_path, capsys, small_parts):
    for name in ("00", "02", "04", "06", "08", "10", "12", "14"):  # a whole part
        (images / "melanoma" / f"{name}.png").write_bytes(b"no")
    result = embed(encoder, images, tmp_path / "features.parquet")
    assert (result.images, len(result.skipped)) == (12, 8)
    assert capsys.readouterr().err.count("cannot be read as an image") == 8


def test_features_without_images_keep_their_dimension(images, encoder, tmp_path):
    for file in images.glob("*/*.png"):
        file.write_bytes(b"no")
    features = embed(encoder, images, tmp_path / "features.parquet").features
    assert features.shape == (0, 96)


def test_output_must_be_parquet(images, encoder, tmp_path):
    with pytest.raises(gt.UserError, match=r"features\.csv must end in \.parquet"):
        embed(encoder, images, tmp_path / "features.csv")


def test_two_processes_write_the_same_table_as_one(images, encoder, tmp_path, launch):
    one = embed(encoder, images, tmp_path / "one.parquet").table
    flags = [str(encoder), str(images), "-o", str(tmp_path / "two.parquet"), "--num-workers", "1"]
    status, _, err = launch("embed.py", *flags, processes=2).wait()
    assert status == 0, err
    two = pq.read_table(tmp_path / "two.parquet")
    assert two.drop_columns("features").equals(one.drop_columns("features"))
