import pytest

from gravis_triton.data.loading.sampler import EpochBatches
from gravis_triton.errors import UserError


def test_an_epoch_shows_every_source_at_most_once_over_all_processes():
    batches = [EpochBatches(50, batch_size=4, process=p, processes=3, seed=1) for p in range(3)]
    seen = [index for each in batches for batch in each for index in batch]
    assert len(seen) == len(set(seen)) == 4 * 4 * 3  # 50 sources make 4 steps of 12


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


def test_fewer_sources_than_a_step_are_refused_with_the_largest_batch_that_fits():
    with pytest.raises(
        UserError, match=r"30 images are fewer .* \(16 per process x 2 processes\): .* at most 15"
    ):
        EpochBatches(30, batch_size=16, processes=2)


def test_fewer_images_than_processes_are_refused_with_the_number_that_can_be_launched():
    with pytest.raises(UserError, match=r"1 images are fewer .*: launch at most 1 processes"):
        EpochBatches(1, batch_size=1, processes=2)
