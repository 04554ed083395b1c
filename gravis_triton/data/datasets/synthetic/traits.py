"""What dermatologists look for, per class: the one place where the classes differ."""

from dataclasses import dataclass, replace

import numpy as np

SYNTHETIC_CLASSES = ("melanoma", "seborrheic_keratosis", "nevus")

# ISIC 2017, training split: 374, 254 and 1372 of 2000.
_CUMULATIVE = (374 / 2000, (374 + 254) / 2000)

# How often a group of traits is borrowed from another class, so that no single sign is decisive.
_BORROWED = 0.06


@dataclass(frozen=True)
class Traits:
    """One lesion's signs. Strengths run from 0 (absent) to 1.

    Outline: asymmetry and irregularity are relative amplitudes of the radius at low and high frequency;
    softness is the border's width relative to the radius, abruptness how much that changes around the border.
    Color: colors is the number of color compartments; eccentricity how far from the center the darkest is.
    Structure: strengths, and disorder (0 regular, 1 atypical) of network and globules.
    """

    asymmetry: float
    irregularity: float
    softness: float
    abruptness: float
    colors: int
    eccentricity: float
    network: float
    globules: float
    disorder: float
    streaks: float
    veil: float
    regression: float
    cysts: float
    openings: float
    ridges: float


OUTLINE = ("asymmetry", "irregularity", "softness", "abruptness")
COLOR = ("colors", "eccentricity", "veil", "regression")
STRUCTURE = ("network", "globules", "disorder", "streaks", "cysts", "openings", "ridges")


@dataclass(frozen=True)
class Profile:
    """Distribution of a class's traits: ranges are uniform; signs are (probability, weakest, strongest)."""

    asymmetry: tuple[float, float]
    irregularity: tuple[float, float]
    softness: tuple[float, float]
    abruptness: tuple[float, float]
    colors: tuple[float, ...]  # probability of 1, 2, 3, ... colors
    eccentricity: tuple[float, float]
    patterns: tuple[float, float, float]  # probability of network, globules, neither
    disorder: tuple[float, float]
    streaks: tuple[float, float, float]
    veil: tuple[float, float, float]
    regression: tuple[float, float, float]
    cysts: tuple[float, float, float]
    openings: tuple[float, float, float]
    ridges: tuple[float, float, float]


PROFILES = (
    Profile(  # melanoma: asymmetric, notched, many colors, atypical structures
        asymmetry=(0.12, 0.27),
        irregularity=(0.05, 0.14),
        softness=(0.05, 0.20),
        abruptness=(0.4, 1.0),
        colors=(0.0, 0.08, 0.40, 0.35, 0.17),
        eccentricity=(0.3, 0.8),
        patterns=(0.35, 0.20, 0.45),
        disorder=(0.6, 1.0),
        streaks=(0.50, 0.5, 1.0),
        veil=(0.6, 0.6, 1.0),
        regression=(0.35, 0.4, 1.0),
        cysts=(0.04, 0.3, 0.6),
        openings=(0.03, 0.3, 0.6),
        ridges=(0.02, 0.3, 0.6),
    ),
    Profile(  # seborrheic keratosis: stuck-on sharp border, cysts, plugged openings, fissures and ridges
        asymmetry=(0.04, 0.18),
        irregularity=(0.02, 0.09),
        softness=(0.02, 0.06),
        abruptness=(0.0, 0.3),
        colors=(0.40, 0.40, 0.20),
        eccentricity=(0.0, 0.5),
        patterns=(0.0, 0.05, 0.95),
        disorder=(0.3, 0.8),
        streaks=(0.02, 0.3, 0.6),
        veil=(0.05, 0.3, 0.6),
        regression=(0.03, 0.3, 0.5),
        cysts=(0.85, 0.7, 1.0),
        openings=(0.75, 0.7, 1.0),
        ridges=(0.75, 0.7, 1.0),
    ),
    Profile(  # nevus: symmetric, regular, one or two colors, an orderly network or globules, fading out
        asymmetry=(0.02, 0.13),
        irregularity=(0.01, 0.06),
        softness=(0.10, 0.30),
        abruptness=(0.0, 0.3),
        colors=(0.60, 0.37, 0.03),
        eccentricity=(0.0, 0.3),
        patterns=(0.58, 0.34, 0.08),
        disorder=(0.0, 0.25),
        streaks=(0.04, 0.4, 0.8),
        veil=(0.03, 0.3, 0.6),
        regression=(0.02, 0.3, 0.5),
        cysts=(0.05, 0.3, 0.6),
        openings=(0.03, 0.3, 0.6),
        ridges=(0.02, 0.3, 0.6),
    ),
)


def stream(seed: int, index: int, part: int) -> np.random.Generator:
    """The random numbers of one part of one image: draws for one part never affect another."""
    return np.random.default_rng([seed, index, part])


def label_of(seed: int, index: int) -> int:
    """Class of image `index`: an index into SYNTHETIC_CLASSES, drawn in the proportions of ISIC 2017."""
    return int(np.searchsorted(_CUMULATIVE, stream(seed, index, 0).uniform(), side="right"))


def draw_traits(label: int, rng: np.random.Generator) -> Traits:
    """Traits of a lesion of class `label`; each group is occasionally borrowed from another class."""
    traits = _from_profile(PROFILES[label], rng)
    for group in (OUTLINE, COLOR, STRUCTURE):
        other = PROFILES[(label + int(rng.integers(1, 3))) % 3]
        loan = _from_profile(other, rng)
        if rng.uniform() < _BORROWED:
            traits = replace(traits, **{name: getattr(loan, name) for name in group})
    return traits


def _from_profile(profile: Profile, rng: np.random.Generator) -> Traits:
    def sign(chance: float, weakest: float, strongest: float) -> float:
        strength = rng.uniform(weakest, strongest)
        return float(strength if rng.uniform() < chance else 0.0)

    pattern = int(rng.choice(3, p=profile.patterns))
    strength = float(rng.uniform(0.7, 1.0))
    return Traits(
        asymmetry=rng.uniform(*profile.asymmetry),
        irregularity=rng.uniform(*profile.irregularity),
        softness=rng.uniform(*profile.softness),
        abruptness=rng.uniform(*profile.abruptness),
        colors=1 + int(rng.choice(len(profile.colors), p=profile.colors)),
        eccentricity=rng.uniform(*profile.eccentricity),
        network=strength if pattern == 0 else 0.0,
        globules=strength if pattern == 1 else 0.0,
        disorder=rng.uniform(*profile.disorder),
        streaks=sign(*profile.streaks),
        veil=sign(*profile.veil),
        regression=sign(*profile.regression),
        cysts=sign(*profile.cysts),
        openings=sign(*profile.openings),
        ridges=sign(*profile.ridges),
    )
