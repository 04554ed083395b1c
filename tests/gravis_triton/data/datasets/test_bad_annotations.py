"""What a user is told whose masks or labels are not as they should be: one line, with names and the way out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.data import describe_split, split_collection
from gravis_triton.data.datasets.records import Annotation
from gravis_triton.data.loading.prepare import open_annotated, prepare_annotated
from gravis_triton.errors import UserError
from gravis_triton.settings.groups import DataSettings

TRAIN, VALIDATION = "ISIC-2017_Training", "ISIC-2017_Validation"


@pytest.fixture
def isic_2017(tmp_path: Path, images: Callable[[Path, list[str]], None]) -> Path:
    """Twelve training and four validation images of 12 x 8, two in three of them nevi, each with its mask."""
    root = tmp_path / "isic"
    for name, numbers in ((TRAIN, range(12)), (VALIDATION, range(12, 16))):
        ids = [f"ISIC_{number:07d}" for number in numbers]
        images(root / f"{name}_Data", [f"{image_id}.jpg" for image_id in ids])
        rows = [f"{image_id},{int(index % 3 == 0)},0" for index, image_id in enumerate(ids)]
        table = root / f"{name}_Part3_GroundTruth.csv"
        table.write_text("\n".join(["image_id,melanoma,seborrheic_keratosis", *rows]))
        for image_id in ids:
            save_mask(mask_file(root, name, image_id), (12, 8))
    return root


def mask_file(root: Path, name: str, image_id: str) -> Path:
    return root / f"{name}_Part1_GroundTruth" / f"{image_id}_segmentation.png"


def save_mask(file: Path, size: tuple[int, int]) -> None:
    file.parent.mkdir(exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[: size[1] // 2] = 255
    Image.fromarray(pixels).save(file)


def described(root: Path, annotation: Annotation) -> list[str]:
    settings = DataSettings(data=str(root), cache_dir=str(root.parent / "cache"), cache_size=8, num_workers=0)
    opened = open_annotated(settings, seed=0, annotation=annotation)
    collection, _, _ = prepare_annotated(opened, settings, annotation=annotation, progress=lambda done, total: None)
    split = split_collection(collection, val_fraction=0.25, seed=0, annotation=annotation)
    return describe_split(split, collection, annotation)


def refusal(root: Path, annotation: Annotation) -> str:
    with pytest.raises(UserError) as error:
        described(root, annotation)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_whole_annotations_are_split(isic_2017: Path) -> None:
    assert described(isic_2017, "mask")[0] == "images with a mask: 9 train, 3 validation, 4 test"
    assert described(isic_2017, "label")[0] == "images with a label: 9 train, 3 validation, 4 test"


def test_missing_masks_are_counted_and_named(isic_2017: Path) -> None:
    for number in (3, 5):
        mask_file(isic_2017, TRAIN, f"ISIC_{number:07d}").unlink()
    assert described(isic_2017, "mask")[1] == ("left out: 2 of 16 images have no mask, e.g. ISIC_0000003, ISIC_0000005")


def test_masks_of_other_names_are_missing_masks(isic_2017: Path) -> None:
    for name in (TRAIN, VALIDATION):
        for file in (isic_2017 / f"{name}_Part1_GroundTruth").iterdir():
            file.rename(file.with_name(file.name.replace("_segmentation", "")))
    assert refusal(isic_2017, "mask").startswith(
        "ISIC 2017 has no image with a mask: expected ISIC_*_segmentation.png in ISIC-2017_Training_Part1_GroundTruth"
    )


def test_missing_validation_masks_are_reported_with_the_folder(isic_2017: Path) -> None:
    for file in (isic_2017 / f"{VALIDATION}_Part1_GroundTruth").iterdir():
        file.unlink()
    text = refusal(isic_2017, "mask")
    assert text.startswith("ISIC 2017 has no test image with a mask (9 train, 3 validation, 0 test at")
    assert "ISIC-2017_Validation_Part1_GroundTruth" in text
    assert text.endswith("or split again with --split-seed")


def test_masks_of_another_size_are_named_with_both_sizes(isic_2017: Path) -> None:
    save_mask(mask_file(isic_2017, TRAIN, "ISIC_0000004"), (12, 12))
    assert refusal(isic_2017, "mask") == (
        "1 of 16 masks cannot be used: ISIC_0000004: mask (12 x 12) and image (12 x 8) differ in aspect ratio; "
        "fix these files, or remove them and their images"
    )


def test_an_unreadable_mask_is_named(isic_2017: Path) -> None:
    mask_file(isic_2017, TRAIN, "ISIC_0000004").write_text("no image")
    assert refusal(isic_2017, "mask").startswith(
        "1 of 16 masks cannot be used: ISIC_0000004: cannot identify image file"
    )


def test_broken_masks_do_not_matter_to_labels(isic_2017: Path) -> None:
    mask_file(isic_2017, TRAIN, "ISIC_0000004").write_text("no image")
    assert described(isic_2017, "label")[0] == "images with a label: 9 train, 3 validation, 4 test"


def test_a_table_without_a_class_is_reported_with_its_columns(isic_2017: Path) -> None:
    table = isic_2017 / f"{TRAIN}_Part3_GroundTruth.csv"
    table.write_text(table.read_text().replace("melanoma", "nevus"))
    assert "no column melanoma; expected image_id, melanoma, seborrheic_keratosis" in refusal(isic_2017, "label")


def test_an_unknown_class_is_reported_with_file_and_line(tmp_path: Path, images) -> None:
    images(tmp_path / "ham" / "HAM10000_images_part_1", ["ISIC_0024306.jpg", "ISIC_0024307.jpg"])
    table = tmp_path / "ham" / "HAM10000_metadata.csv"
    table.write_text("lesion_id,image_id,dx\nL1,ISIC_0024306,nv\nL2,ISIC_0024307,wart\n")
    assert refusal(tmp_path / "ham", "label") == (
        f"{table}, line 3, column dx: expected one of mel, nv, bcc, akiec, bkl, df, vasc, found 'wart'"
    )


def test_no_labels_are_reported_with_their_file(isic_2017: Path) -> None:
    for name in (TRAIN, VALIDATION):
        (isic_2017 / f"{name}_Part3_GroundTruth.csv").unlink()
    assert refusal(isic_2017, "label").startswith(
        "ISIC 2017 has no image with a label: expected ISIC-2017_Training_Part3_GroundTruth.csv, "
    )
