import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard

import gravis_triton as gt
from gravis_triton.workflows import push


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(runs, run_here, cache):
    """job -> directory of its run, made by the first test that asks."""

    def made(job: str):
        directory = runs / job
        flags = f"--model test_resnet --image-size 32 --synthetic-images 60 --num-workers 0 --cache-dir {cache}"
        flags += f" --max-steps 2 --output-dir {directory}"
        encoder = [] if job == "pretrain" else ["--encoder", "random"]
        if not directory.exists():
            assert run_here(f"{job}.py", *flags.split(), *encoder)[0] == 0
        return directory

    return made


@pytest.mark.parametrize("job", ["pretrain", "finetune_classification", "finetune_segmentation"])
def test_a_dry_run_writes_weights_config_and_a_card_that_the_hub_can_read(run, tmp_path, job, capsys):
    result = gt.push(run=str(run(job)), repository="me/derm", license="CC-0", dry_run=str(tmp_path / "out"))
    out = tmp_path / "out"
    assert result.where == str(out)
    assert {"README.md", "config.yaml", "model.safetensors"} <= {file.name for file in out.iterdir()}
    card = ModelCard.load(out / "README.md")
    assert "dermatology" in card.data.tags
    for text in ("License of the data: CC-0", "Not a medical device", "validation images", "## Training"):
        assert text in card.text
    if job == "pretrain":
        assert card.data.library_name == "timm"
        encoder = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
        assert encoder(torch.rand(1, 3, 32, 32)).ndim == 2
    else:
        assert "95% CI" in card.text
        assert gt.load(out).network is not None
    assert yaml.safe_load((out / "config.yaml").read_text())["image_size"] == 32
    texts = [file.read_text() for file in out.iterdir() if file.suffix in (".json", ".md", ".yaml")]
    assert len(texts) >= 3  # which tell nothing of the folders of this machine
    assert not any(str(tmp_path.parent) in text for text in texts)


def test_errors_are_one_line(run, tmp_path, monkeypatch):
    directory = str(run("pretrain"))
    with pytest.raises(gt.UserError, match="is not a valid repository: use OWNER/NAME"):
        gt.push(run=directory, repository="not a repository")
    with pytest.raises(gt.UserError, match="contains no finished run"):
        gt.push(run=str(tmp_path), repository="me/derm")
    with pytest.raises(gt.UserError, match="exists: choose another directory"):
        gt.push(run=directory, repository="me/derm", dry_run=str(tmp_path))

    (tmp_path / "evaluation").mkdir()
    for name in ("config.yaml", "summary.json"):
        (tmp_path / "evaluation" / name).write_text("{}")
    with pytest.raises(gt.UserError, match="contains no model or encoder: give a pre-training or fine-tuning run"):
        gt.push(run=str(tmp_path / "evaluation"), repository="me/derm")

    class Offline:
        def create_repo(self, *args, **options):
            raise OSError("[Errno 101] Network is unreachable")

    monkeypatch.setattr(push, "HfApi", Offline)
    with pytest.raises(gt.UserError, match=r"cannot upload to me/derm: .*unreachable; check your login"):
        gt.push(run=directory, repository="me/derm")


def test_no_local_path_is_published():
    config = {"data": "clinic/patients", "encoder": "/home/me/run", "lr": 0.1, "augment": "published"}
    shortened = {"data": "patients", "encoder": "run", "lr": 0.1, "augment": "published"}
    assert push._without_folders(config) == shortened
    hub = {"data": "hf:me/derm", "encoder": "hf:/data/derm"}
    assert push._without_folders(hub) == {"data": "hf:me/derm", "encoder": "derm"}
