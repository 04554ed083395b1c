"""CLIP and SigLIP against their formulas, on every backend; learnable scale and bias, several processes."""

import math
import warnings
from collections.abc import Callable
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import gravis_kernels
import pytest
import torch
import torch.distributed as dist
from cases import relative_error
from gravis_kernels import ClipLoss, SigLipLoss, clip_loss, siglip_loss
from gravis_kernels.clip import reference as clip_reference
from gravis_kernels.clip import triton as clip_triton
from gravis_kernels.gravis import triton_work
from gravis_kernels.siglip import reference as siglip_reference
from gravis_kernels.siglip import triton as siglip_triton
from gravis_kernels.towers.compute import towers_op
from test_distributed import run
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import cross_entropy, logsigmoid, normalize
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Loss = Callable[..., Tensor]


def clip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, **more: Any) -> Tensor:
    return clip_loss(image, text, logit_scale=scale, **more)


def siglip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, **more: Any) -> Tensor:
    return siglip_loss(image, text, logit_scale=scale, logit_bias=bias, **more)


FAMILIES = [clip, siglip]
KERNELS = {clip: (clip_reference, clip_triton), siglip: (siglip_reference, siglip_triton)}


def dense_clip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits, pair = scale * image @ text.T, torch.arange(len(image))
    return (cross_entropy(logits, pair) + cross_entropy(logits.T, pair)) / 2


def dense_siglip(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits = scale * image @ text.T + bias
    return -logsigmoid((2 * torch.eye(len(image)) - 1) * logits).sum() / len(image)


DENSE = {clip: dense_clip, siglip: dense_siglip}


def clip_near_zero(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """`dense_clip` as log(1 + sum of exp(other - match)): a cross entropy near 0 has no digits, even in float64."""
    logits, match = scale * image @ text.T, torch.eye(len(image)).bool()
    differences = [x - x.diag()[:, None] for x in (logits, logits.T)]
    return sum(-logsigmoid(-x[~match].view(len(x), -1).logsumexp(1)).mean() / 2 for x in differences)


@pytest.fixture(autouse=True)
def buffers_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel is to write starts as NaN, so that what it forgets shows."""

    def new(work: Any, *shape: int) -> Tensor:
        return torch.full(shape, torch.nan, device=work.columns.device)

    monkeypatch.setattr(triton_work.Work, "new", new)


def towers(pairs: int, dim: int = 8, noise: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image, more = torch.randn(2, pairs, dim, generator=generator, dtype=torch.float64)
    return normalize(image, dim=1).to(dtype), normalize(image + noise * more, dim=1).to(dtype)


def leaves(*towers: Tensor, scale: float = 12.0, bias: float = -7.0) -> list[Tensor]:
    """Both towers, scale and bias, all to be learned."""
    numbers = [torch.tensor(number, dtype=towers[0].dtype) for number in (scale, bias)]
    return [leaf.detach().clone().requires_grad_() for leaf in (*towers, *numbers)]


def gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    given = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, given, strict=True)]


@pytest.mark.parametrize("backend", ["streaming", "reference"])
def test_values_worked_out_by_hand(backend: Any) -> None:
    """Two pairs at right angles: the logits are scale + bias of a match, and the bias of any other."""
    image, text, scale, bias = leaves(torch.eye(2).double(), torch.eye(2).double(), scale=3.0, bias=-1.0)
    loss = clip_loss(image, text, logit_scale=scale, backend=backend)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-12)
    assert gradients(loss, [scale])[0].item() == pytest.approx(-1 / (1 + math.exp(3)), rel=1e-12)
    loss = siglip_loss(image, text, logit_scale=scale, logit_bias=bias, backend=backend)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)), rel=1e-12)
    of_match, of_other = -1 / (1 + math.exp(2)), 1 / (1 + math.exp(1))
    of_scale, of_bias = gradients(loss, [scale, bias])
    assert of_scale.item() == pytest.approx(of_match, rel=1e-12)
    assert of_bias.item() == pytest.approx(of_match + of_other, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", [2, 383, 385, 800])
@pytest.mark.parametrize("scale", [-1.0, 0.0, 10.0, 100.0])
def test_streaming_equals_the_dense_formula(family: Loss, pairs: int, scale: float) -> None:
    given = leaves(*towers(pairs), scale=scale)
    exact = DENSE[family](*given)
    expected = gradients(exact, given)
    for backend in ("streaming", "reference"):
        loss = family(*given, backend=backend)
        assert loss.item() == pytest.approx(exact.item(), rel=1e-12)
        for actual, known in zip(gradients(loss, given), expected, strict=True):
            torch.testing.assert_close(actual, known, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradcheck_with_scale_and_bias(family: Loss) -> None:
    given = leaves(*towers(5, 3), scale=2.0, bias=-1.0)
    assert torch.autograd.gradcheck(lambda *x: family(*x), given if family is siglip else [*given[:3], 0.0])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_value_alone_is_the_value_with_gradient(family: Loss) -> None:
    given = leaves(*towers(400))
    with torch.no_grad():
        silent = family(*given)
    assert not silent.requires_grad
    assert silent == family(*given)


@pytest.mark.parametrize("family", FAMILIES)
def test_scale_alone_is_learned_where_towers_are_frozen(family: Loss) -> None:
    image, text, scale, bias = leaves(*towers(6))
    expected = gradients(family(image, text, scale, bias), [scale])
    assert torch.equal(gradients(family(*towers(6), scale, bias), [scale])[0], expected[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_may_have_any_shape_of_one_number_and_constants_be_floats(family: Loss) -> None:
    image, text, scale, bias = leaves(*towers(6))
    loss = family(image, text, scale, bias)
    assert family(image, text, 12.0, -7.0) == loss
    wide = scale.detach().reshape(1).requires_grad_()
    assert gradients(family(image, text, wide, bias), [wide])[0] == gradients(loss, [scale])[0]


@pytest.mark.parametrize("backend", ["streaming", "triton"])
@pytest.mark.parametrize(("family", "exact"), [(clip, clip_near_zero), (siglip, dense_siglip)])
def test_a_loss_near_zero_keeps_its_digits_in_float32(family: Loss, exact: Loss, backend: Any) -> None:
    """Where all pairs match, every slope is far below float32's resolution at 1."""
    single = leaves(*towers(20, 16, noise=0.05, dtype=torch.float32), scale=60.0, bias=-45.0)
    double = [leaf.detach().double().requires_grad_() for leaf in single]
    actual, expected = family(*single, backend=backend), exact(*double)
    assert expected < 1e-3
    # a logit, its log-sum and their difference are each off by up to 2^-24 of the largest
    rounding = 3 * 60 * 2.0**-24
    assert actual.item() == pytest.approx(expected.item(), rel=rounding)
    for of_actual, of_expected in zip(gradients(actual, single)[:3], gradients(expected, double)[:3], strict=True):
        assert relative_error(of_actual, of_expected) < rounding


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_any_size_stay_finite(family: Loss) -> None:
    given = leaves(*towers(20, dtype=torch.float32), scale=1e6, bias=-1e6)
    loss = family(*given)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, given))


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("dtype", "bound", "first", "count", "dim"),
    [
        (torch.float32, 1e-5, 0, 131, 16), (torch.float32, 1e-5, 66, 64, 300),
        (torch.float16, 5e-3, 66, 64, 16), (torch.bfloat16, 3e-2, 0, 131, 300),
    ],
)  # fmt: skip
def test_triton_equals_the_reference(
    family: Loss, dtype: torch.dtype, bound: float, first: int, count: int, dim: int
) -> None:
    image, text = towers(131, dim)
    columns, bias = torch.stack([12 * image, text], 1).to(dtype).to(DEVICE), torch.tensor(-4.0, device=DEVICE)
    reference, triton = KERNELS[family]
    exact = reference.loss_and_gradient(columns.double(), bias.double(), first, count, True)
    # log-sums of all pairs, which other processes would tell
    logits = columns[:, 0].double() @ columns[:, 1].double().T
    everyone = torch.stack([logits.logsumexp(1), logits.logsumexp(0)], 1).float()
    gather = None if count == 131 else lambda own: everyone
    loss, found = triton.loss_and_gradient(columns, bias, first, count, True, gather=gather)
    assert loss.item() == pytest.approx(exact[0].item(), rel=bound)
    assert relative_error(found[0], exact[1][0]) < bound
    if family is siglip:
        assert found[1].item() == pytest.approx(exact[1][1].item(), rel=bound)
    silent, none = triton.loss_and_gradient(columns, bias, first, count, False, gather=gather)
    assert none is None
    assert silent.item() == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_half_precision_is_as_good_as_dense_torch_in_it(family: Loss, noise: float) -> None:
    """Also where pairs match, so that a rounded softmax of a match would hide all that is left of its slope."""
    single = leaves(*towers(150, 32, noise, torch.bfloat16), scale=20.0)
    exact = [leaf.detach().double().requires_grad_() for leaf in single]
    expected = gradients(DENSE[family](*exact), exact)[:2]
    with torch.autocast("cpu", torch.bfloat16):
        losses = [family(*single, backend="triton"), DENSE[family](*single)]
    ours, dense = (
        [relative_error(g, e) for g, e in zip(gradients(loss, single), expected, strict=False)] for loss in losses
    )
    assert max(ours) < 1.5 * max(dense)


@pytest.mark.parametrize("family", ["clip", "siglip"])
@pytest.mark.parametrize("need_gradient", [True, False])
def test_opcheck(family: str, need_gradient: bool) -> None:
    pairs = torch.stack(towers(5, dtype=torch.float32), 1).requires_grad_(need_gradient)
    bias = torch.tensor(-1.0, requires_grad=need_gradient)
    arguments = (pairs, bias, family, "", "auto", torch.float32, "", need_gradient)
    assert set(torch.library.opcheck(towers_op, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("family", FAMILIES)
def test_compiles_as_one_graph_for_any_number_of_pairs(family: Loss) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    counting = torch.compile(family, fullgraph=True, backend=counter, dynamic=True)
    compiled = torch.compile(family, fullgraph=True, backend="aot_eager")
    for pairs in (4, 7, 30):
        given = leaves(*towers(pairs))
        expected = family(*given)
        assert counting(*given) == expected
        for actual, known in zip(gradients(compiled(*given), given), gradients(expected, given), strict=True):
            torch.testing.assert_close(actual, known, rtol=1e-12, atol=1e-15)
    assert counter.frame_count == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_second_and_forward_derivatives_are_errors(family: Loss) -> None:
    given = leaves(*towers(5))
    for leaf in given[:3]:
        (gradient,) = torch.autograd.grad(family(*given), leaf, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative"):
            gradient.sum().backward()
    fixed = [leaf.detach() for leaf in given]
    with pytest.raises(RuntimeError, match="no forward-mode derivative: use backward"):
        torch.func.jvp(lambda image: family(image, *fixed[1:]), (fixed[0],), (fixed[0],))
    assert torch.equal(torch.func.grad(family)(*fixed), gradients(family(*given), given)[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_is_linear_in_the_pairs(family: Loss) -> None:
    def peak_bytes(pairs: int) -> int:
        given = leaves(*towers(pairs, 16, dtype=torch.float32))
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            family(*given).backward()
        events = recorded.profiler.kineto_results.events()
        return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))

    half, whole = peak_bytes(1024), peak_bytes(2048)
    assert whole < 2.1 * half
    assert whole < 0.5 * 2048**2 * 4, "less than half a matrix of logits"


def equals_one_process(rank: int, pairs: list[int]) -> None:
    for family in FAMILIES:
        for backend in ("streaming", "reference"):
            whole = leaves(*towers(sum(pairs)))
            expected = family(*whole)
            image, text, *numbers = gradients(expected, whole)
            own = slice(sum(pairs[:rank]), sum(pairs[: rank + 1]))
            given = leaves(whole[0][own], whole[1][own])
            loss = family(*given, process_group=dist.group.WORLD, backend=backend)
            torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
            of_image, of_text, *shares = gradients(loss, given)
            torch.testing.assert_close(of_image, image[own], rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(of_text, text[own], rtol=1e-10, atol=1e-14)
            for share, number in zip(shares, numbers, strict=True):
                dist.all_reduce(share)
                torch.testing.assert_close(share, number, rtol=1e-10, atol=1e-14)


def test_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    run(equals_one_process, 3, tmp_path, [1, 400, 7])


class Model(nn.Module):
    """Both towers and a learnable scale and bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.image, self.text = nn.Linear(6, 4).double(), nn.Linear(6, 4).double()
        self.scale, self.bias = nn.Parameter(torch.tensor(5.0)), nn.Parameter(torch.tensor([-2.0]))

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        return self.image(image), self.text(text), self.scale, self.bias


def trains_and_compiles_as_one_process(rank: int) -> None:
    image, text = torch.randn(2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone, together = Model(), DistributedDataParallel(Model())
    siglip(*alone(image, text)).backward()
    own = slice(0, 4) if rank == 0 else slice(4, 6)
    loss = siglip(*together(image[own], text[own]), process_group=dist.group.WORLD)
    compiled = torch.compile(siglip, fullgraph=True, backend="aot_eager")
    assert compiled(*together.module(image[own], text[own]), process_group=dist.group.WORLD) == loss
    (loss * dist.get_world_size()).backward()
    for one, other in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-6, atol=1e-12)


def test_scaled_loss_under_distributed_data_parallel_trains_as_one_process(tmp_path: Path) -> None:
    run(trains_and_compiles_as_one_process, 2, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image_features": torch.randn(4, 2, 8)},
            r"image_features must be \(pairs, dim\), got shape \(4, 2, 8\)",
        ),
        ({"image_features": torch.randn(1, 8)}, "at least 2 pairs, got 1"),
        ({"image_features": torch.ones(4, 8).long()}, "got torch.int64"),
        ({"text_features": torch.randn(3, 8)}, r"same shape as image_features, \(4, 8\), got \(3, 8\)"),
        (
            {"text_features": torch.randn(4, 8).double()},
            "dtype as image_features, torch.float32, got torch.float64",
        ),
        ({"logit_scale": torch.ones(2)}, r"logit_scale must be one number, got shape \(2,\)"),
        ({"logit_bias": torch.ones(2)}, r"logit_bias must be one number, got shape \(2,\)"),
        ({"backend": "cuda"}, "backend must be one of"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str) -> None:
    good = dict(zip(("image_features", "text_features"), torch.randn(2, 4, 8), strict=True))
    good |= {"logit_scale": 1.0, "logit_bias": 0.0}
    with pytest.raises(ValueError, match=message):
        siglip_loss(**(good | change))


def test_modules_are_called_as_open_clips() -> None:
    image, text, scale, bias = leaves(*towers(6))
    output = {"image_features": image, "text_features": text, "logit_scale": scale}
    assert ClipLoss()(image, text, scale) == clip(image, text, scale, bias)
    assert ClipLoss()(**output, logit_bias=bias.detach(), output_dict=True) == {
        "contrastive_loss": clip(image, text, scale, bias)
    }
    loss = siglip(image, text, scale, bias)
    assert SigLipLoss()(image, text, scale, bias) == loss
    assert SigLipLoss()(**output, logit_bias=bias, output_dict=True) == {"contrastive_loss": loss}


def test_clip_loss_refuses_to_learn_a_bias_that_does_not_change_it() -> None:
    with pytest.raises(ValueError, match="logit_bias requires a gradient, but does not change this loss"):
        ClipLoss()(*leaves(*towers(6)))


def test_rows_that_are_not_normalized_raise_a_warning_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gravis_kernels.towers.compute._calls", count())
    image, text = towers(6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip_loss(image.half(), text.half(), 5.0)
        clip_loss(image * 2, text, 5.0)
    monkeypatch.setattr("gravis_kernels.towers.compute._calls", count(1000))
    with pytest.warns(UserWarning, match=r"should have length 1, but are from 1 to 2 long: normalize them first"):
        clip_loss(image * 2, text, 5.0)


@pytest.mark.parametrize("name", ["ClipLoss", "SigLipLoss"])
def test_modules_replace_open_clips(name: str) -> None:
    open_clip = pytest.importorskip("open_clip.loss")
    given = leaves(*towers(9))
    names = ("image_features", "text_features", "logit_scale", "logit_bias")
    arguments = dict(zip(names, given, strict=True)) | {"output_dict": True}
    if name == "ClipLoss":
        given = given[:3]
        arguments["logit_bias"] = arguments["logit_bias"].detach()
    ours, theirs = (getattr(module, name)()(**arguments) for module in (gravis_kernels, open_clip))
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-12, atol=0)
        of_ours, of_theirs = gradients(ours[key], given), gradients(theirs[key], given)
        torch.testing.assert_close(of_ours, of_theirs, rtol=1e-10, atol=1e-14)
