"""docs/tutorial.ipynb runs from top to bottom, on fewer images and with a smaller network."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
SMALL = {"IMAGES": "60", "MODEL": '"test_resnet"', "EPOCHS": "2"}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    directory = tmp_path_factory.mktemp("tutorial")
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for name, value in SMALL.items():
        parameters.source, replaced = re.subn(rf"^{name} = \S+", f"{name} = {value}", parameters.source, flags=re.M)
        assert replaced == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("GRAVIS_CACHE", str(directory / "cache"))
        resources = {"metadata": {"path": str(directory)}}
        nbclient.NotebookClient(notebook, kernel_name="python3", timeout=600, resources=resources).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(cells, call):
    return next(cell.outputs for cell in cells if call in cell.source)


def test_every_cell_runs_without_warnings(executed):
    assert all(cell.execution_count for cell in executed)
    texts = [
        out.text for cell in executed for out in cell.outputs if out.output_type == "stream" and out.name == "stderr"
    ]
    assert not texts


def test_training_shows_one_display_that_is_replaced(executed):
    outputs = outputs_of(executed, "gt.pretrain(")
    displays = [out.data for out in outputs if out.output_type == "display_data"]
    assert len(displays) == 1
    assert "epoch 2/2" in displays[0]["text/plain"]
    assert "similarity/positives" in displays[0]["text/html"]


def test_the_neighbors_and_predictions_are_shown(executed):
    for call in ("kneighbors(", "model.predict("):
        assert "image/jpeg" in outputs_of(executed, call)[-1].data


def test_the_notebook_that_ships_has_outputs_and_is_small():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.outputs for cell in notebook.cells if "gt." in cell.source and cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 1_000_000
