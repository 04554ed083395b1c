"""Exported networks, run outside of the package."""

import json

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import gravis_triton as gt
from gravis_triton.inference.saved_model import save_predictor
from gravis_triton.models import Preprocessing, build_encoder, save_encoder
from gravis_triton.tasks.classification import Classifier, ClassPredictor
from gravis_triton.tasks.segmentation import MaskPredictor, Segmenter


@pytest.fixture(params=["encoder", "classifier", "segmenter"])
def run(request, tmp_path):
    """A run of each kind, and the shape of its output for a batch of five."""
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    if request.param == "encoder":
        save_encoder(encoder, tmp_path / "run" / "encoder", image_size=32)
        return tmp_path / "run", (5, encoder.head_hidden_size)
    if request.param == "classifier":
        network = Classifier(encoder, classes=2)
        predictor = ClassPredictor(network, preprocess=preprocess, classes=("a", "b"), data_set="images")
        save_predictor(predictor, tmp_path / "run" / "model")
        return tmp_path / "run", (5, 2)
    network = Segmenter(encoder, decoder="unet", image_size=32)
    predictor = MaskPredictor(network, preprocess=preprocess)
    save_predictor(predictor, tmp_path / "run" / "model")
    return tmp_path / "run", (5, 1, 32, 32)


def test_torch_export_runs_at_any_batch_size(run):
    directory, shape = run
    result = gt.export(run=str(directory), format="torch-export")
    assert result.difference < 1e-4
    output = torch.export.load(result.directory / "model.pt2").module()(torch.rand(5, 3, 32, 32))
    assert output.shape == shape


def test_onnx_runs_at_any_batch_size(run):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    directory, shape = run
    result = gt.export(run=str(directory), format="onnx")
    assert result.difference < 1e-4
    session = onnxruntime.InferenceSession(result.directory / "model.onnx")
    assert session.run(None, {"images": torch.rand(5, 3, 32, 32).numpy()})[0].shape == shape


@pytest.mark.parametrize("format", ["timm", "torch-export"])
def test_a_classifier_of_several_classes_per_image_is_exported(tmp_path, format):
    encoder = build_encoder("test_resnet", image_size=32)
    predictor = ClassPredictor(
        Classifier(encoder, classes=2),
        preprocess=Preprocessing.of(encoder, image_size=32, cache_size=48),
        classes=("a", "b"),
        data_set="images",
        multilabel=True,
    )
    save_predictor(predictor, tmp_path / "run" / "model")
    result = gt.export(run=str(tmp_path / "run"), format=format)
    assert result.difference < 1e-4


@pytest.mark.parametrize("tta", [False, True])
def test_missing_tta_of_an_export_is_reported(tmp_path, capsys, tta):
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    network = Classifier(encoder, classes=2)
    predictor = ClassPredictor(network, preprocess=preprocess, classes=("a", "b"), data_set="images", tta=tta)
    save_predictor(predictor, tmp_path / "run" / "model")
    gt.export(run=str(tmp_path / "run"), format="timm")
    assert ("not exported: averaging over flips" in capsys.readouterr().out) == tta


def test_export_does_not_replace_a_file(tmp_path):
    (tmp_path / "model.onnx").write_text("precious")
    with pytest.raises(gt.UserError, match=r"model\.onnx is a file: use a directory"):
        gt.export(run="imagenet", output=str(tmp_path / "model.onnx"), overwrite=True)


def test_export_is_replaced_only_with_overwrite(tmp_path):
    save_encoder(build_encoder("test_resnet", image_size=32), tmp_path / "encoder", image_size=32)
    gt.export(run=str(tmp_path), format="timm")
    with pytest.raises(gt.UserError, match="exists: use --overwrite or another --output"):
        gt.export(run=str(tmp_path), format="timm")
    result = gt.export(run=str(tmp_path), format="timm", overwrite=True)
    assert json.loads((result.directory / "preprocessing.json").read_text())["output"] == "features"


def test_timm_and_transformers_open_a_classifier_with_its_classes(tmp_path):
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)  # not timm's for the architecture
    preprocess = Preprocessing(32, 48, mean=mean, std=std)
    network = Classifier(encoder, classes=2)
    predictor = ClassPredictor(network, preprocess=preprocess, classes=("nevus", "melanoma"), data_set="images")
    save_predictor(predictor, tmp_path / "run" / "model")
    result = gt.export(run=str(tmp_path / "run"), format="timm")
    assert result.difference < 1e-5

    model = timm.create_model(f"local-dir:{result.directory}", pretrained=True).eval()
    pixels = torch.rand(1, 3, 32, 32).mul(255).byte()
    config = resolve_model_data_config(model)
    assert (config["input_size"], config["crop_pct"]) == ((3, 32, 32), 1.0)
    transform = create_transform(**config, is_training=False)
    image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    expected = predictor.probabilities(pixels)
    torch.testing.assert_close(model(transform(image)[None]).softmax(1), expected, atol=1e-5, rtol=0)

    transformers = pytest.importorskip("transformers")
    wrapped = transformers.AutoModelForImageClassification.from_pretrained(result.directory).eval()
    assert wrapped.config.id2label == {0: "nevus", 1: "melanoma"}
    processor = transformers.AutoImageProcessor.from_pretrained(result.directory)
    logits = wrapped(**processor(image, return_tensors="pt")).logits
    torch.testing.assert_close(logits.softmax(1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "architecture",
    ["vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0", "swin_tiny_patch4_window7_224"],
)
def test_timm_opens_classifiers_of_several_architectures(tmp_path, architecture):
    size = 224 if architecture.startswith("swin") else 64
    encoder = build_encoder(architecture, image_size=size)
    preprocess = Preprocessing.of(encoder, image_size=size, cache_size=size)
    network = Classifier(encoder, classes=3)
    predictor = ClassPredictor(network, preprocess=preprocess, classes=("a", "b", "c"), data_set="images")
    save_predictor(predictor, tmp_path / "model")
    assert gt.export(run=str(tmp_path), format="timm").difference < 1e-5


def test_segmenter_cannot_be_exported_to_timm(tmp_path):
    encoder = build_encoder("test_resnet", image_size=32)
    network = Segmenter(encoder, decoder="unet", image_size=32)
    predictor = MaskPredictor(network, preprocess=Preprocessing.of(encoder, image_size=32, cache_size=48))
    save_predictor(predictor, tmp_path / "model")
    with pytest.raises(gt.UserError, match="does not support segmentation networks; use onnx or torch-export"):
        gt.export(run=str(tmp_path), format="timm")
    assert not (tmp_path / "export-timm").exists()


def test_encoder_exported_to_timm_gives_the_same_features(tmp_path):
    torch.manual_seed(0)
    save_encoder(build_encoder("test_resnet", image_size=32), tmp_path / "encoder", image_size=32)
    result = gt.export(run=str(tmp_path), format="timm")
    assert result.difference < 1e-5
    description = json.loads((result.directory / "preprocessing.json").read_text())
    assert description["output"] == "features"
    assert "normalized by mean [" in description["input"]
