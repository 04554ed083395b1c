"""Pictures made small without distortion."""

import numpy as np
from PIL import Image

# Nothing that a dermatoscope or a camera makes is longer than this times its width.
LONGEST_ASPECT = 16


def resized_pixels(image: Image.Image, short_side: int) -> np.ndarray:
    """`image` as (height, width, 3) uint8 with min(height, width) == short_side.

    The whole field of view and the aspect ratio are kept (the long side is rounded to whole pixels);
    antialiased bicubic. Raises ValueError for a picture longer than 16 times its short side.
    """
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(side * scale)) for side in image.size)
    if max(width, height) > LONGEST_ASPECT * short_side:
        raise ValueError(
            f"{image.width} x {image.height} is longer than {LONGEST_ASPECT} times its short side"
        )
    # reducing_gap averages whole blocks first: as good to the eye, and much faster for large pictures.
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized.convert("RGB"))
