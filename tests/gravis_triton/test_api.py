import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

import gravis_triton as gt
from gravis_triton.methods import pretrain_settings
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.config import write_settings
from gravis_triton.settings.flags import read_flags
from gravis_triton.settings.resolve import resolve


def test_the_signatures_for_editors_are_those_of_the_settings():
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "signatures.py"))
    written, expected = ("".join(text.split()) for text in (script["STUB"].read_text(), script["stub"]()))
    assert written == expected, "run: make signatures"


def test_a_job_has_its_settings_as_keyword_arguments():
    parameters = inspect.signature(gt.finetune_segmentation).parameters
    assert parameters["decoder"].default == "unet"
    assert parameters["label_fraction"].default == 1.0
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_help_shows_every_argument_with_its_description_bounds_and_default():
    text = " ".join(inspect.getdoc(gt.pretrain).split())
    assert text.startswith("Pre-train an image encoder")
    assert "lr: Peak learning rate. (above 0; default: 0.001)" in text
    assert "views: Number of views per image. (2 to 1,024; default: 4)" in text
    arguments = text.partition("Args:")[2]
    assert all(f" {name}: " in arguments for name in inspect.signature(gt.pretrain).parameters)
    assert "--output-dir RUN" not in text  # the example is for the command line


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"veiws": 3}, "pretrain: unknown setting 'veiws'; did you mean views?"),
        ({"views": 1}, "pretrain: views must be at least 2, not 1"),
        ({"views": "many"}, "pretrain: views must be an integer, not 'many'"),
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
    code = "import sys, gravis_triton as gt; gt.evaluate; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_config_is_the_start_and_arguments_go_before_it():
    settings = resolve(pretrain_settings, {"config": "isic2017", "lr": 0.5}, where="pretrain")
    assert (settings.model, settings.views) == ("resnet50", 20)
    assert settings.lr == 0.5
    with pytest.raises(gt.UserError, match="no such config file"):
        gt.pretrain(config="does-not-exist")


def test_another_augmentation_than_that_of_the_config_comes_with_its_own_steps():
    given = {"config": "isic2017", "augment": "dermoscopy", "hair": 0.25}
    settings = resolve(pretrain_settings, given, where="pretrain")
    own = resolve(pretrain_settings, {"augment": "dermoscopy"}, where="pretrain")
    assert (settings.hair, settings.ruler) == (0.25, own.ruler)
    assert own.ruler > 0


def test_another_method_than_that_of_the_config_comes_with_its_own_defaults(tmp_path):
    (tmp_path / "c.yaml").write_text("margin: 0.3\n")
    given = {"config": str(tmp_path / "c.yaml"), "loss": "triplet"}
    assert resolve(pretrain_settings, given, where="pretrain").margin == 0.5


@pytest.mark.parametrize("how", [{"resume": "RUN"}, {"resume": "auto", "output_dir": "RUN"}])
def test_a_resumed_run_starts_from_its_own_settings(tmp_path, how):
    saved = resolve(pretrain_settings, {"lr": 0.02, "views": 8}, where="pretrain")
    write_settings(saved, tmp_path / "config.yaml")
    given = {name: value.replace("RUN", str(tmp_path)) for name, value in how.items()}
    flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    for settings in (
        resolve(pretrain_settings, given | {"epochs": 3}, where="pretrain"),
        resolve(pretrain_settings, read_flags(pretrain_settings, [*flags, "--epochs", "3"])),
    ):
        assert (settings.lr, settings.epochs, settings.views) == (0.02, 3, 8)


def test_a_job_that_fails_unlocks_its_directory(tmp_path, monkeypatch):
    def fail(settings):
        RunDirectory(tmp_path).acquire_lock()
        raise gt.UserError("no")

    monkeypatch.setattr("gravis_triton.workflows.pretrain.pretrain", fail)
    with pytest.raises(gt.UserError, match="no"):
        gt.pretrain()
    with FileLock(tmp_path / ".lock", blocking=False):  # another lock than that of the process
        pass
