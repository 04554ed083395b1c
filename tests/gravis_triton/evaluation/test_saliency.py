import timm
import torch
from torch import Tensor, nn

from gravis_triton.evaluation.saliency import grad_cam
from gravis_triton.models import eval_mode
from gravis_triton.tasks.classification import Classifier


class OneStage(nn.Module):
    """Cells of 2 x 2 pixels to three channels, averaged over the map."""

    pretrained_cfg = None
    head_hidden_size = 3
    feature_info = ({"module": "stage", "reduction": 2, "num_chs": 3},)

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Conv2d(3, 3, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        return self.stage(images).mean((2, 3))


def found(network, images, classes):
    with eval_mode(network):
        return grad_cam(network, network.encoder, images, torch.tensor(classes))


def test_grad_cam_matches_its_formula():
    """With the mean over the map before a linear classifier, the weights of Grad-CAM are those of the classifier."""
    torch.manual_seed(0)
    network, images = Classifier(OneStage(), classes=2), torch.randn(2, 3, 16, 16)
    saliency = found(network, images, [1, 0])
    with torch.no_grad():
        features = network.encoder.stage(images)
        maps = torch.einsum("bc,bchw->bhw", network.classifier.weight[[1, 0]], features).relu()
        expected = nn.functional.interpolate(maps[:, None], (16, 16), mode="bilinear")[:, 0]
    expected = expected / expected.amax((1, 2), keepdim=True)
    assert saliency.layer == "stage"
    torch.testing.assert_close(saliency.maps, expected)


def test_grad_cam_of_mixed_precision_is_float32():
    torch.manual_seed(0)
    network, images = Classifier(OneStage(), classes=2), torch.randn(2, 3, 16, 16)
    expected = found(network, images, [1, 0]).maps
    with torch.autocast("cpu", torch.bfloat16):
        mixed = found(network, images, [1, 0]).maps
    torch.testing.assert_close(mixed, expected, atol=0.02, rtol=0)


def test_grad_cam_without_evidence_is_0():
    network = Classifier(OneStage(), classes=2)
    with torch.no_grad():
        network.classifier.weight.fill_(-1)
        network.encoder.stage.weight.fill_(1)
        network.encoder.stage.bias.fill_(0)
    assert found(network, torch.rand(1, 3, 16, 16), [0]).maps.eq(0).all()


def test_grad_cam_uses_the_deepest_layer_with_7_cells():
    network = Classifier(timm.create_model("resnet18", num_classes=0), classes=3)
    assert found(network, torch.randn(1, 3, 64, 64), [2]).layer == "layer2"  # 8 x 8
    assert found(network, torch.randn(1, 3, 224, 224), [2]).layer == "layer4"  # 7 x 7


def test_encoder_without_feature_maps_has_no_grad_cam():
    network = Classifier(timm.create_model("test_vit", num_classes=0, img_size=64), classes=3)
    assert found(network, torch.randn(1, 3, 64, 64), [0]) is None


def test_grad_cam_leaves_weights_and_gradients():
    network = Classifier(OneStage(), classes=2)
    found(network, torch.randn(1, 3, 16, 16), [0])
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
