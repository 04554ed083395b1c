"""The code of docs/elsewhere.md runs."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gravis_triton as gt
from gravis_triton.inference.saved_model import save_predictor
from gravis_triton.models import Preprocessing, build_encoder, save_encoder
from gravis_triton.tasks.classification import Classifier, ClassPredictor

PAGE = Path(__file__).parents[3] / "docs" / "elsewhere.md"
SECTIONS = dict(re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


def test_the_page_has_code_for_every_library():
    assert set(SECTIONS) == {
        "timm",
        "transformers",
        "A fine-tuned classifier",
        "segmentation-models-pytorch",
        "ONNX and torch.export",
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_its_code_runs(section, tmp_path, monkeypatch):
    if "transformers" in SECTIONS[section] and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", image_size=32)
    save_encoder(encoder, Path("RUN/encoder"), image_size=32)
    if section == "A fine-tuned classifier":
        preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
        predictor = ClassPredictor(
            Classifier(encoder, classes=2), preprocess=preprocess, classes=("a", "b"), data_set="images"
        )
        save_predictor(predictor, Path("RUN/model"))
        gt.export(run="RUN", format="timm")
    if section == "ONNX and torch.export":
        gt.export(run="RUN", format="torch-export")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    names = {"image": Image.fromarray(pixels), "size": 32}
    exec(SECTIONS[section], names)
    if "features" in names:
        assert names["features"].shape[1] == 512
    if "classify" in names:
        assert {found["label"] for found in names["classify"](names["image"])} == {"a", "b"}
    if "maps" in names:
        assert [len(maps[0]) for maps in names["maps"]] == [64, 64, 128, 256, 512]
