"""The public function: what it accepts, which precision it computes in, torch.compile, the choice of a backend."""

import importlib
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from cases import SETTINGS, evaluate, make_embeddings, relative_error
from gravis_kernels import (
    GravisSettings,
    clip_loss,
    complete_settings,
    gravis_loss,
    grouping_loss,
    nt_xent_loss,
    supcon_loss,
)
from gravis_kernels.gravis.autograd import loss_op
from torch._dynamo.testing import CompileCounter


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "cosine"}, "attention must be one of softmax, rank, uniform, got 'cosine'"),
        ({"negatives": "hardest"}, "negatives must be one of mean, logsumexp, got 'hardest'"),
        ({"penalty": "relu"}, "penalty must be one of hinge, softplus, sigmoid, got 'relu'"),
        ({"backend": "cuda"}, "backend must be one of auto, triton, streaming, reference, got 'cuda'"),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"temperature": float("nan")}, "temperature must be positive and finite, got nan"),
        ({"attention_temperature": -1}, "attention_temperature must be positive and finite, got -1"),
        ({"margin": float("inf")}, "margin must be finite, got inf"),
        (
            {"penalty": "sigmoid", "negatives": "logsumexp"},
            'penalty "sigmoid" is defined for negatives "mean" only',
        ),
        ({"attention": "rank", "margin": 0.5}, 'attention "rank" requires margin 0.0, got 0.5: omit margin'),
        ({"attention": "rank", "penalty": "hinge"}, "requires penalty 'sigmoid', got 'hinge': omit penalty"),
        ({"attention": "rank", "negatives": "logsumexp"}, "requires negatives 'mean', got 'logsumexp'"),
        ({"attention": "rank", "detach_attention": True}, "omit detach_attention"),
    ],
)
def test_settings_outside_the_family_are_refused_with_the_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gravis_loss(make_embeddings(2, 2, 4), **arguments)


@pytest.mark.parametrize("name", ["margin", "temperature", "attention_temperature"])
def test_a_constant_tensor_is_a_number_and_only_a_temperature_is_learned(name: str) -> None:
    embeddings, number = make_embeddings(3, 2, 4), torch.tensor(0.25)
    assert gravis_loss(embeddings, **{name: number}) == gravis_loss(embeddings, **{name: 0.25})
    if name != "temperature":
        with pytest.raises(TypeError, match=f"{name} gets no gradient from this loss: pass {name}.item()"):
            gravis_loss(embeddings, **{name: number.requires_grad_()})


@pytest.mark.parametrize("name", ["margin", "temperature", "attention_temperature"])
@pytest.mark.parametrize(
    "value", ["0.1", True, [0.1], np.full(2, 0.1), 1j, torch.tensor(True), torch.tensor(1j)], ids=str
)
def test_no_number_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, got"):
        gravis_loss(make_embeddings(3, 2, 4), **{name: value})
    with pytest.raises(ValueError, match=rf"{name} must be one number, got shape \(2,\)"):
        gravis_loss(make_embeddings(3, 2, 4), **{name: torch.ones(2)})


def test_a_number_may_be_of_numpy() -> None:
    embeddings = make_embeddings(3, 2, 4)
    assert gravis_loss(embeddings, temperature=np.float64(0.25)) == gravis_loss(embeddings, temperature=0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([[[1.0]]], TypeError, "must be a torch.Tensor, got list"),
        (np.ones((3, 2, 4)), TypeError, "must be a torch.Tensor, got ndarray"),
        (torch.ones(3, 2, 4).to_sparse(), ValueError, "must be a dense tensor, got torch.sparse_coo"),
        (torch.ones(3, 2, 4, device="meta"), ValueError, "is on the meta device, which holds no values"),
    ],
    ids=["list", "numpy", "sparse", "meta"],
)
def test_other_kinds_of_tensors_are_errors(given: Any, error: type[Exception], message: str) -> None:
    rows, labels, good = given[0], torch.zeros(2, dtype=torch.long), torch.ones(2, 4)
    calls: dict[str, Callable[[], Any]] = {
        "embeddings": lambda: gravis_loss(given),
        "extra_negatives": lambda: gravis_loss(make_embeddings(3, 2, 4), extra_negatives=given),
        "image_features": lambda: clip_loss(rows, good, logit_scale=1.0),
        "text_features": lambda: clip_loss(good, rows, logit_scale=1.0),
        "labels": lambda: supcon_loss(good, rows),
        "keys": lambda: nt_xent_loss(good, keys=rows),
        "references": lambda: supcon_loss(good, labels, references=(rows, labels)),
    }
    for name, call in calls.items():
        with pytest.raises(error, match=f"{name} {message}"):
            call()
    with pytest.raises(error, match=f"embeddings {message}"):
        supcon_loss(rows, labels)


@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e25])
def test_rows_of_any_length_are_normalized(factor: float) -> None:
    """Their squares are no float32 numbers."""
    embeddings = make_embeddings(4, 3, 8)
    plain, scaled = evaluate(embeddings), evaluate(embeddings * factor)
    assert scaled.loss.item() == pytest.approx(plain.loss.item(), rel=1e-6)
    assert relative_error(scaled.gradient * factor, plain.gradient) < 1e-5


def test_complete_settings_are_those_of_the_loss() -> None:
    embeddings = make_embeddings(4, 3, 8)
    assert complete_settings() == GravisSettings()
    for given in ({}, {"penalty": "hinge"}, {"attention": "rank", "temperature": 0.1}):
        settings = complete_settings(**given)
        assert grouping_loss(embeddings, settings) == gravis_loss(embeddings, **given)
        assert complete_settings(**asdict(settings)) == settings


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.randn(8, 4), r"must be \(sources, views, dim\), got shape \(8, 4\)"),
        (torch.randn(1, 4, 8), "at least 2 sources to have negatives, got 1"),
        (torch.randn(4, 1, 8), "at least 2 views per source to have positives, got 1"),
        (torch.randn(0, 4, 8), "at least 2 sources to have negatives, got 0"),
        (torch.randn(2, 2, 0), r"at least 1 dimension, got shape \(2, 2, 0\)"),
        (torch.ones(2, 2, 4, dtype=torch.int64), "got torch.int64"),
    ],
    ids=lambda value: str(tuple(value.shape)) if isinstance(value, torch.Tensor) else "",
)
def test_embeddings_of_a_wrong_shape_or_kind_are_refused(embeddings: torch.Tensor, message: str) -> None:
    for loss in (gravis_loss, nt_xent_loss):
        with pytest.raises(ValueError, match=message):
            loss(embeddings)


@pytest.mark.parametrize(
    ("given", "penalty", "negatives", "margin"),
    [
        ({}, "softplus", "logsumexp", 0.0),
        ({"attention": "uniform"}, "softplus", "logsumexp", 0.0),
        ({"attention": "rank"}, "sigmoid", "mean", 0.0),
        ({"penalty": "hinge"}, "hinge", "mean", 0.5),
        ({"penalty": "sigmoid"}, "sigmoid", "mean", 0.0),
        ({"negatives": "mean"}, "softplus", "mean", 0.0),
        ({"penalty": "hinge", "negatives": "logsumexp", "margin": 0.0}, "hinge", "logsumexp", 0.0),
    ],
    ids=str,
)
def test_margin_and_negatives_left_out_go_with_the_penalty(
    given: dict[str, Any], penalty: str, negatives: str, margin: float
) -> None:
    embeddings = make_embeddings(4, 3, 8)
    explicit = given | {"penalty": penalty, "negatives": negatives, "margin": margin}
    assert gravis_loss(embeddings, **given) == gravis_loss(embeddings, **explicit)


def test_default_is_softmax_attention_over_the_soft_hardest_negative() -> None:
    """By the formula, for two sources of three views at right angles but for one view turned by 60 degrees."""
    turned = [0.5, math.sqrt(0.75)]
    embeddings = torch.tensor([[[1, 0], [1, 0], turned], [[0, 1], [0, 1], [0, 1]]], dtype=torch.float64)
    z, l_i = embeddings.flatten(0, 1), []
    for i in range(6):
        others = [j for j in range(6) if j // 3 == i // 3 and j != i]
        s = [float(z[i] @ z[n]) for n in range(6)]
        hardest = 0.2 * math.log(sum(math.exp(s[n] / 0.2) for n in range(6) if n // 3 != i // 3))
        a = [math.exp(s[j] / 0.5) / sum(math.exp(s[k] / 0.5) for k in others) for j in others]
        h = [0.2 * math.log1p(math.exp((hardest - s[j]) / 0.2)) for j in others]
        l_i.append(sum(x * y for x, y in zip(a, h, strict=True)))
    assert gravis_loss(embeddings).item() == pytest.approx(sum(l_i) / 6, rel=1e-12)


@pytest.mark.parametrize("backend", ["streaming", "reference"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_value_is_the_same_without_gradient(settings: dict, backend: str) -> None:
    embeddings = make_embeddings(7, 3, 8).requires_grad_()
    with torch.no_grad():
        silent = gravis_loss(embeddings, backend=backend, **settings)
    assert not silent.requires_grad
    assert silent.item() == pytest.approx(gravis_loss(embeddings, backend=backend, **settings).item(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_loss_is_float32_and_the_gradient_has_the_dtype_of_the_embeddings(dtype: torch.dtype) -> None:
    embeddings = make_embeddings(4, 3, 8, dtype=dtype).requires_grad_()
    loss = gravis_loss(embeddings)
    loss.backward()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert embeddings.grad is not None
    assert embeddings.grad.dtype == dtype


def test_gradient_is_scaled_before_it_is_rounded_to_half_precision() -> None:
    embeddings = make_embeddings(4, 3, 8, dtype=torch.float16) * 1000
    exact = evaluate(embeddings.double()).gradient
    assert exact.abs().max() < 1e-4, "too small for float16 unless a gradient scaler's factor comes first"
    leaf = embeddings.requires_grad_()
    (gravis_loss(leaf) * 2**16).backward()
    assert leaf.grad is not None
    assert relative_error(leaf.grad, exact * 2**16) < 1e-3


def test_autocast_computes_in_float32_on_the_cpu() -> None:
    embeddings = make_embeddings(4, 3, 8)
    plain = evaluate(embeddings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = evaluate(embeddings)
    assert torch.equal(plain.loss, inside.loss)
    assert torch.equal(plain.gradient, inside.gradient)


def test_an_embedding_of_length_zero_gets_no_gradient_and_spoils_no_other() -> None:
    embeddings = make_embeddings(4, 3, 8)
    embeddings[1, 1] = 0
    result = evaluate(embeddings)
    assert result.loss.isfinite()
    assert result.gradient.isfinite().all()
    assert not result.gradient[1, 1].any()


def test_transposed_embeddings_are_taken_as_they_are_meant() -> None:
    embeddings = make_embeddings(4, 3, 8)
    view_first = embeddings.transpose(0, 1).contiguous().transpose(0, 1)
    assert not view_first.is_contiguous()
    assert torch.equal(evaluate(view_first).gradient, evaluate(embeddings).gradient)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("need_gradient", [True, False])
def test_opcheck(settings: dict, need_gradient: bool) -> None:
    given = GravisSettings(**settings)
    arguments = (
        None,
        given.margin,
        given.attention,
        given.attention_temperature,
        given.negatives,
        given.penalty,
        given.temperature,
        given.detach_attention,
        "",
        True,
        "auto",
        torch.float32,
        0.0,
        need_gradient,
    )
    embeddings = make_embeddings(4, 3, 8).requires_grad_(need_gradient)
    results = torch.library.opcheck(loss_op, (embeddings, *arguments))
    assert set(results.values()) == {"SUCCESS"}


@pytest.fixture
def _nothing_compiled() -> None:
    torch._dynamo.reset()


@pytest.mark.usefixtures("_nothing_compiled")
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_compiles_as_one_graph_with_the_same_result(settings: dict) -> None:
    def loss_of_head(weight: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return gravis_loss(features @ weight, **settings)

    weight, features = make_embeddings(1, 8, 8)[0], make_embeddings(5, 3, 8)
    losses, gradients = [], []
    for function in (loss_of_head, torch.compile(loss_of_head, fullgraph=True, backend="aot_eager")):
        leaf = weight.clone().requires_grad_()
        loss = function(leaf, features)
        loss.backward()
        losses.append(loss.item())
        gradients.append(leaf.grad)
    assert losses[0] == losses[1]
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.usefixtures("_nothing_compiled")
def test_another_number_of_sources_compiles_nothing_anew() -> None:
    counter = CompileCounter()
    compiled = torch.compile(lambda z: gravis_loss(z) + nt_xent_loss(z), fullgraph=True, backend=counter, dynamic=True)
    for sources in (4, 7, 9, 30):
        embeddings = make_embeddings(sources, 3, 8).requires_grad_()
        expected = gravis_loss(embeddings) + nt_xent_loss(embeddings)
        assert compiled(embeddings).item() == expected.item()
    assert counter.frame_count == 1


def test_eager_calls_do_not_pass_the_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gravis_kernels.gravis.op.loss_op", None)
    assert evaluate(make_embeddings(4, 3, 8)).loss > 0


def test_forward_mode_and_second_derivatives_are_errors() -> None:
    embeddings = make_embeddings(3, 2, 4).requires_grad_()
    with pytest.raises(RuntimeError, match="no forward-mode derivative: use backward"):
        torch.func.jvp(gravis_loss, (embeddings.detach(),), (torch.ones_like(embeddings),))
    (gradient,) = torch.autograd.grad(gravis_loss(embeddings), embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.functional.hessian(gravis_loss, embeddings.detach())
    with pytest.raises(RuntimeError, match="does not support vmap: call it once per batch"):
        torch.func.vmap(gravis_loss)(torch.stack([embeddings.detach()] * 2))


def test_func_grad_is_the_gradient() -> None:
    embeddings = make_embeddings(4, 3, 8)
    assert torch.equal(torch.func.grad(gravis_loss)(embeddings).double(), evaluate(embeddings).gradient)


def test_triton_on_the_cpu_is_refused_unless_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(
        RuntimeError, match='not on "cpu": move them, or pass backend="auto", or set TRITON_INTERPRET=1'
    ):
        gravis_loss(make_embeddings(4, 3, 8), backend="triton")


def test_on_the_cpu_auto_is_streaming_and_triton_is_not_imported() -> None:
    script = (
        "import sys, torch; from gravis_kernels import gravis_loss; x = torch.randn(4, 3, 8); "
        "assert gravis_loss(x) == gravis_loss(x, backend='streaming'); "
        "print([name for name in sys.modules if name.split('.')[0] == 'triton'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("negatives", ["mean", "logsumexp"])
@pytest.mark.parametrize("backend", ["reference", "streaming", "triton"])
def test_a_penalty_that_a_backend_does_not_have_is_an_error_there(backend: str, negatives: str) -> None:
    """Instead of the value of another one."""
    columns = torch.nn.functional.normalize(torch.randn(8, 16), dim=1)
    settings = GravisSettings(penalty="cubic", negatives=negatives)  # type: ignore[arg-type]
    module = importlib.import_module(f"gravis_kernels.gravis.{backend}")
    with pytest.raises(Exception, match=r"cubic|unknown penalty"):
        module.loss_and_gradient(columns, 0, 8, 2, settings, True, unit_rows=True)


@pytest.mark.usefixtures("_nothing_compiled")
def test_a_second_derivative_is_an_error_in_compiled_code_too() -> None:
    embeddings = make_embeddings(4, 3, 8).requires_grad_()
    compiled = torch.compile(gravis_loss, backend="eager")
    (gradient,) = torch.autograd.grad(compiled(embeddings), embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.square().sum().backward()
