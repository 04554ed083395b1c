from gravis_triton.report import Display, PretrainSummary, print_summary
from gravis_triton.run_directory import RunDirectory


def test_an_undefined_score_is_printed_as_unknown(capsys, tmp_path):
    summary = PretrainSummary(
        loss=0.5, knn_balanced_accuracy=0.75, knn_balanced_accuracy_untrained=0.5, knn_mean_auc=None,
        knn_mean_auc_untrained=None, knn_all_balanced_accuracy=None, knn_all_mean_auc=None,
        views_per_second=10.0, seconds=1.0, steps=2, training_images=4, validation_images=2, skipped=0,
        processes=1, device="cpu", versions={},
    )  # fmt: skip
    print_summary(Display(), summary, RunDirectory(tmp_path))
    assert "balanced accuracy 0.500 -> 0.750, mean AUC unknown -> unknown" in capsys.readouterr().out
