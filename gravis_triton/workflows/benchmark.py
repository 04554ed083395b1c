"""Measure every stage of pre-training from disk to optimizer."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

import gravis_triton.report as report
from gravis_triton.benchmark import (
    Clock,
    compare_on_one_core,
    measure_data,
    measure_stages,
    measure_training,
)
from gravis_triton.data.loading.pretraining import cached_data
from gravis_triton.errors import UserError
from gravis_triton.losses import resolve_loss
from gravis_triton.report.pipeline import (
    PipelineReport,
    describe_device,
    draw_pipeline,
    pipeline_lines,
    pipeline_table,
    write_pipeline,
)
from gravis_triton.settings import BenchmarkSettings, flatten, resolve_pretrain
from gravis_triton.workflows.contrastive import build_networks, open_start, prepare_training
from gravis_triton.workflows.launch import launch, open_run

_MIN_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """directory: contains pipeline.json and pipeline.png. report: all samples."""

    directory: Path
    report: PipelineReport


def benchmark(settings: BenchmarkSettings) -> BenchmarkResult:
    """Measure the stages of a pre-training step, the whole step, and views on one core next to torchvision's.

    Raises UserError for anything the user can fix.
    """
    opened = open_start(settings)
    settings = resolve_loss(
        resolve_pretrain(settings, model=opened.architecture, image_size=opened.image_size)
    )
    if settings.streaming.streaming:
        raise UserError("--streaming has no cache to measure: drop it")
    job = launch(settings, name="benchmark")
    accelerator, display, run, measurement = job.accelerator, job.display, job.run, settings.measurement
    if accelerator.num_processes > 1:
        raise UserError(f"the benchmark runs in a single process, not {accelerator.num_processes}")
    if measurement.processor_time:
        if accelerator.device.type != "cpu":
            raise UserError(
                f"--processor-time only works on a CPU, not on {accelerator.device.type}: drop it"
            )
        torch.set_num_threads(1)

    # everything that a step needs, as in pre-training
    cache_size = settings.data.cache_size
    assert cache_size is not None  # resolved
    networks = build_networks(opened.encoder, settings, job)
    with display.task("decoding images") as decoding:
        data = cached_data(settings, process=0, processes=1, progress=decoding)
    report.print_data(display, data)
    report.print_batch(display, settings, processes=1, steps_per_epoch=len(data.batches))
    if len(data.batches) < 2:
        raise UserError("an epoch of one step cannot be measured: lower --batch-size")
    parts = prepare_training(settings, job, networks, data)

    # each stage and the whole step, in turn; the first round is a warm-up
    clock = Clock(accelerator.device, time.process_time if measurement.processor_time else time.perf_counter)
    measure_batch = measure_data(
        clock, data, short_side=cache_size, batch_size=settings.optimization.batch_size
    )
    start, rounds = time.monotonic(), -1
    while rounds < _MIN_ROUNDS or time.monotonic() - start < measurement.seconds:
        measure_stages(clock, parts, measure_batch())
        measure_training(clock, parts, settings.augmentation.views, rounds + 1)
        if rounds < 0:
            clock.stages.clear()
        rounds += 1
    one_core_rounds = max(_MIN_ROUNDS, round(measurement.seconds / 3))
    display.print(f"measured {rounds} rounds of the step; now {one_core_rounds} rounds on one core")
    one_core = compare_on_one_core(one_core_rounds)

    # the result
    found = PipelineReport(
        *describe_device(accelerator.device), flatten(settings), list(clock.stages.values()), one_core
    )
    display.console.print(pipeline_table(found))
    for line in pipeline_lines(found):
        display.print(line)
    open_run(run, settings, accelerator)
    write_pipeline(found, run.path / "pipeline.json")
    report.write_figure(draw_pipeline(found), run.path / "pipeline.png")
    display.print(f"all samples: {run.path / 'pipeline.json'}; figure: {run.path / 'pipeline.png'}")
    return BenchmarkResult(run.path, found)
