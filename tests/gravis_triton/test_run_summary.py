import pytest

from gravis_triton.run_summary import changed_from_defaults, job_of, method_settings, result_of
from gravis_triton.settings.defaults import complete
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.settings.resolve import resolve


def config(**values):
    """config.yaml of a pre-training run with these settings."""
    return {"job": "pretrain", **vars(complete(resolve(PretrainSettings, values)))}


def test_settings_that_follow_from_others_are_not_changes():
    assert changed_from_defaults(config()) == {}
    assert changed_from_defaults(config(image_size=48, lr=0.1)) == {
        "image_size": (48, 64),
        "lr": (0.1, 0.001),
    }
    assert changed_from_defaults(config(data="hub", epochs=8)) == {
        "data": ("hub", "synthetic"),
        "epochs": (8, 100),
    }


def test_a_setting_that_another_one_needs_is_a_change():
    streamed = config(data="hub", streaming=True, steps_per_epoch=5)
    assert changed_from_defaults(streamed) == {
        "data": ("hub", "synthetic"),
        "streaming": (True, False),
        "steps_per_epoch": (5, None),
    }


def test_the_steps_of_an_augmentation_are_changes_only_where_they_differ_from_it():
    assert changed_from_defaults(config(augment="dermoscopy", hair=0.7)) == {
        "augment": ("dermoscopy", "color-kept"),
        "hair": (0.7, 0.3),
    }


def test_the_settings_of_a_method_are_those_that_other_methods_do_not_have():
    assert method_settings({**config(), "margin": 0.5}) == {"margin": 0.5}
    assert method_settings({"job": "evaluate", "seed": 0, "output_dir": None, "tta": True}) == {}


@pytest.mark.parametrize(
    ("settings", "job"),
    [
        ({"views": 4}, "pretrain"),
        ({"class_loss": "plain"}, "finetune-classification"),
        ({"decoder": "unet"}, "finetune-segmentation"),
        ({"tta": False}, "evaluate"),
        ({"job": "evaluate", "views": 4}, "evaluate"),
    ],
)
def test_the_job_of_a_config_is_named_in_it_or_guessed_from_its_settings(settings, job):
    assert job_of({"seed": 0, "output_dir": None, **settings}) == job


def test_a_config_that_no_run_wrote_has_no_job():
    assert job_of({"service": "web"}) is None


def test_the_result_of_a_run_is_one_sentence():
    pretraining = {"knn_mean_auc_untrained": 0.5, "knn_mean_auc": None, "loss": None, "steps": 1200}
    assert result_of(pretraining) == "Loss unknown after 1,200 steps."
    assert result_of({"mean_auc": 0.75, "dice": 1.0}) == "mean AUC 0.750 on the test images."
