import numpy as np
import pytest
from PIL import Image

from gravis_triton.data import Collection, ImageFile, MaskFile, Record, hold_out
from gravis_triton.data.loading import prepare
from gravis_triton.errors import UserError
from gravis_triton.settings.groups import DataSettings


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "image.png")
    return ImageFile(tmp_path / "image.png")


def test_the_test_split_and_its_lesions_are_left_out(monkeypatch, tmp_path, image):
    records = (
        Record("a", image, split="train", group="lesion 1"),
        Record("b", image, split="train", group="lesion 2"),
        Record("c", image, split="test", group="lesion 2"),
        Record("d", image, split="test"),
        Record("e", image, split="validation"),
    )
    monkeypatch.setattr(prepare, "open_collection", lambda *args, **kwargs: Collection("toy", records))
    settings = DataSettings(data="toy", cache_dir=str(tmp_path / "cache"), cache_size=10, num_workers=0)
    collection, images = prepare.prepare_images(settings, seed=0, progress=lambda done, total: None)
    assert [record.id for record in collection.records] == ["a", "e"]
    assert [image.shape for image in images] == [(10, 15, 3)] * 2


@pytest.fixture
def outline(tmp_path):
    Image.new("L", (30, 20), 255).save(tmp_path / "outline.png")
    return MaskFile(tmp_path / "outline.png")


def annotated(settings, annotation):
    collection = prepare.open_annotated(settings, seed=0, annotation=annotation)
    return prepare.prepare_annotated(collection, settings, annotation=annotation, progress=ignore)


def settings_for(tmp_path, **values):
    return DataSettings(data="toy", cache_dir=str(tmp_path / "cache"), cache_size=10, num_workers=0, **values)


def ignore(done, total):
    pass


def open_as(monkeypatch, *records):
    collection = Collection("toy", records, classes=("a", "b"))
    monkeypatch.setattr(prepare, "open_collection", lambda *args, **kwargs: collection)


def test_annotated_images_include_the_test_split_after_those_of_pre_training(monkeypatch, tmp_path, image, outline):
    open_as(
        monkeypatch,
        Record("a", image, split="test", mask=outline),
        Record("b", image, split="train", group="lesion 1", mask=outline),
        Record("c", image, split="train", group="lesion 2"),
        Record("d", image, split="test", group="lesion 2", mask=outline),
        Record("e", image, split="validation", mask=outline),
    )
    pretraining, _ = prepare.prepare_images(settings_for(tmp_path), seed=0, progress=ignore)
    collection, images, masks = annotated(settings_for(tmp_path), "mask")
    assert [record.id for record in pretraining.records] == ["b", "e"]
    assert [record.id for record in collection.records] == ["b", "e", "a", "c", "d"]
    assert collection.records == images.records
    assert [masks[i].shape for i in (0, 1, 2, 4)] == [(10, 15)] * 4
    assert all((masks[i] == 255).all() for i in (0, 1, 2, 4))
    with pytest.raises(KeyError):
        masks[3]


def test_annotated_images_of_the_label_task_come_without_masks(monkeypatch, tmp_path, image):
    open_as(monkeypatch, Record("a", image, label=0), Record("b", image, label=1))
    assert annotated(settings_for(tmp_path), "label")[2] is None


def test_the_cache_of_pre_training_is_used_again(monkeypatch, tmp_path, image):
    open_as(
        monkeypatch,
        *(Record(f"{i}", image, label=i % 2, split="test" if i < 3 else None) for i in range(40)),
    )
    prepare.prepare_images(settings_for(tmp_path), seed=0, progress=ignore)
    before = set((tmp_path / "cache").rglob("*.arrow"))
    annotated(settings_for(tmp_path), "label")
    after = set((tmp_path / "cache").rglob("*.arrow"))
    assert len(before) == 2
    assert before < after
    assert len(after) == 3


def test_what_is_held_out_is_the_same_before_and_after_pre_training(monkeypatch, tmp_path, image):
    groups = [f"lesion {i // 3}" for i in range(90)]
    records = (
        Record(f"{i}", image, label=i % 2, group=group, split="test" if i % 10 == 0 else None)
        for i, group in enumerate(groups)
    )
    open_as(monkeypatch, *records)
    settings = settings_for(tmp_path)
    before, _ = prepare.prepare_images(settings, seed=0, progress=ignore)
    after, _, _ = annotated(settings, "label")
    ids = [[c.records[i].id for i in hold_out(c, seed=3)[1]] for c in (before, after)]
    assert ids[0] == ids[1] != []


def test_an_unreadable_image_is_left_out_with_its_mask(monkeypatch, tmp_path, image, outline):
    Image.new("L", (30, 20), 200).save(tmp_path / "other.png")
    gone = Record("gone", ImageFile(tmp_path / "gone.png"), mask=outline)
    whole = [Record(f"{i}", image, mask=outline) for i in range(30)]
    open_as(monkeypatch, gone, *whole)
    collection, images, masks = annotated(settings_for(tmp_path), "mask")
    assert len(collection.records) == len(images) == len(masks) == 30
    assert images.skipped[0][0] == "gone"
    assert np.array_equal(masks[29], np.full((10, 15), 255, np.uint8))


def test_without_masks_nothing_is_decoded(monkeypatch, tmp_path, image):
    open_as(monkeypatch, Record("a", image, label=0))
    with pytest.raises(UserError, match="toy has no image with a mask"):
        annotated(settings_for(tmp_path), "mask")
    assert not (tmp_path / "cache").exists()


def test_a_split_seed_pools_the_annotated_images_too(monkeypatch, tmp_path, image):
    open_as(monkeypatch, *(Record(part, image, label=0, split=part) for part in ("train", "validation", "test")))
    collection, _, _ = annotated(settings_for(tmp_path, split_seed=1), "label")
    assert [record.split for record in collection.records] == [None, None, "test"]
