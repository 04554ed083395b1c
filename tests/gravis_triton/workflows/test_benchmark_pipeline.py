import json

import pytest
from PIL import Image

RECIPE = "benchmark_pipeline.py"
FLAGS = [
    *("--model", "test_resnet", "--image-size", "32", "--synthetic-images", "30", "--views", "3"),
    *("--batch-size", "4", "--num-workers", "0", "--seconds", "0"),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The directory of a finished measurement, made by the first test that asks."""
    return tmp_path_factory.mktemp("pipeline") / "run"


def test_every_stage_is_measured_and_told(run_here, cache, measured):
    status, out, _ = run_here(RECIPE, *FLAGS, "--cache-dir", str(cache), "--output-dir", str(measured))
    assert status == 0
    stages = [
        "decode and resize, once",
        "batch from the cache",
        "views",
        "encoder and head",
        "loss",
        "optimizer",
    ]
    steps = ["resized rotated crop", "fused color jitter", "grayscale", "gaussian blur", "cutout"]
    for stage in [*stages, *(f"view: {step}" for step in steps), "step on ready views", "whole step"]:
        assert f"\n{stage} " in out
    assert "ours, decoding included" in out
    assert "torchvision on Pillow" in out
    assert "outside the encoder: " in out


def test_rates_and_shares_follow_from_the_samples(measured):
    found = json.loads((measured / "pipeline.json").read_text())
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert (stages["views"]["images"], stages["views"]["views"]) == (4, 12)
    assert all(seconds > 0 for stage in found["stages"] for seconds in stage["seconds"])
    assert len(stages["whole step"]["seconds"]) == len(stages["encoder and head"]["seconds"]) == 2
    steps = [
        sum(s) for s in zip(*(v["seconds"] for n, v in stages.items() if n.startswith("view: ")), strict=True)
    ]
    assert (
        0.05 < sum(steps) / sum(stages["views"]["seconds"]) < 20
    )  # of milliseconds, on a machine that may be busy
    ways = {stage["name"]: stage["seconds"] for stage in found["one_core"]}
    ratios = sorted(
        p / o for p, o in zip(ways["torchvision on Pillow"], ways["ours, decoding included"], strict=True)
    )
    assert found["times_published_with_decoding_p20_p50_p80"][1] == pytest.approx(sum(ratios) / 2)
    assert Image.open(measured / "pipeline.png").width > 1000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--streaming"], "--streaming has no cache to measure: drop it"),
        (["--batch-size", "20"], "an epoch of one step cannot be measured: lower --batch-size"),
        (["--views", "1"], "--views must be at least 2, not 1"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(run_here, cache, tmp_path, flags, message):
    status, _, err = run_here(
        RECIPE, *FLAGS, "--cache-dir", str(cache), "--output-dir", str(tmp_path / "run"), *flags
    )
    assert status == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
