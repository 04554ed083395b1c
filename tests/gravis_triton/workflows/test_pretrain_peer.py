"""An encoder that another toolkit pre-trains on the images of a grid, for its comparison."""

import csv
import json
import runpy
import sys
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image

from gravis_triton.data import ImageFile, Record
from gravis_triton.models import open_encoder

RECIPE = Path(__file__).parents[3] / "recipes" / "pretrain_peer.py"
TRAIN = f"""#!{sys.executable}
import json, shutil, sys
from pathlib import Path
options = dict(argument.split("=", 1) for argument in sys.argv[2:])
options["images"] = len(list(Path(options["data"]).rglob("*.png")))
Path(__file__).with_name("options.json").write_text(json.dumps(options))
out = Path(options["out"]) / "exported_models"
out.mkdir(parents=True)
shutil.copy(Path(__file__).with_name("weights.pt"), out / "exported_last.pt")
"""


@pytest.fixture
def grid(tmp_path, cache, monkeypatch) -> Path:
    """A grid file, with a stand-in for lightly-train on the PATH."""
    (tmp_path / "lightly-train").write_text(TRAIN)
    (tmp_path / "lightly-train").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    common = {"synthetic_images": 60, "image_size": 32, "num_workers": 0, "cache_dir": str(cache)}
    values = {
        "output_dir": str(tmp_path / "out"),
        "encoders": {"lightly-train": str(tmp_path / "peer-{seed}"), "ours": {"loss": "nt-xent"}},
        "common": {**common, "val_fraction": 0.3},
        "pretrain": {"model": "test_resnet", "epochs": 1, "views": 2, "batch_size": 8},
        "tasks": {"evaluate": {}},
        "seeds": [3],
    }
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_peer_is_compared_on_images_that_it_was_not_trained_on(grid, run_here, tmp_path, monkeypatch, capsys):
    expected = timm.create_model("test_resnet").state_dict()
    torch.save(expected, tmp_path / "weights.pt")
    monkeypatch.setattr(sys, "argv", [RECIPE.name, str(grid)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    ids = json.loads((tmp_path / "peer-3" / "image_ids.json").read_text())
    assert f"peer-3: {len(ids)} images of" in capsys.readouterr().out
    options = json.loads((tmp_path / "options.json").read_text())
    assert (options["images"], options["model"], options["seed"]) == (len(ids), "timm/test_resnet", "3")
    encoder = open_encoder(str(tmp_path / "peer-3"), model=None, image_size=32, default_size=32).encoder
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())

    status, _, err = run_here("compare.py", str(grid))
    assert status == 0, err
    assert ids == json.loads((tmp_path / "out/encoders/ours-3/encoder/image_ids.json").read_text())
    with (tmp_path / "out/evaluate/lightly-train-1-3/split.csv").open(newline="") as file:
        tested = {row["image_id"] for row in csv.DictReader(file) if row["part"] == "test"}
    assert tested
    assert not tested & set(ids)


def test_image_files_are_linked_and_other_images_written(tmp_path):
    class Drawn:
        def read(self, short_side=None):
            return Image.new("RGB", (5, 4), "red")

        def fingerprint(self):
            return ""

    Image.new("RGB", (3, 2)).save(tmp_path / "photo.bmp")
    records = [Record("a/photo", ImageFile(tmp_path / "photo.bmp")), Record("drawn.1", Drawn())]
    runpy.run_path(str(RECIPE))["link_images"](records, tmp_path / "images")
    assert (tmp_path / "images" / "a" / "photo.bmp").resolve() == tmp_path / "photo.bmp"
    assert Image.open(tmp_path / "images" / "drawn.1.png").size == (5, 4)
