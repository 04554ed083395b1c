"""`gravis shards`: what is written is read back, streamed or not."""

from pathlib import Path

import numpy as np
import pytest

from gravis_triton.data import open_collection
from gravis_triton.data.loading.shards import open_shards
from gravis_triton.errors import UserError
from gravis_triton.settings.jobs import ShardsSettings
from gravis_triton.workflows.shards import shards


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "data"
    original = open_collection("synthetic", synthetic_images=6)
    lines = ["image,mask,label,patient,split"]
    for number, record in enumerate(original.records):
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        assert record.mask is not None
        record.image.read(96).save(folder / "images" / f"{number}.png")
        record.mask.read(96).save(folder / "masks" / f"{number}.png")
        split = "val" if number == 5 else "train"
        lines.append(f"images/{number}.png,masks/{number}.png,{'ab'[number % 2]},P{number},{split}")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "table.csv").write_text("\n".join([*lines, "broken.png,,a,,train"]) + "\n")
    output = tmp_path / "out"
    result = shards(ShardsSettings(data=str(folder), output=str(output), image_size=48, images_per_shard=2))
    assert (result.images, result.skipped) == (6, ("broken.png",))
    return output


def test_shards_are_read_back_with_labels_groups_masks_and_splits(written: Path) -> None:
    collection = open_collection(f"hf:{written}")
    assert collection.classes == ("a", "b")
    assert sorted((r.id, r.label, r.group, r.split) for r in collection.records) == [
        (f"images/{n}.png", n % 2, f"P{n}", "validation" if n == 5 else "train") for n in range(6)
    ]
    source = {r.id: r for r in open_collection(str(written.parent / "data" / "table.csv")).records}
    for record in collection.records:
        image, original = record.image.read(), source[record.id].image.read()
        assert min(image.size) == 48
        difference = np.asarray(image, float) - np.asarray(original.resize(image.size), float)
        assert np.abs(difference).mean() < 6
        assert record.mask is not None
        assert record.mask.read().size == image.size


def test_shards_can_be_streamed(written: Path) -> None:
    training, validation = open_shards(str(written))
    assert sum(rows or 0 for rows in training.rows) == 5
    assert validation is not None
    assert validation.rows == (1,)


def test_an_existing_directory_stays(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists: use another directory"):
        shards(ShardsSettings(data="synthetic", output=str(tmp_path)))
