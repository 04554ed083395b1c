"""Every job that trains or scores runs in mixed precision, as most do on GPUs."""

import json

import pytest

SHORT = "--batch-size 8 --epochs 1 --min-steps 2"


@pytest.mark.parametrize(
    ("recipe", "flags", "score"),
    [
        ("pretrain.py", "--batch-size 8 --epochs 1 --views 3", "knn_mean_auc"),
        ("evaluate.py", "", "probe_mean_auc"),
        ("finetune_classification.py", SHORT, "mean_auc"),
        ("finetune_segmentation.py", SHORT, "jaccard"),
    ],
)
def test_a_job_in_bfloat16_ends_with_a_score(run_here, cache, tmp_path, recipe, flags, score):
    small = f"--model test_resnet --image-size 32 --synthetic-images 60 --num-workers 0 --cache-dir {cache}"
    status, _, err = run_here(
        recipe, *small.split(), *flags.split(), "--mixed-precision", "bf16", "--output-dir", str(tmp_path)
    )
    assert status == 0, err
    assert 0 <= json.loads((tmp_path / "summary.json").read_text())[score] <= 1
