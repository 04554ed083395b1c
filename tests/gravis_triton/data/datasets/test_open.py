"""The synthetic collection, and how collections are named."""

import os
from pathlib import Path

import numpy as np
import pytest

from gravis_triton.data.datasets.open import open_collection
from gravis_triton.data.synthetic import image as synthetic
from gravis_triton.errors import UserError


def test_synthetic_collection_has_the_generators_labels_and_pictures() -> None:
    collection = open_collection("synthetic", seed=3, synthetic_images=20)
    assert collection.name == "synthetic"
    assert collection.classes == tuple(synthetic.SYNTHETIC_CLASSES)
    assert collection.scored_classes == ("melanoma", "seborrheic_keratosis")
    assert [record.label for record in collection.records] == [synthetic.label_of(3, i) for i in range(20)]
    drawn = np.asarray(collection.records[7].image.read(24))
    assert np.array_equal(drawn, synthetic.render(3, 7, 24).pixels)


def test_synthetic_collections_of_two_seeds_have_no_image_in_common() -> None:
    ids = [{r.id for r in open_collection("synthetic", seed=s, synthetic_images=5).records} for s in (0, 1)]
    assert len(ids[0] | ids[1]) == 10


def test_no_synthetic_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"0 synthetic images: at least 1"):
        open_collection("synthetic", synthetic_images=0)


def test_directory_below_home_may_be_named_with_a_tilde(
    tmp_path: Path, images, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "lesions", ["a.jpg"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [record.id for record in open_collection("~/lesions").records] == ["a.jpg"]


def test_a_named_pipe_is_not_waited_for(tmp_path: Path, images) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match=r"pipe.csv is neither a regular file nor a directory"):
        open_collection(str(tmp_path / "pipe.csv"))
    images(tmp_path / "images", ["a.jpg"])
    os.mkfifo(tmp_path / "images" / "b.jpg")
    with pytest.raises(OSError, match="not a regular file"):
        open_collection(str(tmp_path / "images")).records[1].image.read()
