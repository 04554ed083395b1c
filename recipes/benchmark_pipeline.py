"""Measure every stage from disk to optimiser: `accelerate launch recipes/benchmark_pipeline.py --help`."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

import gravis_triton.report as report
import gravis_triton.training as training
from gravis_triton.augment import ViewMaker
from gravis_triton.benchmark import (
    Clock,
    compare_on_one_core,
    measure_sources,
    measure_stages,
    measure_training,
)
from gravis_triton.data.sources import cached_sources
from gravis_triton.errors import UserError
from gravis_triton.losses import Objective, resolve_loss
from gravis_triton.models import Pretrainer, build_encoder, normalization
from gravis_triton.report.pipeline import (
    PipelineReport,
    describe_device,
    pipeline_lines,
    pipeline_table,
    plot_pipeline,
    write_pipeline,
)
from gravis_triton.settings import PretrainSettings, parse_settings, resolve_settings

_LEAST_ROUNDS = 2


@dataclass(frozen=True, kw_only=True)
class PipelineSettings(PretrainSettings):
    """Measure the stages of a pre-training step, and views on one core beside the published chain of transforms.

    All settings are those of pre-training, so that any run can be measured.
    """

    synthetic_sources: int = 320
    """How many images the synthetic collection has."""
    seconds: float = 45.0
    """How long the stages and steps are measured, in turn; at least two rounds."""
    processor_time: bool = False
    """Measure the processor time of one thread instead of the time that passes: for a CPU that others use, too."""


def main(args: Sequence[str] | None = None) -> int:
    asked = parse_settings(PipelineSettings, args)
    settings = resolve_loss(resolve_settings(asked))
    if settings.streaming:
        raise UserError("--streaming has no cache to measure: drop it")
    accelerator = training.start_accelerator(settings)
    if accelerator.num_processes > 1:
        raise UserError(f"the benchmark measures one process, not {accelerator.num_processes}")
    if asked.processor_time:
        if accelerator.device.type != "cpu":
            raise UserError(f"--processor-time has no meaning on {accelerator.device.type}: drop it")
        torch.set_num_threads(1)
    display = report.Display()
    run = report.choose_run(settings, accelerator, name="pipeline")

    # all that takes part in a step, as in pre-training
    training.seed_step(settings.seed, 0, 0)
    encoder = build_encoder(settings.model, image_size=settings.image_size, pretrained=settings.pretrained)
    mean, std = normalization(encoder)
    views = ViewMaker(settings, size=settings.image_size, mean=mean, std=std).to(accelerator.device)
    model: nn.Module = Pretrainer(encoder, hidden=settings.projection_hidden, dim=settings.projection_dim)
    model = training.prepare_model(
        model, accelerator, channels_last=settings.channels_last, compile=settings.compile
    )
    optimizer = training.build_optimizer(model, settings)
    with display.task("decoding images") as decoding:
        data = cached_sources(settings, process=0, processes=1, progress=decoding)
    report.say_data(display, data)
    report.say_batch(display, settings, processes=1, steps_per_epoch=len(data.batches))
    if len(data.batches) < 2:
        raise UserError("an epoch of one step cannot be measured: lower --batch-size")
    scheduler = training.build_scheduler(optimizer, settings, steps_per_epoch=len(data.batches))
    model, optimizer = accelerator.prepare(model, optimizer)
    step = training.ContrastiveStep(
        accelerator, views, model, Objective(settings), settings.grad_cache_chunk, settings.channels_last
    )
    parts = training.Training(accelerator, data.batches, data.loader, model, step, optimizer, scheduler)

    # every stage and the whole step, in turn; the first round warms up
    clock = Clock(accelerator.device, time.process_time if asked.processor_time else time.perf_counter)
    measure_batch = measure_sources(
        clock, data, short_side=settings.cache_size, batch_size=settings.batch_size
    )
    start, rounds = time.monotonic(), -1
    while rounds < _LEAST_ROUNDS or time.monotonic() - start < asked.seconds:
        measure_stages(clock, parts, step, measure_batch())
        measure_training(clock, parts, settings, rounds + 1)
        if rounds < 0:
            clock.stages.clear()
        rounds += 1
    one_core_rounds = max(_LEAST_ROUNDS, round(asked.seconds / 3))
    display.say(f"measured {rounds} rounds of the step; now {one_core_rounds} rounds on one core")
    one_core = compare_on_one_core(one_core_rounds)

    found = PipelineReport(
        *describe_device(accelerator.device),
        dataclasses.asdict(settings),
        list(clock.stages.values()),
        one_core,
    )
    display.console.print(pipeline_table(found))
    for line in pipeline_lines(found):
        display.say(line)
    report.open_run(run, settings, accelerator)
    write_pipeline(found, run / "pipeline.json")
    drawn = plot_pipeline(found, run / "pipeline.png")
    display.say(
        f"all samples: {run / 'pipeline.json'}" + (f"; picture: {run / 'pipeline.png'}" if drawn else "")
    )
    return 0


if __name__ == "__main__":
    report.run_recipe(main)
