"""Push the encoder or the fine-tuned model of a run to the Hugging Face Hub."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from gravis_triton.errors import UserError
from gravis_triton.files import atomic_directory, atomic_write
from gravis_triton.report.model_card import model_card
from gravis_triton.run_directory import RunDirectory
from gravis_triton.run_summary import read_run
from gravis_triton.settings.jobs import PushSettings

_ON_THE_HUB = re.compile(r"hf:[^/]+/[^/]+")


@dataclass(frozen=True, slots=True)
class PushResult:
    """where: URL of the repository, or the directory of a dry run."""

    where: str


def push(settings: PushSettings) -> PushResult:
    """Upload a run's fine-tuned model, or else its encoder, with its config and a model card based on the run.

    A dry run uploads nothing. Raises UserError for anything the user can fix.
    """
    run = RunDirectory(settings.run)
    try:
        validate_repo_id(settings.repository)
    except HFValidationError as error:
        raise UserError(f"{settings.repository} is not a valid repository: use OWNER/NAME") from error
    config, _ = read_run(run)
    source = run.model if run.model.is_dir() else run.encoder
    if not source.is_dir():
        raise UserError(f"{run} contains no model or encoder: give a pre-training or fine-tuning run")
    card = model_card(run, repository=settings.repository, license=settings.license)
    where = settings.dry_run
    if where is not None and Path(where).exists():
        raise UserError(f"{where} exists: choose another directory for --dry-run")
    with TemporaryDirectory() if where is None else atomic_directory(Path(where)) as opened:
        directory = Path(opened)
        for file in source.iterdir():
            shutil.copyfile(file, directory / file.name)
        atomic_write(directory / "config.yaml", yaml.safe_dump(_without_folders(config), sort_keys=False))
        atomic_write(directory / "README.md", card)
        if where is None:
            where = _upload(directory, settings)
    print(where if settings.dry_run is None else f"dry run: written to {where}, not uploaded")
    return PushResult(where)


def _without_folders(config: dict[str, Any]) -> dict[str, Any]:
    """Reduce paths to their last part, so as not to publish local directories; names on the hub are kept."""
    texts = {name: value for name, value in config.items() if isinstance(value, str) and {os.sep, "/"} & {*value}}
    return config | {name: Path(text).name for name, text in texts.items() if not _ON_THE_HUB.fullmatch(text)}


def _upload(directory: Path, settings: PushSettings) -> str:
    api = HfApi()
    try:
        where = api.create_repo(settings.repository, private=settings.private, exist_ok=True)
        api.upload_folder(repo_id=settings.repository, folder_path=directory)
    except LocalTokenNotFoundError as error:
        raise UserError("not logged in to the Hugging Face Hub: run `hf auth login`, or set HF_TOKEN") from error
    except Exception as error:  # from huggingface_hub's HTTP library, which differs by major version
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"cannot upload to {settings.repository}: {reason}; check your login (`hf auth login`) "
            "and your network connection"
        ) from error
    return str(where)
