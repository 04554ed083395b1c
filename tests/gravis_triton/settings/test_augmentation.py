from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gravis_triton.errors import UserError
from gravis_triton.settings.augmentation import PRESETS, ViewSettings
from gravis_triton.settings.config import write_settings
from gravis_triton.settings.defaults import complete
from gravis_triton.settings.flags import read_flags
from gravis_triton.settings.jobs import PretrainSettings
from gravis_triton.settings.resolve import augmentation, resolve

CONFIGS = Path(__file__).parents[3] / "recipes" / "configs"


def strengths(settings: PretrainSettings | ViewSettings) -> dict[str, Any]:
    """Everything about the steps of augmentation: neither the preset's name nor the number of views."""
    return {name: getattr(settings, name) for name in asdict(ViewSettings()) if name not in ("augment", "views")}


def parsed(*args: object) -> PretrainSettings:
    return complete(resolve(PretrainSettings, read_flags(PretrainSettings, [str(arg) for arg in args])))


def test_the_default_is_the_named_default_throughout():
    assert strengths(parsed()) == strengths(PRESETS[ViewSettings.augment])


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_decides_every_step_and_not_the_number_of_views(name):
    settings = parsed("--augment", name, "--views", 7)
    assert strengths(settings) == strengths(PRESETS[name])
    assert settings.views == 7
    assert settings.augment == name


def test_color_kept_has_weaker_jitter_no_grayscale_and_the_published_geometry():
    kept, published = PRESETS["color-kept"], PRESETS["published"]
    colors = ("brightness", "contrast", "saturation", "hue")
    assert all(0 < getattr(kept, name) < getattr(published, name) for name in colors)
    assert kept.grayscale == 0
    unlike = {name for name, value in strengths(kept).items() if value != getattr(published, name)}
    assert unlike == {"grayscale", *colors}


def test_the_default_keeps_the_color_of_the_skin_and_the_published_geometry():
    default, published = PRESETS[ViewSettings.augment], PRESETS["published"]
    assert default.grayscale == default.stain == default.illuminant == 0
    colors = ("brightness", "contrast", "saturation", "hue")
    assert all(0 < getattr(default, name) < getattr(published, name) for name in colors)
    unlike = {name for name, value in strengths(default).items() if value != getattr(published, name)}
    assert unlike == {"grayscale", *colors}


def test_flags_change_single_values_of_a_preset():
    settings = parsed("--augment", "dermoscopy", "--hair", 0.9, "--rotation", 10)
    expected = {**asdict(PRESETS["dermoscopy"]), "hair": 0.9, "rotation": 10.0}
    assert strengths(settings) == strengths(ViewSettings(**expected))


def test_a_file_starts_from_the_default_augmentation(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("hair: 1\ncutout_holes: 0\n")
    assert strengths(parsed("--augment", file)) == strengths(ViewSettings(hair=1.0, cutout_holes=0))
    assert strengths(parsed("--augment", file, "--hair", 0.5)) == strengths(ViewSettings(hair=0.5, cutout_holes=0))


def test_a_config_file_names_an_augmentation_and_may_change_it(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("augment: dermoscopy\nhair: 0.7\nviews: 6\n")
    settings = parsed("--config", file, "--ink", 0.2)
    assert strengths(settings) == strengths(ViewSettings(**{**asdict(PRESETS["dermoscopy"]), "hair": 0.7, "ink": 0.2}))
    assert settings.views == 6


def test_an_augmentation_given_as_a_flag_takes_the_place_of_the_config_files(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("augment: dermoscopy\nhair: 0.7\nviews: 6\nlr: 0.5\n")
    settings = parsed("--config", file, "--augment", "published")
    assert strengths(settings) == strengths(PRESETS["published"])
    assert (settings.views, settings.lr) == (6, 0.5)


def test_a_resumed_run_keeps_its_augmentation_even_if_its_file_has_changed_or_gone(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("hair: 0.6\n")
    settings = parsed("--augment", file, "--vertical-flip", 0.5)
    write_settings(settings, tmp_path / "config.yaml")
    file.unlink()
    again = parsed("--resume", tmp_path)
    assert strengths(again) == strengths(settings) == strengths(ViewSettings(hair=0.6, vertical_flip=0.5))


def test_dermoscopy_has_every_step_but_no_up_and_little_hue():
    assert strengths(parsed("--augment", CONFIGS / "augmentation.yaml")) == strengths(PRESETS["dermoscopy"])
    assert PRESETS["dermoscopy"] == ViewSettings(
        augment="dermoscopy", rotation=180.0, vertical_flip=0.5, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.03,
        grayscale=0.2, stain=0.5, hair=0.3, ink=0.05, ruler=0.1, bubbles=0.15, defocus=0.2, blur=0.3, vignette=0.15,
        illuminant=0.5, constancy=0.2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hairs: 0.5", "unknown setting 'hairs'; did you mean hair"),
        ("views: 5", "unknown setting 'views'"),
        ("hair: 1.5", "hair must be at most 1, not 1.5"),
        ("crop_scale: 0", "crop_scale must be above 0, not 0"),
        ("defocus_radius: 0.5", "defocus_radius must be at least 1, not 0.5"),
        ("hue: .nan", "hue must be a finite number, not nan"),
        ("cutout_holes: 1.5", "cutout_holes must be an integer, not 1.5"),
        ("hair", "must contain `name: value` lines, not a str"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_file_and_name(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        augmentation(str(file))
    said = str(error.value)
    assert str(file) in said
    assert message in said
    assert "\n" not in said


def test_a_name_that_is_neither_preset_nor_file_is_answered_with_the_nearest():
    with pytest.raises(UserError) as error:
        augmentation("dermatoscopy")
    assert str(error.value) == (
        f"--augment dermatoscopy is neither a preset ({', '.join(PRESETS)}) nor a file; did you mean dermoscopy?"
    )


def test_probabilities_given_as_flags_are_checked_too():
    with pytest.raises(UserError, match=r"^--bubbles must be at most 1, not 2$"):
        parsed("--augment", "dermoscopy", "--bubbles", 2)
