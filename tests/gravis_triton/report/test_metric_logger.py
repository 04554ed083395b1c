import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image

from gravis_triton.report.metric_logger import MetricLogger, log_images, start_tracker
from gravis_triton.run_directory import RunDirectory


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_a_reopened_logger_drops_later_and_incomplete_lines(accelerator, tmp_path):
    file = tmp_path / "metrics.jsonl"
    metric_logger = MetricLogger(file, 0, accelerator)
    for step in (0, 2, 4, 6):
        metric_logger.log({"step": step, "loss": step / 10})
    with file.open("a") as opened:
        opened.write('{"step": 8, "lo')
    again = MetricLogger(file, 4, accelerator)
    again.log({"step": 5, "loss": math.nan})
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4, 5]
    assert (again.at(2, "loss"), again.at(6, "loss")) == (0.2, None)
    assert (again.last("loss"), again.last("score")) == (None, None)


def test_a_new_run_does_not_inherit_metrics(accelerator, tmp_path):
    MetricLogger(tmp_path / "metrics.jsonl", 0, accelerator).log({"step": 0, "loss": 1.0})
    assert MetricLogger(tmp_path / "metrics.jsonl", 0, accelerator).at(0, "loss") is None


def test_a_line_of_the_same_step_and_names_replaces_the_earlier_one(accelerator, tmp_path):
    file = tmp_path / "metrics.jsonl"
    metric_logger = MetricLogger(file, 0, accelerator)
    metric_logger.log({"step": 4, "loss": 0.5})
    metric_logger.log({"step": 4, "knn_mean_auc": 0.6})
    again = MetricLogger(file, 4, accelerator)
    assert again.has("knn_mean_auc", 4)
    assert not again.has("knn_mean_auc", 2)
    again.log({"step": 4, "knn_mean_auc": 0.7})
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"step": 4, "loss": 0.5}, {"step": 4, "knn_mean_auc": 0.7}]


def test_logging_does_not_search_all_lines(accelerator, tmp_path):
    class Line(dict):
        looked = 0

        def __getitem__(self, name):
            Line.looked += 1
            return super().__getitem__(name)

    logger = MetricLogger(tmp_path / "metrics.jsonl", 0, accelerator)
    logger.lines = [Line(step=step, loss=0.0) for step in range(1000)]
    logger.log({"step": 1000, "loss": 1.0})
    assert Line.looked < 10
    assert logger.last("loss") == 1.0


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


def test_tensorboard_gets_a_batch_of_one_image(run):
    tracker = Tracker("tensorboard")
    log_images(SimpleNamespace(trackers=[tracker]), run, 3)
    ((values, step, options),) = tracker.logged
    assert values["views"].shape == (1, 4, 6, 3)
    assert (step, options) == (3, {"dataformats": "NHWC"})


def test_other_trackers_get_a_list_of_images_and_mlflow_the_file(run):
    other, mlflow = Tracker("wandb"), Tracker("mlflow")
    mlflow.log_artifact = mlflow.logged.append
    log_images(SimpleNamespace(trackers=[other, mlflow, SimpleNamespace(name="aim2")]), run, 0)
    (image,) = other.logged[0][0]["views"]
    assert np.array_equal(image[0, 0], [255, 0, 0])
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
