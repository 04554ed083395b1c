"""Data as people have them: what is read is said, and what looks wrong stops with the way out."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from gravis_triton.data.datasets.open import open_collection
from gravis_triton.errors import UserError


@pytest.fixture
def table(tmp_path: Path, images):
    """Writes a table beside ten images 0.jpg to 9.jpg."""
    images(tmp_path / "photos", [f"{number}.jpg" for number in range(10)])

    def write(text: str, name: str = "table.csv") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path

    return write


def rows(header: str, *cells: str) -> str:
    return "\n".join([header, *(f"{number},{cell}" for number, cell in enumerate(cells))])


def labels(data: Path, **flags: str) -> list[str | None]:
    collection = open_collection(str(data), **flags)
    return [None if one.label is None else collection.classes[one.label] for one in collection.records]


def test_two_columns_of_labels_that_differ_are_a_question(table) -> None:
    data = table(rows("image,diagnosis,target", "unknown,0", "nevus,0", "melanoma,1"))
    with pytest.raises(UserError, match=r"line 2: diagnosis is '' and target is '0'.*--columns label=diagnosis or"):
        open_collection(str(data))
    assert labels(data, columns="label=target")[:3] == ["0", "0", "1"]


def test_two_columns_of_labels_that_agree_are_read_and_said(table) -> None:
    data = table(rows("image,label,dx", "0,nv", "1,mel", "1.0,mel"))
    collection = open_collection(str(data))
    assert collection.classes == ("0", "1")
    assert "labels: label, which dx repeat" in collection.notes


def test_whole_numbers_are_one_spelling(table) -> None:
    assert labels(table(rows("image,label", "0", "0.0", "1", "1.0")))[:4] == ["0", "0", "1", "1"]


def test_marks_of_the_unknown_are_counted_and_no_class(table) -> None:
    data = table(rows("image,label", "mel", "none", "Unknown", "-1", "NA"))
    assert labels(data)[:5] == ["mel", "none", None, None, None]
    assert any("without a label: 3 rows (label is 1 'Unknown'" in note for note in open_collection(str(data)).notes)


def test_columns_of_false_and_true_are_classes(table) -> None:
    data = table(rows("image,mel,nv,hair", "True,False,True", "False,True,True", "TRUE,FALSE,FALSE"))
    assert labels(data)[:3] == ["mel", "nv", "mel"]
    several = open_collection(str(data), columns="labels=mel+hair")
    assert [record.label for record in several.records[:3]] == [(0, 1), (1,), (0,)]


def test_several_classes_in_one_cell_are_a_question(table) -> None:
    data = table(rows("image,label", "mel", "nv", "mel|nv"))
    with pytest.raises(UserError, match=r"line 4: label is 'mel\|nv', several classes in one cell"):
        open_collection(str(data))


def test_a_comma_in_the_name_of_a_class_is_no_question(table) -> None:
    assert labels(table(rows("image,label", "mel", '"nevus, NOS"', "nevus")))[1] == "nevus, NOS"


def test_fractions_are_no_classes(table) -> None:
    with pytest.raises(UserError, match=r"line 3: label has fractions such as 0\.25, not classes"):
        open_collection(str(table(rows("image,label", "1", "0.25", "0.5"))))


def test_columns_of_0_and_1_are_classes_beside_others(table) -> None:
    data = table(rows("image,age,MEL,NV,BCC,biopsied", "50,1,0,0,1", "60,0,1,0,0", "70,0.0,0.0,1.0,1"))
    assert labels(data)[:3] == ["MEL", "NV", "BCC"]


def test_columns_that_are_no_classes_are_listed_with_what_to_type(table) -> None:
    data = table(rows("image,age,diagnosis_1", "50,Benign", "60,Malignant"))
    notes = open_collection(str(data)).notes
    assert "no labels are read from the columns image, age, diagnosis_1: give --columns label=diagnosis_1" in notes
    assert labels(data, columns="label=diagnosis_1")[:2] == ["Benign", "Malignant"]


def test_named_columns_of_0_and_1_with_two_ones_are_reported(table) -> None:
    data = table(rows("image,MEL,NV", "1,1", "0,0"))
    with pytest.raises(UserError, match=r"line 2: expected at most one of MEL, NV to be 1, found MEL and NV; name"):
        open_collection(str(data), columns="label=MEL+NV")


def test_lesion_numbers_that_restart_with_every_patient_do_not_join_patients(table) -> None:
    data = table(rows("image,label,patient_id,lesion_id", "nv,P0,1", "nv,P0,2", "mel,P1,1", "mel,unknown,7"))
    collection = open_collection(str(data))
    assert [record.group for record in collection.records][:4] == [
        "patient_id P0", "patient_id P0", "patient_id P1", "lesion_id 7",
    ]  # fmt: skip
    assert any("restarts with every patient (1 of its values" in note for note in collection.notes)


def test_groups_are_counted_and_marks_of_the_unknown_are_none(table) -> None:
    collection = open_collection(str(table(rows("image,patient_id", "P0", "P0", "-1", "unknown"))))
    assert [record.group for record in collection.records][:4] == ["P0", "P0", None, None]
    assert (
        "groups: 2 images of 1 patient_id, the largest group 'P0' with 2 images; 2 images have none" in collection.notes
    )


def test_the_arms_of_a_study_are_no_groups(table) -> None:
    data = table(rows("image,group", *["control"] * 8))
    with pytest.raises(UserError, match=r"column group has only 1 values .*give --columns group=group, else another"):
        open_collection(str(data))
    assert {record.group for record in open_collection(str(data), columns="group=").records} == {None}


def test_a_part_of_the_body_is_no_split(table) -> None:
    collection = open_collection(str(table(rows("image,part", "trunk", "arm"))))
    assert {record.split for record in collection.records} == {None}
    assert "part is not read: its values are no splits (arm, trunk)" in collection.notes


def test_few_missing_images_are_counted_and_many_stop(tmp_path: Path, images) -> None:
    images(tmp_path, [f"{number}.jpg" for number in range(19)])
    for listed in (20, 21):
        (tmp_path / "table.csv").write_text(rows("image,label", *["nv"] * listed))
        if listed == 20:
            assert "left out: 1 of 20 images of the table are missing, e.g. 19" in open_collection(str(tmp_path)).notes
    with pytest.raises(UserError, match=r"line 21, column image: .*2 of 21 are missing; --images DIR if elsewhere"):
        open_collection(str(tmp_path))


def test_images_may_be_under_another_root(tmp_path: Path, images) -> None:
    images(tmp_path / "elsewhere" / "jpg", ["a.jpg", "b.jpg"])
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "table.csv"
    table.write_text("path,label\n/kaggle/input/jpg/a.jpg,nv\nb,mel\n")
    collection = open_collection(str(table), images=str(tmp_path / "elsewhere"))
    assert [record.id for record in collection.records] == ["jpg/a.jpg", "jpg/b.jpg"]


def test_labels_in_a_second_table_are_joined_by_image_or_lesion(table) -> None:
    table(rows("image,lesion_id", "L0", "L0", "L1"), "images.csv")
    data = table("lesion_id,MEL,NV\nL0,1,0\nL1,0,1\n", "truth.csv")
    table("id,score\nx,1\n", "notes.csv")
    assert labels(data)[:3] == ["MEL", "MEL", "NV"]
    assert "tables that are not read: notes.csv" in open_collection(str(data)).notes


def test_one_hot_labels_beside_images_and_masks(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "images", ["a.jpg", "b.jpg"])
    masks(tmp_path / "masks", ["a_segmentation.png", "b_segmentation.png"])
    (tmp_path / "GroundTruth.csv").write_text("image,MEL,NV\na,0.0,1.0\nb,1.0,0.0\n")
    assert labels(tmp_path) == ["NV", "MEL"]
    assert all(record.mask.path.is_file() for record in open_collection(str(tmp_path)).records)


def test_tables_in_a_folder_below_are_found(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["a.jpg", "b.jpg"])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "meta.csv").write_text("image,label\na,nv\nb,mel\n")
    assert labels(tmp_path) == ["nv", "mel"]


def test_a_table_in_a_folder_below_does_not_replace_class_folders(tmp_path: Path, images) -> None:
    for name in ("mel", "nv"):
        images(tmp_path / name, ["1.jpg"])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "reader.csv").write_text("file,label\nelsewhere.jpg,x\n")
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert collection.notes == ("tables that are not read: notes/reader.csv (give one as --data)",)


def test_folders_of_the_system_are_skipped_and_counted(tmp_path: Path, images) -> None:
    for name in ("mel", "nv", "mel/@eaDir/1.jpg", "nv/.ipynb_checkpoints", "$RECYCLE.BIN", "lost+found"):
        images(tmp_path / name, ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert (collection.classes, len(collection.records)) == (("mel", "nv"), 2)
    (note,) = collection.notes
    assert all(f"1 {name}" in note for name in ("@eaDir", ".ipynb_checkpoints", "$RECYCLE.BIN", "lost+found"))


def test_a_single_outer_folder_is_passed_through(tmp_path: Path, images) -> None:
    for split in ("Train", "Test"):
        for name in ("mel", "nv"):
            images(tmp_path / "Skin cancer" / split / name, ["1.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert {record.split for record in collection.records} == {"train", "test"}
    assert collection.notes[0] == f"{tmp_path} holds one folder: Skin cancer is read"


def test_many_folders_of_few_images_are_lesions(tmp_path: Path, images) -> None:
    for number in range(12):
        images(tmp_path / f"visit {chr(97 + number)}", ["clinical.jpg", "dermoscopic.jpg"])
    collection = open_collection(str(tmp_path))
    assert (collection.classes, len({record.group for record in collection.records})) == ((), 12)
    assert collection.notes[0].startswith("12 folders of few images each are read as lesions")


def test_many_folders_of_few_images_inside_of_classes_are_their_lesions(tmp_path: Path, images) -> None:
    for number in range(12):
        images(tmp_path / ("mel", "nv")[number % 2] / f"lesion {number}", ["1.jpg", "2.jpg"])
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert len({record.group for record in collection.records}) == 12


def test_other_columns_that_may_be_labels_are_named(table) -> None:
    collection = open_collection(str(table(rows("image,dx,benign_malignant", "nv,benign", "mel,malignant"))))
    assert collection.classes == ("mel", "nv")
    assert "not read as labels: benign_malignant (--columns label=NAME)" in collection.notes


def test_masks_beside_photographs_are_noticed_by_name_and_by_content(tmp_path: Path, images, masks) -> None:
    images(tmp_path / "closer", ["P1.jpg", "P1_lesion.jpg"])  # two photographs
    assert len(open_collection(str(tmp_path / "closer")).records) == 2
    images(tmp_path / "named" / "IMD1" / "photo", ["IMD1.jpg"])
    masks(tmp_path / "named" / "IMD1" / "lesion", ["IMD1_lesion.png"])
    with pytest.raises(UserError, match="holds masks among its images, such as IMD1_lesion"):
        open_collection(str(tmp_path / "named"))
    images(tmp_path / "drawn", ["a.jpg", "b.jpg"])
    pixels = np.zeros((32, 32), np.uint8)
    pixels[8:24, 8:24] = 255
    Image.fromarray(pixels).save(tmp_path / "drawn" / "outline of a.png")
    with pytest.raises(UserError, match="holds masks among its images, such as outline of a"):
        open_collection(str(tmp_path / "drawn"))


def test_images_in_a_folder_unknown_have_no_label(tmp_path: Path, images) -> None:
    for name in ("mel", "nv", "unknown"):
        images(tmp_path / name, ["1.jpg"])
    assert labels(tmp_path) == ["mel", "nv", None]


def test_a_directory_of_the_hub_is_read_with_hf(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cells = [{"bytes": b"", "path": "a.jpg"}]
    pa.parquet.write_table(pa.table({"image": cells}), tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(UserError, match=f"give --data hf:{tmp_path}, or"):
        open_collection(str(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets(table, encoding: str) -> None:
    data = table("")
    (data / "table.csv").write_bytes("image;dx\n0;Naevus Spitz\n1;Läsion\n".encode(encoding))
    assert labels(data)[:2] == ["Naevus Spitz", "Läsion"]


@pytest.mark.parametrize("above", ["sep=;\r\n", "# exported on Monday\n", "\n"])
def test_lines_above_the_header_and_blank_ones_are_no_rows(table, above: str) -> None:
    data = table(f"{above}image;dx\n0;nv\n  \n1;mel\n;\n\t\n")
    assert labels(data)[:3] == ["nv", "mel", None]


def test_lines_of_faults_count_blank_lines_and_quoted_breaks(table) -> None:
    data = table('image,note,split\n0,"two\nlines",train\n\n1,,fold7\n')
    with pytest.raises(UserError, match=r"table\.csv, line 5, column split"):
        open_collection(str(data))


def test_columns_are_known_in_any_writing(table) -> None:
    collection = open_collection(str(table(rows("Image ID,Diagnosis,PatientID", "nv,P0", "mel,P0", "mel,P1"))))
    assert collection.classes == ("mel", "nv")
    assert [record.group for record in collection.records[:3]] == ["P0", "P0", "P1"]


def test_a_column_whose_values_are_splits_holds_the_splits(table) -> None:
    collection = open_collection(str(table(rows("image,dataset,data_set", "ham,Train", "ham,Val", "ham,Test"))))
    assert [record.split for record in collection.records[:3]] == ["train", "validation", "test"]


def test_other_columns_that_may_be_groups_are_named(table) -> None:
    collection = open_collection(str(table(rows("image,case_id,lesion_type", "1,macule", "1,plaque"))))
    assert "not read as groups: case_id (--columns group=NAME)" in collection.notes


def test_kinds_of_lesions_are_no_groups(table) -> None:
    data = table(rows("image,label,lesion", *["nv,macule"] * 7))
    with pytest.raises(UserError, match="column lesion has only 1 values"):
        open_collection(str(data))


def test_columns_of_malignancy_that_differ_are_a_question(table) -> None:
    data = table(rows("image,malignant,benign_malignant", "1,malignant", "0,malignant"))
    with pytest.raises(UserError, match="name one with --columns label=malignant or --columns label=benign_malignant"):
        open_collection(str(data))


def test_two_groups_of_0_and_1_columns_are_a_question(table) -> None:
    header = "image,male,female,age,MEL,NV"
    data = table(rows(header, "1,0,50,0,1", "0,1,60,0,1", "0,1,70,1,0"))
    with pytest.raises(UserError, match=r"give --columns label=male\+female or --columns label=MEL\+NV, or label= for"):
        open_collection(str(data))
    longer = table(rows(f"{header},BCC", "1,0,50,0,1,0", "0,1,60,0,0,1", "0,1,70,1,0,0"))
    collection = open_collection(str(longer))
    assert collection.classes == ("MEL", "NV", "BCC")
    assert "not read as labels: male, female (--columns label=A+B)" in collection.notes


@pytest.mark.parametrize(("column", "values"), [("melanoma", "0101"), ("category", "xyyx")])
def test_columns_of_few_values_are_what_to_type(table, column: str, values: str) -> None:
    notes = open_collection(str(table(rows(f"image,{column},age", *(f"{one},{ord(one)}" for one in values))))).notes
    assert any(note.endswith(f"give --columns label={column}") for note in notes)


def test_true_and_false_are_one_spelling(table) -> None:
    assert labels(table(rows("image,malignant", "TRUE", "true", "False")))[:3] == ["True", "True", "False"]


def test_names_that_differ_by_capitals_are_one_class(table) -> None:
    data = table(rows("image,dx", "Nevus", "nevus", "nevus", "MEL"))
    assert labels(data)[:4] == ["nevus", "nevus", "nevus", "MEL"]
    assert "read as one class each, but for capitals: Nevus and nevus" in open_collection(str(data)).notes
    notes = open_collection(str(table(rows("image,dx", "nv", "NV", "Mel", "mel")))).notes
    assert "read as one class each, but for capitals: Mel and mel, NV and nv" in notes
    data = table(rows("image,dx", "Mel|nv", "mel", "mel"))
    assert open_collection(str(data), columns="labels=dx").classes == ("mel", "nv")


@pytest.mark.parametrize("column", ["fold", "is_train"])
def test_columns_like_splits_that_are_not_read_are_named(table, column) -> None:
    notes = open_collection(str(table(rows(f"image,dx,{column}", "nv,0", "mel,1")))).notes
    assert f"{column} is not read: its values are no splits (0, 1)" in notes


def test_lists_of_names_are_classes_or_a_question(table) -> None:
    data = table(rows("image,label", "['nv']", "['mel']"))
    assert labels(data)[:2] == ["nv", "mel"]
    data = table(rows("image,label", "['nv']", "['mel']", "\"['nv', 'mel']\""))
    with pytest.raises(UserError, match="several classes in one cell"):
        open_collection(str(data))
    assert open_collection(str(data), columns="labels=label").records[2].label == (0, 1)


def test_names_in_other_capitals_or_with_another_suffix_are_found(tmp_path: Path, images) -> None:
    images(tmp_path, ["A.JPG", "b.jpg", "c.jpg"])
    (tmp_path / "table.csv").write_text("image,dx\na.jpg,nv\nB.png,mel\nhttps://x.org/c.jpg?s=1,mel\n")
    assert labels(tmp_path) == ["nv", "mel", "mel"]


def test_missing_images_are_compared_with_one_that_is_there(table) -> None:
    data = table("image,dx\n007,nv\n")
    (data / "images_2.zip").touch()
    message = r"such as photos/0\.jpg \(1 of 1 are missing; --images DIR if elsewhere, .*; unpack images_2\.zip\)"
    with pytest.raises(UserError, match=message):
        open_collection(str(data))


def test_an_image_is_not_its_own_mask(table) -> None:
    with pytest.raises(UserError, match="column mask: expected a mask, not the image itself"):
        open_collection(str(table(rows("image,mask", "0.png"))))


def test_tables_of_any_kind_that_are_not_read_are_named(tmp_path: Path, images) -> None:
    for split in ("train", "valid"):
        images(tmp_path / split, ["1.jpg"])
        (tmp_path / split / "_classes.csv").write_text("filename,MEL\n1.jpg,1\n")
    for name in ("labels.json", "README.txt"):
        (tmp_path / name).touch()
    (note,) = open_collection(str(tmp_path)).notes
    assert note.startswith("tables that are not read: labels.json, train/_classes.csv, valid/_classes.csv (give")
    for split in ("train", "valid"):
        (tmp_path / split / "_classes.csv").unlink()
    assert open_collection(str(tmp_path)).notes == ("tables that are not read: labels.json",)


def test_the_only_table_is_read_also_beside_the_images(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["a.jpg", "b.jpg"])
    (tmp_path / "images" / "labels.csv").write_text("image,label\na,nv\nb,mel\n")
    assert labels(tmp_path) == ["nv", "mel"]


def test_official_tables_are_read_with_images_in_another_folder(tmp_path: Path, images) -> None:
    images(tmp_path / "all", ["ISIC_1.jpg", "ISIC_2.jpg"])
    (tmp_path / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\nH1,ISIC_1,nv\nH2,ISIC_2,mel\n")
    collection = open_collection(str(tmp_path))
    assert labels(tmp_path) == ["nv", "mel"]
    assert [record.group for record in collection.records] == ["H1", "H2"]


def test_tables_with_the_names_of_splits_are_one(tmp_path: Path, images) -> None:
    images(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg"])
    for name, row in (("train", "a,nv"), ("val_labels", "b,mel"), ("test", "c,nv")):
        (tmp_path / f"{name}.csv").write_text(f"image,label\n{row}\n")
    collection = open_collection(str(tmp_path))
    assert sorted((record.id, collection.class_names(record), record.split) for record in collection.records) == [
        ("images/a.jpg", "nv", "train"), ("images/b.jpg", "mel", "validation"), ("images/c.jpg", "nv", "test"),
    ]  # fmt: skip
    assert "table: test.csv + train.csv + val_labels.csv, 3 rows" in collection.notes[0]
    (tmp_path / "sample_submission.csv").write_text("image,label\nc,0.5\n")
    assert "tables that are not read: sample_submission.csv" in open_collection(str(tmp_path)).notes
    (tmp_path / "val_labels.csv").write_text("image,label\nb,mel\na,nv\n")
    with pytest.raises(UserError, match=r"val_labels\.csv, line 3, column image: expected an image that no other row"):
        open_collection(str(tmp_path))


def test_numbers_of_lesions_are_no_kinds(table) -> None:
    collection = open_collection(str(table(rows("image,patient,lesion", *["P0,1"] * 6, *["P1,1"] * 3))))
    assert len({record.group for record in collection.records[:9]}) == 2


def test_class_folders_beside_a_table_without_labels_are_named(tmp_path: Path, images) -> None:
    for name in ("mel", "nv"):
        images(tmp_path / name, [f"{name}.jpg"])
    (tmp_path / "table.csv").write_text("image,age\nmel,50\nnv,60\n")
    notes = open_collection(str(tmp_path)).notes
    assert "not read as labels: the folders mel, nv (they are without a table beside them)" in notes


def test_a_table_without_a_header_says_so(table) -> None:
    with pytest.raises(UserError, match=r"table\.csv has no header"):
        open_collection(str(table("0.jpg,nv\n1.jpg,mel\n")))


def test_image_types_of_a_table_are_modalities(table) -> None:
    data = table(rows("image,image_type", "dermoscopic", "clinical: close-up", "TBP tile: close-up"))
    assert [record.id for record in open_collection(str(data), modality="dermoscopic").records] == ["photos/0.jpg"]
    assert len(open_collection(str(data), modality="clinical").records) == 2
    assert "modality: 2 clinical, 1 dermoscopic (--modality reads one)" in open_collection(str(data)).notes


def test_numbers_of_patients_are_one_spelling(table) -> None:
    collection = open_collection(str(table(rows("image,patient_id", "7", "7.0", "8.0"))))
    assert [record.group for record in collection.records[:3]] == ["7", "7", "8"]


def test_a_table_below_that_labels_the_images_counts_more_than_folders(tmp_path: Path, images) -> None:
    for name in ("clinic A", "clinic B"):
        images(tmp_path / name, [f"{name}.jpg"])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "labels.csv").write_text("image,label\nclinic A,nv\nclinic B,mel\n")
    assert labels(tmp_path) == ["nv", "mel"]


@pytest.mark.parametrize("name", ["pid", "mrn", "lesion_uid", "study_id", "Patno", "subject"])
def test_columns_that_may_be_groups_are_named(table, name: str) -> None:
    notes = open_collection(str(table(rows(f"image,dx,{name}", "nv,7", "mel,7")))).notes
    assert f"not read as groups: {name} (--columns group=NAME)" in notes


def test_comments_above_the_header_are_not_read(table) -> None:
    assert labels(table("# exported in 2024\n# by a tool\n\nimage,dx\n0,nv\n1,mel\n"))[:2] == ["nv", "mel"]
    with pytest.raises(UserError, match=r"line 6, column split: expected one of train"):
        open_collection(str(table("# by a tool\n\nimage,dx,split\n0,nv,train\n\n1,mel,dev\n")))


def test_a_title_above_the_header_is_an_error(table) -> None:
    with pytest.raises(UserError, match=r"line 3: expected 1 fields, found 2: remove the lines above the header"):
        open_collection(str(table("Lesions of 2024\n\nimage,dx\n0,nv\n")))


def test_a_name_that_two_splits_have_is_the_image_of_its_own(tmp_path: Path, images) -> None:
    for split, label in (("train", "nv"), ("test", "mel")):
        images(tmp_path / split, ["1.jpg"])
        (tmp_path / f"{split}.csv").write_text(f"image,dx\n1.jpg,{label}\n")
    collection = open_collection(str(tmp_path))
    assert {record.id: (record.split, collection.classes[record.label]) for record in collection.records} == {
        "train/1.jpg": ("train", "nv"), "test/1.jpg": ("test", "mel"),
    }  # fmt: skip


def test_descriptions_of_the_images_as_json_are_named(tmp_path: Path, images) -> None:
    images(tmp_path / "Images", ["ISIC_0000000.jpg"])
    (tmp_path / "Descriptions").mkdir()
    (tmp_path / "Descriptions" / "ISIC_0000000").write_text('{"meta": {}}')
    (tmp_path / "LICENSE").write_text("CC0")
    assert open_collection(str(tmp_path)).notes == ("tables that are not read: Descriptions/ISIC_0000000",)


@pytest.mark.parametrize("both", ["mel+nv", '"mel\nnv"'])
def test_names_of_two_classes_in_one_cell_are_a_question(table, both: str) -> None:
    with pytest.raises(UserError, match=r"several classes in one cell.*--columns labels=dx reads several"):
        open_collection(str(table(rows("image,dx", "nv", "mel", both))))


def test_a_column_of_addresses_is_offered_for_a_column_of_numbers(table) -> None:
    data = table("image,url\n" + "\n".join(f"{n + 100},https://a.org/{n}.jpg?size=9" for n in range(10)))
    with pytest.raises(UserError, match=r"10 of 10 are missing; --columns image=url, --images DIR if elsewhere"):
        open_collection(str(data))
    assert len(open_collection(str(data), columns="image=url").records) == 10


def test_a_sheet_of_remarks_before_the_table_is_not_read(table) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Exported in 2024"])
    sheet = book.create_sheet("labels")
    for row in (["image", "dx"], ["0", "nv"], ["1", "mel"]):
        sheet.append(row)
    data = table("", "empty.txt")
    book.save(data / "labels.xlsx")
    assert len(open_collection(str(data / "labels.xlsx")).classes) == 2


def test_a_table_named_as_an_official_one_is_read_by_its_columns(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["a.jpg", "b.jpg"])
    (tmp_path / "train.csv").write_text("image_name,label\na,nv\nb,mel\n")
    assert labels(tmp_path) == ["nv", "mel"]


def test_official_tables_may_name_images_with_any_suffix(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["ISIC_1.png", "ISIC_2.png"])
    (tmp_path / "train.csv").write_text("image_name,target\nISIC_1.png,0\nISIC_2.png,1\n")
    collection = open_collection(str(tmp_path))
    assert (collection.name, labels(tmp_path)) == ("ISIC 2020", ["benign", "malignant"])


def test_a_system_folder_in_an_official_one_is_skipped(tmp_path: Path, images, masks) -> None:
    for kind, write, name in (("Data", images, "ISIC_1.jpg"), ("Part1_GroundTruth", masks, "ISIC_1_segmentation.png")):
        folder = f"ISIC-2017_Training_{kind}"
        write(tmp_path / folder / folder, [name])
        images(tmp_path / folder / "__MACOSX", ["._1.jpg"])
    (record,) = open_collection(str(tmp_path)).records
    assert record.mask is not None


def test_files_that_cannot_be_opened_are_no_tables(tmp_path: Path, images) -> None:
    for name in ("mel", "nv"):
        images(tmp_path / name, ["1.jpg"])
    (tmp_path / "bcc").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe")
    collection = open_collection(str(tmp_path))
    assert collection.classes == ("mel", "nv")
    assert collection.notes == ("not read, as they hold no data: 1 bcc (broken link)",)


def test_names_of_several_words_are_one_class_among_several_per_image(table) -> None:
    data = table(rows("image,dx", "basal cell carcinoma", "nevus"))
    assert open_collection(str(data), columns="labels=dx").classes == ("basal cell carcinoma", "nevus")


def test_weights_of_classes_may_be_tiny(table) -> None:
    cells = ("\"{'mel': 1e-05, 'nv': 0.9}\"", "\"{'mel': 0.6, 'nv': 4e-1}\"")
    assert labels(table(rows("image,label", *cells)))[:2] == ["nv", "mel"]


@pytest.mark.parametrize("cells", [("['mel', 'hair']", "['nv']"), ("mel|hair", "nv|ruler")])
def test_several_classes_in_a_cell_are_a_question_also_if_none_is_alone(table, cells) -> None:
    with pytest.raises(UserError, match="several classes in one cell"):
        open_collection(str(table(rows("image,label", *(f'"{cell}"' for cell in cells)))))


@pytest.mark.parametrize("cells", [("0,9", "0,1"), ("80%", "20%")])
def test_fractions_in_other_writings_are_no_classes(table, cells) -> None:
    with pytest.raises(UserError, match="has fractions such as"):
        open_collection(str(table(rows("image,target", *(f'"{cell}"' for cell in cells)))))


def test_two_columns_of_different_images_are_a_question(table) -> None:
    data = table("image_id,file_name,dx\n" + "\n".join(f"{n},{9 - n}.jpg,nv" for n in range(10)))
    with pytest.raises(UserError, match=r"--columns image=image_id or --columns image=file_name"):
        open_collection(str(data))
    assert len(open_collection(str(data), columns="image=file_name").records) == 10


def test_an_image_of_another_split_is_not_the_one_of_the_table(tmp_path: Path, images) -> None:
    images(tmp_path / "train", ["0.jpg", "1.jpg"])
    (tmp_path / "table.csv").write_text("image,dx\ntest/0.jpg,nv\ntest/1.jpg,mel\n")
    with pytest.raises(UserError, match="2 of 2 are missing"):
        open_collection(str(tmp_path))


def test_paths_of_another_machine_name_the_images_below(tmp_path: Path, images) -> None:
    for center in ("a", "b"):
        images(tmp_path / center, ["0.jpg"])
    (tmp_path / "table.csv").write_text("image,dx\n/home/me/data/a/0.jpg,nv\n/home/me/data/b/0.jpg,mel\n")
    assert labels(tmp_path) == ["nv", "mel"]


@pytest.mark.parametrize(
    ("key", "mine", "its"),
    [("image", ("a/0.jpg", "b/0.jpg"), ("a/0.jpg",)), ("lesion_id", ("P0.1", "P0.2"), ("P0.1",))],
)
def test_tables_are_joined_by_whole_names(tmp_path: Path, images, key: str, mine, its) -> None:
    for center in ("a", "b"):
        images(tmp_path / center, ["0.jpg"])
    files = ("a/0.jpg", "b/0.jpg")
    columns = ("image", *([key] if key != "image" else []))
    lines = [",".join((file, *([name] if key != "image" else []))) for file, name in zip(files, mine, strict=True)]
    (tmp_path / "images.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    (tmp_path / "labels.csv").write_text("\n".join([f"{key},dx", *(f"{name},mel" for name in its)]) + "\n")
    assert labels(tmp_path) == ["mel", None]


def test_one_column_per_class_may_be_empty_in_the_test_set(tmp_path: Path, images) -> None:
    images(tmp_path / "images", [f"{number}.jpg" for number in range(4)])
    (tmp_path / "train.csv").write_text("image,MEL,NV\n0,1,0\n1,0,1\n")
    (tmp_path / "test.csv").write_text("Image\n2\n3\n")
    collection = open_collection(str(tmp_path))
    assert dict(zip((record.id for record in collection.records), labels(tmp_path), strict=True)) == {
        "images/0.jpg": "MEL", "images/1.jpg": "NV", "images/2.jpg": None, "images/3.jpg": None,
    }  # fmt: skip
    assert [record.split for record in collection.records] == ["test", "test", "train", "train"]


def test_flags_are_no_classes_and_other_labels_are_named(table) -> None:
    notes = open_collection(str(table(rows("image,sex_m,sex_f,disease", "1,0,nv", "0,1,mel")))).notes
    assert "not read as labels: disease (--columns label=NAME)" in notes
    assert not open_collection(str(table(rows("image,is_train,is_test,disease", "1,0,nv", "0,1,mel")))).classes


def test_two_tables_of_one_split_are_joined_or_a_question(tmp_path: Path, images) -> None:
    images(tmp_path / "images", [f"{number}.jpg" for number in range(4)])
    (tmp_path / "train_meta.csv").write_text("image,patient_id\n0,7\n1,8\n")
    (tmp_path / "train_labels.csv").write_text("image,dx\n0,nv\n1,mel\n")
    (tmp_path / "test.csv").write_text("image,dx\n2,nv\n3,mel\n")
    collection = open_collection(str(tmp_path))
    assert labels(tmp_path) == ["nv", "mel", "nv", "mel"]
    assert {record.id: record.group for record in collection.records} == {
        "images/0.jpg": "7", "images/1.jpg": "8", "images/2.jpg": None, "images/3.jpg": None,
    }  # fmt: skip
    (tmp_path / "train_labels.csv").write_text("image,dx\n2,nv\n")
    with pytest.raises(UserError, match=r"are both of one split: join them in one table"):
        open_collection(str(tmp_path))
