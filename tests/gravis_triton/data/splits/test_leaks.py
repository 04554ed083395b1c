"""What is told about images that are learned from and scored on at once."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gravis_triton.data.splits.leaks as leaks_module
from gravis_triton.data.cache.images import cached_images
from gravis_triton.data.datasets.records import Collection, Record
from gravis_triton.data.datasets.references import ImageFile
from gravis_triton.data.splits.leaks import Leaks, Pair, alike_pairs, describe_leaks, find_leaks
from gravis_triton.data.splits.split import Split


class NoImage:
    def read(self, short_side: int | None = None) -> None:
        raise OSError("not to be read")

    def fingerprint(self) -> str:
        return ""


def collection(*ids: str) -> Collection:
    return Collection("c", tuple(Record(image_id, NoImage()) for image_id in ids))  # type: ignore[arg-type]


def lesion(seed: int) -> np.ndarray:
    """Smooth random colors with some structure, 48 x 64."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC))


def leaks_of(ids: list[str], split: Split, images: list[np.ndarray] | None = None, seen: tuple[str, ...] = ()) -> Leaks:
    images = [lesion(seed) for seed in range(len(ids))] if images is None else images
    return find_leaks(collection(*ids), split, images=images, seen=seen)


def test_a_downsampled_image_is_the_same_image() -> None:
    ids = ["ISIC_0000001_downsampled", "ISIC_0000002", "ISIC_0000003", "ISIC_0000001"]
    leaks = leaks_of(ids, Split(train=(0, 1), validation=(2,), test=(3,)))
    assert leaks.renamed == (Pair("ISIC_0000001", "test", "ISIC_0000001_downsampled", "train"),)
    assert (leaks.alike, leaks.pretrained) == ((), ())


def test_an_isic_number_is_the_same_image_in_any_folder() -> None:
    ids = ["nevus/ISIC_0000001.jpg", "melanoma/ISIC_0000001.png", "ISIC_0000002.jpg"]
    leaks = leaks_of(ids, Split(train=(0,), validation=(1,), test=(2,)))
    assert leaks.renamed == (Pair("melanoma/ISIC_0000001.png", "validation", "nevus/ISIC_0000001.jpg", "train"),)


@pytest.mark.parametrize(
    ("seen", "tested"),
    [
        ("0001.jpg", "images/0001.jpg"),
        ("images/0001.jpg", "0001.jpg"),
        ("a/nevus/0001.jpg", "nevus/0001.jpg"),
    ],
)
def test_pre_training_images_are_known_below_another_folder_too(seen: str, tested: str) -> None:
    leaks = leaks_of([tested, "x.jpg", "y.jpg"], Split((1,), (2,), (0,)), seen=(seen,))
    assert leaks.pretrained == (tested,)
    assert "e.g. " + tested + " (by file name): scores" in describe_leaks(leaks)[0]


def test_other_file_names_may_be_used_again_in_another_folder() -> None:
    ids = ["nevus/0001.jpg", "melanoma/0001.jpg", "melanoma/0002.jpg"]
    leaks = leaks_of(ids, Split((0,), (1,), (2,)), seen=("naevus/0002.jpg",))
    assert leaks == Leaks(renamed=(), alike=(), pretrained=(), tested=1)


def test_test_images_that_were_pre_trained_on_are_named_under_any_name() -> None:
    ids = ["ISIC_0000001", "ISIC_0000002", "ISIC_0000003", "ISIC_0000004", "a.jpg"]
    seen = ("ISIC_0000001", "ISIC_0000002", "images/ISIC_0000003_downsampled.jpg", "a.jpg")
    leaks = leaks_of(ids, Split((0,), (1,), (2, 3, 4)), seen=seen)
    assert leaks.pretrained == ("ISIC_0000003", "a.jpg")


def jpeg(image: np.ndarray) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=40)
    return np.asarray(Image.open(content))


def smaller(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((32, 24), Image.Resampling.BICUBIC))


def recolored(image: np.ndarray) -> np.ndarray:
    return (image * np.array([0.95, 0.85, 0.7]) + 8).astype(np.uint8)


@pytest.mark.parametrize("changed", [np.copy, jpeg, smaller, recolored])
def test_a_picture_under_another_id_is_found_again(changed: Callable[[np.ndarray], np.ndarray]) -> None:
    images = [lesion(0), lesion(1), lesion(2), changed(lesion(1)), lesion(3)]
    leaks = leaks_of(list("abcde"), Split(train=(0, 1), validation=(2,), test=(3, 4)), images)
    assert leaks.alike == (Pair("d", "test", "b", "train"),)


def test_pictures_within_one_part_may_look_the_same() -> None:
    images = [lesion(0), lesion(0), lesion(1), lesion(1), lesion(2), lesion(2)]
    assert leaks_of(list("abcdef"), Split((0, 1), (2, 3), (4, 5)), images).alike == ()


def test_of_many_pictures_each_copy_is_found() -> None:
    images = [lesion(seed) for seed in [*range(50), *range(50, 1200), *range(50), 2000]]
    ids = [str(index) for index in range(len(images))]
    leaks = leaks_of(ids, Split(tuple(range(50)), (1250,), tuple(range(50, 1250))), images)
    assert [(pair.image_id, pair.other_id) for pair in leaks.alike] == [(str(1200 + i), str(i)) for i in range(50)]


def test_plain_pictures_have_nothing_to_tell_them_by() -> None:
    plain = [np.full((8, 8, 3), 200, np.uint8)] * 3
    assert leaks_of(list("abc"), Split((0,), (1,), (2,)), plain).alike == ()


def test_one_image_is_reported_once() -> None:
    ids = ["ISIC_0000001", "ISIC_0000002", "ISIC_0000001_downsampled"]
    images = [lesion(0), lesion(1), smaller(lesion(0))]
    leaks = leaks_of(ids, Split((0,), (1,), (2,)), images)
    assert len(leaks.renamed) == 1
    assert leaks.alike == ()


def test_an_empty_part_shares_nothing() -> None:
    assert leaks_of(["a", "b"], Split((0,), (), (1,))) == Leaks((), (), (), tested=1)


def test_each_kind_of_leakage_is_one_line_with_count_and_examples() -> None:
    pairs = tuple(Pair(f"t{i}", "test", f"r{i}", "train") for i in range(4))
    leaks = Leaks(renamed=pairs, alike=pairs[:1], pretrained=("t0", "t1", "t2", "t3"), tested=1200)
    assert describe_leaks(leaks) == [
        "warning: leakage: the same image is in two parts 4 times, e.g. t0 (test) and r0 (train); "
        "t1 (test) and r1 (train); t2 (test) and r2 (train)",
        "warning: leakage: images in two parts look the same once, e.g. t0 (test) and r0 (train)",
        "warning: leakage: the encoder was pre-trained on 4 of the 1,200 test images, e.g. t0, t1, t2 (by file name): "
        "scores will be too high",
    ]


def test_no_leak_no_warning() -> None:
    assert describe_leaks(Leaks((), (), (), tested=600)) == []


def test_pairs_of_many_images_are_found_by_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    generator = np.random.default_rng(0)
    originals = [lesion(seed) for seed in range(150)]
    noisy = [np.clip(image + generator.normal(0, 8, image.shape), 0, 255).astype(np.uint8) for image in originals]
    images = [*originals, *noisy[:60], np.zeros((48, 64, 3), np.uint8)]
    compared = alike_pairs(images)
    assert {(n, 150 + n) for n in range(60)} <= set(map(tuple, compared.tolist()))
    monkeypatch.setattr(leaks_module, "_FEW", 100)
    assert np.array_equal(alike_pairs(images), compared)


def test_pairs_of_cached_images_are_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        Image.fromarray(lesion(seed)).save(tmp_path / f"{name}.png")
    records = [Record(name, ImageFile(tmp_path / f"{name}.png")) for name in "abc"]

    def pairs(records: list[Record]) -> list[list[int]]:
        images = cached_images(records, short_side=16, directory=tmp_path / "cache", workers=0)
        return alike_pairs(images).tolist()

    assert pairs(records) == [[0, 2]]
    with monkeypatch.context() as patch:
        patch.setattr(leaks_module, "gray_thumbnail", None)
        assert pairs(records) == [[0, 2]]
    (kept,) = (tmp_path / "cache" / "images-16").glob("*.npy")
    kept.write_bytes(b"half")
    assert pairs(records) == [[0, 2]]
    assert pairs(records[1:]) == []
