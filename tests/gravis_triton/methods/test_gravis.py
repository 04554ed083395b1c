"""The GraVIS family: each loss against its formula written out in float64, its settings, and the projection head."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from gravis_kernels import gravis_loss
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from small_methods import view_maker

from gravis_triton.errors import UserError
from gravis_triton.methods import METHODS, pretrain_settings
from gravis_triton.methods.gravis import Gravis
from gravis_triton.models import build_encoder
from gravis_triton.settings.groups import OptimizationSettings
from gravis_triton.settings.resolve import resolve
from gravis_triton.training.optimizers import build_optimizer


def embeddings(images=4, views=3, dim=8):
    return torch.randn(images, views, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def method_of(name, **settings):
    encoder = nn.Identity()
    encoder.head_hidden_size = 8
    return METHODS[name](encoder, view_maker(), METHODS[name].Settings(**settings))


def loss_of(z, method, **settings):
    return method_of(method, **settings).loss(z).item()


def blocks(z):
    """For every anchor: its similarities to the other views of its source, and to those of other sources."""
    flat, views = F.normalize(z, dim=2).flatten(0, 1), z.shape[1]
    for i, anchor in enumerate(flat):
        source = i // views
        positives = [anchor @ flat[j] for j in range(len(flat)) if j // views == source and j != i]
        negatives = [anchor @ flat[n] for n in range(len(flat)) if n // views != source]
        yield torch.stack(positives), torch.stack(negatives)


def test_gravis_weighs_each_positives_penalty_by_its_attention():
    z, t, tau, m = embeddings(), 0.3, 0.4, 0.1
    expected = torch.stack(
        [
            (torch.softmax(p / tau, 0) * t * F.softplus((t * torch.logsumexp(n / t, 0) - p + m) / t)).sum()
            for p, n in blocks(z)
        ]
    ).mean()
    got = loss_of(
        z, method="gravis", attention="softmax", attention_temperature=tau, negatives="logsumexp", penalty="softplus",
        temperature=t, margin=m,
    )  # fmt: skip
    assert got == pytest.approx(expected.item(), rel=1e-6)


def test_gravis_with_hinge_and_mean_is_the_attention_weighted_triplet_loss():
    z, tau, m = embeddings(), 0.2, 0.5
    expected = torch.stack(
        [(torch.softmax(p / tau, 0) * F.relu(n[None] - p[:, None] + m).mean(1)).sum() for p, n in blocks(z)]
    ).mean()
    got = loss_of(
        z,
        method="gravis",
        attention="softmax",
        attention_temperature=tau,
        negatives="mean",
        penalty="hinge",
        margin=m,
    )
    assert got == pytest.approx(expected.item(), rel=1e-6)


def test_nt_xent_is_the_cross_entropy_of_each_positive_against_all_negatives():
    z, t = embeddings(), 0.2
    expected = torch.stack(
        [
            torch.stack([-torch.log(torch.exp(s / t) / (torch.exp(s / t) + torch.exp(n / t).sum())) for s in p]).mean()
            for p, n in blocks(z)
        ]
    ).mean()
    assert loss_of(z, method="nt-xent", temperature=t) == pytest.approx(expected.item(), rel=1e-6)


def test_triplet_is_the_mean_violation_over_all_triplets():
    z = embeddings()
    expected = torch.stack([F.relu(n[None] - p[:, None] + 0.5).mean() for p, n in blocks(z)]).mean()
    assert loss_of(z, method="triplet", margin=0.5) == pytest.approx(expected.item(), rel=1e-6)


def test_gravis_rank_is_one_minus_smooth_average_precision():
    z, tau = embeddings(), 0.2
    flat, views = F.normalize(z, dim=2).flatten(0, 1), z.shape[1]
    similarity = flat @ flat.T
    losses = []
    for i in range(len(flat)):
        source = [j for j in range(len(flat)) if j // views == i // views]
        others = [n for n in range(len(flat)) if n // views != i // views]
        for j in source:
            sigma = torch.sigmoid((similarity[i] - similarity[i, j]) / tau)
            negatives = sigma[others].sum()
            positives = 1 + sum(sigma[k] for k in source if k != j)
            losses.append(negatives / (positives + negatives))
    assert loss_of(z, method="gravis-rank", temperature=tau) == pytest.approx(
        torch.stack(losses).mean().item(), rel=1e-6
    )


@pytest.mark.parametrize("method", ["gravis", "gravis-rank", "nt-xent", "triplet"])
def test_completed_settings_complete_to_themselves(method):
    once = METHODS[method].complete(METHODS[method].Settings())
    assert METHODS[method].complete(once) == once
    assert None not in {value for name, value in vars(once).items() if name in ("margin", "negatives")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "nt-xent", "margin": 0.1}, "unknown setting 'margin'"),
        ({"loss": "triplet", "attention": "uniform"}, "unknown setting 'attention'"),
        ({"loss": "gravis", "attention": "rank"}, "attention must be one of softmax, uniform, not 'rank'"),
    ],
)
def test_settings_that_a_loss_does_not_have_are_rejected(settings, message):
    with pytest.raises(UserError, match=message):
        resolve(pretrain_settings, settings, where="grid")


def test_a_penalty_without_a_log_sum_exp_is_rejected():
    with pytest.raises(UserError, match='penalty "sigmoid" is defined for negatives "mean" only'):
        method_of("gravis", penalty="sigmoid", negatives="logsumexp")


@pytest.mark.parametrize(
    ("penalty", "margin", "negatives"),
    [("softplus", 0.0, "logsumexp"), ("hinge", 0.5, "mean"), ("sigmoid", 0.0, "mean")],
)
def test_a_penalty_brings_its_own_margin_and_negatives_as_in_gravis_loss(penalty, margin, negatives):
    z, method = embeddings(), method_of("gravis", penalty=penalty, temperature=0.2)
    assert (method.settings.margin, method.settings.negatives) == (margin, negatives)
    assert method.loss(z).item() == gravis_loss(z, penalty=penalty).item()


def test_the_projection_head_has_two_layers_of_the_given_widths():
    encoder = build_encoder("test_resnet", image_size=32)
    method = Gravis(encoder, view_maker(), Gravis.Settings(projection_hidden=24, projection_dim=16))
    assert [type(layer).__name__ for layer in method.projection] == ["Linear", "ReLU", "Linear"]
    assert method.embed(torch.rand(3, 2, 3, 32, 32)).shape == (3, 2, 16)


def test_a_transformers_exceptions_from_weight_decay_hold_in_a_method():
    model = Gravis(build_encoder("test_vit", image_size=64), view_maker(), Gravis.Settings())
    optimizer = build_optimizer(model, OptimizationSettings(weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert "encoder.blocks.0.attn.qkv.weight" in decayed
    assert not {"encoder.pos_embed", "encoder.cls_token"} & decayed
