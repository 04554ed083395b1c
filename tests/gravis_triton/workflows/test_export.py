"""Exported networks, run outside of the package."""

import json

import pytest
import torch

import gravis_triton as gt
from gravis_triton.models import Classifier, build_encoder, build_segmenter, save_encoder
from gravis_triton.prediction import ClassPredictor, InputSettings, MaskPredictor, save_predictor


@pytest.fixture(params=["encoder", "classifier", "segmenter"])
def run(request, tmp_path):
    """A run of each kind, and the shape of its output for a batch of five."""
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    inputs = InputSettings.of(encoder, image_size=32, cache_size=48)
    if request.param == "encoder":
        save_encoder(encoder, tmp_path / "run" / "encoder", image_size=32)
        return tmp_path / "run", (5, encoder.head_hidden_size)
    if request.param == "classifier":
        network = Classifier(encoder, classes=2)
        predictor = ClassPredictor(network, inputs=inputs, classes=("a", "b"), data_set="images")
        save_predictor(predictor, tmp_path / "run" / "model", architecture="test_resnet", decoder=None)
        return tmp_path / "run", (5, 2)
    network, _ = build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=32)
    predictor = MaskPredictor(network, inputs=inputs)
    save_predictor(predictor, tmp_path / "run" / "model", architecture="test_resnet", decoder="unet")
    return tmp_path / "run", (5, 1, 32, 32)


def test_torch_runs_it_at_any_batch_size(run):
    directory, shape = run
    result = gt.export(run=str(directory), format="torch-export")
    assert result.difference < 1e-4
    output = torch.export.load(result.directory / "model.pt2").module()(torch.rand(5, 3, 32, 32))
    assert output.shape == shape


def test_onnxruntime_runs_it_at_any_batch_size(run):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    directory, shape = run
    result = gt.export(run=str(directory), format="onnx")
    assert result.difference < 1e-4
    session = onnxruntime.InferenceSession(result.directory / "model.onnx")
    assert session.run(None, {"images": torch.rand(5, 3, 32, 32).numpy()})[0].shape == shape


def test_an_earlier_export_is_replaced_only_when_asked(tmp_path):
    save_encoder(build_encoder("test_resnet", image_size=32), tmp_path / "encoder", image_size=32)
    gt.export(run=str(tmp_path), format="torch-export")
    with pytest.raises(gt.UserError, match="exists: give --overwrite, or another --output"):
        gt.export(run=str(tmp_path), format="torch-export")
    result = gt.export(run=str(tmp_path), format="torch-export", overwrite=True)
    assert json.loads((result.directory / "preprocessing.json").read_text())["output"] == "features"
