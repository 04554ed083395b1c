import numpy as np
import torch

from gravis_triton.data.loader import central_square_loader, collate_sources, source_loader
from gravis_triton.data.sampler import EpochBatches


def picture(height: int, width: int, value: int) -> np.ndarray:
    image = np.full((height, width, 3), value, np.uint8)
    image[-1, -1] = 255
    return image


def test_images_of_different_sizes_share_a_canvas_on_which_edge_pixels_repeat():
    batch = collate_sources([picture(4, 6, 10), picture(5, 3, 20)])
    assert batch.images.shape == (2, 3, 5, 6)
    assert batch.extents.tolist() == [[4, 6], [5, 3]]
    assert batch.images[0, 0, 4].tolist() == [10] * 5 + [
        255
    ]  # the row below the first image repeats its last
    assert batch.images[1, 0, 0].tolist() == [20] * 6
    assert batch.images[1, 0, 4, 2:].tolist() == [255] * 4


def test_the_loader_gives_the_sources_that_the_sampler_names():
    images = [picture(4, 4, 10 * i) for i in range(10)]
    chosen = [1, 3, 5, 7, 9]
    batches = EpochBatches(len(chosen), batch_size=2, seed=0)
    expected = [[chosen[i] * 10 for i in step] for step in batches]
    got = [batch.images[:, 0, 0, 0].tolist() for batch in source_loader(images, chosen, batches, workers=0)]
    assert got == expected


def test_workers_give_the_same_batches_in_the_same_order():
    images = [picture(4, 4, 10 * i) for i in range(10)]
    none, two = (
        [b.images for b in source_loader(images, range(10), EpochBatches(10, batch_size=3), workers=w)]
        for w in (0, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(none, two, strict=True))


def test_the_central_square_is_cut_from_both_sides_alike():
    image = np.zeros((2, 6, 3), np.uint8)
    image[:, :, 0] = np.arange(6)
    (squares,) = central_square_loader([image], [0], batch_size=4, workers=0)
    assert squares[0, 0].tolist() == [[2, 3], [2, 3]]
