"""What `--augment` stands for."""

import difflib
from pathlib import Path
from typing import Any, get_type_hints

from gravis_triton.augment import PRESETS, ViewRecipe
from gravis_triton.errors import UserError
from gravis_triton.settings.ranges import check_ranges
from gravis_triton.settings.values import read_values

STEPS = {name: hint for name, hint in get_type_hints(ViewRecipe).items() if name != "views"}
"""Names and types of all that an augmentation decides: probabilities and strengths, not the number of views."""


def augmentation(name: str) -> dict[str, Any]:
    """Probabilities and strengths of all steps under a preset's name, or from a YAML file of `name: value` lines.

    What the file does not name is as published. Raises UserError where the name is neither, and for a file that is
    malformed, has an unknown name, or a value of a wrong type or out of range.
    """
    if name in PRESETS:
        recipe = PRESETS[name]
    else:
        file = Path(name)
        if not file.is_file():
            near = difflib.get_close_matches(name, PRESETS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"--augment {name} is neither {', '.join(PRESETS)} nor a file{meant}")
        recipe = ViewRecipe(**read_values(file, STEPS))
        check_ranges(recipe, lambda step: f"{file}: {step}")
    return {step: getattr(recipe, step) for step in STEPS}
