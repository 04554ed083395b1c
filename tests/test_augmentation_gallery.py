import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gravis_triton.settings.augmentation import PRESETS


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("gallery")
    script = Path(__file__).parents[1] / "docs" / "augmentation.py"
    runpy.run_path(str(script))["write_gallery"](directory)
    return directory


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file)).astype(float)


def test_a_step_changes_only_the_lower_row_of_its_image(gallery):
    steps = {file.stem for file in gallery.iterdir()} - set(PRESETS)
    assert steps == {
        "crop", "stain", "hair", "ink", "ruler", "bubbles", "defocus", "vignette", "illuminant", "constancy",
        "jitter", "grayscale", "blur", "cutout",
    }  # fmt: skip
    before = pixels(gallery / "hair.jpg")[2:128]
    for step in steps:
        picture = pixels(gallery / f"{step}.jpg")
        above, below = picture[2:128], picture[132:258]
        assert np.abs(above - before).mean() < 1, step  # JPEG
        assert np.abs(below - above).mean() > 1, step


def test_a_preset_has_rows_of_an_image_and_six_views(gallery):
    for preset in PRESETS:
        assert Image.open(gallery / f"{preset}.jpg").size == (7 * 130 + 2, 4 * 130 + 2)
