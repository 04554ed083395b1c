import math
from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.settings.groups import OptimizationSettings, RunSettings
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.training import setup
from gravis_triton.training.engine import seed_step
from gravis_triton.training.optimizers import build_optimizer, build_scheduler
from gravis_triton.training.setup import start_accelerator
from gravis_triton.training.sharding import check_sharding


def rates(settings: OptimizationSettings, steps_per_epoch: int) -> list[float]:
    return scheduled(settings, steps=settings.epochs * steps_per_epoch, steps_per_epoch=steps_per_epoch)


def scheduled(settings: OptimizationSettings, *, steps: int, steps_per_epoch: int) -> list[float]:
    optimizer = build_optimizer(nn.Linear(2, 2), settings)
    scheduler = build_scheduler(optimizer, settings, steps=steps, steps_per_epoch=steps_per_epoch)
    values = []
    for step in range(steps):
        scheduler.step_update(step)
        values.append(optimizer.param_groups[0]["lr"])
    return values


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    lr = rates(OptimizationSettings(epochs=10, lr=0.4, warmup_epochs=1.0), 20)
    assert lr[0] == pytest.approx(0.004)
    assert lr[10] == pytest.approx(0.004 + 0.396 / 2)
    assert max(lr) == pytest.approx(0.4, rel=0.03)
    assert lr[100] == pytest.approx(0.2)
    assert lr[-1] < 1e-4


def test_a_warm_up_longer_than_the_run_is_an_error():
    message = r"--warmup-epochs 3 is longer than the run \(40 steps, 20 per epoch\): use a smaller value"
    with pytest.raises(UserError, match=message):
        rates(OptimizationSettings(epochs=2, warmup_epochs=3.0), 20)
    assert max(rates(OptimizationSettings(epochs=2, warmup_epochs=2.0), 20)) > 0


def test_the_rate_is_a_function_of_the_step_alone():
    settings = OptimizationSettings(epochs=4, lr=0.1)
    optimizer = build_optimizer(nn.Linear(2, 2), settings)
    build_scheduler(optimizer, settings, steps=20, steps_per_epoch=5).step_update(13)
    assert optimizer.param_groups[0]["lr"] == rates(settings, 5)[13]


@pytest.mark.parametrize(
    ("steps", "steps_per_epoch", "warmup"), [(104, 62, 13), (104, 15, 13), (833, 62, 62), (50, 50, 6.25)]
)
def test_the_warm_up_is_an_epoch_or_an_eighth_of_the_run_and_the_rate_ends_at_zero(steps, steps_per_epoch, warmup):
    lr = scheduled(OptimizationSettings(lr=0.1), steps=steps, steps_per_epoch=steps_per_epoch)
    assert lr[-1] < 1e-3 * 0.1
    assert lr == [
        pytest.approx(0.001 + 0.099 * step / warmup)
        if step < warmup
        else pytest.approx(0.05 * (1 + math.cos(math.pi * step / steps)))
        for step in range(steps)
    ]


def test_a_polynomial_of_power_nine_tenths_falls_to_zero():
    lr = scheduled(OptimizationSettings(lr=0.1, sched="poly", warmup_epochs=0), steps=100, steps_per_epoch=10)
    assert lr == [pytest.approx(0.1 * (1 - step / 100) ** 0.9) for step in range(100)]


@pytest.mark.parametrize("epochs", [5, 6, 10, 100])
def test_steps_are_two_whatever_the_number_of_epochs(epochs):
    lr = rates(OptimizationSettings(epochs=epochs, lr=1.0, sched="step", warmup_epochs=0), 7)
    assert sorted({round(value, 6) for value in lr}) == [0.01, 0.1, 1.0]


def test_what_an_optimizer_refuses_is_reported():
    with pytest.raises(UserError, match="--opt sgd cannot be used with these settings: Nesterov momentum"):
        build_optimizer(nn.Linear(2, 2), OptimizationSettings(opt="sgd", momentum=0))


def test_every_job_of_a_process_has_its_own_precision():
    assert start_accelerator(RunSettings(mixed_precision="bf16")).mixed_precision == "bf16"
    assert start_accelerator(RunSettings(mixed_precision="no")).mixed_precision == "no"


@pytest.mark.parametrize(
    ("asked", "launched", "hardware", "backbone", "precision"),
    [
        ("auto", "no", True, "resnet18", "bf16"),
        ("auto", "no", True, "resnext50_32x4d", "bf16"),
        ("auto", "no", True, "efficientnet_lite0", "no"),  # depthwise convolutions, on a CPU
        ("auto", "no", False, "resnet18", "no"),
        ("auto", "no", True, None, "no"),
        ("auto", "fp16", True, "resnet18", "fp16"),
        ("no", "bf16", True, "resnet18", "no"),
        ("bf16", "no", False, None, "bf16"),
        ("bf16", "no", True, "efficientnet_lite0", "bf16"),
    ],
)
def test_auto_precision_is_that_of_the_launcher_else_bfloat16_for_training_if_the_hardware_is_faster_in_it(
    monkeypatch, asked, launched, hardware, backbone, precision
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    monkeypatch.setattr(setup, "multiplies_bfloat16", lambda: hardware)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = RunSettings(mixed_precision=asked)
    assert start_accelerator(settings, backbone=backbone).mixed_precision == precision


def test_biases_and_normalization_have_no_weight_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    optimizer = build_optimizer(model, OptimizationSettings(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decay[id(p)] for p in model.parameters()] == [0.1, 0.0, 0.0, 0.0]


def test_an_unknown_optimizer_is_answered_with_similar_names():
    with pytest.raises(UserError, match=r"unknown optimizer --opt adamww; did you mean adamw"):
        build_optimizer(nn.Linear(2, 2), OptimizationSettings(opt="adamww"))


def test_an_optimizer_like_no_other_is_answered_with_where_all_are_listed():
    with pytest.raises(UserError) as error:
        build_optimizer(nn.Linear(2, 2), OptimizationSettings(opt="foo"))
    assert str(error.value) == "unknown optimizer --opt foo; timm.optim.list_optimizers() lists them"


def test_an_optimizer_that_needs_second_derivatives_is_refused():
    with pytest.raises(UserError, match=r"--opt AdaHessian needs second derivatives"):
        build_optimizer(nn.Linear(2, 2), OptimizationSettings(opt="AdaHessian"))


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(setup, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(UserError, match=r"--tracker wandb is not installed; installed: tensorboard"):
        start_accelerator(RunSettings(tracker="wandb"))
    with pytest.raises(UserError, match=r"unknown --tracker wanbd; did you mean wandb\?"):
        start_accelerator(RunSettings(tracker="wanbd"))


@pytest.mark.parametrize(
    ("flag", "users", "threads"),
    [(None, False, 6), (None, True, 1), (3, True, 3), (3, False, 3)],
)
def test_threads_are_those_of_the_flag_else_the_users_else_all_cores(monkeypatch, flag, users, threads):
    before = torch.get_num_threads()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(setup, "available_cores", lambda: 6)
    monkeypatch.setattr(setup, "user_has_set", lambda variable: users)
    torch.set_num_threads(1)
    try:
        start_accelerator(RunSettings(cpu_threads=flag))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_randomness_differs_by_seed_step_and_process():
    draws = set()
    for place in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]:
        seed_step(*place)
        draws.add(torch.rand(()).item())
    assert len(draws) == 4


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1", "asks for FSDP 1, which is not supported: add --fsdp_version 2"),
        ("2", "asks for FSDP, which accelerate does on several GPUs only: use torchrun"),
    ],
)
def test_sharding_that_does_not_happen_is_an_error(monkeypatch, version, message):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", version)
    with pytest.raises(UserError, match=message):
        start_accelerator(PretrainSettings())


@pytest.mark.parametrize(
    ("settings", "precision", "message"),
    [
        (RunSettings(), "no", "asks for FSDP, which only pretrain does: start this job with --multi_gpu"),
        (PretrainSettings(compile=True), "no", "FSDP works with --mixed-precision no or bf16, without --compile"),
        (PretrainSettings(), "fp16", "FSDP works with --mixed-precision no or bf16, without --compile"),
    ],
)
def test_what_cannot_be_sharded_is_an_error(settings, precision, message):
    accelerator = SimpleNamespace(distributed_type=DistributedType.FSDP, mixed_precision=precision)
    with pytest.raises(UserError, match=message):
        check_sharding(accelerator, settings)
