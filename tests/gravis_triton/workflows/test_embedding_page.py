"""The code of docs/embedding.md runs."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gravis_triton.models import build_encoder, save_encoder

PAGE = Path(__file__).parents[3] / "docs" / "embedding.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_encoder(build_encoder("test_resnet", image_size=32), tmp_path / "runs" / "mine", image_size=32)
    for index, brightness in enumerate([30, 40, 50, 60, 190, 200, 210, 220]):
        folder = tmp_path / "DIR" / ("dark" if brightness < 128 else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(brightness - 20, brightness + 20, (48, 48, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(code, {})
    out = capsys.readouterr().out
    assert "dark/0.png is most similar to" in out
    assert "training accuracy 1.0" in out
