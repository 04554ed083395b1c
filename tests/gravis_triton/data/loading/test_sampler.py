from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gravis_triton.data import Collection, Record
from gravis_triton.data.loading.sampler import EpochBatches, group_numbers
from gravis_triton.errors import UserError


def test_an_epoch_shows_every_image_at_most_once_over_all_processes():
    batches = [EpochBatches(50, batch_size=4, process=p, processes=3, seed=1) for p in range(3)]
    seen = [index for each in batches for batch in each for index in batch]
    assert len(seen) == len(set(seen)) == 4 * 4 * 3  # 50 images make 4 steps of 12


def test_processes_together_see_in_a_step_what_one_process_would_see():
    one = list(EpochBatches(40, batch_size=8, seed=3))
    halves = [list(EpochBatches(40, batch_size=4, process=p, processes=2, seed=3)) for p in range(2)]
    assert [sorted(step) for step in one] == [sorted(a + b) for a, b in zip(*halves, strict=True)]


def test_batches_follow_from_seed_epoch_and_step_alone():
    first, second = EpochBatches(30, batch_size=5, seed=7), EpochBatches(30, batch_size=5, seed=7)
    first.start(4, 0)
    whole = list(first)
    second.start(4, 3)
    assert list(second) == whole[3:]
    second.start(5, 0)
    assert list(second) != whole
    assert list(EpochBatches(30, batch_size=5, seed=8)) != list(EpochBatches(30, batch_size=5, seed=7))


def test_fewer_images_than_a_step_are_refused_with_the_largest_batch_that_fits():
    with pytest.raises(UserError, match=r"30 images are fewer .* \(16 per process x 2 processes\): .* at most 15"):
        EpochBatches(30, batch_size=16, processes=2)


def test_fewer_images_than_processes_are_refused_with_the_number_that_can_be_launched():
    with pytest.raises(UserError, match=r"1 images are fewer .*: launch at most 1 processes"):
        EpochBatches(1, batch_size=1, processes=2)


def steps_of(
    groups: np.ndarray, *, epoch: int = 0, batch_size: int = 6, processes: int = 2, **options
) -> list[list[int]]:
    """The images of each step of an epoch, over all processes."""
    parts = []
    for process in range(processes):
        batches = EpochBatches(
            len(groups), batch_size=batch_size, process=process, processes=processes, groups=groups, **options
        )
        batches.start(epoch, 0)
        parts.append(list(batches))
    return [list(chain(*step)) for step in zip(*parts, strict=True)]


@given(
    sizes=st.lists(st.integers(1, 8), min_size=20, max_size=60),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_no_two_images_of_a_lesion_are_in_a_step(sizes, seed, epoch):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    steps = steps_of(groups, batch_size=1, seed=seed, epoch=epoch)
    if len(steps) >= max(sizes):
        assert all(len(set(groups[step])) == len(step) for step in steps)
    shown = [image for step in steps for image in step]
    assert len(shown) == len(set(shown)) == len(groups) // 2 * 2


def test_a_lesion_with_more_images_than_steps_is_spread_evenly():
    groups = np.where(np.arange(60) < 20, 0, np.arange(60))
    steps = steps_of(groups)
    assert [sum(image < 20 for image in step) for step in steps] == [4] * 5


def test_images_of_a_lesion_meet_other_images_every_epoch():
    groups = np.arange(240) // 2
    epochs = [steps_of(groups, epoch=epoch) for epoch in range(30)]
    neighbors = {image for epoch in epochs for step in epoch if 0 in step for image in step}
    assert len(neighbors) > 150


def test_images_of_a_lesion_share_the_number_of_the_first():
    groups = ["a", None, "b", "a", None, "b", "a"]
    records = tuple(Record(str(i), image=None, group=group) for i, group in enumerate(groups))  # type: ignore[arg-type]
    assert group_numbers(Collection("toy", records)).tolist() == [0, 1, 2, 0, 4, 2, 0]


def test_unknown_lesions_leave_the_batches_as_they_are():
    alone = [list(EpochBatches(50, batch_size=4, seed=1))]
    assert alone == [list(EpochBatches(50, batch_size=4, seed=1, groups=np.arange(50)))]


def test_no_image_to_train_on_is_an_error():
    with pytest.raises(UserError, match="no images to train on: all are in the test or the validation split"):
        EpochBatches(0, batch_size=4)
