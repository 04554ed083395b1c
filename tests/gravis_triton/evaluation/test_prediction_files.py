import numpy as np
import pytest
import torch
from PIL import Image

from gravis_triton.data import Collection, Record, lesion_pixels
from gravis_triton.evaluation.prediction_files import (
    save_mask,
    write_class_predictions,
    write_class_probabilities_csv,
    write_mask_scores_csv,
    write_submission_csv,
)
from gravis_triton.evaluation.segmentation import mask_scores
from gravis_triton.run_directory import RunDirectory

CLASSES_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CLASSES_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def record(image_id: str, group: str | None = None) -> Record:
    return Record(id=image_id, image=None, group=group)  # type: ignore[arg-type]


def one_hot(classes: tuple[str, ...], name: str) -> list[list[float]]:
    return [[float(one == name) for one in classes]]


@pytest.mark.parametrize(
    ("data_set", "classes", "likely", "content"),
    [
        ("ISIC 2016", ("benign", "malignant"), "malignant", "ISIC_1,1\n"),
        (
            "ISIC 2017",
            ("melanoma", "seborrheic_keratosis", "nevus"),
            "seborrheic_keratosis",
            "image_id,melanoma,seborrheic_keratosis\nISIC_1,0,1\n",
        ),
        ("ISIC 2018", CLASSES_2018, "NV", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,0,1,0,0,0,0,0\n"),
        (
            "ISIC 2019",
            CLASSES_2019,
            "SCC",
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nISIC_1,0,0,0,0,0,0,0,1,0\n",
        ),
        ("ISIC 2020", ("benign", "malignant"), "benign", "image_name,target\nISIC_1,0\n"),
        (
            "HAM10000",
            tuple(name.lower() for name in CLASSES_2018),
            "akiec",
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,0,0,0,1,0,0,0\n",
        ),
        ("moles", ("flat", "round"), "round", "image,flat,round\nISIC_1,0,1\n"),
    ],
)
def test_submission_has_the_columns_of_its_challenge(tmp_path, data_set, classes, likely, content):
    file = tmp_path / "submission.csv"
    write_submission_csv(file, data_set, ["ISIC_1"], one_hot(classes, likely), classes=classes)
    assert file.read_text() == content
    assert list(tmp_path.iterdir()) == [file]


def test_submission_keeps_the_order_of_images(tmp_path):
    p = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    write_submission_csv(tmp_path / "s.csv", "moles", ["b", "a"], p, classes=("flat", "round"))
    assert (tmp_path / "s.csv").read_text().splitlines()[1:] == ["b,0.25,0.75", "a,0.5,0.5"]
    with pytest.raises(ValueError, match="longer"):
        write_submission_csv(tmp_path / "t.csv", "moles", ["b"], p, classes=("flat", "round"))
    assert not (tmp_path / "t.csv").exists()


def test_written_probabilities_keep_float32_precision(tmp_path):
    p = torch.rand(200, 2, generator=torch.manual_seed(0))
    records = [record(f"nevus/{i}.jpg") for i in range(200)]
    file = tmp_path / "image_scores.csv"
    write_class_probabilities_csv(file, records, torch.ones(200).long(), p, classes=("a", "b, c"))
    lines = (tmp_path / "image_scores.csv").read_text().splitlines()
    assert lines[0] == 'image_id,label,a,"b, c"'
    assert lines[1].startswith('nevus/0.jpg,"b, c",')
    values = np.array([line.split(",")[-2:] for line in lines[1:]]).astype(np.float32)
    assert (values == p.numpy()).all()


def test_mask_scores_have_a_row_per_image(tmp_path):
    truth = torch.tensor([[True, True, False, False]])
    scores = [mask_scores(truth, truth), mask_scores(torch.tensor([[True, False, True, False]]), truth)]
    write_mask_scores_csv(tmp_path / "scores.csv", [record("ISIC_1"), record("ISIC_2")], scores)
    assert (tmp_path / "scores.csv").read_text() == (
        "image_id,jaccard,dice,accuracy,sensitivity,specificity\nISIC_1,1,1,1,1,1\nISIC_2,0.333333333,0.5,0.5,0.5,0.5\n"
    )


def test_groups_are_written_if_known(tmp_path):
    truth = torch.tensor([[True, False]])
    scores = [mask_scores(truth, truth)] * 2
    records = [record("a", "P1"), record("b")]
    write_mask_scores_csv(tmp_path / "masks.csv", records, scores)
    assert [line[:9] for line in (tmp_path / "masks.csv").read_text().splitlines()] == [
        "image_id,", "a,P1,1,1,", "b,,1,1,1,",
    ]  # fmt: skip
    p = [[0.5, 0.5], [0.25, 0.75]]
    write_class_probabilities_csv(tmp_path / "a.csv", records, [0, 1], p, classes=("x", "y"))
    assert (tmp_path / "a.csv").read_text() == "image_id,group,label,x,y\na,P1,x,0.5,0.5\nb,,y,0.25,0.75\n"


def test_mask_is_written_in_the_challenge_format(tmp_path):
    mask = torch.tensor([[True, False, False], [False, False, True]])
    file = save_mask(tmp_path / "masks", "ISIC_0000003", mask)
    assert file == tmp_path / "masks" / "ISIC_0000003_segmentation.png"
    image = Image.open(file)
    assert (image.mode, image.size) == ("L", (3, 2))
    assert np.asarray(image).tolist() == [[255, 0, 0], [0, 0, 255]]
    assert torch.equal(torch.from_numpy(lesion_pixels(image)) == 255, mask)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_mask_of_an_image_in_a_subfolder_keeps_the_subfolder(tmp_path):
    assert save_mask(tmp_path, "nevus/7", torch.ones(2, 2).bool()) == tmp_path / "nevus/7_segmentation.png"


def test_submission_of_an_unrelated_folder_with_a_challenge_name(tmp_path):
    write_submission_csv(tmp_path / "a.csv", "ISIC 2017", ["x"], [[0.25, 0.75]], classes=["nevus", "scar"])
    assert (tmp_path / "a.csv").read_text() == "image,nevus,scar\nx,0.25,0.75\n"


CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")


def collection(labels: list[int | None]) -> Collection:
    records = tuple(Record(id=f"ISIC_{i}", image=None, label=label) for i, label in enumerate(labels))  # type: ignore[arg-type]
    return Collection("ISIC 2017", records, CLASSES, CLASSES[:2])


def test_scores_and_files_are_those_of_the_chosen_images(tmp_path):
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.5, 0.2]])
    scores = write_class_predictions(RunDirectory(tmp_path), collection([2, 0, None, 2, 1]), [1, 3, 4], p, name="knn")
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


def test_without_a_name_the_files_have_none(tmp_path):
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    write_class_predictions(RunDirectory(tmp_path), collection([0, 2]), [0, 1], p)
    assert {path.name for path in tmp_path.iterdir()} == {"image_scores.csv", "submission.csv"}


def test_an_image_without_a_label_cannot_be_scored(tmp_path):
    with pytest.raises(ValueError, match="image ISIC_0 has no label"):
        write_class_predictions(RunDirectory(tmp_path), collection([None]), [0], torch.tensor([[0.7, 0.2, 0.1]]))
