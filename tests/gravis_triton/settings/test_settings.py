import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from gravis_triton.errors import UserError
from gravis_triton.methods import pretrain_settings
from gravis_triton.run_directory import RunDirectory
from gravis_triton.settings.augmentation import PRESETS
from gravis_triton.settings.config import changed_settings, read_yaml, write_settings
from gravis_triton.settings.defaults import complete
from gravis_triton.settings.fields import flag, settings_of, value_type
from gravis_triton.settings.flags import read_flags
from gravis_triton.settings.groups import OptimizationSettings, RunSettings
from gravis_triton.settings.jobs import CheckSettings, ClassificationSettings, EvaluateSettings, SegmentationSettings
from gravis_triton.settings.resolve import resolve

JOBS = [pretrain_settings({}), EvaluateSettings, ClassificationSettings, SegmentationSettings]
FLOATS = [
    (kind, name) for kind in JOBS for name, setting in settings_of(kind).items() if value_type(setting.hint) is float
]


def parse_settings(kind, args) -> Any:
    return resolve(kind, read_flags(kind, args))


def parse(kind, args) -> Any:
    """The parsed settings by their flat names."""
    return flat(parse_settings(kind, args))


def read_settings(kind, file) -> Any:
    """The settings in a file."""
    return replace(resolve(kind, {"config": str(file)}), config=None)


def flat(settings) -> Any:
    return SimpleNamespace(**vars(settings))


def test_flags_are_the_fields_with_dashes():
    settings = parse(pretrain_settings, ["--batch-size", "7", "--loss", "nt-xent", "--compile"])
    assert (settings.batch_size, settings.method, settings.compile) == (7, "nt-xent", True)


def test_flags_override_the_config_file_which_overrides_defaults(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("views: 6\nlr: 1\nmargin: null\ntracker: tensorboard\n")
    settings = parse(pretrain_settings, ["--config", str(file), "--views", "5"])
    assert (settings.views, settings.lr, settings.tracker) == (5, 1.0, "tensorboard")
    assert settings.batch_size == flat(pretrain_settings({})()).batch_size


def test_a_flag_given_its_default_value_still_overrides_the_config_file(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(f"views: {flat(pretrain_settings({})()).views + 3}\n")
    settings = parse(pretrain_settings, ["--config", str(file), "--views", str(flat(pretrain_settings({})()).views)])
    assert settings.views == flat(pretrain_settings({})()).views


def test_another_method_than_that_of_the_config_file_comes_with_its_own_defaults(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("loss: gravis\nmargin: 0.3\ntemperature: 0.7\nlr: 0.5\n")
    other = parse(pretrain_settings, ["--config", str(file), "--method", "nt-xent"])
    same = parse(pretrain_settings, ["--config", str(file), "--loss", "gravis", "--margin", "0.1"])
    assert (other.method, other.temperature, other.lr) == ("nt-xent", 0.1, 0.5)
    assert (same.margin, same.temperature) == (0.1, 0.7)


def test_numbers_and_words_of_yaml_1_1_are_what_they_look_like(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("lr: 3e-4\nweight_decay: 1e+0\nmixed_precision: no\n")
    settings = flat(read_settings(pretrain_settings, file))
    assert (settings.lr, settings.weight_decay, settings.mixed_precision) == (3e-4, 1.0, "no")


def test_written_settings_read_back_equal(tmp_path):
    settings = complete(pretrain_settings({"method": "triplet"})(margin=0.3, lr=1e-5))
    write_settings(settings, tmp_path / "config.yaml")
    assert read_settings(pretrain_settings, tmp_path / "config.yaml") == settings


def test_the_published_recipe_is_what_the_authors_ran():
    file = Path(__file__).parents[3] / "recipes" / "configs" / "isic2017.yaml"
    settings = flat(complete(read_settings(pretrain_settings, file)))
    assert (settings.model, settings.image_size, settings.epochs) == ("resnet50", 224, 240)
    assert (settings.batch_size, settings.views, settings.projection_dim) == (16, 20, 128)
    assert (settings.opt, settings.lr, settings.momentum, settings.weight_decay) == (
        "momentum",
        1e-3,
        0.9,
        0.0,
    )
    assert (settings.sched, settings.warmup_epochs) == ("cosine", 0)
    published = vars(replace(PRESETS["published"], views=20))
    assert {name: vars(settings)[name] for name in published} == published


@pytest.mark.parametrize("kind", JOBS)
def test_every_setting_is_a_flat_flag_with_a_help_text(kind, capsys):
    with pytest.raises(SystemExit) as exit:
        parse_settings(kind, ["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for name in settings_of(kind):
        assert f"{flag(name)} " in text or f"{flag(name)}," in text
    assert "Short side of the cached images" in " ".join(text.split())


def test_a_name_in_two_groups_is_an_error():
    @dataclass(frozen=True, kw_only=True)
    class MoreSettings:
        """A group that has the name of another one's setting."""

        lr: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class TwiceSettings(OptimizationSettings, MoreSettings):
        """Two groups that share the name lr."""

    with pytest.raises(ValueError, match=r"^lr is a setting of MoreSettings and of another group"):
        settings_of(TwiceSettings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("views: [1", r"settings.yaml is not valid YAML: "),
        ("lr: 1e-3\nviews: 2\nlr: 1e-5", r"settings.yaml is not valid YAML: 'lr' is there twice"),
        ("- views", r"must contain `name: value` lines, not a list"),
        ("veiws: 3", r"unknown setting 'veiws'; did you mean views\?"),
        ("views: many", r"views must be an integer, not 'many'"),
        ("views: true", r"views must be an integer, not True"),
        ("lr: null", r"lr must be a number, not None"),
        ("loss: supcon", r"unknown --method supcon; methods: gravis, gravis-rank, nt-xent"),
        ("epochs: 0", r"epochs must be at least 1, not 0"),
        ("lr: 1e", r"lr must be a number, not '1e'"),
        ("margin: wide", r"margin must be a number, not 'wide'"),
    ],
)
def test_a_config_file_that_makes_no_sense_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        parse_settings(pretrain_settings, ["--config", str(file)])


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.yaml: no such config file; shipped configs: .*isic2017"):
        parse_settings(pretrain_settings, ["--config", str(tmp_path / "nowhere.yaml")])


def test_a_flag_for_an_argument_without_one_says_how_to_give_it():
    with pytest.raises(UserError, match=r"^--data is not a flag of this job: give DATA without it$"):
        parse_settings(CheckSettings, ["--data", "DIR"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--veiws", "3"], "unknown flag --veiws; did you mean --views?"),
        (["-o", "3"], "unknown flag -o"),
        (["--views", "x"], "--views must be an integer, not 'x'"),
        (
            ["--loss", "nt-xnet"],
            "unknown --method nt-xnet; did you mean nt-xent?",
        ),
        (["--views"], "argument --views: expected one argument"),
        (["7"], "unexpected argument '7'"),
    ],
)
def test_invalid_flags_are_named_with_what_is_valid(args, message):
    with pytest.raises(UserError) as error:
        parse_settings(pretrain_settings, args)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        (["--margin", "-1e-3"], "margin", -1e-3),
        (["--max-steps", "None"], "max_steps", None),
        (["--batch_size", "7"], "batch_size", 7),
        (["--output-dir=a_b"], "output_dir", "a_b"),
        (["--no-evaluate"], "evaluate", False),
    ],
)
def test_flags_take_negative_numbers_none_underscores_and_no(args, name, value):
    assert vars(parse(pretrain_settings, args))[name] == value


def test_paths_in_the_home_directory_are_expanded_in_flags_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    file = tmp_path / "config.yaml"
    file.write_text("output_dir: ~/runs/a\ndata: ~/images\n")
    of_file = flat(parse_settings(pretrain_settings, ["--config", str(file), "--cache-dir=~/cache"]))
    assert (of_file.output_dir, of_file.data) == ("/home/ada/runs/a", "/home/ada/images")
    assert of_file.cache_dir == "/home/ada/cache"


def test_configs_of_the_package_need_no_path():
    assert read_settings(pretrain_settings, "isic2017").model == "resnet50"


def test_keyword_arguments_are_checked_as_a_file_is():
    assert resolve(pretrain_settings, {"lr": 1}, where="pretrain").lr == 1.0
    with pytest.raises(UserError, match=r"^pretrain: unknown setting 'veiws'; did you mean views\?$"):
        resolve(pretrain_settings, {"veiws": 3}, where="pretrain")
    with pytest.raises(UserError, match=r"^pretrain: views must be at least 2, not 1$"):
        resolve(pretrain_settings, {"views": 1}, where="pretrain")


def test_sizes_and_epochs_follow_the_data_unless_given():
    synthetic, real, given = (
        flat(complete(pretrain_settings({})(**values)))
        for values in ({"data": "synthetic"}, {"data": "somewhere"}, {"image_size": 80, "cache_size": 100})
    )
    assert (synthetic.image_size, synthetic.cache_size) == (64, 96)
    assert (real.image_size, real.cache_size) == (224, 336)
    assert synthetic.epochs < real.epochs
    assert given.cache_size == 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--views", "1"], "--views must be at least 2, not 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1, not 0"),
        (["--epochs", "-3"], "--epochs must be at least 1, not -3"),
        (["--grayscale", "1.5"], "--grayscale must be at most 1, not 1.5"),
        (["--hue", "0.6"], "--hue must be at most 0.5, not 0.6"),
        (["--crop-scale", "0"], "--crop-scale must be above 0, not 0"),
        (["--val-fraction", "1"], "--val-fraction must be below 1, not 1"),
        (["--lr", "0"], "--lr must be above 0, not 0"),
        (["--temperature", "0"], "--temperature must be above 0, not 0"),
        (["--attention-temperature", "-1"], "--attention-temperature must be above 0, not -1"),
        (["--lr", "-1"], "--lr must be above 0, not -1"),
    ],
)
def test_values_out_of_range_are_refused_by_flag(args, message):
    with pytest.raises(UserError) as error:
        parse_settings(pretrain_settings, args)
    assert str(error.value) == message


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("kind", "name"), FLOATS)
def test_a_float_that_is_not_finite_is_rejected_by_flag(kind, name, value):
    with pytest.raises(UserError) as error:
        parse_settings(kind, [flag(name), value])
    assert str(error.value) == f"{flag(name)} must be a finite number, not {value}"


@pytest.mark.parametrize("kind", JOBS)
def test_every_job_rejects_a_value_out_of_range_as_soon_as_its_settings_are_read(kind, tmp_path):
    with pytest.raises(UserError, match=r"^--seed must be at least 0, not -1$"):
        parse_settings(kind, ["--seed", "-1"])
    file = tmp_path / "settings.yaml"
    file.write_text("seed: -1\n")
    with pytest.raises(UserError, match=r"settings.yaml: seed must be at least 0, not -1$"):
        parse_settings(kind, ["--config", str(file)])


def test_a_config_file_of_another_job_is_rejected(tmp_path):
    write_settings(EvaluateSettings(), tmp_path / "config.yaml")
    assert read_yaml(tmp_path / "config.yaml")["job"] == "evaluate"
    with pytest.raises(UserError, match=r"config.yaml has the settings of evaluate, not of pretrain"):
        read_settings(pretrain_settings, tmp_path / "config.yaml")


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """A linear model."""

    slope: Annotated[float, Field(gt=0)] = 1.0
    """Slope of the line."""


@dataclass(frozen=True, kw_only=True)
class ConstantSettings:
    """A constant model."""

    level: float = 0.0
    """Level of the line."""


@dataclass(frozen=True, kw_only=True)
class LinearJobSettings(RunSettings, LinearSettings):
    """Fit a line."""


@dataclass(frozen=True, kw_only=True)
class ConstantJobSettings(RunSettings, ConstantSettings):
    """Fit a constant."""


def fit_settings(values) -> type[LinearJobSettings | ConstantJobSettings]:
    return ConstantJobSettings if values.get("tracker") == "constant" else LinearJobSettings


def test_the_type_of_the_settings_may_depend_on_their_values(tmp_path, capsys):
    assert parse(fit_settings, ["--slope", "2"]).slope == 2.0
    assert parse(fit_settings, ["--level", "-2", "--tracker", "constant"]).level == -2.0
    (tmp_path / "fit.yaml").write_text("tracker: constant\nlevel: 3\n")
    assert parse(fit_settings, ["--config", str(tmp_path / "fit.yaml"), "--seed", "1"]).level == 3.0
    with pytest.raises(UserError, match=r"^unknown flag --slope"):
        parse(fit_settings, ["--tracker", "constant", "--slope", "2"])
    with pytest.raises(SystemExit):
        parse(fit_settings, ["--tracker", "constant", "--help"])
    assert "A constant model:\n  --level FLOAT" in capsys.readouterr().out


def test_a_checkpoint_belongs_to_its_run(tmp_path):
    assert RunDirectory.of(tmp_path / "run" / "checkpoints" / "step-00000003").path == tmp_path / "run"
    assert RunDirectory.of(tmp_path / "run").path == tmp_path / "run"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"pretrained": True, "encoder": "RUN"},
            "--pretrained conflicts with --encoder RUN: drop one of them",
        ),
        ({"total_views": 100, "epochs": 3}, "--total-views and --epochs both set the training length"),
        (
            {"streaming": True, "columns": "image=a"},
            "--columns is for tables, but --streaming reads",
        ),
    ],
)
def test_settings_of_pre_training_that_contradict_each_other_are_an_error(values, message):
    with pytest.raises(UserError, match=f"^pretrain: {message}"):
        resolve(pretrain_settings, values, where="pretrain")


def test_pretrained_means_imagenet_and_an_opened_encoder_decides_what_is_left_open():
    settings = flat(complete(pretrain_settings({})(pretrained=True)))
    assert (settings.encoder, settings.model) == ("imagenet", "resnet10t")  # for synthetic images
    opened = flat(complete(pretrain_settings({})(), model="vit_tiny_patch16_224", image_size=96))
    assert (opened.model, opened.image_size) == ("vit_tiny_patch16_224", 96)


@pytest.mark.parametrize("name", ["pipe.yaml", "directory.yaml"])
def test_a_config_that_is_no_regular_file_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "directory.yaml").mkdir()
    with pytest.raises(UserError, match=rf"{name} is not a regular file: copy it to one"):
        read_yaml(tmp_path / name)


def test_numbers_of_numpy_are_numbers():
    given = {"lr": np.float32(0.5), "views": np.int64(3), "evaluate": np.bool_(False)}
    settings = resolve(pretrain_settings, given, where="here")
    assert (settings.lr, settings.views, settings.evaluate) == (
        0.5,
        3,
        False,
    )


def test_what_a_resumed_run_changes_is_listed(tmp_path):
    write_settings(pretrain_settings({})(), tmp_path / "config.yaml")
    now = pretrain_settings({})(lr=0.5, max_steps=9, num_workers=3)
    changed = changed_settings(now, read_yaml(tmp_path / "config.yaml"))
    assert changed == {"lr": (0.001, 0.5), "max_steps": (None, 9)}


def test_columns_of_a_test_set_need_one():
    with pytest.raises(UserError, match="--test-columns has no effect without --test-data: drop it"):
        resolve(EvaluateSettings, {"test_columns": "label=x"})


def test_an_array_is_no_number():
    with pytest.raises(UserError, match="seed"):
        resolve(pretrain_settings, {"seed": np.array([1, 2])})
