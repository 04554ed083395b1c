"""The model card of a run for the Hugging Face Hub."""

from importlib import metadata
from pathlib import Path

from huggingface_hub import ModelCardData

from gravis_triton.comparison.results import read_run_predictions
from gravis_triton.report.html import render
from gravis_triton.report.run_page import score_table, scores_of
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import job_of, read_run, result_of

_TAGS = ["dermatology", "medical", "gravis"]
_KINDS = {
    "pretrain": ("image-feature-extraction", "An image encoder, pre-trained without labels on dermatology images."),
    "finetune-classification": ("image-classification", "A classifier of skin diseases in dermatology images."),
    "finetune-segmentation": ("image-segmentation", "A network that segments skin lesions in dermatology images."),
}
"""Job -> task on the hub, and what the model is."""
_SETTINGS = (
    "model", "encoder", "method", "loss", "views", "image_size", "batch_size", "epochs", "total_views", "opt", "lr",
)  # fmt: skip
"""The main settings; the others are in config.yaml."""


def model_card(run: RunDirectory, *, repository: str, license: str) -> str:
    """README.md of a repository with the encoder or the fine-tuned model of a finished run.

    license: of the training images.
    """
    config, summary = read_run(run)
    job = str(job_of(config))
    task, description = _KINDS[job]
    pretrained = job == "pretrain"
    tested = read_run_predictions(run, summary)
    card = ModelCardData(library_name="timm" if pretrained else "gravis-triton", pipeline_tag=task, tags=_TAGS)
    return render(
        "model_card.md.j2",
        metadata=card.to_yaml().strip(),
        repository=repository,
        pretrained=pretrained,
        crop="whole image" if task == "image-segmentation" else "largest central square",
        lead=result_of(summary),
        what=description,
        version=metadata.version("gravis-triton"),
        size=config["image_size"],
        data=Path(str(config["data"])).name,
        summary=summary,
        license=license,
        tables=[score_table(predictions, scores_of(summary, name)) for name, predictions in tested.items()],
        settings=[(name, Path(str(config[name])).name) for name in _SETTINGS if config.get(name) is not None],
    )
