from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from image_shards import image, write_parquet, write_tars

from gravis_triton.data.loading.shards import ImageShards, labeled_images, open_shards
from gravis_triton.data.loading.streaming import StreamedBatches, plan_steps, smallest_share
from gravis_triton.errors import UserError
from gravis_triton.settings.jobs import PretrainSettings

WRITERS = {"parquet": write_parquet, "tar": write_tars}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("hub")))


def stream(
    shards: ImageShards,
    *,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    steps: int | None = None,
    seed: int = 0,
) -> StreamedBatches:
    """Batches of two, shuffled by blocks of five."""
    settings = PretrainSettings(
        batch_size=2, shuffle_buffer=5, cache_size=8, num_workers=workers, steps_per_epoch=steps, seed=seed
    )
    return StreamedBatches(shards, settings, process=process, processes=processes)


def numbers(batches: StreamedBatches) -> Iterator[list[int]]:
    """The numbers of the images in each batch: their shades."""
    for batch in batches:
        yield batch.images[:, 0, 0, 0].tolist()


def epoch_of(batches: StreamedBatches, epoch: int) -> list[list[int]]:
    batches.start(epoch, 0)
    return list(numbers(batches))


# steps of an epoch


def test_all_processes_take_the_steps_of_the_one_with_least_images() -> None:
    assert plan_steps([52, 50], 3, 2) == 16  # 49 of 50 images, one is a spare
    assert plan_steps([25, 12], 2, 2) == 8  # 17 of 18, as both read both shards
    assert plan_steps([25, 12], 2, 2, 9) == 9


@pytest.mark.parametrize(
    ("rows", "processes", "expected"),
    [
        ([10, 10, 10, 10], 2, ("shards", 20)),
        ([25, 12], 2, ("examples", 18)),  # 12 of 18.5 otherwise
        ([10, 10, 10], 2, ("examples", 15)),
        ([10, 10], 3, ("examples", 6)),
        ([None, None], 2, ("shards", 1)),
    ],
)
def test_processes_read_whole_shards_where_that_is_even(
    rows: list[int | None], processes: int, expected: tuple[str, int]
) -> None:
    assert smallest_share(rows, processes) == expected


def test_an_unknown_number_of_images_needs_a_number_of_steps() -> None:
    with pytest.raises(UserError, match=r"the number of images in the shards is unknown: give --steps-per-epoch"):
        plan_steps([None, 3], 2, 1)
    assert plan_steps([None, 3], 2, 1, 7) == 7


@pytest.mark.parametrize(
    ("batch_size", "steps", "message"),
    [
        (4, 9, r"--steps-per-epoch 9: 30 images give at most 7 steps"),
        (99, None, r"30 images in 3 shards are fewer than one step needs \(99 for each of 1 processes"),
        (1, None, r"a batch of one image has no negatives: raise --batch-size"),
    ],
)
def test_impossible_epochs_are_rejected(batch_size: int, steps: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_steps([10, 10, 10], batch_size, 1, steps)


# reading


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("sizes", "processes"),
    [((10, 10, 10, 10), 2), ((25, 12), 2), ((20, 20), 3)],
    ids=["even", "uneven", "few"],
)
def test_no_image_comes_twice_in_an_epoch_of_several_processes(
    tmp_path: Path, kind: str, sizes: tuple[int, ...], processes: int
) -> None:
    WRITERS[kind](tmp_path / "data", sizes)
    shards, validation = open_shards(str(tmp_path / "data"))
    assert (shards.rows, validation) == (sizes, None)
    parts = [stream(shards, process=process, processes=processes) for process in range(processes)]
    batches = [epoch_of(part, 0) for part in parts]
    given = [number for part in batches for batch in part for number in batch]
    assert len(set(given)) == len(given) >= 0.8 * sum(sizes)
    assert set(given) <= set(range(sum(sizes)))
    seen = [name for part in parts for name in part.seen]
    assert sorted(seen) == sorted(f"image{number}" for number in given)


def test_every_epoch_has_another_order_and_repeats_itself(tmp_path: Path) -> None:
    write_parquet(tmp_path, [12, 12, 12])
    shards, _ = open_shards(f"hf:{tmp_path}")
    batches = stream(shards)
    epochs = [epoch_of(batches, epoch) for epoch in range(6)]
    assert epoch_of(batches, 0) == epochs[0]
    assert len({tuple(map(tuple, epoch)) for epoch in epochs}) == 6
    assert epoch_of(stream(shards, seed=1), 0) != epochs[0]
    assert len({epoch[0][0] // 12 for epoch in epochs}) > 1  # another shard comes first
    flat = [number for batch in epochs[0] for number in batch]
    assert flat[:5] != sorted(flat[:5])  # shuffled within a block


def test_images_are_decoded_upright_at_the_short_side(tmp_path: Path) -> None:
    write_parquet(tmp_path, [20])
    shards, _ = open_shards(str(tmp_path))
    batch = next(iter(stream(shards)))
    assert batch.images.shape == (2, 3, 8, 12)
    assert batch.image_sizes.tolist() == [[8, 12], [8, 12]]
    assert [image.shape for image in batch.unpadded()] == [(8, 12, 3)] * 2


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("process", "processes"), [(0, 1), (1, 2)])
def test_resume_is_exact_at_every_step(tmp_path: Path, kind: str, process: int, processes: int) -> None:
    WRITERS[kind](tmp_path / "data", (14, 9, 13), broken=[3, 20])
    shards, _ = open_shards(str(tmp_path / "data"))
    whole = stream(shards, process=process, processes=processes)
    expected = epoch_of(whole, 2)
    seen, skipped = set(whole.seen), dict(whole.skipped)
    expected_next = epoch_of(whole, 3)
    one = stream(shards, process=process, processes=processes)
    one.start(2, 0)
    running = numbers(one)
    for step in range(1, len(expected)):
        next(running)
        other = stream(shards, process=process, processes=processes)
        other.load_state_dict({"processes": one.state_dict()["processes"] * processes})
        other.start(2, step)
        assert list(numbers(other)) == expected[step:]
        assert (other.seen, other.skipped) == (seen, skipped)
    assert epoch_of(other, 3) == expected_next


def test_workers_change_nothing(tmp_path: Path) -> None:
    write_parquet(tmp_path, (14, 9, 13), broken=[3, 20])
    shards, _ = open_shards(str(tmp_path))
    expected = epoch_of(stream(shards), 0)
    one, other = stream(shards, workers=2), stream(shards)
    running = numbers(one)
    begun = [next(running) for _ in range(5)]
    other.load_state_dict(one.state_dict())
    assert begun + list(numbers(other)) == expected


def test_a_step_that_was_not_reached_is_rejected(tmp_path: Path) -> None:
    write_parquet(tmp_path, [20])
    batches = stream(open_shards(str(tmp_path))[0])
    with pytest.raises(ValueError, match=r"epoch 0, step 3 is neither an epoch's start nor the current step"):
        batches.start(0, 3)


def test_unreadable_images_are_counted_and_others_take_their_place(tmp_path: Path) -> None:
    write_parquet(tmp_path, [60], broken=[7])
    shards, _ = open_shards(str(tmp_path))
    batches = stream(shards)
    given = [number for batch in epoch_of(batches, 0) for number in batch]
    assert len(given) == len(set(given)) == 58  # of 60, two are spares
    assert 7 not in given
    assert batches.skipped == {"image7": "not an image of a known format"}


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unreadable_images_end_the_epoch_with_one_line(tmp_path: Path, workers: int) -> None:
    write_parquet(tmp_path, [20], broken=range(6))
    shards, _ = open_shards(str(tmp_path))
    with pytest.raises(
        UserError, match=r"has images for 7 of the 9 steps of an epoch; .*: lower --steps-per-epoch$"
    ) as error:
        epoch_of(stream(shards, workers=workers), 0)
    assert "\n" not in str(error.value)
    assert len(epoch_of(stream(shards, workers=workers, steps=7), 0)) == 7


@pytest.mark.parametrize("kind", WRITERS)
def test_a_shard_damaged_while_training_is_one_line(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [20])
    shards, _ = open_shards(str(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[: {"parquet": 1_000, "tar": 11_600}[kind]])
    with pytest.raises(UserError, match=r"a shard cannot be read \(.*\) after \d+ images: fix or") as error:
        epoch_of(stream(shards), 0)
    assert "\n" not in str(error.value)


def test_the_preview_leaves_out_unreadable_images(tmp_path: Path) -> None:
    write_parquet(tmp_path, [20], broken=[1])
    batches = stream(open_shards(str(tmp_path))[0])
    assert batches.peek(4).images[:, 0, 0, 0].tolist() == [0, 2, 3]


# opening


def test_the_test_split_is_not_read_and_validation_is_separate(tmp_path: Path) -> None:
    write_parquet(tmp_path, [5, 4])
    write_parquet(tmp_path, [3], split="validation", first=100)
    write_parquet(tmp_path, [6], split="test", first=200)
    shards, validation = open_shards(str(tmp_path))
    (rows,) = shards.blocks(shards.data, 100)
    assert [shards.image(row)[0] for row in rows] == [f"image{n}" for n in range(9)]
    assert validation is not None
    collection = labeled_images(validation)
    assert [(r.id, r.label) for r in collection.records] == [
        ("image100", 0),
        ("image101", 1),
        ("image102", 0),
    ]
    assert collection.classes == ("nevus", "melanoma")
    assert [r.image.read().getpixel((0, 0)) for r in collection.records] == [(n, n, n) for n in (100, 101, 102)]


def test_validation_images_that_have_changed_are_read_anew(tmp_path: Path) -> None:
    for first in (100, 200):
        write_parquet(tmp_path, [5])
        write_parquet(tmp_path, [3], split="validation", first=first)
        _, validation = open_shards(str(tmp_path))
        assert validation is not None
        assert labeled_images(validation).records[0].id == f"image{first}"


def test_validation_images_of_a_lesion_or_a_patient_are_one_group(tmp_path: Path) -> None:
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
    collection = labeled_images(validation)
    first, second, third, fourth, fifth = (record.group for record in collection.records)
    assert first == second == third
    assert len({first, fourth, fifth}) == 3
    assert fifth is None


def test_labels_of_tar_files_are_classes(tmp_path: Path) -> None:
    write_tars(tmp_path, [4], split="train")
    write_tars(tmp_path, [4], split="validation")
    _, validation = open_shards(str(tmp_path))
    assert validation is not None
    collection = labeled_images(validation)
    assert [(r.id, r.label) for r in collection.records] == [(f"image{n}", n % 2) for n in range(4)]
    assert collection.classes == ("0", "1")


def test_what_cannot_be_streamed_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").touch()
    with pytest.raises(UserError, match=r"holds no Parquet or tar files: leave out --streaming"):
        open_shards(str(tmp_path))
    with pytest.raises(UserError, match=r"--streaming cannot read synthetic: give hf:OWNER/NAME or a directory"):
        open_shards("synthetic")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"cannot be streamed: ") as error:
        open_shards(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_damaged_footer_names_the_file(tmp_path: Path) -> None:
    write_parquet(tmp_path, [5, 5])
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"half")
    with pytest.raises(UserError, match=r"train-00001-of-00002.parquet cannot be read"):
        open_shards(str(tmp_path))


def test_several_training_splits_are_read_as_one(tmp_path: Path) -> None:
    write_parquet(tmp_path, [5, 4])
    write_parquet(tmp_path, [6], split="extra", first=9)
    files = {"train": "train-*.parquet", "extra": "extra-*.parquet"}
    lines = [f"  - {{split: {split}, path: {path}}}" for split, path in files.items()]
    configs = "\n".join(["---", "configs:", "- config_name: default", "  data_files:", *lines, "---"])
    (tmp_path / "README.md").write_text(configs)
    shards, _ = open_shards(str(tmp_path))
    assert sorted(shards.rows) == [4, 5, 6]
    given = [number for batch in epoch_of(stream(shards), 0) for number in batch]
    assert len(given) == len(set(given)) == 14


def test_images_without_ids_are_named_by_their_content(tmp_path: Path) -> None:
    columns = {"image": [{"bytes": image(n), "path": None} for n in (1, 2, 1)]}
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "train.parquet")
    shards, _ = open_shards(str(tmp_path))
    (rows,) = shards.blocks(shards.data, 3)
    first, second, third = (shards.image(row)[0] for row in rows)
    assert first == third != second
