"""Groups out of several columns, by hand."""

from gravis_triton.data.datasets.groups import joined_groups


def test_one_column_is_the_groups() -> None:
    assert joined_groups({"group": ["a", "", "b", None, "a"]}) == ["a", None, "b", None, "a"]


def test_rows_that_share_any_cell_are_one_group() -> None:
    patients = [None, "P1", None, "P2", None, None]
    lesions = ["L1", "L1", "L2", "L3", "L3", None]
    groups = joined_groups({"patient": patients, "lesion": lesions})
    assert groups == ["patient P1", "patient P1", "lesion L2", "patient P2", "patient P2", None]


def test_rows_are_joined_through_others() -> None:
    groups = joined_groups({"patient": ["P1", "P2", "P2", "P3"], "lesion": ["L1", "L1", "L2", "L3"]})
    assert groups == ["patient P1", "patient P1", "patient P1", "patient P3"]


def test_equal_cells_of_different_columns_have_nothing_in_common() -> None:
    assert len(set(joined_groups({"patient": ["1", None], "lesion": [None, "1"]}))) == 2
