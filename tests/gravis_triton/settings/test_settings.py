import dataclasses
from pathlib import Path
from typing import get_type_hints

import pytest

from gravis_triton.augment import ViewRecipe
from gravis_triton.errors import UserError
from gravis_triton.losses import resolve_loss
from gravis_triton.settings import (
    ClassificationSettings,
    EvaluateSettings,
    PretrainSettings,
    SegmentationSettings,
    flag,
    parse_settings,
    read_settings,
    resolve_settings,
    run_directory,
    write_settings,
)


def test_flags_are_the_fields_with_dashes():
    settings = parse_settings(PretrainSettings, ["--batch-size", "7", "--loss", "nt-xent", "--compile"])
    assert (settings.batch_size, settings.loss, settings.compile) == (7, "nt-xent", True)


def test_flags_override_the_config_file_which_overrides_defaults(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("views: 6\nlr: 1\nmargin: null\ntracker: tensorboard\n")
    settings = parse_settings(PretrainSettings, ["--config", str(file), "--views", "5"])
    assert (settings.views, settings.lr, settings.tracker) == (5, 1.0, "tensorboard")
    assert settings.batch_size == PretrainSettings().batch_size


def test_a_flag_given_its_default_value_still_overrides_the_config_file(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(f"views: {PretrainSettings().views + 3}\n")
    settings = parse_settings(
        PretrainSettings, ["--config", str(file), "--views", str(PretrainSettings().views)]
    )
    assert settings.views == PretrainSettings().views


def test_written_settings_read_back_equal(tmp_path):
    settings = resolve_settings(dataclasses.replace(PretrainSettings(), margin=0.3, loss="triplet", lr=1e-5))
    write_settings(settings, tmp_path / "config.yaml")
    assert read_settings(PretrainSettings, tmp_path / "config.yaml") == settings


def test_the_published_recipe_is_what_the_authors_ran():
    file = Path(__file__).parents[3] / "recipes" / "configs" / "isic2017.yaml"
    settings = resolve_loss(resolve_settings(read_settings(PretrainSettings, file)))
    assert (settings.model, settings.image_size, settings.epochs) == ("resnet50", 224, 240)
    assert (settings.batch_size, settings.views, settings.projection_dim) == (16, 20, 128)
    assert (settings.opt, settings.lr, settings.momentum, settings.weight_decay) == (
        "momentum",
        1e-3,
        0.9,
        0.0,
    )
    assert (settings.sched, settings.warmup_epochs) == ("cosine", 0)
    recipe = ViewRecipe(views=20)  # the strengths are the published ones by default
    assert all(
        getattr(settings, field.name) == getattr(recipe, field.name) for field in dataclasses.fields(recipe)
    )


def test_every_setting_has_a_help_text(capsys):
    with pytest.raises(SystemExit) as exit:
        parse_settings(PretrainSettings, ["--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(PretrainSettings):
        assert flag(field.name) in text
    assert "Views made of every source image" in text
    assert "Short side of the decoded images" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("views: [1", r"settings.yaml is not valid YAML: "),
        ("- views", r"must hold `name: value` lines, not a list"),
        ("veiws: 3", r"there is no setting 'veiws'; did you mean 'views'\?"),
        ("views: many", r"views must be int, not 'many'"),
        ("views: true", r"views must be int, not True"),
        ("lr: null", r"lr must be float, not None"),
        ("loss: supcon", r"loss must be gravis\|gravis-rank\|nt-xent\|triplet, not 'supcon'"),
        ("margin: wide", r"margin must be float or null, not 'wide'"),
    ],
)
def test_a_config_file_that_makes_no_sense_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        parse_settings(PretrainSettings, ["--config", str(file)])


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the config file .*nowhere.yaml: No such file"):
        parse_settings(PretrainSettings, ["--config", str(tmp_path / "nowhere.yaml")])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--veiws", "3"], r"^Unrecognized options: --veiws, 3; perhaps you meant --views$"),
        (["--views", "x"], r"^Error parsing --views: invalid literal .*'x'; --help lists the flags$"),
        (
            ["--loss", "x"],
            r"^invalid choice 'x' for argument '--loss'.*'gravis-rank'.*; --help lists the flags$",
        ),
        (["--views"], r"^Missing value for argument '--views'.*; --help lists the flags$"),
    ],
)
def test_flags_that_make_no_sense_are_answered_in_one_line(args, message):
    with pytest.raises(UserError, match=message) as error:
        parse_settings(PretrainSettings, args)
    assert "\n" not in str(error.value)


def test_sizes_and_epochs_follow_the_data_unless_given():
    synthetic, real = (resolve_settings(PretrainSettings(data=d)) for d in ("synthetic", "somewhere"))
    assert (synthetic.image_size, synthetic.cache_size) == (64, 96)
    assert (real.image_size, real.cache_size) == (224, 336)
    assert synthetic.epochs < real.epochs
    assert resolve_settings(PretrainSettings(image_size=80, cache_size=100)).cache_size == 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--views", "1"], "--views must be at least 2, not 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1, not 0"),
        (["--epochs", "-3"], "--epochs must be at least 0, not -3"),
        (["--grayscale", "1.5"], "--grayscale must lie between 0 and 1, not 1.5"),
        (["--hue", "0.6"], "--hue must lie between 0 and 0.5, not 0.6"),
        (["--crop-scale", "0"], "--crop-scale must be above 0 and at most 1, not 0.0"),
        (["--held-out", "1"], "--held-out must lie between 0 and 1, not 1.0"),
        (["--lr", "0"], "--lr must be positive, not 0.0"),
        (["--lr", "-1"], "--lr must be positive, not -1.0"),
    ],
)
def test_values_out_of_range_are_refused_by_flag(args, message):
    with pytest.raises(UserError) as error:
        parse_settings(PretrainSettings, args)
    assert str(error.value) == message


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "name",
    [name for name, hint in get_type_hints(ClassificationSettings).items() if hint is float]
    + ["temperature", "margin", "hair"],
)
def test_a_float_that_is_no_finite_number_is_refused_by_flag(name, value):
    kind = ClassificationSettings if hasattr(ClassificationSettings, name) else PretrainSettings
    with pytest.raises(UserError) as error:
        parse_settings(kind, [flag(name), value])
    assert str(error.value) == f"{flag(name)} must be a finite number, not {value}"


@pytest.mark.parametrize(
    "kind", [PretrainSettings, EvaluateSettings, ClassificationSettings, SegmentationSettings]
)
def test_every_recipe_is_told_of_a_value_out_of_range_as_soon_as_its_settings_are_read(kind, tmp_path):
    message = "^--seed must be at least 0, not -1$"
    with pytest.raises(UserError, match=message):
        parse_settings(kind, ["--seed", "-1"])
    file = tmp_path / "settings.yaml"
    file.write_text("seed: -1\n")
    with pytest.raises(UserError, match=message):
        parse_settings(kind, ["--config", str(file)])
    assert parse_settings(kind, ["--config", str(file), "--seed", "3"]).seed == 3


def test_a_checkpoint_belongs_to_its_run(tmp_path):
    assert run_directory(tmp_path / "run" / "checkpoints" / "step-00000003") == tmp_path / "run"
    assert run_directory(tmp_path / "run") == tmp_path / "run"
