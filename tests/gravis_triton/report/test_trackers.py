from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gravis_triton.report import log_pictures, start_tracker
from gravis_triton.run_directory import RunDirectory


class Tracker:
    """Keeps what accelerate's trackers of the same name would be given."""

    def __init__(self, name: str) -> None:
        self.name, self.logged = name, []

    def log_images(self, values, step, **options):
        self.logged.append((values, step, options))


@pytest.fixture
def run(tmp_path):
    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "views.png")
    return RunDirectory(tmp_path)


def test_tensorboard_gets_a_batch_of_one_picture(run):
    tracker = Tracker("tensorboard")
    log_pictures(SimpleNamespace(trackers=[tracker]), run, 3)
    ((values, step, options),) = tracker.logged
    assert values["views"].shape == (1, 4, 6, 3)
    assert (step, options) == (3, {"dataformats": "NHWC"})


def test_other_trackers_get_a_list_of_pictures_and_mlflow_the_file(run):
    other, mlflow = Tracker("wandb"), Tracker("mlflow")
    mlflow.log_artifact = mlflow.logged.append
    log_pictures(SimpleNamespace(trackers=[other, mlflow, SimpleNamespace(name="aim2")]), run, 0)
    (picture,) = other.logged[0][0]["views"]
    assert np.array_equal(picture[0, 0], [255, 0, 0])
    assert mlflow.logged == [str(run.views)]


def test_a_tracker_writes_into_the_run_and_is_named_after_it(tmp_path):
    started = {}
    accelerator = SimpleNamespace(
        is_main_process=True,
        project_configuration=SimpleNamespace(set_directories=lambda path: started.update(directory=path)),
        init_trackers=lambda project, **options: started.update(project=project, **options),
    )
    start_tracker(accelerator, "wandb", RunDirectory(tmp_path / "mine"), {"lr": 0.1})
    assert started["directory"] == str(tmp_path / "mine")
    assert started["init_kwargs"]["wandb"] == {"name": "mine", "dir": str(tmp_path / "mine")}
    assert (started["project"], started["config"]) == ("gravis-triton", {"lr": 0.1})
