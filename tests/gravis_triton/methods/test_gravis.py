import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_methods import view_maker

from gravis_triton.methods.gravis import Gravis
from gravis_triton.models import build_encoder
from gravis_triton.settings import OptimizationSettings
from gravis_triton.training import build_optimizer


def test_the_projection_head_has_two_layers_of_the_given_widths():
    encoder = build_encoder("test_resnet", image_size=32)
    method = Gravis(encoder, view_maker(), Gravis.Settings(projection_hidden=24, projection_dim=16))
    assert [type(layer).__name__ for layer in method.projection] == ["Linear", "ReLU", "Linear"]
    assert method.embed(torch.rand(3, 2, 3, 32, 32)).shape == (3, 2, 16)


def test_a_transformers_exceptions_from_weight_decay_hold_in_a_method():
    model = Gravis(build_encoder("test_vit", image_size=64), view_maker(), Gravis.Settings())
    optimizer = build_optimizer(model, OptimizationSettings(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {
        names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]
    }
    assert "encoder.blocks.0.attn.qkv.weight" in decayed
    assert not {"encoder.pos_embed", "encoder.cls_token"} & decayed
