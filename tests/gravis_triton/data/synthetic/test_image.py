"""The procedural images: reproducible, plausible, and with classes that differ by what dermatologists look for."""

from dataclasses import dataclass
from itertools import chain
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from gravis_triton.data.synthetic.image import (
    SYNTHETIC_CLASSES,
    RenderedImage,
    label_of,
    render,
    render_mask,
)
from gravis_triton.errors import UserError

MELANOMA, KERATOSIS, NEVUS = range(3)
PER_CLASS = 40
SIZE = 128


@pytest.fixture(scope="module")
def gallery() -> dict[int, list[RenderedImage]]:
    """PER_CLASS images of every class, at SIZE pixels."""
    chosen: dict[int, list[int]] = {label: [] for label in range(3)}
    for index in range(1000):
        label = label_of(7, index)
        if len(chosen[label]) < PER_CLASS:
            chosen[label].append(index)
    return {label: [render(7, index, SIZE) for index in indices] for label, indices in chosen.items()}


@dataclass(frozen=True)
class Shape:
    """asymmetry: share of the lesion that its half-turn about the centroid does not cover;
    irregularity: perimeter² / (4 pi area), 1 for a disc."""

    asymmetry: float
    irregularity: float


def measure(mask: NDArray[np.uint8]) -> Shape:
    inside = mask > 0
    rows, columns = np.nonzero(inside)
    turned_rows = np.rint(2 * rows.mean() - rows).astype(int)
    turned_columns = np.rint(2 * columns.mean() - columns).astype(int)
    within = (turned_rows >= 0) & (turned_rows < SIZE) & (turned_columns >= 0) & (turned_columns < SIZE)
    hit = inside[turned_rows[within], turned_columns[within]].sum()
    # a slope of the blurred mask integrates to the perimeter, without the pixel staircase
    perimeter = np.hypot(*np.gradient(ndimage.gaussian_filter(inside.astype(float), 1.0))).sum()
    return Shape(1 - hit / len(rows), perimeter**2 / (4 * np.pi * len(rows)))


def lightness(image: RenderedImage) -> NDArray[np.float64]:
    return image.pixels @ np.array([0.299, 0.587, 0.114])


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_an_image_is_a_function_of_seed_and_index() -> None:
    first = render(3, 11, 64)
    render(3, 12, 64)
    again = render(3, 11, 64)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)


@pytest.mark.parametrize(("seed", "index"), [(3, 12), (4, 11)])
def test_another_seed_or_index_gives_another_scene(seed: int, index: int) -> None:
    first, other = render(3, 11, 64), render(seed, index, 64)
    assert np.abs(first.pixels.astype(float) - other.pixels).mean() > 8
    assert overlap(first.mask > 0, other.mask > 0) < 0.95


def test_pixels_and_mask_are_bytes_of_the_size_requested() -> None:
    image = render(0, 5, 50)
    assert image.pixels.shape == (50, 50, 3)
    assert image.mask.shape == (50, 50)
    assert image.pixels.dtype == image.mask.dtype == np.uint8
    assert set(np.unique(image.mask)) == {0, 255}


def test_classes_come_in_the_proportions_of_isic_2017() -> None:
    draws = 2000
    counts = np.bincount([label_of(0, index) for index in range(draws)], minlength=3)
    for count, official in zip(counts, (374, 254, 1372), strict=True):
        share = official / 2000
        # four standard deviations of a binomial count
        assert abs(count - draws * share) < 4 * sqrt(draws * share * (1 - share))
    assert SYNTHETIC_CLASSES == ("melanoma", "seborrheic_keratosis", "nevus")


def test_label_of_returns_the_label_of_the_image() -> None:
    assert [label_of(2, index) for index in range(12)] == [render(2, index, 16).label for index in range(12)]


@pytest.mark.parametrize("size", [64, 96, 192])
def test_the_scene_does_not_depend_on_the_size(size: int) -> None:
    for index in range(4):
        # both brought to 32 pixels by block means, where only the resolution of detail differs
        images, masks = [], []
        for side in (128, size):
            image, block = render(1, index, side), side // 32
            images.append(image.pixels.reshape(32, block, 32, block, 3).mean((1, 3)))
            masks.append(image.mask.reshape(32, block, 32, block).mean((1, 3)) > 127)
        assert np.abs(images[0] - images[1]).mean() < 2.5
        assert overlap(masks[0], masks[1]) > 0.95


def test_every_lesion_lies_in_the_frame_and_leaves_skin_around_it(
    gallery: dict[int, list[RenderedImage]],
) -> None:
    for image in chain(*gallery.values()):
        area = (image.mask > 0).mean()
        center = np.array(ndimage.center_of_mass(image.mask)) / SIZE
        assert 0.05 < area < 0.6
        assert np.all((center > 0.25) & (center < 0.75))


def test_lesions_are_darker_than_the_skin_just_outside_the_mask(
    gallery: dict[int, list[RenderedImage]],
) -> None:
    contrasts = []
    for image in chain(*gallery.values()):
        inside = image.mask > 0
        ring = ndimage.binary_dilation(inside, iterations=12) & ~ndimage.binary_dilation(inside, iterations=4)
        # medians: thin hairs, marks and bubbles do not count
        contrasts.append(np.median(lightness(image)[ring]) - np.median(lightness(image)[inside]))
    assert np.mean(np.array(contrasts) > 0) > 0.97
    assert np.median(contrasts) > 15


def test_the_mask_follows_the_border_that_is_seen(gallery: dict[int, list[RenderedImage]]) -> None:
    """Moving the mask by an eighth of the frame loses most of the contrast, in every direction."""
    losses = []
    for image in chain(*gallery.values()):
        light, inside = lightness(image), image.mask > 0
        exact = light[~inside].mean() - light[inside].mean()
        for shift in ((16, 0), (-16, 0), (0, 16), (0, -16)):
            moved = np.roll(inside, shift, (0, 1))
            losses.append((light[~moved].mean() - light[moved].mean()) < exact)
    assert np.mean(losses) > 0.8


def test_asymmetry_and_border_order_the_classes_as_dermatologists_do(
    gallery: dict[int, list[RenderedImage]],
) -> None:
    shapes = {label: [measure(image.mask) for image in images] for label, images in gallery.items()}
    asymmetry = [np.median([shape.asymmetry for shape in shapes[label]]) for label in range(3)]
    irregularity = [np.median([shape.irregularity for shape in shapes[label]]) for label in range(3)]
    assert asymmetry[MELANOMA] > 1.3 * asymmetry[NEVUS]
    assert irregularity[MELANOMA] > irregularity[KERATOSIS] > irregularity[NEVUS]


def test_no_class_is_given_away_by_its_outline_alone(gallery: dict[int, list[RenderedImage]]) -> None:
    values, labels = zip(
        *((measure(i.mask).irregularity, label) for label in gallery for i in gallery[label]), strict=True
    )
    assert 0.6 < roc_auc_score(np.array(labels) == MELANOMA, values) < 0.97


def test_colors_within_the_lesion_vary_most_in_melanoma(gallery: dict[int, list[RenderedImage]]) -> None:
    def spread(image: RenderedImage) -> float:
        # chromaticity of the smoothed image: hue, not structure or light
        smooth = ndimage.gaussian_filter(image.pixels.astype(float), (3, 3, 0))
        share = (smooth / smooth.sum(2, keepdims=True))[ndimage.binary_erosion(image.mask > 0, iterations=4)]
        return float(share.std(0).sum())

    medians = [np.median([spread(image) for image in gallery[label]]) for label in range(3)]
    assert medians[MELANOMA] > 1.2 * max(medians[KERATOSIS], medians[NEVUS])


@pytest.mark.parametrize("label", range(3))
@pytest.mark.parametrize("channel", range(3))
def test_mean_color_does_not_give_a_class_away(
    gallery: dict[int, list[RenderedImage]], label: int, channel: int
) -> None:
    whole, lesion, is_label = [], [], []
    for other, images in gallery.items():
        for image in images:
            whole.append(image.pixels[..., channel].mean())
            lesion.append(image.pixels[..., channel][image.mask > 0].mean())
            is_label.append(other == label)
    # 0.5 tells nothing; with 40 against 80 images its standard error is 0.056
    assert abs(roc_auc_score(is_label, whole) - 0.5) < 0.17
    assert abs(roc_auc_score(is_label, lesion) - 0.5) < 0.17


def test_lesion_size_does_not_give_a_class_away(gallery: dict[int, list[RenderedImage]]) -> None:
    areas = [(image.mask > 0).mean() for images in gallery.values() for image in images]
    labels = np.repeat(list(gallery), PER_CLASS)
    for label in range(3):
        assert abs(roc_auc_score(labels == label, areas) - 0.5) < 0.17


def test_numbers_below_zero_and_tiny_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="seed -1"):
        render(-1, 0, 64)
    with pytest.raises(UserError, match="at least 16 pixels, got 8"):
        render(0, 0, 8)


@pytest.mark.parametrize("size", [16, 50, 130])
def test_the_mask_alone_is_that_of_the_whole_picture(size: int) -> None:
    for index in range(3):
        assert np.array_equal(render_mask(5, index, size), render(5, index, size).mask)
