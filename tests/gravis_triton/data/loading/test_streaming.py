from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_shards import image, write_parquet, write_tars

from gravis_triton.data.loading.streaming import (
    ImageShards,
    ShardSlice,
    StreamedBatches,
    divide,
    labeled_images,
    open_shards,
    plan_epoch,
)
from gravis_triton.errors import UserError

WRITERS = {"parquet": write_parquet, "tar": write_tars}


def rows_of(slices: list[ShardSlice]) -> list[tuple[int, int]]:
    return [
        (piece.shard, row)
        for piece in slices
        for row in range(piece.offset, piece.shard_rows or 0, piece.stride)
    ]


def stream(
    shards: ImageShards,
    *,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    steps: int = 0,
    seed: int = 0,
) -> StreamedBatches:
    """Batches of two, shuffled by blocks of five."""
    plan = plan_epoch(
        shards.rows,
        batch_size=2,
        process=process,
        processes=processes,
        readers=max(1, workers),
        steps=steps,
    )
    return StreamedBatches(
        shards, plan, batch_size=2, block=5, short_side=8, process=process, workers=workers, seed=seed
    )


def numbers(batches: StreamedBatches) -> Iterator[list[int]]:
    """The numbers of the images in each batch: their shades."""
    for batch in batches:
        yield batch.images[:, 0, 0, 0].tolist()


def epoch_of(batches: StreamedBatches, epoch: int) -> list[list[int]]:
    batches.start(epoch, 0)
    return list(numbers(batches))


# dealing out


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12),
    processes=st.integers(1, 5),
    readers=st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_every_row_goes_to_exactly_one_reader(sizes, processes, readers):
    slices = [ShardSlice(shard, rows) for shard, rows in enumerate(sizes)]
    dealt = [rows_of(part) for share in divide(slices, processes) for part in divide(share, readers)]
    everything = [(shard, row) for shard, rows in enumerate(sizes) for row in range(rows)]
    assert sorted(row for part in dealt for row in part) == everything


def test_shards_that_divide_evenly_are_read_by_one_process_each():
    parts = divide([ShardSlice(shard, rows) for shard, rows in enumerate([4, 6, 5, 5])], 2)
    assert [sorted(piece.shard for piece in part) for part in parts] == [[0, 1], [2, 3]]
    assert all(piece.stride == 1 for part in parts for piece in part)


def test_shards_that_do_not_are_read_by_all_processes_in_turn():
    parts = divide([ShardSlice(0, 7), ShardSlice(1, 2)], 2)
    assert rows_of(parts[0]) == [(0, 0), (0, 2), (0, 4), (0, 6), (1, 1)]
    assert rows_of(parts[1]) == [(0, 1), (0, 3), (0, 5), (1, 0)]


def test_all_processes_take_the_steps_of_the_one_with_least_images():
    plans = [plan_epoch([52, 50], batch_size=3, process=p, processes=2, readers=1) for p in range(2)]
    assert [len(plan.schedule) for plan in plans] == [16, 16]  # 49 of 50 images, one is a spare
    assert plans[0].images == 102


def test_workers_take_turns_for_as_long_as_they_have_batches():
    plan = plan_epoch([20, 40, 24], batch_size=5, process=0, processes=1, readers=2)
    assert [[part.shard for part in reader] for reader in plan.readers] == [[1], [2, 0]]
    assert plan.batches == (7, 8)  # of 40 - 1 and 44 - 1 images
    assert plan.schedule == (0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1)


def test_unknown_numbers_of_images_are_asked_for():
    with pytest.raises(
        UserError, match=r"the number of images in the shards is unknown: give --steps-per-epoch"
    ):
        plan_epoch([None, None], batch_size=2, process=0, processes=1, readers=1)
    plan = plan_epoch([None, None], batch_size=2, process=0, processes=1, readers=2, steps=7)
    assert (plan.schedule, plan.images) == ((0, 1, 0, 1, 0, 1, 0), None)


@pytest.mark.parametrize(
    ("batch_size", "steps", "message"),
    [
        (4, 9, r"--steps-per-epoch 9: 30 images give at most 6 steps"),
        (99, None, r"30 images in 3 shards are fewer than one step needs \(99 for each of 2 workers"),
        (1, None, r"a batch of one image has no negatives: raise --batch-size"),
    ],
)
def test_impossible_epochs_are_refused(batch_size, steps, message):
    with pytest.raises(UserError, match=message):
        plan_epoch([10, 10, 10], batch_size=batch_size, process=0, processes=1, readers=2, steps=steps)


# reading


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (25, 12)], ids=["even", "uneven"])
def test_no_image_comes_twice_in_an_epoch_of_two_processes_with_two_workers(tmp_path, kind, sizes):
    WRITERS[kind](tmp_path / "data", sizes)
    shards, validation = open_shards(str(tmp_path / "data"))
    assert (shards.rows, validation) == (sizes, None)
    parts = [stream(shards, process=process, processes=2, workers=2) for process in range(2)]
    batches = [epoch_of(part, 0) for part in parts]
    assert len(batches[0]) == len(batches[1])
    given = [number for part in batches for batch in part for number in batch]
    assert len(set(given)) == len(given) >= 0.8 * sum(sizes)
    assert set(given) <= set(range(sum(sizes)))
    assert sorted(parts[0].seen | parts[1].seen) == sorted(f"image{number}" for number in given)


def test_every_epoch_has_another_order_and_repeats_itself(tmp_path):
    write_parquet(tmp_path, [12, 12, 12])
    shards, _ = open_shards(f"hf:{tmp_path}")
    batches = stream(shards)
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert first != second
    assert epoch_of(batches, 0) == first
    assert epoch_of(stream(shards, seed=1), 0) != first
    flat = [number for batch in first for number in batch]
    assert flat[:5] != sorted(flat[:5])  # shuffled within a block
    assert {number // 12 for number in flat[:10]} == {flat[0] // 12}  # which lies in one shard


def test_images_are_decoded_upright_at_the_short_side(tmp_path):
    write_parquet(tmp_path, [20])
    shards, _ = open_shards(str(tmp_path))
    batch = next(iter(stream(shards)))
    assert batch.images.shape == (2, 3, 8, 12)
    assert batch.image_sizes.tolist() == [[8, 12], [8, 12]]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_reading_goes_on_exactly_where_a_state_was_taken(tmp_path, kind, workers):
    WRITERS[kind](tmp_path / "data", (14, 9, 13), broken=[3, 20])
    shards, _ = open_shards(str(tmp_path / "data"))
    whole = stream(shards, workers=workers)
    expected = epoch_of(whole, 2)
    seen, skipped = set(whole.seen), dict(whole.skipped)
    expected_next = epoch_of(whole, 3)
    for step in range(1, len(expected)) if workers == 0 else (1, len(expected) - 2):
        one, other = stream(shards, workers=workers), stream(shards, workers=workers)
        one.start(2, 0)
        running = numbers(one)
        begun = [next(running) for _ in range(step)]
        other.load_state_dict(one.state_dict())
        other.start(2, step)
        assert begun + list(numbers(other)) == expected
        assert (other.seen, other.skipped) == (seen, skipped)
        assert epoch_of(other, 3) == expected_next


def test_a_state_belongs_to_a_run_that_reads_alike(tmp_path):
    write_parquet(tmp_path, [20, 20])
    shards, _ = open_shards(str(tmp_path))
    state = stream(shards, workers=2).state_dict()
    with pytest.raises(
        UserError, match=r"written with readers per process 2, this run has 1: launch it the same way"
    ):
        stream(shards).load_state_dict(state)


def test_a_step_that_was_not_reached_is_refused(tmp_path):
    write_parquet(tmp_path, [20])
    batches = stream(open_shards(str(tmp_path))[0])
    with pytest.raises(ValueError, match=r"epoch 0, step 3 is neither an epoch's start nor the current step"):
        batches.start(0, 3)


def test_unreadable_images_are_counted_and_others_take_their_place(tmp_path):
    write_parquet(tmp_path, [60], broken=[7])
    shards, _ = open_shards(str(tmp_path))
    batches = stream(shards)
    given = [number for batch in epoch_of(batches, 0) for number in batch]
    assert len(given) == 58  # of 60, two are spares
    assert 7 not in given
    assert batches.skipped == {"image7": "not an image of a known format"}


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unreadable_images_end_the_epoch_with_one_line(tmp_path, workers):
    write_parquet(tmp_path, [20], broken=range(6))
    shards, _ = open_shards(str(tmp_path))
    with pytest.raises(
        UserError, match=r"has images for 7 of its 9 batches .*: lower --steps-per-epoch$"
    ) as error:
        epoch_of(stream(shards, workers=workers), 0)
    assert "\n" not in str(error.value)
    assert len(epoch_of(stream(shards, workers=workers, steps=7), 0)) == 7


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_cut_short_is_named_in_one_line(tmp_path, workers):
    write_tars(tmp_path, [20])
    shards, _ = open_shards(str(tmp_path))
    file = tmp_path / "train-00000.tar"
    file.write_bytes(file.read_bytes()[:11_600])  # within an image
    with pytest.raises(UserError, match=r"shard 0 of split train cannot be read after row \d+ \(") as error:
        epoch_of(stream(shards, workers=workers), 0)
    assert "\n" not in str(error.value)


# what there is


def test_the_test_split_is_left_alone_and_validation_is_told_apart(tmp_path):
    write_parquet(tmp_path, [5, 4])
    write_parquet(tmp_path, [3], split="validation", first=100)
    write_parquet(tmp_path, [6], split="test", first=200)
    shards, validation = open_shards(str(tmp_path))
    assert [row.id for shard in (0, 1) for row in shards.read(shard)] == [f"image{n}" for n in range(9)]
    assert validation is not None
    collection, images = labeled_images(validation, short_side=4, progress=lambda done, total: None)
    assert [(r.id, r.label) for r in collection.records] == [
        ("image100", 0),
        ("image101", 1),
        ("image102", 0),
    ]
    assert collection.classes == ("nevus", "melanoma")
    assert [image[0, 0, 0] for image in images] == [100, 101, 102]


def test_validation_images_of_a_lesion_or_a_patient_are_one_group(tmp_path):
    columns = {
        "image": [{"bytes": image(n), "path": None} for n in range(5)],
        "label": [0, 1, 0, 1, 0],
        "patient_id": ["P1", "", "P1", None, ""],
        "lesion_id": ["L1", "L1", "L2", "L3", ""],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.Value("int64")}
        | {name: datasets.Value("string") for name in ("patient_id", "lesion_id")}
    )
    for split in ("train", "validation"):
        file = tmp_path / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_dict(columns, features=features).to_parquet(file)
    _, validation = open_shards(str(tmp_path))
    assert validation is not None
    collection, _ = labeled_images(validation, short_side=4, progress=lambda done, total: None)
    first, second, third, fourth, fifth = (record.group for record in collection.records)
    assert first == second == third
    assert len({first, fourth, fifth}) == 3
    assert fifth is None


def test_labels_of_tar_files_are_classes(tmp_path):
    write_tars(tmp_path, [4], split="train")
    write_tars(tmp_path, [4], split="validation", broken=[1])
    _, validation = open_shards(str(tmp_path))
    assert validation is not None
    collection, images = labeled_images(validation, short_side=4, progress=lambda done, total: None)
    assert [(r.id, r.label) for r in collection.records] == [("image0", 0), ("image2", 0), ("image3", 1)]
    assert (collection.classes, len(images)) == (("0", "1"), 3)


def test_what_cannot_be_streamed_is_told_with_the_way_out(tmp_path):
    (tmp_path / "image.jpg").touch()
    with pytest.raises(UserError, match=r"holds no Parquet or tar files: leave out --streaming"):
        open_shards(str(tmp_path))
    with pytest.raises(
        UserError, match=r"--streaming cannot read synthetic: give hf:OWNER/NAME or a directory"
    ):
        open_shards("synthetic")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"cannot be streamed: ") as error:
        open_shards(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_damaged_footer_names_the_file(tmp_path: Path):
    write_parquet(tmp_path, [5, 5])
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"half")
    with pytest.raises(UserError, match=r"train-00001-of-00002.parquet cannot be read"):
        open_shards(str(tmp_path))
