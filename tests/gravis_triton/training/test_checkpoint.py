import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.run_directory import RunDirectory
from gravis_triton.training.checkpoint import TrainState, save_checkpoint, start_or_resume

START = TrainState(steps_per_epoch=4)


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


@pytest.fixture
def model(accelerator):
    torch.manual_seed(0)
    model = accelerator.prepare(nn.Linear(3, 3))
    yield model
    accelerator.free_memory()


def test_a_checkpoint_puts_weights_and_progress_back(tmp_path, accelerator, model):
    saved = model.weight.detach().clone()
    save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=7, seconds=1.5, steps_per_epoch=4))
    with torch.no_grad():
        model.weight.zero_()
    progress = start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START)
    assert (progress.step, progress.seconds) == (7, 1.5)
    assert torch.equal(model.weight, saved)


def test_the_newest_two_are_kept(tmp_path, accelerator, model):
    for step in (1, 2, 11, 100):
        save_checkpoint(accelerator, tmp_path, TrainState(step=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000011", "step-00000100"]


def test_a_kill_in_the_middle_of_a_save_leaves_the_earlier_checkpoint_the_newest(
    tmp_path, accelerator, model, monkeypatch
):
    checkpoints = tmp_path / "checkpoints"
    save_checkpoint(accelerator, checkpoints, TrainState(step=1, steps_per_epoch=4))

    def killed(directory):
        torch.save({"half": 1}, f"{directory}.bin")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(accelerator, "save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(accelerator, checkpoints, TrainState(step=2, steps_per_epoch=4))
    assert start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START).step == 1


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(tmp_path, accelerator, model, monkeypatch):
    checkpoints = tmp_path / "checkpoints"
    save_checkpoint(accelerator, checkpoints, TrainState(step=1))

    def full(directory):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(accelerator, "save_state", full)
    with pytest.raises(
        UserError,
        match=r"No space left on device; .* MB free on its disk; the newest complete checkpoint is .*00001",
    ):
        save_checkpoint(accelerator, checkpoints, TrainState(step=2))
    assert [path.name for path in checkpoints.iterdir()] == ["step-00000001"]


def test_auto_starts_anew_where_there_is_no_checkpoint_yet(tmp_path, accelerator):
    assert start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START).step == 0


def test_a_named_run_without_a_checkpoint_is_an_error(tmp_path, accelerator):
    with pytest.raises(UserError, match=r"--resume .*: there is no checkpoint"):
        start_or_resume(accelerator, RunDirectory(tmp_path), str(tmp_path), START)


def test_a_checkpoint_of_another_launch_is_refused(tmp_path, accelerator, model):
    save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=1, processes=2, steps_per_epoch=4))
    with pytest.raises(UserError, match=r"written by a run with 2 processes, this one has 1: launch it the same way"):
        start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START)


def test_a_checkpoint_of_another_model_is_refused(tmp_path, accelerator, model):
    save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=1, steps_per_epoch=4))
    accelerator.free_memory()
    accelerator.prepare(nn.Linear(3, 4))
    with pytest.raises(UserError, match=r"step-00000001 does not fit this model"):
        start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START)
    accelerator.free_memory()


@pytest.fixture
def two_checkpoints(tmp_path, accelerator, model):
    """A run with checkpoints of steps 1 and 2; the model's weights are 1 and 2 everywhere in them."""
    for step in (1, 2):
        with torch.no_grad():
            model.weight.fill_(step)
        save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=step, steps_per_epoch=4))
    return RunDirectory(tmp_path)


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-20]),
        lambda file: file.unlink(),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "progress.json", "best.pt", "checksums.json"])
def test_a_run_goes_on_from_the_older_checkpoint_where_the_newest_is_damaged(
    tmp_path, accelerator, model, damage, name, capsys
):
    optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters()))
    best = nn.Linear(2, 2)
    for step in (1, 2):
        with torch.no_grad():
            model.weight.fill_(step)
        save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=step, steps_per_epoch=4), {"best": best})
    damage(tmp_path / "checkpoints" / "step-00000002" / name)
    progress = start_or_resume(accelerator, RunDirectory(tmp_path), str(tmp_path), START, states={"best": best})
    assert progress.step == 1
    assert (model.weight == 1).all()
    printed = capsys.readouterr().out
    assert printed.startswith(f"warning: {tmp_path}/checkpoints/step-00000002 cannot be used: ")
    assert name in printed or name == "checksums.json"  # a changed sum is taken for a changed file
    del optimizer


def test_a_named_damaged_checkpoint_is_an_error_and_so_is_a_run_with_no_other(two_checkpoints, accelerator, model):
    newest = two_checkpoints.checkpoints / "step-00000002"
    flip_a_bit(newest / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors is damaged; use --resume .* for the newest intact one"):
        start_or_resume(accelerator, two_checkpoints, str(newest), START)
    flip_a_bit(two_checkpoints.checkpoints / "step-00000001" / "model.safetensors")
    with pytest.raises(UserError, match=r"none of its checkpoints can be used \(model.safetensors is damaged\)"):
        start_or_resume(accelerator, two_checkpoints, "auto", START)


def test_newer_checkpoints_are_set_aside_when_an_older_one_is_resumed(two_checkpoints, accelerator, model):
    older = two_checkpoints.checkpoints / "step-00000001"
    progress = start_or_resume(accelerator, two_checkpoints, str(older), START)
    assert progress.step == 1
    assert sorted(path.name for path in two_checkpoints.checkpoints.iterdir()) == [
        "step-00000001",
        "superseded-step-00000002",
    ]
    assert start_or_resume(accelerator, two_checkpoints, "auto", START).step == 1


def test_a_run_goes_back_to_a_checkpoint_that_was_set_aside(two_checkpoints, accelerator, model):
    folder = two_checkpoints.checkpoints
    start_or_resume(accelerator, two_checkpoints, str(folder / "step-00000001"), START)
    for step in (2, 3):
        save_checkpoint(accelerator, folder, TrainState(step=step, steps_per_epoch=4))
    aside = str(folder / "superseded-step-00000002")
    assert start_or_resume(accelerator, two_checkpoints, aside, START).step == 2
    save_checkpoint(accelerator, folder, TrainState(step=4, steps_per_epoch=4))
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000002", "step-00000004"]
    older = str(folder / "step-00000002")
    start_or_resume(accelerator, two_checkpoints, older, START)
    start_or_resume(accelerator, two_checkpoints, older, START)
    assert sorted(path.name for path in folder.glob("superseded-*")) == [
        "superseded-step-00000002",
        "superseded-step-00000003",
        "superseded-step-00000004",
    ]


def test_nothing_is_renamed_that_is_already_called_so(two_checkpoints, accelerator, model):
    folder = two_checkpoints.checkpoints
    older = str(folder / "step-00000001")
    for _ in range(2):
        start_or_resume(accelerator, two_checkpoints, older, START)
        save_checkpoint(accelerator, folder, TrainState(step=2, steps_per_epoch=4))
    start_or_resume(accelerator, two_checkpoints, older, START)
    assert sorted(path.name for path in folder.glob("superseded-*")) == [
        "superseded-step-00000002",
        "superseded-step-00000002-2",
        "superseded-step-00000002-3",
    ]


def test_a_run_that_another_process_is_in_is_left_as_it_is(two_checkpoints, accelerator, model):
    code = f"""
from gravis_triton.run_directory import RunDirectory
RunDirectory({str(two_checkpoints)!r}).acquire_lock()
print("locked", flush=True)
input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        older = str(two_checkpoints.checkpoints / "step-00000001")
        with pytest.raises(UserError, match="another run is writing to"):
            start_or_resume(accelerator, two_checkpoints, older, START)
        assert two_checkpoints.is_locked()
        other.communicate("\n")
    assert not two_checkpoints.is_locked()
    assert sorted(path.name for path in two_checkpoints.checkpoints.iterdir()) == [
        "step-00000001",
        "step-00000002",
    ]


def test_an_optimizer_goes_on_with_the_settings_of_this_launch(tmp_path, accelerator, model):
    optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters(), weight_decay=0.05))
    model.weight.grad = torch.ones_like(model.weight)
    optimizer.step()
    save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=1, steps_per_epoch=4))
    moment = optimizer.state_dict()["state"][0]["exp_avg"].clone()
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.3
    start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START, optimizer=optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]
    assert torch.equal(optimizer.state_dict()["state"][0]["exp_avg"], moment)


def test_another_optimizer_is_reported(tmp_path, accelerator, model):
    accelerator.prepare(torch.optim.AdamW(model.parameters()))
    save_checkpoint(accelerator, tmp_path / "checkpoints", TrainState(step=1, steps_per_epoch=4))
    accelerator.free_memory()
    model = accelerator.prepare(nn.Linear(3, 3))
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), momentum=0.9))
    with pytest.raises(UserError, match="written with a different optimizer: resume with its original --opt"):
        start_or_resume(accelerator, RunDirectory(tmp_path), "auto", START, optimizer=optimizer)


def test_a_run_that_cannot_be_written_to_is_reported(two_checkpoints, accelerator):
    two_checkpoints.lock.unlink(missing_ok=True)
    two_checkpoints.lock.mkdir()  # not even root can open it
    with pytest.raises(UserError, match=r"cannot write to .*: Is a directory; choose another --output-dir"):
        start_or_resume(accelerator, two_checkpoints, "auto", START)
