import json
import math

import pytest
from accelerate import Accelerator

from gravis_triton.report import MetricLogger


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_a_logger_reopened_at_a_step_drops_later_lines_and_a_line_cut_short(accelerator, tmp_path):
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


def test_a_line_belongs_to_a_step_and_its_names_and_is_kept_once(accelerator, tmp_path):
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


def test_a_line_of_many_takes_no_look_at_the_others(accelerator, tmp_path):
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
