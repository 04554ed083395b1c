"""Named augmentations."""

from collections.abc import Mapping

from gravis_triton.augment.recipe import ViewRecipe

PRESETS: Mapping[str, ViewRecipe] = {
    "published": ViewRecipe(),
    "dermoscopy": ViewRecipe(
        rotation=180.0,  # dermoscopy has no up
        vertical_flip=0.5,
        hue=0.03,  # colour tells lesions apart: what varies is skin and light, by steps of their own
        saturation=0.2,
        stain=0.5,
        hair=0.3,
        ink=0.05,
        ruler=0.1,
        bubbles=0.15,
        defocus=0.2,
        blur=0.3,  # together with defocus about half of the views are blurred, as published
        vignette=0.15,
        illuminant=0.5,
        constancy=0.2,
    ),
}
"""How views are made under each name; the number of views is not part of it."""
