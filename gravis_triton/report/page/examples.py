"""Sections about single images: similarity and attention of views, nearest neighbors, t-SNE of the features."""

import numpy as np

from gravis_triton.evaluation import Examples, read_examples
from gravis_triton.report.figures import COLORS, shown_name
from gravis_triton.report.page.html import Dot, Picture, Section, new_page_figure, styled
from gravis_triton.run_directory import RunDirectory


def example_sections(run: RunDirectory) -> list[Section]:
    """The sections of a pre-training run that has saved examples; empty for other runs."""
    if not run.examples.is_file():
        return []
    examples = read_examples(run.examples)
    sections = [_heat_maps(examples)] if len(examples.similarity) else []
    if len(examples.neighbors):
        sections.append(_neighbors(examples))
    if len(examples.map):
        sections.append(_map(examples))
    return sections


def _heat_maps(examples: Examples) -> Section:
    with styled():
        count = len(examples.similarity)
        figure = new_page_figure(2.3 * count + 0.8, 4.6)
        panels = figure.subplots(2, count, squeeze=False)
        for row, (name, values, low) in enumerate(
            (("similarity", examples.similarity, -1.0), ("attention", examples.attention, 0.0))
        ):
            for axes, matrix in zip(panels[row], values, strict=True):
                image = axes.imshow(matrix, vmin=low, vmax=1.0, cmap="viridis")
                axes.set_xticks([])
                axes.set_yticks([])
            panels[row][0].set_ylabel(name)
            figure.colorbar(image, ax=list(panels[row]), shrink=0.8)
        picture = Picture.of_figure(
            figure,
            f"Similarity and attention between the views of {count} images",
            "One image per column. Top: cosine similarity between its views. Bottom: attention of the view "
            "in the row to the others.",
        )
    return Section("Views of one image", pictures=[picture])


def _neighbors(examples: Examples) -> Section:
    rows = []
    for query, nearest in enumerate(examples.neighbors):
        own = examples.labels[query]
        row = [(_thumbnail(examples, query), "")]
        row += [(_thumbnail(examples, index), _mark(own, examples.labels[index])) for index in nearest]
        rows.append(row)
    text = (
        "Each row: a validation image, then the training images with the most similar features. "
        "Solid frame: same class; dashed frame: different class."
    )
    return Section("Nearest neighbors", text=text, thumbnails=rows)


def _mark(own: int, other: int) -> str:
    return "right" if own == other else "wrong"


def _map(examples: Examples) -> Section:
    low, high = examples.map.min(0), examples.map.max(0)
    places = 3 + 94 * (examples.map - low) / np.maximum(high - low, 1e-9)
    dots = [
        Dot(
            float(left), float(top), COLORS[examples.labels[index] % len(COLORS)], _thumbnail(examples, index)
        )
        for index, (left, top) in enumerate(places)
    ]
    legend = [(shown_name(name), COLORS[label % len(COLORS)]) for label, name in enumerate(examples.classes)]
    return Section(
        "t-SNE of the validation images",
        text="t-SNE of the features; hover over a dot to see its image.",
        dots=dots,
        legend=legend,
    )


def _thumbnail(examples: Examples, index: int) -> Picture:
    name = shown_name(str(examples.classes[examples.labels[index]]))
    return Picture.of_pixels(examples.thumbnails[index], f"{examples.ids[index]}, {name}")
