import json

import numpy as np
import pytest
import torch
from PIL import Image

import gravis_triton
from gravis_triton.data import ImageFile, Record, cached_images
from gravis_triton.errors import UserError
from gravis_triton.inference.saved_model import load, save_predictor
from gravis_triton.models import Preprocessing, build_encoder
from gravis_triton.tasks.classification import Classifier, ClassPredictor
from gravis_triton.tasks.segmentation import MaskPredictor, Segmenter

CLASSES = ("melanoma", "nevus")


@pytest.fixture
def image_file(tmp_path):
    """An image of 90 x 60 pixels in a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    file = tmp_path / "image.png"
    Image.fromarray(pixels).save(file)
    return file


def class_predictor(tta: bool = False) -> ClassPredictor:
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    return ClassPredictor(
        Classifier(encoder, classes=2), preprocess=preprocess, classes=CLASSES, data_set="ISIC 2017", tta=tta
    )


def mask_predictor(tta: bool = False) -> MaskPredictor:
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    network = Segmenter(encoder, decoder="unet", image_size=32)
    return MaskPredictor(network, preprocess=preprocess, tta=tta)


def test_prediction_of_a_file_equals_that_of_the_cached_image(image_file, tmp_path):
    predictor = class_predictor()
    images = cached_images(
        [Record("image", ImageFile(image_file))], short_side=48, directory=tmp_path / "cache", workers=0
    )
    scored = predictor.predict_all(images, [0])[0]
    assert list(predictor.predict(image_file).values()) == pytest.approx(scored.tolist(), rel=1e-6)


@pytest.mark.parametrize("tta", [False, True])
def test_file_image_and_array_give_the_same_probabilities(image_file, tta):
    predictor = class_predictor(tta)
    image = Image.open(image_file)
    first = predictor.predict(image_file)
    assert list(first) == list(CLASSES)
    assert sum(first.values()) == pytest.approx(1, abs=1e-6)
    assert predictor.predict(image) == first
    assert predictor.predict(np.asarray(image)) == first


@pytest.mark.parametrize("tta", [False, True])
def test_predicted_mask_has_the_size_of_its_image(image_file, tta):
    mask = mask_predictor(tta).predict(image_file)
    assert mask.shape == (60, 90)
    assert mask.dtype == bool


def test_prediction_leaves_mode_and_statistics(image_file):
    predictor = class_predictor()
    predictor.network.train()
    statistics = predictor.network.encoder.bn1.running_mean.clone()
    predictor.predict(image_file)
    assert predictor.network.training
    assert torch.equal(predictor.network.encoder.bn1.running_mean, statistics)


@pytest.mark.parametrize("tta", [False, True])
def test_saved_classifier_predicts_the_same(image_file, tmp_path, tta):
    predictor = class_predictor(tta)
    save_predictor(predictor, tmp_path / "run" / "model")
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == [
        "checksums.json",
        "model",
        "model.json",
        "model.safetensors",
    ]
    again = gravis_triton.load(tmp_path / "run")
    assert again.predict(image_file) == predictor.predict(image_file)


def test_saved_segmenter_predicts_the_same(image_file, tmp_path):
    predictor = mask_predictor()
    save_predictor(predictor, tmp_path / "model")
    again = load(tmp_path / "model")
    assert isinstance(again, MaskPredictor)
    assert np.array_equal(again.predict(image_file), predictor.predict(image_file))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_model_args_are_saved_and_exported(image_file, tmp_path, task):
    torch.manual_seed(0)
    arguments = {"global_pool": "max", "act_layer": "silu"}
    encoder = build_encoder("test_resnet", image_size=32, model_args=arguments)
    preprocess = Preprocessing.of(encoder, image_size=32, cache_size=48)
    if task == "classification":
        network = Classifier(encoder, classes=2)
        predictor = ClassPredictor(network, preprocess=preprocess, classes=CLASSES, data_set="images")
    else:
        network = Segmenter(encoder, decoder="unet", image_size=32)
        predictor = MaskPredictor(network, preprocess=preprocess)
    save_predictor(predictor, tmp_path / "model")
    again = load(tmp_path / "model")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.network.eval()(images), network.eval()(images))
    if task == "classification":
        result = gravis_triton.export(run=str(tmp_path), format="timm", output=str(tmp_path / "timm"))
        assert result.difference < 1e-5


def test_directory_without_a_model_raises(tmp_path):
    with pytest.raises(UserError, match=r"no fine-tuned model found \(no model/model.json\)"):
        load(tmp_path)


def test_weights_of_another_shape_raise(tmp_path):
    save_predictor(class_predictor(), tmp_path / "model")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps({**description, "classes": ["a", "b", "c"]}))
    (tmp_path / "model" / "checksums.json").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors cannot be loaded"):
        load(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_array_of_another_shape_or_type_raises(array):
    with pytest.raises(UserError, match=r"is not an image: expected \(height, width, 3\) uint8"):
        class_predictor().predict(array)


@pytest.mark.parametrize("thing", [None, ["a.jpg"], torch.zeros(4, 4, 3)])
def test_object_that_is_no_image_raises(thing):
    with pytest.raises(UserError, match=f"an image must be .* not a {type(thing).__name__}$"):
        class_predictor().predict(thing)


def test_extreme_aspect_ratio_raises_with_the_shape():
    message = r"^an array of shape \(4, 4000, 3\) and type uint8: cannot be read as an image"
    with pytest.raises(UserError, match=message):
        class_predictor().predict(np.zeros((4, 4000, 3), np.uint8))


def test_file_that_is_no_image_raises(tmp_path):
    (tmp_path / "x.jpg").write_text("no")
    with pytest.raises(UserError, match="cannot be read as an image"):
        class_predictor().predict(tmp_path / "x.jpg")


def test_damaged_model_json_raises(tmp_path):
    save_predictor(class_predictor(), tmp_path / "model")
    (tmp_path / "model" / "checksums.json").unlink()
    for damaged in ('{"task": ', "[]", '{"task": "classification", "inputs": {}}'):
        (tmp_path / "model" / "model.json").write_text(damaged)
        with pytest.raises(UserError, match=r"model\.json is damaged .*: fine-tune again"):
            load(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_flipped_bit_raises(tmp_path, name):
    save_predictor(class_predictor(), tmp_path / "model")
    file = tmp_path / "model" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is damaged: restore it, or delete checksums.json"):
        load(tmp_path)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_opened_image_is_upright(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    predictor = mask_predictor()
    expected = predictor.predict(tmp_path / "turned.png")
    assert expected.shape == ((40, 60) if orientation == 6 else (60, 40))
    assert np.array_equal(predictor.predict(Image.open(tmp_path / "turned.png")), expected)


def test_16_bit_images_are_scaled(tmp_path):
    values = np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    predictor = class_predictor()
    assert predictor.predict(Image.open(tmp_path / "deep.png")) == predictor.predict(tmp_path / "deep.png")


@pytest.mark.parametrize("predictor", [class_predictor, mask_predictor])
def test_diverged_network_raises(image_file, predictor):
    broken = predictor()
    with torch.no_grad():
        next(broken.network.pretrained.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="predictions are not finite: lower --lr"):
        broken.predict(image_file)
