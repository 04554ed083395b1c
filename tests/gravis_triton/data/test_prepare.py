import pytest
from PIL import Image

from gravis_triton.data import Collection, ImageFile, Record, prepare
from gravis_triton.settings import DataSettings


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "picture.png")
    return ImageFile(tmp_path / "picture.png")


def test_the_test_split_and_its_lesions_are_left_out(monkeypatch, tmp_path, picture):
    records = (
        Record("a", picture, split="train", group="lesion 1"),
        Record("b", picture, split="train", group="lesion 2"),
        Record("c", picture, split="test", group="lesion 2"),
        Record("d", picture, split="test"),
        Record("e", picture, split="validation"),
    )
    monkeypatch.setattr(prepare, "open_collection", lambda *args, **kwargs: Collection("toy", records))
    settings = DataSettings(data="toy", cache_dir=str(tmp_path / "cache"), cache_size=10, num_workers=0)
    collection, images = prepare.prepare_images(settings, seed=0, progress=lambda done, total: None)
    assert [record.id for record in collection.records] == ["a", "e"]
    assert [image.shape for image in images] == [(10, 15, 3)] * 2
