import pyarrow as pa
import pyarrow.parquet
import pytest

from gravis_triton.data.datasets.attributes import read_attributes
from gravis_triton.errors import UserError

IDS = ("train/ISIC_1.jpg", "train/ISIC_2.jpg", "7.png")


def test_values_are_found_by_path_name_or_name_without_suffix(tmp_path):
    (tmp_path / "a.csv").write_text("sex,image\nfemale,ISIC_1\nmale,ISIC_2.jpg\nmale,7.png\nmale,ISIC_9\n")
    assert read_attributes(str(tmp_path / "a.csv"), ["sex"], IDS) == {
        "sex": {IDS[0]: "female", IDS[1]: "male", IDS[2]: "male"}
    }


def test_tables_of_all_parts_below_a_directory_are_read(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "labels.csv").write_text("image,label\nISIC_1,nv\nISIC_2,mel\n")
    (tmp_path / "meta" / "train.tsv").write_text("isic_id\tage\tsex\nISIC_1\t30\tfemale\n")
    (tmp_path / "test.csv").write_text("isic_id,age\nISIC_2,45\n")
    found = read_attributes(str(tmp_path), ["age", "sex"], IDS)
    assert found == {"age": {IDS[0]: "30", IDS[1]: "45"}, "sex": {IDS[0]: "female"}}


def test_a_number_that_is_also_the_name_of_an_image_names_none(tmp_path):
    (tmp_path / "a.csv").write_text("age,file\n7,ISIC_1\n30,ISIC_2\n45,7\n")
    assert read_attributes(str(tmp_path), ["age"], IDS) == {"age": {IDS[0]: "7", IDS[1]: "30", IDS[2]: "45"}}


def test_a_row_may_be_about_several_images(tmp_path):
    (tmp_path / "a.csv").write_text("derm,clinic,sex\nISIC_1.jpg,7.png,male\nISIC_2.jpg,,female\n")
    assert read_attributes(str(tmp_path), ["sex"], IDS) == {"sex": {IDS[0]: "male", IDS[1]: "female", IDS[2]: "male"}}


def test_unknown_values_are_no_subgroup(tmp_path):
    (tmp_path / "a.csv").write_text("image,skin\nISIC_1,unknown\nISIC_2,\n7,-1\n7,3\n")
    assert read_attributes(str(tmp_path), ["skin"], IDS) == {"skin": {IDS[2]: "3"}}


def test_a_name_of_two_images_names_neither(tmp_path):
    (tmp_path / "a.csv").write_text("image,sex\n1,female\nb/1.jpg,male\n")
    assert read_attributes(str(tmp_path), ["sex"], ["a/1.jpg", "b/1.jpg"]) == {"sex": {"b/1.jpg": "male"}}


def test_parquet_tables_are_read(tmp_path):
    table = pa.table({"image": ["ISIC_1", "ISIC_2"], "age": [30.0, None], "vector": [[1.0], [2.0]]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read_attributes(str(tmp_path), ["age"], IDS) == {"age": {IDS[0]: "30.0"}}


@pytest.mark.parametrize(
    ("column", "hint"),
    [("skn_tone", "; did you mean skin_tone"), ("weight", "; there are image, skin_tone")],
)
def test_a_column_that_no_table_has_raises(tmp_path, column, hint):
    (tmp_path / "a.csv").write_text("image,skin_tone\nISIC_1,12\n")
    with pytest.raises(UserError, match=f"--by {column}: no table in .* has this column for its images{hint}"):
        read_attributes(str(tmp_path), [column], IDS)


def test_without_columns_nothing_is_read(tmp_path):
    assert read_attributes(str(tmp_path / "missing"), [], IDS) == {}


def test_a_spreadsheet_that_is_the_data_has_attributes(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["image", "label", "sex"], ["a.png", "mel", "male"], ["b.png", "nv", None]):
        book.active.append(row)
    book.save(tmp_path / "table.xlsx")
    found = read_attributes(str(tmp_path / "table.xlsx"), ["sex"], ["a.png", "b.png"])
    assert found == {"sex": {"a.png": "male"}}
