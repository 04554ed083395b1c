import json

import numpy as np
import pytest
import torch
from PIL import Image

import gravis_triton
from gravis_triton.data import ImageFile, Record, cached_images
from gravis_triton.errors import UserError
from gravis_triton.models import Classifier, build_encoder, build_segmenter
from gravis_triton.prediction import DiseasePredictor, InputSettings, MaskPredictor, load, save_predictor

CLASSES = ("melanoma", "nevus")


@pytest.fixture
def picture(tmp_path):
    """A photograph of 90 x 60 pixels in a file."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    file = tmp_path / "picture.png"
    Image.fromarray(pixels).save(file)
    return file


def diseases(tta: bool = False) -> DiseasePredictor:
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    inputs = InputSettings.of(encoder, image_size=32, cache_size=48)
    return DiseasePredictor(
        Classifier(encoder, classes=2), inputs=inputs, classes=CLASSES, data_set="ISIC 2017", tta=tta
    )


def masks(tta: bool = False) -> MaskPredictor:
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet", image_size=32)
    inputs = InputSettings.of(encoder, image_size=32, cache_size=48)
    network, _ = build_segmenter(encoder, architecture="test_resnet", decoder="unet", image_size=32)
    return MaskPredictor(network, inputs=inputs, tta=tta)


def test_a_picture_is_predicted_as_it_is_when_scored_from_the_cache(picture, tmp_path):
    predictor = diseases()
    images = cached_images(
        [Record("picture", ImageFile(picture))], short_side=48, directory=tmp_path / "cache", workers=0
    )
    scored = predictor.predict_all(images, [0])[0]
    assert list(predictor.predict(picture).values()) == pytest.approx(scored.tolist(), rel=1e-6)


@pytest.mark.parametrize("tta", [False, True])
def test_file_image_and_array_give_the_same_diagnosis(picture, tta):
    predictor = diseases(tta)
    image = Image.open(picture)
    first = predictor.predict(picture)
    assert list(first) == list(CLASSES)
    assert sum(first.values()) == pytest.approx(1, abs=1e-6)
    assert predictor.predict(image) == first
    assert predictor.predict(np.asarray(image)) == first


@pytest.mark.parametrize("tta", [False, True])
def test_a_mask_has_the_size_of_its_picture(picture, tta):
    mask = masks(tta).predict(picture)
    assert mask.shape == (60, 90)
    assert mask.dtype == bool


def test_predicting_leaves_a_network_in_training_as_it_was(picture):
    predictor = diseases()
    predictor.network.train()
    statistics = predictor.network.encoder.bn1.running_mean.clone()
    predictor.predict(picture)
    assert predictor.network.training
    assert torch.equal(predictor.network.encoder.bn1.running_mean, statistics)


@pytest.mark.parametrize("tta", [False, True])
def test_a_saved_classifier_predicts_the_same(picture, tmp_path, tta):
    predictor = diseases(tta)
    save_predictor(predictor, tmp_path / "run" / "model", architecture="test_resnet", decoder=None)
    again = gravis_triton.load(tmp_path / "run")
    assert again.predict(picture) == predictor.predict(picture)


def test_a_saved_segmenter_predicts_the_same(picture, tmp_path):
    predictor = masks()
    save_predictor(predictor, tmp_path / "model", architecture="test_resnet", decoder="unet")
    again = load(tmp_path / "model")
    assert isinstance(again, MaskPredictor)
    assert np.array_equal(again.predict(picture), predictor.predict(picture))


def test_a_directory_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no fine-tuned model there \(no model/model.json\)"):
        load(tmp_path)


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    save_predictor(diseases(), tmp_path / "model", architecture="test_resnet", decoder=None)
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps({**description, "classes": ["a", "b", "c"]}))
    with pytest.raises(UserError, match=r"model\.safetensors cannot be loaded"):
        load(tmp_path)


@pytest.mark.parametrize("picture", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32)])
def test_an_array_that_is_no_picture_is_refused(picture):
    with pytest.raises(UserError, match=r"is no picture: give \(height, width, 3\) uint8"):
        diseases().predict(picture)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "x.jpg").write_text("no")
    with pytest.raises(UserError, match="cannot be read as an image"):
        diseases().predict(tmp_path / "x.jpg")


def test_a_damaged_description_is_one_line(tmp_path):
    save_predictor(diseases(), tmp_path / "model", architecture="test_resnet", decoder=None)
    (tmp_path / "model" / "model.json").write_text('{"task": ')
    with pytest.raises(UserError, match=r"model\.json is damaged .*: fine-tune again"):
        load(tmp_path)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_an_opened_image_lies_as_its_file_does(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    predictor = masks()
    expected = predictor.predict(tmp_path / "turned.png")
    assert expected.shape == ((40, 60) if orientation == 6 else (60, 40))
    assert np.array_equal(predictor.predict(Image.open(tmp_path / "turned.png")), expected)


def test_sixteen_bit_images_are_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 60 * 60).reshape(60, 60).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    predictor = diseases()
    assert predictor.predict(Image.open(tmp_path / "deep.png")) == predictor.predict(tmp_path / "deep.png")


@pytest.mark.parametrize("predictor", [diseases, masks])
def test_a_network_that_diverged_is_told_and_not_scored(picture, predictor):
    broken = predictor()
    with torch.no_grad():
        next(broken.network.pretrained.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="predictions are not finite: lower --lr"):
        broken.predict(picture)
