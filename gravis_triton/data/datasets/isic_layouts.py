"""Layouts of the ISIC challenges and HAM10000 on disk, their official archives unpacked side by side."""

from dataclasses import dataclass

from gravis_triton.data.datasets.isic_labels import (
    GroupReader,
    LabelReader,
    groups,
    headless_benign_malignant,
    named,
    one_hot,
)
from gravis_triton.data.datasets.records import Annotation


@dataclass(frozen=True, slots=True)
class Part:
    """Images of one split, and the files that describe them.

    folders: image folders; those that exist are read together.
    labels, groups: files, the first existing one of which holds the labels, or the lesions or patients.
    masks: folders of lesion masks.
    """

    split: str
    folders: tuple[str, ...]
    labels: tuple[str, ...] = ()
    read_labels: LabelReader | None = None
    groups: tuple[str, ...] = ()
    read_groups: GroupReader | None = None
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """One dataset. scored_classes: those whose one-vs-rest AUCs are averaged."""

    name: str
    parts: tuple[Part, ...]
    classes: tuple[str, ...]
    scored_classes: tuple[str, ...]


# Folder names that do not identify a dataset.
PLAIN_NAMES = frozenset({"train", "test"})

_BENIGN_MALIGNANT = ("benign", "malignant")
_CLASSES_2017 = ("melanoma", "seborrheic_keratosis", "nevus")
_CLASSES_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_CLASSES_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
_CLASSES_HAM10000 = ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc")

_SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}


def _isic_2016() -> Layout:
    parts = tuple(
        Part(
            split=_SPLITS[split],
            folders=(f"ISBI2016_ISIC_Part{part}_{split}_Data",),
            labels=(f"ISBI2016_ISIC_Part3_{split}_GroundTruth.csv",),
            read_labels=headless_benign_malignant,
            masks=(f"ISBI2016_ISIC_Part1_{split}_GroundTruth",),
        )
        for split in ("Training", "Test")
        for part in (1, 3)
    )
    return Layout("ISIC 2016", parts, _BENIGN_MALIGNANT, ("malignant",))


def _isic_2017() -> Layout:
    parts = tuple(
        Part(
            split=split,
            folders=(f"ISIC-2017_{name}_Data",),
            labels=(f"ISIC-2017_{name}_Part3_GroundTruth.csv",),
            read_labels=one_hot("image_id", _CLASSES_2017[:2], rest=2),
            masks=(f"ISIC-2017_{name}_Part1_GroundTruth",),
        )
        for name, split in (("Training", "train"), ("Validation", "validation"), ("Test_v2", "test"))
    )
    return Layout("ISIC 2017", parts, _CLASSES_2017, _CLASSES_2017[:2])


def _isic_2018() -> Layout:
    task_1 = tuple(
        Part(
            split=split,
            folders=(f"ISIC2018_Task1-2_{name}_Input",),
            masks=(f"ISIC2018_Task1_{name}_GroundTruth",),
        )
        for name, split in _SPLITS.items()
    )
    task_3 = tuple(
        Part(
            split=split,
            folders=(f"ISIC2018_Task3_{name}_Input",),
            labels=(
                f"ISIC2018_Task3_{name}_GroundTruth/ISIC2018_Task3_{name}_GroundTruth.csv",
                f"ISIC2018_Task3_{name}_GroundTruth.csv",
            ),
            read_labels=one_hot("image", _CLASSES_2018),
            groups=(f"ISIC2018_Task3_{name}_LesionGroupings.csv",),
            read_groups=groups("image", "lesion_id"),
        )
        for name, split in _SPLITS.items()
    )
    return Layout("ISIC 2018", task_1 + task_3, _CLASSES_2018, _CLASSES_2018)


def _isic_2019() -> Layout:
    read_labels = one_hot("image", _CLASSES_2019)
    parts = (
        Part(
            split="train",
            folders=("ISIC_2019_Training_Input",),
            labels=("ISIC_2019_Training_GroundTruth.csv",),
            read_labels=read_labels,
            groups=("ISIC_2019_Training_Metadata.csv",),
            read_groups=groups("image", "lesion_id"),
        ),
        Part(
            split="test",
            folders=("ISIC_2019_Test_Input",),
            labels=("ISIC_2019_Test_GroundTruth.csv",),
            read_labels=read_labels,
        ),
    )
    return Layout("ISIC 2019", parts, _CLASSES_2019, _CLASSES_2019)


def _isic_2020() -> Layout:
    ground_truth = ("ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv")
    parts = (
        Part(
            split="train",
            folders=("train", "ISIC_2020_Training_Input", "ISIC_2020_Training_JPEG/train"),
            labels=ground_truth,
            read_labels=named("image_name", "target", {"0": 0, "1": 1}),
            groups=ground_truth,
            read_groups=groups("image_name", "patient_id"),
        ),
        Part(
            split="test",
            folders=("test", "ISIC_2020_Test_Input", "ISIC_2020_Test_JPEG/ISIC_2020_Test_Input"),
            groups=("ISIC_2020_Test_Metadata.csv",),
            read_groups=groups("image", "patient"),
        ),
    )
    return Layout("ISIC 2020", parts, _BENIGN_MALIGNANT, ("malignant",))


def _ham10000() -> Layout:
    metadata = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
    test_metadata = ("ISIC2018_Task3_Test_GroundTruth.csv", "ISIC2018_Task3_Test_GroundTruth.tab")
    read_labels = named("image_id", "dx", {name: index for index, name in enumerate(_CLASSES_HAM10000)})
    read_groups = groups("image_id", "lesion_id")
    parts = (
        Part(
            split="train",
            folders=("HAM10000_images_part_1", "HAM10000_images_part_2"),
            labels=metadata,
            read_labels=read_labels,
            groups=metadata,
            read_groups=read_groups,
            masks=("HAM10000_segmentations_lesion_tschandl",),
        ),
        Part(
            split="test",
            folders=("ISIC2018_Task3_Test_Images",),
            labels=test_metadata,
            read_labels=read_labels,
            groups=test_metadata,
            read_groups=read_groups,
        ),
    )
    return Layout("HAM10000", parts, _CLASSES_HAM10000, _CLASSES_HAM10000)


LAYOUTS = (_isic_2016(), _isic_2017(), _isic_2018(), _isic_2019(), _isic_2020(), _ham10000())


def layout_of_folder(name: str) -> Layout | None:
    """The dataset that a folder of this name officially belongs to, as images or masks."""
    if name in PLAIN_NAMES:
        return None
    for layout in LAYOUTS:
        if any(name in part.folders or name in part.masks for part in layout.parts):
            return layout
    return None


def annotation_names(data_set: str, task: Annotation) -> tuple[str, ...]:
    """The official label files or mask folders of a dataset; none for other names."""
    parts = [part for layout in LAYOUTS if layout.name == data_set for part in layout.parts]
    names = [name for part in parts for name in (part.labels if task == "label" else part.masks)]
    return tuple(dict.fromkeys(names))
