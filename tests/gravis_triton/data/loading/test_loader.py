import os
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from gravis_triton.data import Collection, Record
from gravis_triton.data.loading.loader import (
    Loader,
    central_square_loader,
    collate_images,
    image_loader,
    labeled_loader,
    mask_loader,
    whole_image_loader,
)
from gravis_triton.data.loading.sampler import EpochBatches


def image(height: int, width: int, value: int) -> np.ndarray:
    image = np.full((height, width, 3), value, np.uint8)
    image[-1, -1] = 255
    return image


def test_images_of_different_sizes_share_a_canvas_on_which_edge_pixels_repeat():
    batch = collate_images([image(4, 6, 10), image(5, 3, 20)])
    assert batch.images.shape == (2, 3, 5, 6)
    assert batch.image_sizes.tolist() == [[4, 6], [5, 3]]
    assert batch.images[0, 0, 4].tolist() == [10] * 5 + [255]  # the row below the first image repeats its last
    assert batch.images[1, 0, 0].tolist() == [20] * 6
    assert batch.images[1, 0, 4, 2:].tolist() == [255] * 4


def test_the_loader_gives_the_images_that_the_sampler_names():
    images = [image(4, 4, 10 * i) for i in range(10)]
    chosen = [1, 3, 5, 7, 9]
    batches = EpochBatches(len(chosen), batch_size=2, seed=0)
    expected = [[chosen[i] * 10 for i in step] for step in batches]
    got = [batch.images[:, 0, 0, 0].tolist() for batch in image_loader(images, chosen, batches, workers=0)]
    assert got == expected


def test_workers_give_the_same_batches_in_the_same_order():
    images = [image(4, 4, 10 * i) for i in range(10)]
    none, two = (
        [b.images for b in image_loader(images, range(10), EpochBatches(10, batch_size=3), workers=w)] for w in (0, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(none, two, strict=True))


def test_the_central_square_is_cut_from_both_sides_alike():
    image = np.zeros((2, 6, 3), np.uint8)
    image[:, :, 0] = np.arange(6)
    (squares,) = central_square_loader([image], [0], batch_size=4, workers=0)
    assert squares[0, 0].tolist() == [[2, 3], [2, 3]]


def test_a_batch_names_its_images_and_their_lesions():
    images = [image(4, 4, 10 * i) for i in range(10)]
    groups = np.array([0, 1, 1, 3, 4, 0, 6, 7, 8, 0])
    chosen = [1, 2, 5, 8, 9]
    batches = EpochBatches(len(chosen), batch_size=5, seed=0)
    (batch,) = image_loader(images, chosen, batches, workers=0, groups=groups)
    assert sorted(batch.index.tolist()) == chosen
    assert batch.images[:, 0, 0, 0].tolist() == [10 * index for index in batch.index.tolist()]
    assert batch.group.tolist() == groups[batch.index].tolist()
    (batch,) = image_loader(images, chosen, batches, workers=0)
    assert batch.group.tolist() == batch.index.tolist()


def blob(height: int, width: int, value: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[-1, -1] = value
    return mask


def collection(labels: list[int | None]) -> Collection:
    records = tuple(Record(f"image_{i}", image=None, label=label) for i, label in enumerate(labels))  # type: ignore[arg-type]
    return Collection("toy", records)


def test_labels_stay_with_their_images():
    images = [image(4, 4, 10 * i) for i in range(10)]
    labels = [None if i % 2 == 0 else i for i in range(10)]
    batches = EpochBatches(5, batch_size=2, seed=0)
    loader = labeled_loader(images, collection(labels), [1, 3, 5, 7, 9], batches, workers=0)
    got = list(loader)
    assert len(got) == 2
    for batch in got:
        assert batch.labels.dtype == torch.int64
        assert batch.images[:, 0, 0, 0].tolist() == [10 * label for label in batch.labels.tolist()]
        assert batch.image_sizes.tolist() == [[4, 4]] * 2


def test_an_image_to_train_on_without_a_label_is_refused():
    images, batches = [image(4, 4, 0)] * 3, EpochBatches(3, batch_size=3)
    with pytest.raises(ValueError, match="image image_1 has no label"):
        labeled_loader(images, collection([0, None, 1]), [0, 1, 2], batches, workers=0)


def test_labels_of_some_images_alone_are_refused():
    with pytest.raises(ValueError, match="2 records for 3 images"):
        labeled_loader([image(4, 4, 0)] * 3, collection([0, 1]), [0, 1], EpochBatches(2, batch_size=2), workers=0)


def test_masks_lie_on_the_canvas_of_their_images_and_their_edges_repeat():
    images = [image(4, 6, 0), image(5, 3, 10)]
    masks = [blob(4, 6, 255), blob(5, 3, 255)]
    batches = EpochBatches(2, batch_size=2, seed=0)
    (batch,) = mask_loader(images, masks, [0, 1], batches, workers=0)
    first = batch.images[:, 0, 0, 0].tolist().index(0)
    assert batch.masks.dtype == torch.uint8
    assert batch.masks.shape == (2, 1, 5, 6)
    assert batch.image_sizes[first].tolist() == [4, 6]
    assert batch.masks[first, 0, :, 5].tolist() == [0, 0, 0, 255, 255]
    assert batch.masks[first].sum() == 2 * 255
    assert batch.masks[1 - first, 0, 4].tolist() == [0, 0, 255, 255, 255, 255]


def test_masks_stay_with_their_images():
    images = [image(4, 4, i) for i in range(8)]
    masks = {i: np.full((4, 4), i, np.uint8) for i in range(1, 8, 2)}
    for workers in (0, 1):
        loader = mask_loader(images, masks, [1, 3, 5, 7], EpochBatches(4, batch_size=2), workers=workers)
        for batch in loader:
            assert torch.equal(batch.images[:, :1, 0, 0], batch.masks[:, :, 0, 0])


def test_whole_images_come_in_order_to_the_last():
    images = [image(4, 4 + i, i) for i in range(5)]
    batches = list(whole_image_loader(images, [4, 0, 3], batch_size=2, workers=0))
    assert [batch.image_sizes.tolist() for batch in batches] == [[[4, 8], [4, 4]], [[4, 7]]]
    assert [batch.images.shape for batch in batches] == [(2, 3, 4, 8), (1, 3, 4, 7)]
    assert batches[0].images[:, 0, 0, 0].tolist() == [4, 0]


# the DataLoader's workers


class Pids(Dataset):
    """The process that loads an item, after a while."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        time.sleep(0.2)
        return os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signals_do_not_reach_workers_from_their_first_moment(number: signal.Signals) -> None:
    loading = iter(Loader(Pids(), batch_size=1, num_workers=2))
    for worker in loading._workers:  # type: ignore[attr-defined]
        os.kill(worker.pid, number)  # they may not have begun yet
    pids = torch.cat(list(loading))
    assert len(set(pids.tolist())) == 2


def test_the_main_process_gets_signals_as_before() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert len(list(Loader(Pids(), batch_size=4, num_workers=1))) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask


def test_workers_end_with_a_main_process_that_is_killed() -> None:
    reader, writer = os.pipe()
    main = os.fork()
    if main == 0:
        pids = [int(batch) for batch in Loader(Pids(), batch_size=1, num_workers=2, persistent_workers=True)]
        os.write(writer, " ".join(map(str, pids)).encode())
        time.sleep(60)
        os._exit(0)
    pids = {int(pid) for pid in os.read(reader, 1000).split()}
    os.kill(main, signal.SIGKILL)
    os.waitpid(main, 0)
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}/exe") and _is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
