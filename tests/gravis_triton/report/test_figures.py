import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gravis_triton.report.figures import caption_of, styled, write_figure, write_views


@pytest.mark.parametrize(
    ("encoder", "caption"),
    [
        ("random", "resnet18 (random), linear probe, ISIC 2017"),
        ("runs/mine/encoder", "resnet18 (mine), linear probe, ISIC 2017"),
        ("runs/mine", "resnet18 (mine), linear probe, ISIC 2017"),
        ("hf:lab/skin", "resnet18 (skin), linear probe, ISIC 2017"),
    ],
)
def test_a_caption_names_model_weights_method_and_data(encoder, caption):
    assert caption_of("resnet18", encoder, "linear probe", "ISIC 2017") == caption


def test_an_encoder_without_an_architecture_is_named_once():
    assert caption_of("color-histogram", "color-histogram", "nearest neighbors", "ISIC 2017") == (
        "color-histogram, nearest neighbors, ISIC 2017"
    )


def test_a_caption_is_at_the_bottom_of_the_figure(tmp_path):
    def ink(caption):
        figure = Figure(figsize=(3, 2), layout="constrained")
        figure.subplots().axis("off")
        write_figure(figure, tmp_path / "figure.png", caption=caption)
        return np.asarray(Image.open(tmp_path / "figure.png").convert("L")) < 200

    with_caption = ink("resnet18, linear probe")
    rows = with_caption.any(1).nonzero()[0]
    assert not ink("").any()
    assert rows.min() > 0.8 * len(with_caption)


def test_dollars_in_a_name_are_no_formula(tmp_path):
    @styled
    def draw() -> Figure:
        figure = Figure(figsize=(2, 1))
        figure.subplots().set_xlabel("x$_$y.jpg")
        return figure

    write_figure(draw(), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (300, 150)


def test_views_are_rows_with_the_undistorted_image_first(tmp_path):
    red = np.zeros((20, 40, 3), np.uint8)
    red[..., 0] = 255
    views = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    write_views(tmp_path / "views.png", [red, red], views)
    grid = np.asarray(Image.open(tmp_path / "views.png"))
    assert grid.shape == (2 * 130 + 2, 4 * 130 + 2, 3)  # views of 32 pixels are enlarged to 128
    first = grid[2:130, 2:130]
    assert (first[33:95] == [255, 0, 0]).all()  # 20 x 40 becomes 64 x 128, in the middle
    assert (first[:31] == 255).all()
    assert (first[97:] == 255).all()
    assert (grid[2:130, 132:260] == views[0, 0].repeat(4, 0).repeat(4, 1)).all()
    assert (grid[132:260, 392:520] == views[1, 2].repeat(4, 0).repeat(4, 1)).all()
