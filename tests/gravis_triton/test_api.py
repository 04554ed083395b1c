import inspect
import subprocess
import sys

import pytest

import gravis_triton as gt
from gravis_triton import api
from gravis_triton.settings import PretrainSettings, write_settings
from gravis_triton.settings.config import settings_on_file
from gravis_triton.settings.flags import parse_settings


def test_the_signatures_for_editors_are_those_of_the_settings():
    written, expected = ("".join(text.split()) for text in (api.STUB.read_text(), api.stub()))
    assert written == expected, "run: python -m gravis_triton.api"


def test_a_job_has_its_settings_as_keyword_arguments():
    parameters = inspect.signature(gt.finetune_segmentation).parameters
    assert parameters["decoder"].default == "unet"
    assert parameters["label_fraction"].default == 1.0
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"veiws": 3}, "pretrain: unknown setting 'veiws'; did you mean views?"),
        ({"views": 1}, "pretrain: views must be at least 2, not 1"),
        ({"views": "many"}, "pretrain: views must be int, not 'many'"),
    ],
)
def test_arguments_are_checked_before_anything_runs(settings, message):
    with pytest.raises(gt.UserError) as error:
        gt.pretrain(**settings)
    assert str(error.value) == message


def test_a_required_argument_is_named():
    with pytest.raises(gt.UserError, match=r"^predict: missing setting model, images$"):
        gt.predict()


def test_importing_the_package_does_not_import_torch():
    code = "import sys, gravis_triton as gt; gt.pretrain; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_config_is_the_start_and_arguments_go_before_it():
    settings = settings_on_file(PretrainSettings, {"config": "isic2017", "lr": 0.5}, where="pretrain")
    assert (settings.model.model, settings.augmentation.views) == ("resnet50", 20)
    assert settings.optimization.lr == 0.5
    with pytest.raises(gt.UserError, match="no such config file"):
        gt.pretrain(config="does-not-exist")


def test_another_augmentation_than_that_of_the_config_comes_with_its_own_steps():
    given = {"config": "isic2017", "augment": "dermoscopy", "hair": 0.25}
    settings = settings_on_file(PretrainSettings, given, where="pretrain").augmentation
    own = settings_on_file(PretrainSettings, {"augment": "dermoscopy"}, where="pretrain").augmentation
    assert (settings.hair, settings.ruler) == (0.25, own.ruler)
    assert own.ruler > 0


def test_another_loss_than_that_of_the_config_comes_with_its_own_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("margin: 0.3\n")
    given = {"config": str(tmp_path / "c.yaml"), "loss": "triplet"}
    assert settings_on_file(PretrainSettings, given, where="pretrain").loss.margin is None


@pytest.mark.parametrize("how", [{"resume": "RUN"}, {"resume": "auto", "output_dir": "RUN"}])
def test_a_resumed_run_starts_from_its_own_settings(tmp_path, how):
    saved = settings_on_file(PretrainSettings, {"lr": 0.02, "views": 8}, where="pretrain")
    write_settings(saved, tmp_path / "config.yaml")
    given = {name: value.replace("RUN", str(tmp_path)) for name, value in how.items()}
    for settings in (
        settings_on_file(PretrainSettings, given | {"epochs": 3}, where="pretrain"),
        parse_settings(
            PretrainSettings,
            [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
            + ["--epochs", "3"],
        ),
    ):
        chosen = settings.optimization
        assert (chosen.lr, chosen.epochs, settings.augmentation.views) == (0.02, 3, 8)
