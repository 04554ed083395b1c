import torch
from torch import nn

from gravis_triton.training.engine import undo_bad_step


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_a_step_without_a_finite_gradient_leaves_no_trace() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    images = torch.randn(5, 4)
    images[2, 1] = torch.inf
    model(images).square().sum().backward()
    assert not model[1].running_mean.isfinite().all()
    assert undo_bad_step(model, buffers)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.parameters())


def test_a_good_step_stays() -> None:
    model = network()
    buffers = [buffer.clone() for buffer in model.buffers()]
    model(torch.randn(5, 4)).pow(3).sum().backward()
    assert not undo_bad_step(model, buffers)
    assert model[1].num_batches_tracked == 1
    assert any(p.grad.abs().sum() > 0 for p in model.parameters())
