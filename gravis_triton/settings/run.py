"""What a run writes, where, and how its training loop behaves."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from gravis_triton.settings.ranges import Range


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Output directory, seed and precision."""

    output_dir: Annotated[
        str | None, arg(metavar="STR", help_behavior_hint="(default: runs/DATE-TIME-NAME)")
    ] = None
    """Directory of the run."""
    overwrite: bool = False
    """Delete an earlier run in the output directory first."""
    config: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: none)")] = None
    """YAML file with settings, or the name of one that ships with the package; flags override it."""
    seed: Annotated[int, Range(min=0, max=2**32 - 1)] = 0
    """Seed of everything random."""
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"] | None,
        arg(help_behavior_hint="(default: what accelerate launch sets)"),
    ] = None
    """Mixed precision of the encoder."""
    cpu_threads: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(metavar="INT", help_behavior_hint="(default: OMP_NUM_THREADS, else the cores there are)"),
    ] = None
    """Threads of a process that computes on the CPU."""
    tracker: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: none)")] = None
    """Log to one of accelerate's trackers as well: tensorboard, wandb, mlflow, ..."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What every training loop has."""

    resume: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: start anew)")] = None
    """Resume from a run directory, one of its checkpoints, or auto for the newest one in --output-dir."""
    channels_last: bool = True
    """Use channels-last memory format for faster convolutions."""
    compile: bool = False
    """Compile the model with torch.compile."""
    log_every: Annotated[int, Range(min=1)] = 10
    """Steps between two lines of metrics."""
    max_bad_steps: Annotated[int, Range(min=0)] = 0
    """Steps without a finite gradient to leave out before the run stops; the device is waited for in every step."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(LoopSettings):
    """Resuming, evaluation, logging and speed of the training loop."""

    eval_every: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: before and after training)"),
    ] = None
    """Epochs between two kNN evaluations of the encoder, where labels exist."""
    eval_images: Annotated[int, Range(min=1)] = 2000
    """Training and validation images (each, stratified by class) for these evaluations; the last one uses all."""
    evaluate: bool = True
    """Evaluate the encoder before, during and after training."""
    checkpoint_every: Annotated[int, Range(min=1)] = 1
    """Epochs between two checkpoints; the newest two are kept."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrainingSettings(LoopSettings):
    """Resuming, validation, logging and speed of the training loop."""

    eval_every: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: at most ten validations in all)"),
    ] = None
    """Epochs between two validations, each with a checkpoint."""
    patience: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: never)")
    ] = None
    """Stop after this many validations without a better score."""
