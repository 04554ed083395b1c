import dataclasses

from gravis_triton.report import Display, PretrainSummary, print_summary
from gravis_triton.run_directory import RunDirectory

SUMMARY = PretrainSummary(
    loss=0.5, knn_balanced_accuracy=0.75, knn_balanced_accuracy_untrained=0.5, knn_mean_auc=None,
    knn_mean_auc_untrained=None, knn_all_balanced_accuracy=None, knn_all_mean_auc=None,
    views_per_second=10.0, seconds=1.0, steps=2, training_images=4, validation_images=2, skipped=0,
    processes=1, device="cpu", versions={},
)  # fmt: skip


def test_an_undefined_score_is_printed_as_unknown(capsys, tmp_path):
    print_summary(Display(), SUMMARY, RunDirectory(tmp_path))
    out = capsys.readouterr().out
    assert "loss 0.5000" in out
    assert "balanced accuracy 0.500 -> 0.750, mean AUC unknown -> unknown" in out


def test_a_loss_whose_metrics_were_lost_is_printed_as_unknown(capsys, tmp_path):
    print_summary(Display(), dataclasses.replace(SUMMARY, loss=None), RunDirectory(tmp_path))
    assert "10 views/s, loss unknown" in capsys.readouterr().out
