"""Any folder of images: classes, splits, what is ignored, what is refused."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.data.datasets.folder import unused_files
from gravis_triton.data.datasets.open import open_collection
from gravis_triton.errors import UserError


def test_images_of_all_suffixes_are_found_at_any_depth(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "b.JPG", "c.jpeg", "d.PNG", "e.bmp", "f.tif", "g.tiff", "h.webp"])
    images(tmp_path, ["j.jfif", "k.jpe", "l.gif"])
    images(tmp_path / "deep" / "er", ["i.Jpeg"])
    (tmp_path / "notes.txt").write_text("no image")
    collection = open_collection(str(tmp_path))
    assert [record.id for record in collection.records] == [
        "a.jpg", "b.JPG", "c.jpeg", "d.PNG", "deep/er/i.Jpeg", "e.bmp", "f.tif", "g.tiff", "h.webp",
        "j.jfif", "k.jpe", "l.gif",
    ]  # fmt: skip
    assert collection.name == tmp_path.name
    assert collection.classes == ()
    assert {record.label for record in collection.records} == {None}


def test_class_folders_become_labels_in_alphabetical_order(tmp_path: Path, images) -> None:
    images(tmp_path / "nevus", ["1.jpg", "2.jpg"])
    images(tmp_path / "melanoma", ["1.jpg"])
    images(tmp_path / "melanoma" / "thick", ["3.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == collection.scored_classes == ("melanoma", "nevus")
    assert {record.id: record.label for record in collection.records} == {
        "melanoma/1.jpg": 0, "melanoma/thick/3.jpg": 0, "nevus/1.jpg": 1, "nevus/2.jpg": 1,
    }  # fmt: skip


def test_one_folder_alone_is_no_class(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["1.jpg", "2.jpg"])
    assert open_collection(str(tmp_path)).classes == ()


def test_folders_are_no_classes_where_an_image_lies_outside_of_them(tmp_path: Path, images) -> None:
    images(tmp_path / "a", ["1.jpg"])
    images(tmp_path / "b", ["1.jpg"])
    images(tmp_path, ["2.jpg"])
    assert open_collection(str(tmp_path)).classes == ()


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_train_validation_and_test_folders_are_splits(tmp_path: Path, images, validation: str) -> None:
    for split in ("train", validation, "test"):
        images(tmp_path / split / "nevus", [f"{split}1.jpg"])
        images(tmp_path / split / "melanoma", [f"{split}2.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("melanoma", "nevus")
    assert sorted((record.split or "", record.label or 0) for record in collection.records) == [
        ("test", 0), ("test", 1), ("train", 0), ("train", 1), ("validation", 0), ("validation", 1),
    ]  # fmt: skip


def test_split_folders_without_classes_have_no_labels(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["1.jpg"])
    images(tmp_path / "test", ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert [record.split for record in collection.records] == ["test", "train"]
    assert collection.classes == ()


def test_a_class_named_like_a_split_among_other_classes_is_a_class(tmp_path: Path, images) -> None:
    images(tmp_path / "test", ["1.jpg"])
    images(tmp_path / "control", ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("control", "test")
    assert {record.split for record in collection.records} == {None}


@pytest.mark.parametrize("outside", ["overview.png", "unlabeled/3.jpg"])
def test_images_beside_the_folders_of_splits_are_reported(tmp_path: Path, images, outside: str) -> None:
    images(tmp_path / "train" / "nevus", ["1.jpg"])
    images(tmp_path / "test" / "nevus", ["2.jpg"])
    images((tmp_path / outside).parent, [Path(outside).name])
    message = f"train is the name of a split, but 1 of 3 images are outside of splits, e.g. {outside}: move"
    with pytest.raises(UserError, match=message):
        open_collection(str(tmp_path))


def test_hidden_files_and_resource_forks_are_ignored(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", ".b.jpg", "._a.jpg"])
    images(tmp_path / "__MACOSX", ["c.jpg"])
    images(tmp_path / ".thumbnails", ["d.jpg"])
    assert [record.id for record in open_collection(str(tmp_path)).records] == ["a.jpg"]


def test_what_jobs_have_written_beside_the_images_is_ignored(tmp_path: Path, images) -> None:
    images(tmp_path / "melanoma", ["1.jpg"])
    images(tmp_path / "nevus", ["1.jpg"])
    for written, beside in (
        ("runs/first", ("config.yaml", "summary.json")),
        ("runs/killed", ("config.yaml", ".lock")),
        ("grid", ("comparison.json",)),
        ("predictions", ("predictions.csv",)),
    ):
        images(tmp_path / written, ["views.png"])
        images(tmp_path / written / "masks", ["1_segmentation.png"])
        for name in beside:
            (tmp_path / written / name).touch()
    collection = open_collection(str(tmp_path))
    assert [record.id for record in collection.records] == ["melanoma/1.jpg", "nevus/1.jpg"]
    assert collection.classes == ("melanoma", "nevus")
    assert unused_files(collection, tmp_path) == []
    assert len(open_collection(str(tmp_path / "runs" / "first" / "masks")).records) == 1  # given by name


def test_linked_folders_are_followed_once(tmp_path: Path, images) -> None:
    images(tmp_path / "elsewhere", ["a.jpg"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "link" / "up").symlink_to(tmp_path / "data")
    assert [record.id for record in open_collection(str(tmp_path / "data")).records] == ["link/a.jpg"]


def test_no_such_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such file or directory; give synthetic, a directory, a table"):
        open_collection(str(tmp_path / "nowhere"))


def test_a_file_is_no_directory(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg"])
    with pytest.raises(UserError, match=r"a\.jpg is a file; give the directory"):
        open_collection(str(tmp_path / "a.jpg"))


def test_a_directory_without_images_names_the_file_types(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UserError, match=r"no images in it or below it \(looked for \.bmp, \.gif, \.jfif, \.jpe, "):
        open_collection(str(tmp_path))


def test_a_challenge_further_down_is_not_read_as_a_plain_folder(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "isic" / "ISIC-2017_Training_Data", ["ISIC_0000000.jpg"])
    masks(tmp_path / "isic" / "ISIC-2017_Training_Part1_GroundTruth", ["ISIC_0000000_segmentation.png"])
    assert open_collection(str(tmp_path)).name == "ISIC 2017"  # inside of a single folder
    images(tmp_path / "others", ["1.jpg"])
    with pytest.raises(UserError, match=r"isic holds ISIC 2017 .*: give this folder as --data"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_metadata_in_folders_of_splits_is_not_left_out_without_a_word(tmp_path: Path, images, name: str) -> None:
    images(tmp_path / "train", ["1.jpg", "2.jpg"])
    images(tmp_path / "test", ["3.jpg"])
    (tmp_path / "train" / name).write_text("file_name,label\n1.jpg,nevus\n2.jpg,melanoma\n")
    with pytest.raises(UserError, match=rf"train/{name} would be ignored: use --data hf:{tmp_path}, or"):
        open_collection(str(tmp_path))


def test_a_file_name_that_is_not_utf8_is_reported(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg"])
    os.rename(tmp_path / "a.jpg", os.fsencode(tmp_path) + b"/L\xe4sion.jpg")
    with pytest.raises(UserError, match=r"file name 'L.*sion.jpg' is not UTF-8: rename it"):
        open_collection(str(tmp_path))


def test_images_of_formats_that_are_not_read_are_unused_files(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg"])
    for name in ("b.HEIC", "c.dcm", "notes.txt", ".d.heic"):
        (tmp_path / name).touch()
    assert unused_files(open_collection(str(tmp_path)), tmp_path) == ["b.HEIC", "c.dcm"]


@pytest.mark.parametrize("names", [("train_set", "test_set"), ("Training Data", "Test Data"), ("trainset", "testset")])
def test_folders_of_splits_in_other_words_are_splits(tmp_path: Path, images, names: tuple[str, str]) -> None:
    for name in names:
        for kind in ("mel", "nv"):
            images(tmp_path / name / kind, [f"{name}.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert sorted(record.split or "" for record in collection.records) == ["test", "test", "train", "train"]


def test_splits_may_be_inside_of_classes(tmp_path: Path, images) -> None:
    for kind in ("mel", "nv"):
        for split in ("train", "val"):
            images(tmp_path / kind / split, ["1.jpg"])
            images(tmp_path / "repeated" / split / split / kind, ["1.jpg"])
    assert open_collection(str(tmp_path / "repeated")).classes == ("mel", "nv")
    shutil.rmtree(tmp_path / "repeated")
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert [record.split for record in collection.records] == ["train", "validation"] * 2


def test_folders_named_as_patients_are_groups(tmp_path: Path, images) -> None:
    for patient in ("Patient 1", "Patient 2"):
        images(tmp_path / "flat" / patient, [f"{number}.jpg" for number in range(5)])
        for kind in ("mel", "nv"):
            images(tmp_path / "inside" / kind / patient, [f"{number}.jpg" for number in range(5)])
    flat, inside = (open_collection(str(tmp_path / name)) for name in ("flat", "inside"))
    assert (flat.classes, {record.group for record in flat.records}) == ((), {"Patient 1", "Patient 2"})
    assert flat.notes[0] == "2 folders named as cases are read as lesions, not as classes"
    assert (inside.classes, len({record.group for record in inside.records})) == (("mel", "nv"), 4)


def test_folders_of_few_lesions_are_groups_by_their_ids(tmp_path: Path, images) -> None:
    for number in (1, 2):
        images(tmp_path / f"IL_000000{number}", ["clinical.jpg", "dermoscopic.jpg"])
    collection = open_collection(str(tmp_path))
    assert (collection.classes, len({record.group for record in collection.records})) == ((), 2)


def test_superpixels_are_left_out_and_counted(tmp_path: Path, images) -> None:
    images(tmp_path, ["a.jpg", "a_superpixels.png", "b.jpg"])
    collection = open_collection(str(tmp_path))
    assert [record.id for record in collection.records] == ["a.jpg", "b.jpg"]
    assert collection.notes == ("not read, as they hold no data: 1 *_superpixels",)


@pytest.mark.parametrize("mask", ["a-mask.png", "mask_a.png", "a_seg.png", "a_GT.png", "a_lesion.bmp", "a.jpg.png"])
def test_names_of_masks_in_their_folder(tmp_path: Path, images, masks, mask: str) -> None:
    images(tmp_path / "images", ["a.jpg", "b_lesion.jpg"])
    masks(tmp_path / "masks", [mask, "b_lesion.png"])
    records = open_collection(str(tmp_path)).records
    assert [record.mask.path.name for record in records] == [mask, "b_lesion.png"]


def test_folders_of_masks_in_other_words(tmp_path: Path, images, masks) -> None:
    for split in ("train", "test"):
        images(tmp_path / f"{split}_images", ["a.jpg"])
        masks(tmp_path / f"{split}_masks", ["a.png"])
    collection = open_collection(str(tmp_path))
    assert [record.split for record in collection.records] == ["test", "train"]
    assert all(record.mask for record in collection.records)


@pytest.mark.parametrize("mask", ["a-mask.jpg", "mask_a.jpg", "a segmentation.jpg"])
def test_masks_among_images_by_name(tmp_path: Path, images, mask: str) -> None:
    images(tmp_path, ["a.jpg", mask])
    with pytest.raises(UserError, match="holds masks among its images"):
        open_collection(str(tmp_path))


def test_archives_and_tar_shards_are_named(tmp_path: Path) -> None:
    for name in ("part_1.zip", "shard.tar"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"--data hf:{tmp_path}; unpack part_1\.zip$"):
        open_collection(str(tmp_path))


def test_kinds_of_photographs_are_no_classes(tmp_path: Path, images) -> None:
    for kind in ("clinical", "Dermoscopic images"):
        images(tmp_path / "flat" / kind, [f"{kind}.jpg"])
        for name in ("mel", "nv"):
            images(tmp_path / "around" / kind / name, [f"{kind}.jpg"])
    collection = open_collection(str(tmp_path / "flat"))
    assert collection.classes == ()
    (note,) = collection.notes
    assert note.startswith("kinds of photographs, not classes: the folders Dermoscopic images, clinical")
    assert open_collection(str(tmp_path / "around")).classes == ("mel", "nv")


def test_class_folders_that_differ_by_capitals_are_one_class(tmp_path: Path, images) -> None:
    for folder in ("train/Melanoma", "train/nevus", "test/melanoma", "test/nevus"):
        images(tmp_path / folder, ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert [name.lower() for name in collection.classes] == ["melanoma", "nevus"]
    assert collection.notes == ("read as one class each, but for capitals: Melanoma and melanoma",)


def test_classes_inside_of_patients_are_named(tmp_path: Path, images) -> None:
    for patient in range(4):
        for name in ("mel", "nv"):
            images(tmp_path / f"patient_{patient}" / name, ["1.jpg"])
    notes = open_collection(str(tmp_path)).notes
    assert "not read as labels: the folders mel, nv in them (classes must be above)" in notes


def test_folders_of_photographs_in_formats_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").touch()
    with pytest.raises(UserError, match=r"convert its \.dcm files to PNG or JPEG"):
        open_collection(str(tmp_path))


def test_numbered_parts_are_no_classes(tmp_path: Path, images) -> None:
    for part in ("imgs_part_1", "imgs_part_2", "600x450"):
        images(tmp_path / "flat" / part, [f"{part}.jpg"])
        for kind in ("mel", "nv"):
            images(tmp_path / "around" / part / kind, [f"{part}.jpg"])
    assert open_collection(str(tmp_path / "flat")).classes == ()
    assert open_collection(str(tmp_path / "around")).classes == ("mel", "nv")


def test_a_test_split_without_class_folders_has_no_labels(tmp_path: Path, images) -> None:
    for name in ("mel", "nv"):
        images(tmp_path / "train" / name, ["1.jpg"])
    images(tmp_path / "test", ["2.jpg", "3.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert [(r.split, r.label) for r in collection.records] == [
        ("test", None), ("test", None), ("train", 0), ("train", 1),
    ]  # fmt: skip
    assert collection.notes == ("without a label: the 2 images of test",)


def test_folds_are_no_parts(tmp_path: Path, images) -> None:
    for fold in ("fold1", "fold2"):
        for split in ("train", "val"):
            images(tmp_path / fold / split, ["1.jpg"])
    with pytest.raises(UserError, match="holds fold1, fold2, each with all images in other splits: give one of them"):
        open_collection(str(tmp_path))
    assert len(open_collection(str(tmp_path / "fold1")).records) == 2


@pytest.mark.parametrize(
    ("image", "folder", "mask"),
    [
        ("img_001.jpg", "masks", "mask_001.png"),
        ("image 1.jpg", "masks", "1.png"),
        ("a.jpg", "lesion_masks", "a.png"),
        ("a.jpg", "lesion_masks", "a_mask.png"),
        ("a.jpg", "Ground Truth", "a.png"),
    ],
)
def test_masks_in_other_words_than_their_images(tmp_path: Path, images, masks, image, folder, mask) -> None:
    images(tmp_path / "images", [image])
    masks(tmp_path / folder, [mask])
    (record,) = open_collection(str(tmp_path)).records
    assert record.mask.path.name == mask


def test_a_number_that_two_images_have_is_no_pair(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "images", ["img_1.jpg", "photo_1.jpg"])
    masks(tmp_path / "masks", ["mask_1.png"])
    with pytest.raises(UserError, match="1 of 1 masks have no image"):
        open_collection(str(tmp_path))


def test_files_that_hold_many_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "dermamnist.npz").touch()
    with pytest.raises(UserError, match=r"convert its \.npz files to PNG or JPEG"):
        open_collection(str(tmp_path))


def test_folders_that_hold_the_same_folders_may_not_be_the_classes(tmp_path: Path, images) -> None:
    for site in ("hospital A", "hospital B"):
        for name in ("mel", "nv"):
            images(tmp_path / site / name, ["1.jpg"])
    (note,) = open_collection(str(tmp_path)).notes
    assert note == (
        "warning: hospital A, hospital B each hold the folders mel, nv: if these are the classes, "
        "give one of those as --data"
    )


def test_folders_inside_of_classes_are_named(tmp_path: Path, images) -> None:
    for name in ("malignant/mel", "malignant/bcc", "benign/nv"):
        images(tmp_path / name, ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("benign", "malignant")
    assert collection.notes == ("not read as labels: the folders bcc, mel, nv in them (classes must be above)",)


def photographs(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


@pytest.mark.parametrize("folders", [("photos", "labels"), ("JPEGImages", "SegmentationClass"), ("images", "binary")])
@pytest.mark.parametrize("levels", [(255,), (128, 255), (1, 2, 3)])
def test_masks_that_would_be_a_class_are_noticed_by_their_pixels(tmp_path: Path, folders, levels) -> None:
    names = [f"{number}.jpg" for number in range(6)]
    photographs(tmp_path / folders[0], names)
    (tmp_path / folders[1]).mkdir()
    pixels = np.zeros((24, 32), np.uint8)
    for start, level in zip((2, 10, 18), levels, strict=False):
        pixels[start : start + 5, 4:20] = level
    for name in names:
        Image.fromarray(pixels).save((tmp_path / folders[1] / name).with_suffix(".jpg"), quality=95)
    with pytest.raises(UserError, match=f"{folders[1]} holds masks among its images"):
        open_collection(str(tmp_path))


def test_photographs_with_the_same_names_in_two_classes_are_no_masks(tmp_path: Path) -> None:
    for name in ("mel", "nv"):
        photographs(tmp_path / name, ["1.png", "2.png"])
    assert open_collection(str(tmp_path)).classes == ("mel", "nv")


@pytest.mark.parametrize(
    ("train", "test"),
    [("train2017", "test2017"), ("ISIC_train", "ISIC_test"), ("data-train", "data-val"), ("Training 80", "Test 20")],
)
def test_names_of_splits_may_have_other_words_and_numbers(tmp_path: Path, images, train: str, test: str) -> None:
    for split in (train, test):
        for name in ("mel", "nv"):
            images(tmp_path / split / name, ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert len({record.split for record in collection.records} - {None}) == 2


def test_a_split_in_two_sizes_is_a_question(tmp_path: Path, images) -> None:
    for folder in ("train", "train_512", "test"):
        images(tmp_path / folder, ["1.jpg"])
    with pytest.raises(UserError, match="train and train_512 are both named as one split: join them, or move one away"):
        open_collection(str(tmp_path))


def test_patients_with_several_visits_are_one_group(tmp_path: Path, images) -> None:
    for number in range(10):
        for visit in ("visit_1", "visit_2"):
            images(tmp_path / ("mel", "nv")[number % 2] / f"patient_{number}" / visit, ["1.jpg", "2.jpg", "3.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert len({record.group for record in collection.records}) == 10


@pytest.mark.parametrize("name", ["P{:03d}", "Pt {}", "10{:02d}", "P{:02d}", "SK-{:04d}"])
def test_numbered_patients_are_groups(tmp_path: Path, images, name: str) -> None:
    for number in range(12):
        images(tmp_path / name.format(number), [f"{image}.jpg" for image in range(5)])
    collection = open_collection(str(tmp_path))
    assert (collection.classes, len({record.group for record in collection.records})) == ((), 12)


@pytest.mark.parametrize("name", ["{}", "class_{}", "c{}", "type {}"])
def test_numbered_classes_are_classes(tmp_path: Path, images, name: str) -> None:
    for number in range(12):
        images(tmp_path / name.format(number), [f"{image}.jpg" for image in range(5)])
    assert len(open_collection(str(tmp_path)).classes) == 12


def test_splits_inside_of_some_classes_only_are_an_error(tmp_path: Path, images) -> None:
    for folder in ("mel/train", "mel/test", "nv/train", "nv/test", "bcc"):
        images(tmp_path / folder, ["1.jpg"])
    with pytest.raises(UserError, match=r"train is the name of a split, but 1 of 5 images .* e\.g\. bcc/1\.jpg"):
        open_collection(str(tmp_path))


def test_an_image_beside_the_classes_is_named(tmp_path: Path, images) -> None:
    for folder in ("mel", "nv"):
        images(tmp_path / folder, ["1.jpg"])
    images(tmp_path, ["cover.jpg"])
    assert open_collection(str(tmp_path)).notes == ("not read as labels: the folders mel, nv, as cover.jpg is outside",)


def test_accents_of_macos_are_those_of_others(tmp_path: Path, images, masks) -> None:
    for folder in ("train/N\u00e4vus", "test/Na\u0308vus", "train/mel", "test/mel"):
        images(tmp_path / "classes" / folder, ["1.jpg"])
    assert open_collection(str(tmp_path / "classes")).classes == tuple(sorted(("mel", "N\u00e4vus")))
    images(tmp_path / "masked" / "images", ["a\u0308.jpg"])
    masks(tmp_path / "masked" / "masks", ["\u00e4.png"])
    assert all(record.mask for record in open_collection(str(tmp_path / "masked")).records)


def test_masks_of_all_classes_may_be_in_one_folder(tmp_path: Path, images, masks) -> None:
    for name in ("mel", "nv"):
        images(tmp_path / "images" / name, [f"{name}0.jpg"])
    masks(tmp_path / "masks", ["mel0_segmentation.png", "nv0.png"])
    records = open_collection(str(tmp_path)).records
    assert [record.mask.path.name for record in records] == ["mel0_segmentation.png", "nv0.png"]
