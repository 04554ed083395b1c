import pytest
import torch
from torch import nn

from gravis_triton.models import evaluating


@pytest.mark.parametrize("training", [False, True])
def test_a_model_evaluates_without_gradients_and_gets_its_mode_back(training):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train(training)
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(1, 2)).requires_grad
    assert all(module.training == training for module in model.modules())
    assert model(torch.ones(1, 2)).requires_grad


def test_the_mode_is_restored_after_an_error():
    model = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), evaluating(model):
        raise ZeroDivisionError
    assert model.training
    assert torch.is_grad_enabled()
