"""An encoder that another toolkit's command pre-trains, for a comparison."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image

from gravis_triton.data import ImageFile, Record
from gravis_triton.models import open_encoder
from gravis_triton.workflows.command import lay_out

TRAIN = f"""{sys.executable} -c '
import os, timm, torch
from pathlib import Path
images = sorted(Path(os.environ["IMAGES"]).rglob("*.png"))
print(len(images), "images of", os.environ["IMAGE_SIZE"], "px")
torch.manual_seed(int(os.environ["SEED"]))
torch.save(timm.create_model(os.environ["MODEL"]).state_dict(), os.environ["WEIGHTS"])
'"""


@pytest.fixture
def compare(run_here, cache, tmp_path):
    def run(command: str, output_dir: str = str(tmp_path / "out")) -> tuple[int, str, str]:
        values = {
            "output_dir": output_dir,
            "encoders": {"random": "random", "theirs": {"command": command}},
            "common": {
                "synthetic_images": 60,
                "image_size": 32,
                "num_workers": 0,
                "cache_dir": str(cache),
                "val_fraction": 0.3,
            },
            "pretrain": {"model": "test_resnet", "epochs": 1, "views": 2},
            "tasks": {"evaluate": {}},
            "seeds": [3],
        }
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump(values))
        return run_here("compare.py", str(file))

    return run


def test_its_encoder_is_compared_on_the_images_that_it_has_not_seen(compare, tmp_path):
    status, _, err = compare(TRAIN)
    assert status == 0, err
    run = tmp_path / "out" / "encoders" / "theirs-3"
    ids = json.loads((run / "encoder" / "image_ids.json").read_text())
    assert (run / "command" / "log.txt").read_text() == f"{len(ids)} images of 32 px\n"
    assert json.loads((run / "summary.json").read_text())["images"] == len(ids)
    split = (tmp_path / "out" / "evaluate" / "theirs-1-3" / "split.csv").read_text().splitlines()
    tested = {line.split(",")[0] for line in split if ",test" in line}
    assert tested
    assert not tested & set(ids)
    assert len(tested) + len(ids) == 60

    torch.manual_seed(3)
    expected = timm.create_model("test_resnet").state_dict()
    encoder = open_encoder(str(run), model=None, image_size=32, default_size=32).encoder
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())

    assert "3 runs, 0 to compute" in compare(TRAIN)[1]
    status, _, err = compare(f"true; {TRAIN}")
    assert status == 2
    assert "was run with command" in err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo working; echo no such option >&2; exit 3", "the command failed with status 3: no such option"),
        ("true", "the command did not write its weights to $WEIGHTS"),
        ("echo text > $WEIGHTS", "weights.pth is not a file with a state dict of tensors"),
    ],
)
def test_a_command_that_leaves_no_encoder_is_told_in_one_line_and_can_be_mended(compare, command, message):
    status, _, err = compare(command)
    assert status == 2
    assert err.startswith("error: command theirs, seed 3: ")
    assert message in err
    assert err.count("\n") == 1
    status, _, err = compare(TRAIN)
    assert status == 0, err


def test_files_are_linked_and_other_images_written(tmp_path):
    class Drawn:
        def read(self, short_side=None):
            return Image.new("RGB", (5, 4), "red")

        def fingerprint(self):
            return ""

    Image.new("RGB", (3, 2)).save(tmp_path / "photo.bmp")
    records = [Record("a/photo", ImageFile(tmp_path / "photo.bmp")), Record("drawn.1", Drawn())]
    lay_out(records, tmp_path / "images")
    assert (tmp_path / "images" / "a" / "photo.bmp").resolve() == tmp_path / "photo.bmp"
    assert Image.open(tmp_path / "images" / "drawn.1.png").size == (5, 4)


def test_a_signal_ends_the_command_and_all_that_it_started(tmp_path):
    """In a process of its own, as a signal goes to all of it."""
    code = f"""
from pathlib import Path
from gravis_triton.errors import Interrupted
from gravis_triton.workflows.command import run_command
try:
    run_command("sleep 60 & echo $! > pid; wait", Path({str(tmp_path)!r}), {{}})
except Interrupted as error:
    print(error.signal, error)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    file, end = tmp_path / "pid", time.monotonic() + 60
    while not (file.exists() and file.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out == f"{int(signal.SIGTERM)} the command was stopped; it will start over\n"
    started = Path(f"/proc/{file.read_text().strip()}/stat")
    assert not started.exists() or started.read_text().split()[2] == "Z"  # ended, if nobody has asked how


def test_a_command_under_a_relative_directory_finds_its_images(compare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = compare(TRAIN, output_dir="relative")
    assert status == 0, err
