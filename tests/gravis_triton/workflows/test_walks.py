"""From a downloaded data set to scores in four commands: check, pretrain, evaluate, finetune, each on a miniature."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def photo(seed: int) -> Image.Image:
    """An image of coarse random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(blocks).resize((40, 32), Image.Resampling.BICUBIC)


def save(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    photo(seed).save(file)


def write(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def isic_2024(root: Path) -> None:
    """As on Kaggle, without the folder of images: these are in HDF5 files as well."""
    h5py = pytest.importorskip("h5py")
    header = "isic_id,target,patient_id,age_approx,sex,anatom_site_general,copyright_license,lesion_id,iddx_full,iddx_1"
    rows, encoded = [header], {}
    for number in range(40):
        name, target = f"ISIC_00150{number:02d}", int(number % 5 == 0)
        lesion, diagnosis = (f"IL_{number}", "Malignant::x,Malignant") if target else ("", "Benign,Benign")
        rows.append(f"{name},{target},IP_{number // 2},60.0,male,lower extremity,CC-BY,{lesion},{diagnosis}")
        save(root / "image.jpg", number)
        encoded[name] = (root / "image.jpg").read_bytes()
    write(root / "train-metadata.csv", *rows)
    write(root / "test-metadata.csv", "isic_id,patient_id,age_approx", "ISIC_0015657,IP_6074337,45.0")
    write(root / "sample_submission.csv", "isic_id,target", "ISIC_0015657,0.3")
    (root / "image.jpg").unlink()
    for file, names in (("train-image.hdf5", list(encoded)), ("test-image.hdf5", list(encoded)[:1])):
        with h5py.File(root / file, "w") as opened:
            opened.update({name: np.void(encoded[name]) for name in names})


def milk10k(root: Path) -> None:
    """As on the challenge's site, unpacked into a folder of the archive's name."""
    classes = ["AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"]
    truth = [",".join(["lesion_id", *classes])]
    metadata = ["lesion_id,image_type,isic_id,age_approx,sex,skin_tone_class,site"]
    folder = root / "MILK10k_Training_Input" / "MILK10k_Training_Input"
    for number in range(24):
        lesion, label = f"IL_{number:07d}", ("BCC", "MEL", "NV")[number % 3]
        truth.append(",".join([lesion, *(f"{float(name == label)}" for name in classes)]))
        for place, kind in enumerate(("clinical: close-up", "dermoscopic")):
            image = f"ISIC_{2 * number + place:07d}"
            metadata.append(f"{lesion},{kind},{image},65,male,3,trunk")
            save(folder / lesion / f"{image}.jpg", 2 * number + place)
    write(root / "MILK10k_Training_GroundTruth.csv", *truth)
    write(root / "MILK10k_Training_Metadata.csv", *metadata)
    write(root / "MILK10k_Training_Supplement.csv", "isic_id,diagnosis_full", "ISIC_0000000,Melanoma Invasive")


def pad_ufes_20(root: Path) -> None:
    """As on Mendeley Data."""
    rows = ["patient_id,lesion_id,smoke,drink,age,gender,fitspatrick,region,diagnostic,itch,grew,img_id,biopsed"]
    for number in range(36):
        name = f"PAT_{number // 2}_{number}_{900 - number}.png"
        label = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")[number % 6]
        rows.append(f"PAT_{number // 2},{number},False,,55,MALE,3.0,ARM,{label},True,UNK,{name},True")
        save(root / "images" / f"imgs_part_{1 + number // 12}" / f"imgs_part_{1 + number // 12}" / name, number)
    write(root / "metadata.csv", *rows)


def ph2(root: Path) -> None:
    """With its spreadsheet alone: legends above the header, X for the class."""
    openpyxl = pytest.importorskip("openpyxl")
    sheet = openpyxl.Workbook()
    for line in (["PH2 Dataset"], ["Legends"], [None], ["Asymmetry", "0 - Fully Symmetric"], *[[None]] * 8):
        sheet.active.append(line)
    classes = ["Common Nevus", "Atypical Nevus", "Melanoma"]
    sheet.active.append(["Image Name", "Histological Diagnosis", *classes, "Asymmetry\n(0/1/2)", "White"])
    for number in range(24):
        name, case = f"IMD{number:03d}", root / "PH2 Dataset images" / f"IMD{number:03d}"
        sheet.active.append([name, None, *("X" if number % 3 == place else None for place in range(3)), 1, "X"])
        save(case / f"{name}_Dermoscopic_Image" / f"{name}.bmp", number)
        mask = Image.new("1", (40, 32))
        mask.paste(1, (10, 8, 30, 24))
        for file in (case / f"{name}_lesion" / f"{name}_lesion.bmp", case / f"{name}_roi" / f"{name}_R1_Label4.bmp"):
            file.parent.mkdir()
            mask.save(file)
    sheet.save(root / "PH2_dataset.xlsx")
    write(root / "Readme.txt", "PH2 Dataset")


WALKS = {
    "ISIC 2024": (isic_2024, ""),
    "MILK10k": (milk10k, "--modality dermoscopic"),
    "PAD-UFES-20": (pad_ufes_20, ""),
    "PH2": (ph2, ""),
}
"""Name -> (writer, flags)."""

SAID = {
    "ISIC 2024": ["labels: train-metadata.csv, target", "(32 benign, 8 malignant)", "20 patient_id and 8 lesion_id"],
    "MILK10k": ["modality: 24 dermoscopic", "24 images (0 AKIEC, 8 BCC,", "24 images of 24 lesion_id"],
    "PAD-UFES-20": ["read as PAD-UFES-20 (CC BY 4.0)", "18 patient_id and 36 lesion_id", "(6 ACK, 6 BCC, 6 MEL,"],
    "PH2": ["labels: PH2_dataset.xlsx", "(8 common nevus, 8 atypical nevus, 8 melanoma), 24 masks"],
}
"""What check says."""


@pytest.mark.parametrize("name", WALKS)
def test_four_commands_lead_from_a_data_set_to_its_scores(name, run_here, cache, tmp_path):
    draw, flags = WALKS[name]
    draw(tmp_path / "data")

    def run(job: str, *more: str) -> str:
        status, out, err = run_here(job, *flags.split(), *more)
        assert status == 0, out + err
        return out

    checked = run("check", str(tmp_path / "data"))
    assert all(said in checked for said in SAID[name]), checked
    small = f"--data {tmp_path / 'data'} --image-size 32 --num-workers 0 --cache-dir {cache}".split()
    step = ["--batch-size", "4", "--max-steps", "1"]
    encoder = ["--encoder", str(tmp_path / "pre" / "encoder")]
    run("pretrain", *small, *step, "--model", "test_resnet", "--views", "2", "--output-dir", str(tmp_path / "pre"))
    run("evaluate", *small, *encoder, "--output-dir", str(tmp_path / "evaluated"))
    assert 0 <= json.loads((tmp_path / "evaluated" / "summary.json").read_text())["probe_mean_auc"] <= 1
    for task in ("classification", "segmentation") if name == "PH2" else ("classification",):
        run(f"finetune-{task}", *small, *step, *encoder, "--output-dir", str(tmp_path / task))
        assert (tmp_path / task / "model" / "model.json").is_file()
