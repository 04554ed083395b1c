import pytest
import timm

from gravis_triton.models import build_encoder, freezes_statistics, open_encoder, save_encoder
from gravis_triton.models.batch_norm import from_published_weights


@pytest.mark.parametrize(
    ("choice", "of_published", "of_random"),
    [("auto", True, False), ("frozen", True, True), ("batch", False, False)],
)
def test_statistics_of_published_weights_are_kept_unless_told_otherwise(choice, of_published, of_random):
    published = timm.create_model("resnet18", num_classes=0)  # as timm's: with the config of resnet18.a1_in1k
    scratch = build_encoder("resnet18", image_size=32)
    assert freezes_statistics(choice, published) == of_published
    assert freezes_statistics(choice, scratch) == of_random


def test_an_encoder_knows_whether_it_started_from_published_weights(tmp_path):
    published = timm.create_model("resnet18", num_classes=0)
    scratch = build_encoder("resnet18", image_size=32)
    assert (from_published_weights(published), from_published_weights(scratch)) == (True, False)
    for encoder, name in ((published, "published"), (scratch, "scratch")):
        save_encoder(encoder, tmp_path / name, image_size=32)
        again = open_encoder(str(tmp_path / name), model=None, image_size=None, default_size=32).encoder
        assert from_published_weights(again) == from_published_weights(encoder)
