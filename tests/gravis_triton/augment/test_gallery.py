import numpy as np
from PIL import Image

from gravis_triton.augment import PRESETS
from gravis_triton.augment.gallery import write_gallery


def pixels(file) -> np.ndarray:
    return np.asarray(Image.open(file)).astype(float)


def test_every_step_changes_the_lower_row_of_its_picture_alone(tmp_path):
    write_gallery(tmp_path)
    steps = {file.stem for file in tmp_path.iterdir()} - set(PRESETS)
    assert steps == {
        "crop", "stain", "hair", "ink", "ruler", "bubbles", "defocus", "vignette", "illuminant", "constancy",
        "jitter", "grayscale", "blur", "cutout",
    }  # fmt: skip
    before = pixels(tmp_path / "hair.jpg")[2:128]
    for step in steps:
        picture = pixels(tmp_path / f"{step}.jpg")
        above, below = picture[2:128], picture[132:258]
        assert np.abs(above - before).mean() < 1, step  # JPEG
        assert np.abs(below - above).mean() > 1, step


def test_every_preset_has_a_picture_of_an_image_and_six_views_a_row(tmp_path):
    write_gallery(tmp_path)
    for preset in PRESETS:
        assert Image.open(tmp_path / f"{preset}.jpg").size == (7 * 130 + 2, 4 * 130 + 2)
