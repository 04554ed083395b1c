"""Output of a run and its training loop."""

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
    """Output directory."""
    overwrite: bool = False
    """Delete an existing run in the output directory first."""
    config: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: none)")] = None
    """YAML file with settings, or the name of a shipped config; flags override it."""
    seed: Annotated[int, Range(min=0, max=2**32 - 1)] = 0
    """Random seed."""
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"] | None,
        arg(help_behavior_hint="(default: what accelerate launch sets)"),
    ] = None
    """Mixed precision of the encoder."""
    cpu_threads: Annotated[
        int | None,
        Range(min=1, max=4096),
        arg(metavar="INT", help_behavior_hint="(default: OMP_NUM_THREADS, else its share of the cores)"),
    ] = None
    """Threads per process when training on the CPU."""
    tracker: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: none)")] = None
    """Also log to an accelerate tracker: tensorboard, wandb, mlflow, ..."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Settings shared by all training loops."""

    resume: Annotated[str | None, arg(metavar="STR", help_behavior_hint="(default: new run)")] = None
    """Resume from a run directory, one of its checkpoints, or auto for the newest one in --output-dir."""
    channels_last: bool = True
    """Use channels-last memory format for faster convolutions."""
    compile: bool = False
    """Compile the model with torch.compile."""
    log_every: Annotated[int, Range(min=1)] = 10
    """Log metrics every N steps."""
    max_bad_steps: Annotated[int, Range(min=0)] = 0
    """Number of steps with non-finite gradients to skip before the run stops; synchronizes the device every step."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(LoopSettings):
    """Resuming, evaluation, logging and speed of the training loop."""

    eval_every: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: only before and after training)"),
    ] = None
    """Evaluate the encoder with kNN every N epochs, if there are labels."""
    eval_images: Annotated[int, Range(min=1)] = 2000
    """Number of images per split, stratified by class, in these evaluations; the last one uses all."""
    evaluate: bool = True
    """Evaluate the encoder before, during and after training."""
    checkpoint_every: Annotated[int, Range(min=1)] = 1
    """Save a checkpoint every N epochs; the newest two are kept."""


@dataclass(frozen=True, kw_only=True)
class FinetuneTrainingSettings(LoopSettings):
    """Resuming, validation, logging and speed of the training loop."""

    eval_every: Annotated[
        int | None,
        Range(min=1),
        arg(metavar="INT", help_behavior_hint="(default: at most ten validations)"),
    ] = None
    """Validate and save a checkpoint every N epochs."""
    patience: Annotated[
        int | None, Range(min=1), arg(metavar="INT", help_behavior_hint="(default: no early stopping)")
    ] = None
    """Stop after this many validations without improvement."""
