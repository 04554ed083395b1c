"""The model card of a run for the Hugging Face Hub."""

from importlib import metadata
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from gravis_triton.errors import UserError
from gravis_triton.report.page.run import read_test_predictions, score_table
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import kind_of, read_run, result_of

_LIBRARY = {"pre-training": "timm"}
_TASK = {
    "pre-training": "image-feature-extraction",
    "classification": "image-classification",
    "segmentation": "image-segmentation",
}
_WHAT = {
    "pre-training": "An image encoder, pre-trained without labels on dermatology images.",
    "classification": "A classifier of skin diseases in dermatology images.",
    "segmentation": "A network that segments skin lesions in dermatology images.",
}


def model_card(run: RunDirectory, repository: str, *, license: str) -> str:
    """README.md of a repository with the encoder or the fine-tuned model of a run.

    license: of the training images. Raises UserError for a directory without a finished run.
    """
    config, summary = read_run(run)
    kind = kind_of(config)
    if kind not in _TASK:
        raise UserError(f"{run} is an evaluation: give a pre-training or fine-tuning run")
    environment = Environment(  # Markdown, not HTML
        loader=PackageLoader("gravis_triton.report.page", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("card.md.j2").render(
        metadata=_metadata(kind).to_yaml().strip(),
        title=repository.split("/")[-1],
        lead=result_of(summary),
        what=_WHAT[kind],
        version=metadata.version("gravis-triton"),
        code=_code(kind, repository),
        crop="whole image" if kind == "segmentation" else "largest central square",
        size=config["image_size"],
        data=_data(config, summary),
        license=license,
        tables=[score_table(one, summary) for one in read_test_predictions(run, summary)],
        settings=_settings(config),
    )


def _metadata(kind: str) -> ModelCardData:
    return ModelCardData(
        library_name=_LIBRARY.get(kind, "gravis-triton"),
        pipeline_tag=_TASK[kind],
        tags=["dermatology", "medical", "gravis"],
    )


def _code(kind: str, repository: str) -> str:
    if kind == "pre-training":
        return f'import timm\n\nencoder = timm.create_model("hf-hub:{repository}", pretrained=True)'
    return (
        "from huggingface_hub import snapshot_download\n\nimport gravis_triton as gt\n\n"
        f'model = gt.load(snapshot_download("{repository}"))\nprediction = model.predict("image.jpg")'
    )


def _data(config: dict[str, Any], summary: dict[str, Any]) -> str:
    name = Path(str(config["data"])).name
    return f"{name}: {summary['training_images']:,} training and {summary['validation_images']:,} validation images"


def _settings(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """The main settings; the others are in config.yaml."""
    names = (
        "model",
        "encoder",
        "loss",
        "views",
        "image_size",
        "batch_size",
        "epochs",
        "total_views",
        "opt",
        "lr",
    )
    return [(name, Path(str(config[name])).name) for name in names if config.get(name) is not None]
