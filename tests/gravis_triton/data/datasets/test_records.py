import pytest

from gravis_triton.data import Record
from gravis_triton.errors import UserError


@pytest.mark.parametrize("name", ["../../x", "/abs/x", "a/../x", "..", "", "a\0b"])
def test_an_id_that_no_file_inside_a_run_could_have_is_refused(name):
    with pytest.raises(UserError, match="image id"):
        Record(id=name, image=None)


@pytest.mark.parametrize("name", ["ISIC_0000001", "clinic a/0001", "a..b", "x.jpg"])
def test_ordinary_ids_and_those_of_images_in_folders_are_taken(name):
    assert Record(id=name, image=None).id == name
