import torch

from gravis_triton.models import Pretrainer, build_encoder
from gravis_triton.settings import OptimizationSettings
from gravis_triton.training import build_optimizer


def test_projection_has_two_layers_and_the_dimensions_asked_for():
    model = Pretrainer(build_encoder("test_resnet", image_size=32), hidden=24, dim=16)
    assert [type(layer).__name__ for layer in model.projection] == ["Linear", "ReLU", "Linear"]
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 16)


def test_frozen_statistics_normalize_and_stay_while_everything_else_is_trained():
    torch.manual_seed(0)
    model = Pretrainer(build_encoder("test_resnet", image_size=32), hidden=24, dim=16, frozen_statistics=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(model.train()(images), model.eval()(images))  # test_resnet has no dropout
    model.train()
    model(images).square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not [name for name in changed if "running" in name or "num_batches" in name]
    assert {"encoder.bn1.weight", "encoder.conv1.0.weight", "projection.0.weight"} <= changed


def test_statistics_are_those_of_the_batch_unless_frozen():
    model = Pretrainer(build_encoder("test_resnet", image_size=32), hidden=24, dim=16).train()
    model(torch.rand(4, 3, 32, 32))
    assert (model.encoder.bn1.running_mean != 0).all()


def test_what_a_transformer_leaves_undecayed_stays_so_under_the_projection_head() -> None:
    model = Pretrainer(build_encoder("test_vit", image_size=64), hidden=None, dim=8)
    optimizer = build_optimizer(model, OptimizationSettings(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {
        names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]
    }
    assert "encoder.blocks.0.attn.qkv.weight" in decayed
    assert not {"encoder.pos_embed", "encoder.cls_token"} & decayed
