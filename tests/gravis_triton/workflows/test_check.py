"""`gravis check`: counts, faults and warnings of a dataset."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton import cli
from gravis_triton.data import open_collection
from gravis_triton.settings.jobs import CheckSettings
from gravis_triton.workflows.check import check


def draw(file: Path, seed: int, side: int = 64, quality: int = 95) -> None:
    """An image of coarse random blocks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC).save(file, quality=quality)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes in two splits, four different images."""
    for seed, name in enumerate(("train/nevus", "train/melanoma", "test/nevus", "test/melanoma")):
        draw(tmp_path / "data" / name / "a.jpg", seed)
    return tmp_path / "data"


def test_a_sound_data_set_has_no_faults(data: Path, capsys) -> None:
    result = check(CheckSettings(data=str(data)))
    assert (result.faults, result.warnings) == ((), ())
    assert result.parts["train"] == {
        "images": 2, "labels": {"melanoma": 1, "nevus": 1}, "unlabeled": 0, "masks": 0,
        "smallest": (64, 64), "largest": (64, 64),
    }  # fmt: skip
    assert "train: 2 images (1 melanoma, 1 nevus), 0 masks, 64 x 64 to 64 x 64 px" in capsys.readouterr().out


def test_duplicates_in_two_splits_are_faults_and_in_one_warnings(data: Path) -> None:
    draw(data / "test" / "nevus" / "same.jpg", seed=0)
    draw(data / "test" / "nevus" / "smaller.jpg", seed=1, side=48, quality=70)
    draw(data / "train" / "nevus" / "twice.jpg", seed=0)
    result = check(CheckSettings(data=str(data)))
    assert any(
        line.startswith("pairs of nearly identical images in two splits (1): test/nevus/smaller.jpg and train/mel")
        for line in result.faults
    )
    assert any("identical images in two splits" in line and "test/nevus/same.jpg" in line for line in result.faults)
    assert len(result.faults) == 2


def test_the_same_image_in_two_classes_is_named_with_both(data: Path) -> None:
    draw(data / "train" / "melanoma" / "copy.jpg", seed=7)
    draw(data / "train" / "nevus" / "copy.jpg", seed=7)
    warnings = check(CheckSettings(data=str(data))).warnings
    assert any("train/melanoma/copy.jpg and train/nevus/copy.jpg (melanoma and nevus)" in line for line in warnings)


def test_unreadable_images_and_masks_are_named(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        draw(tmp_path / "images" / f"{name}.jpg", seed)
    (tmp_path / "images" / "c.jpg").write_bytes(b"no image")
    (tmp_path / "masks").mkdir()
    Image.new("L", (64, 64)).save(tmp_path / "masks" / "a.png")
    Image.new("L", (64, 20), 255).save(tmp_path / "masks" / "b.png")
    result = check(CheckSettings(data=str(tmp_path)))
    assert [line.split(",")[0] for line in result.faults] == [
        "unreadable images (1): images/c.jpg: cannot identify image file " + result.faults[0].split("file ")[1],
        "unusable masks (1): images/b.jpg: mask (64 x 20) and image (64 x 64) differ in aspect ratio",
    ]
    assert result.warnings == ("images without a mask (1): images/c.jpg", "empty masks (1): images/a.jpg")


def test_what_training_would_refuse_is_a_fault(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw(tmp_path / "images" / f"{name}.jpg", seed=ord(name))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(64, dtype=np.uint8) + np.eye(64, k=3, dtype=np.uint8) * 2).save(tmp_path / "masks" / "a.png")
    Image.new("RGB", (400, 20)).save(tmp_path / "images" / "long.png")
    faults = check(CheckSettings(data=str(tmp_path))).faults
    assert faults == (
        "unreadable images (1): images/long.png: 400 x 20 is longer than 16 times its short side",
        "unusable masks (1): images/a.jpg: mask has the values 0, 1, 2: lesion must be 255, all else 0",
    )


def test_patients_in_two_splits_are_a_fault(data: Path) -> None:
    (data / "table.csv").write_text("image,patient_id,split\ntrain/nevus/a.jpg,P1,train\ntest/nevus/a.jpg,P1,test\n")
    result = check(CheckSettings(data=str(data / "table.csv")))
    assert result.faults == ("lesions or patients in two splits (1): P1",)


def test_the_command_prints_json_writes_a_page_and_exits_with_1_on_a_fault(data: Path, tmp_path, capsys) -> None:
    page = tmp_path / "page.html"
    for status in (0, 1):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["check", str(data), "--json", "--page", str(page)])
        assert exit_.value.code == status
        assert len(json.loads(capsys.readouterr().out)["faults"]) == status
        draw(data / "test" / "nevus" / "same.jpg", seed=0)
    text = page.read_text()
    assert "<h2>train: melanoma (1 of 1)</h2>" in text
    assert text.count("data:image/webp;base64,") == 5


def test_files_that_no_image_uses_are_named(tmp_path: Path) -> None:
    """ISIC 2017: superpixels lie beside the images; a mask has lost its image."""
    images = tmp_path / "ISIC-2017_Training_Data"
    masks = tmp_path / "ISIC-2017_Training_Part1_GroundTruth"
    draw(images / "ISIC_0000001.jpg", 1)
    draw(images / "ISIC_0000001_superpixels.png", 2)
    for name in ("ISIC_0000001", "ISIC_0000002"):
        draw(masks / f"{name}_segmentation.png", 3)
    warnings = check(CheckSettings(data=str(tmp_path))).warnings
    assert f"unused superpixel files (1): {images.name}/ISIC_0000001_superpixels.png" in warnings
    (other,) = [line for line in warnings if "other unused image files" in line]
    assert other.endswith(f": {masks.name}/ISIC_0000002_segmentation.png")


def test_synthetic_images_have_no_files_also_beside_a_folder_of_that_name(tmp_path: Path, monkeypatch) -> None:
    draw(tmp_path / "synthetic" / "a.jpg", 1)
    monkeypatch.chdir(tmp_path)
    few = partial(open_collection, synthetic_images=20)
    monkeypatch.setattr("gravis_triton.workflows.check.open_collection", few)
    result = check(CheckSettings(data="synthetic"))
    assert not any("files" in line for line in result.warnings)


def test_how_the_data_were_read_is_printed(tmp_path: Path, capsys) -> None:
    for number in range(4):
        draw(tmp_path / "photos" / f"{number}.jpg", number)
    rows = ["image,dx,patient_id", "0,nv,P0", "1,mel,P0", "2,unknown,P1", "3,mel,P1"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    check(CheckSettings(data=str(tmp_path)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:4] == [
        "table: labels.csv, 4 rows; columns image = image, label = dx, group = patient_id",
        "without a label: 1 rows (dx is 1 'unknown')",
        "groups: 4 images of 2 patient_id, the largest group 'P0' with 2 images",
    ]


def test_inverted_masks_are_a_fault_and_other_values_a_warning(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / "images" / f"{number}.jpg", number)
        mask = np.full((64, 64), 255, np.uint8)
        mask[16:48, 16:48] = 127
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    result = check(CheckSettings(data=str(tmp_path)))
    assert any("are they inverted? (4): images/0.jpg" in fault for fault in result.faults)
    assert any("read as background and lesion (4): images/0.jpg (127 and 255)" in one for one in result.warnings)


def test_nearly_black_images_are_named(data: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 15, (64, 64, 3), np.uint8)).save(data / "train/nevus/dark.png")
    assert any(
        "nearly black images" in one and "dark.png" in one for one in check(CheckSettings(data=str(data))).warnings
    )


def test_classes_that_differ_only_in_case_or_signs_and_placeholders_are_warnings(data: Path) -> None:
    draw(data / "train" / "Blue nevus" / "b.jpg", 4)
    draw(data / "train" / "blue_nevus" / "b.jpg", 3)
    draw(data / "train" / "nevus" / "placeholder.jpg", 5, side=1)
    warnings = check(CheckSettings(data=str(data))).warnings
    assert "classes that differ only in case or signs (1): Blue nevus and blue_nevus" in warnings
    assert "images of a few pixels (1): train/nevus/placeholder.jpg" in warnings


def test_some_inverted_masks_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for number in range(4):
        draw(tmp_path / "images" / f"{number}.jpg", number)
        mask = np.zeros((64, 64), np.uint8)
        mask[16:48, 16:48] = 255
        Image.fromarray(mask if number else 255 - mask).save(tmp_path / "masks" / f"{number}.png")
    result = check(CheckSettings(data=str(tmp_path)))
    assert result.faults == ()
    assert any("or all corners: are they inverted? (1): images/0.jpg" in warning for warning in result.warnings)
