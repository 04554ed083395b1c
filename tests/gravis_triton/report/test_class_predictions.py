import pytest
import torch
from PIL import Image

from gravis_triton.data import Collection, Record
from gravis_triton.report.class_predictions import write_class_predictions
from gravis_triton.run_directory import RunDirectory

CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")


def collection(labels: list[int | None]) -> Collection:
    records = tuple(Record(id=f"ISIC_{i}", image=None, label=label) for i, label in enumerate(labels))  # type: ignore[arg-type]
    return Collection("ISIC 2017", records, CLASSES, CLASSES[:2])


def test_scores_files_and_pictures_are_those_of_the_chosen_images(tmp_path):
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.5, 0.2]])
    scores = write_class_predictions(
        RunDirectory(tmp_path), collection([2, 0, None, 2, 1]), [1, 3, 4], p, name="knn"
    )
    assert (scores.mean_auc, scores.balanced_accuracy, scores.images) == (1.0, 1.0, 3)
    assert scores.scored == CLASSES[:2]
    assert (tmp_path / "image_scores_knn.csv").read_text().splitlines() == [
        "image_id,label,melanoma,seborrheic_keratosis,nevus",
        "ISIC_1,melanoma,0.699999988,0.200000003,0.100000001",
        "ISIC_3,nevus,0.100000001,0.300000012,0.600000024",
        "ISIC_4,seborrheic_keratosis,0.300000012,0.5,0.200000003",
    ]
    assert (tmp_path / "submission_knn.csv").read_text().splitlines()[:2] == [
        "image_id,melanoma,seborrheic_keratosis",
        "ISIC_1,0.699999988,0.200000003",
    ]
    for picture in ("confusion_knn.png", "curves_knn.png"):
        Image.open(tmp_path / picture).verify()
    assert len(list(tmp_path.iterdir())) == 4


def test_without_a_name_the_files_have_none(tmp_path):
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    write_class_predictions(RunDirectory(tmp_path), collection([0, 2]), [0, 1], p)
    names = {"image_scores.csv", "submission.csv", "confusion.png", "curves.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_an_image_without_a_label_cannot_be_scored(tmp_path):
    with pytest.raises(ValueError, match="image ISIC_0 has no label"):
        write_class_predictions(
            RunDirectory(tmp_path), collection([None]), [0], torch.tensor([[0.7, 0.2, 0.1]])
        )
