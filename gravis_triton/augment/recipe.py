"""How views are augmented: every step's switch and strength."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
    """How many views, and how strongly they are augmented; the defaults are the published strengths
    (arXiv 2301.04410 and its released code). A probability of 0 leaves a step out."""

    views: int = 4
    """Views made of every source image in a step."""
    crop_scale: float = 0.2
    """Smallest area of a crop, as a share of the image's; the largest is 1."""
    rotation: float = 10.0
    """Largest rotation either way, in degrees."""
    brightness: float = 0.4
    """Half-width of the brightness factor's range around 1."""
    contrast: float = 0.4
    """Half-width of the contrast factor's range around 1."""
    saturation: float = 0.4
    """Half-width of the saturation factor's range around 1."""
    hue: float = 0.1
    """Largest hue shift either way, in turns of the colour wheel."""
    grayscale: float = 0.2
    """Probability of a grey view."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: float = 2.0
    """Largest standard deviation of the blur, in pixels of a 224-pixel view; the smallest is 0.1."""
    flip: float = 0.5
    """Probability of a horizontal mirror image."""
    cutout_holes: int = 3
    """Squares cut out of every view."""
    cutout_side: float = 32.0
    """Side of a cut-out square, in pixels of a 224-pixel view."""
    vertical_flip: float = 0.0
    """Probability of a vertical mirror image: dermoscopy has no up."""
    stain: float = 0.0
    """Probability of more or less melanin and haemoglobin in the skin."""
    hair: float = 0.0
    """Probability of hairs across the view."""
    ink: float = 0.0
    """Probability of strokes of a skin marker."""
    ruler: float = 0.0
    """Probability of a ruler's marks along one side."""
    bubbles: float = 0.0
    """Probability of gel bubbles and reflections."""
    defocus: float = 0.0
    """Probability of a lens out of focus."""
    defocus_radius: float = 3.0
    """Largest radius of a point out of focus, in pixels of a 224-pixel view; the smallest is 1."""
    vignette: float = 0.0
    """Probability of dark corners."""
    illuminant: float = 0.0
    """Probability of light of another colour."""
    constancy: float = 0.0
    """Probability of colour constancy by shades of grey, after all that changes the light."""
