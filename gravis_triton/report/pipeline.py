"""Results of the pre-training benchmark: a table, JSON and a figure."""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.table import Column, Table

from gravis_triton.benchmark.clock import Stage, percentiles
from gravis_triton.benchmark.data_stages import DECODE
from gravis_triton.benchmark.one_core import OURS, OURS_FIRST, PUBLISHED
from gravis_triton.benchmark.stages import CHANNELS_LAST, ENCODER, LOSS, OPTIMIZER, READY, STEP, UPLOAD, VIEWS
from gravis_triton.benchmark.view_steps import VIEW_STEP
from gravis_triton.files import write_json
from gravis_triton.report.environment import device_name
from gravis_triton.report.figures import new_figure


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """Stages of the step and of the comparison on one core; `settings` are those of the run.

    Shares and ratios are (p20, p50, p80) over the rounds, each from samples of the same round.
    """

    device: str
    torch: str
    settings: dict[str, Any]
    stages: list[Stage]
    one_core: list[Stage]

    def not_encoder(self) -> tuple[float, float, float]:
        """Share of the stages before and after the encoder in the sum of all stages of a step."""
        named = {stage.name: stage.seconds for stage in self.stages}
        others = (named[name] for name in (UPLOAD, VIEWS, CHANNELS_LAST, LOSS, OPTIMIZER) if name in named)
        rounds = zip(named[ENCODER], *others, strict=True)
        return percentiles([1 - encoder / (encoder + sum(rest)) for encoder, *rest in rounds])

    def not_encoder_of_step(self) -> tuple[float, float, float]:
        """Share of the whole step, waiting for data included, that is not spent in the encoder."""
        return percentiles([1 - e / s for e, s in self._pairs(self.stages, ENCODER, STEP)])

    def kept_speed(self) -> tuple[float, float, float]:
        """Speed of the whole step relative to the step on ready views."""
        return percentiles([ready / s for ready, s in self._pairs(self.stages, READY, STEP)])

    def times_published(self, ours: str) -> tuple[float, float, float]:
        """Views per second on one core, relative to the published augmentation."""
        return percentiles([p / o for p, o in self._pairs(self.one_core, PUBLISHED, ours)])

    @staticmethod
    def _pairs(stages: list[Stage], one: str, other: str) -> list[tuple[float, float]]:
        named = {stage.name: stage.seconds for stage in stages}
        return list(zip(named[one], named[other], strict=True))


def describe_device(device: torch.device) -> tuple[str, str]:
    """The training device and the torch version."""
    return f"{device_name(device)}, {platform.machine()}", torch.__version__


def pipeline_table(report: PipelineReport) -> Table:
    """One row per stage: time, images and views per second, and share of the whole step."""
    table = Table(
        Column("stage", no_wrap=True),
        box=None,
        pad_edge=False,
        title=f"{report.device}, torch {report.torch}",
    )
    for column in ("ms p20", "p50", "p80", "images/s", "views/s", "% of step"):
        table.add_column(column, justify="right")
    step = next(stage for stage in report.stages if stage.name == STEP).percentiles()[1]
    for stage in report.stages:
        share = "" if stage.name in (DECODE, STEP) else f"{stage.percentiles()[1] / step:.1%}"
        table.add_row(*_cells(stage), share)
    table.add_row()
    for stage in report.one_core:
        table.add_row(*_cells(stage), "")
    return table


def pipeline_lines(report: PipelineReport) -> list[str]:
    """The main results in words."""
    return [
        f"outside the encoder: {_range(report.not_encoder(), '.1%')} of all stages of a step, "
        f"{_range(report.not_encoder_of_step(), '.1%')} of the whole step",
        f"speed relative to a step on ready views: {_range(report.kept_speed(), '.1%')}",
        "views/s on one core relative to torchvision on Pillow images (20 views of 224 px from a 1022 x 767 JPEG): "
        f"{_range(report.times_published(OURS_FIRST), '.2f')} with decoding, "
        f"{_range(report.times_published(OURS), '.2f')} from the cache",
    ]


def write_pipeline(report: PipelineReport, file: Path) -> None:
    """Write all samples, in seconds, as JSON."""
    content = {
        **asdict(report),
        "not_encoder_of_stages_p20_p50_p80": report.not_encoder(),
        "not_encoder_of_step_p20_p50_p80": report.not_encoder_of_step(),
        "kept_speed_p20_p50_p80": report.kept_speed(),
        "times_published_with_decoding_p20_p50_p80": report.times_published(OURS_FIRST),
        "times_published_from_cache_p20_p50_p80": report.times_published(OURS),
    }
    write_json(file, content)


def draw_pipeline(report: PipelineReport) -> Figure:
    """Bar charts: time of every stage of a step, and views per second on one core."""
    figure = new_figure(13, 5)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    stages = [stage for stage in report.stages if stage.name != DECODE]
    colors = ["#9ecae1" if stage.name.startswith(VIEW_STEP) else "#3182bd" for stage in stages]
    _bars(
        left,
        [stage.name for stage in stages],
        [[1e3 * s for s in stage.percentiles()] for stage in stages],
        colors,
    )
    left.set(title="one step", xlabel="ms, p20 to p80")
    ways = [stage for stage in report.one_core if not stage.name.startswith(VIEW_STEP)]
    rates = [[stage.views / s for s in reversed(stage.percentiles())] for stage in ways]
    _bars(right, [stage.name for stage in ways], rates, ["#3182bd", "#3182bd", "#999999"])
    right.set(title="20 views of 224 px from a JPEG, one core", xlabel="views/s, p20 to p80")
    figure.suptitle(f"{report.device}, torch {report.torch}", fontsize="small")
    return figure


def _bars(axis: Any, names: list[str], values: list[list[float]], colors: list[str]) -> None:
    middles = [middle for _, middle, _ in values]
    errors = [[middle - low for low, middle, _ in values], [high - middle for _, middle, high in values]]
    axis.barh(names, middles, xerr=errors, color=colors, ecolor="#444444")
    for position, middle in enumerate(middles):
        axis.text(middle, position, f" {_short(middle)}", va="bottom", fontsize="small")
    axis.invert_yaxis()
    axis.set_xlim(right=1.12 * max(high for *_, high in values))


def _cells(stage: Stage) -> tuple[str, ...]:
    low, middle, high = (_short(1e3 * seconds) for seconds in stage.percentiles())
    images, views = (
        "" if rate is None else _short(rate)
        for rate in (stage.per_second(stage.images), stage.per_second(stage.views))
    )
    return stage.name, low, middle, high, images, views


def _short(value: float) -> str:
    """About three digits: 1.23, 12.3, 123, 1,234, 12.3k."""
    if value >= 10_000:
        return f"{value / 1000:.3g}k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _range(values: tuple[float, float, float], form: str) -> str:
    low, middle, high = (format(value, form) for value in values)
    return f"{middle} ({low} to {high})"
