import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from gravis_triton.models import build_encoder, normalization
from gravis_triton.models.imagenet import packaged_weights

MODEL = "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("image", "classes"), [("flower.jpg", {985, 723, 738}), ("china.jpg", {698, 832, 663})]
)
def test_the_packaged_weights_classify_photographs(image, classes):
    # ImageNet's 985 daisy, 723 pinwheel, 738 flowerpot; 698 palace, 832 stupa, 663 monastery
    network = timm.create_model(MODEL).eval()
    weights = packaged_weights(MODEL)
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization(network))
    pixels = (
        torch.from_numpy(load_sample_image(image).copy()).permute(2, 0, 1).float().unsqueeze(0)[..., 107:533]
    )
    pixels = interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True) / 255
    assert int(network((pixels - mean) / std).argmax()) in classes


def test_an_encoder_starts_from_the_packaged_weights_without_a_network():
    encoder = build_encoder(MODEL, image_size=64, pretrained=True)
    tensors = list(encoder.state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(tensors, packaged_weights(MODEL), strict=False))


def test_other_architectures_have_no_packaged_weights():
    assert packaged_weights("resnet18") is None
