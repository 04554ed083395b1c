"""Each named loss against its formula, written out in float64."""

import pytest
import torch
import torch.nn.functional as F
from gravis_kernels import gravis_loss
from torch import nn

from gravis_triton.errors import UserError
from gravis_triton.losses import gravis_settings, resolve_loss
from gravis_triton.methods import METHODS
from gravis_triton.settings import LossSettings, PretrainSettings, override


def embeddings(sources=4, views=3, dim=8):
    return torch.randn(sources, views, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def loss_of(z, **settings):
    return method_of(settings.pop("loss"), **settings).loss(z).item()


def method_of(name, **settings):
    encoder = nn.Identity()
    encoder.head_hidden_size = 8
    method = METHODS[name]
    return method(encoder, None, method.Settings(**settings))


def resolved(**settings) -> LossSettings:
    return resolve_loss(override(PretrainSettings(), settings)).loss


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
        z, loss="gravis", attention="softmax", attention_temperature=tau, negatives="logsumexp", penalty="softplus",
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
        loss="gravis",
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
            torch.stack(
                [-torch.log(torch.exp(s / t) / (torch.exp(s / t) + torch.exp(n / t).sum())) for s in p]
            ).mean()
            for p, n in blocks(z)
        ]
    ).mean()
    assert loss_of(z, loss="nt-xent", temperature=t) == pytest.approx(expected.item(), rel=1e-6)


def test_triplet_is_the_mean_violation_over_all_triplets():
    z = embeddings()
    expected = torch.stack([F.relu(n[None] - p[:, None] + 0.5).mean() for p, n in blocks(z)]).mean()
    assert loss_of(z, loss="triplet", margin=0.5) == pytest.approx(expected.item(), rel=1e-6)


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
    assert loss_of(z, loss="gravis-rank", temperature=tau) == pytest.approx(
        torch.stack(losses).mean().item(), rel=1e-6
    )


@pytest.mark.parametrize("loss", ["gravis", "gravis-rank", "nt-xent", "triplet"])
def test_resolved_settings_name_everything_the_loss_has_and_resolve_to_themselves(loss):
    once = resolve_loss(override(PretrainSettings(), {"loss": loss}))
    assert resolve_loss(once) == once
    assert gravis_settings(once.loss).margin >= 0


def test_an_override_changes_that_setting_alone():
    plain, changed = (gravis_settings(resolved(margin=m)) for m in (None, 0.25))
    assert changed.margin == 0.25
    assert (changed.attention, changed.temperature) == (plain.attention, plain.temperature)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"loss": "nt-xent", "margin": 0.1},
            r"--margin has no effect on --loss nt-xent, which has --temperature",
        ),
        ({"loss": "triplet", "attention": "uniform"}, r"--attention has no effect on --loss triplet"),
        ({"loss": "gravis", "attention": "rank"}, r"use --loss gravis-rank"),
        (
            {"loss": "gravis", "penalty": "sigmoid", "negatives": "logsumexp"},
            r"--penalty sigmoid needs --negatives mean",
        ),
    ],
)
def test_settings_that_make_no_loss_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        resolved(**settings)


@pytest.mark.parametrize(
    ("penalty", "margin", "negatives"),
    [("softplus", 0.0, "logsumexp"), ("hinge", 0.5, "mean"), ("sigmoid", 0.0, "mean")],
)
def test_a_penalty_brings_its_own_margin_and_negatives_as_in_gravis_loss(penalty, margin, negatives):
    z, loss = embeddings(), resolved(loss="gravis", penalty=penalty)
    assert (loss.margin, loss.negatives) == (margin, negatives)
    assert method_of("gravis", penalty=penalty).loss(z).item() == gravis_loss(z, penalty=penalty).item()
