import dataclasses
from types import SimpleNamespace

from gravis_triton.report.console import PretrainSummary, print_skipped, print_step, print_summary
from gravis_triton.report.display import Display
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


def test_the_first_few_unreadable_images_are_named(capsys):
    print_skipped(Display(), [])
    assert capsys.readouterr().out == ""
    print_skipped(Display(), [(f"image{number}", "cut short") for number in range(7)])
    out = capsys.readouterr().out
    assert out.startswith("skipped: 7 unreadable images: image0 (cut short); image1 (cut short); ")
    assert out.endswith("image4 (cut short); and 2 more\n")


class Batches(list):
    batch_size = 8


def test_the_size_of_a_step_counts_views_and_processes(capsys):
    training = SimpleNamespace(batches=Batches(range(10)), steps=25, accelerator=SimpleNamespace(num_processes=2))
    print_step(Display(), training)
    print_step(Display(), training, views=3, image_size=32)
    assert capsys.readouterr().out.splitlines() == [
        "step: 8 images x 2 processes; 10 steps per epoch, 2.5 epochs",
        "step: 8 images x 3 views x 2 processes = 48 views of 32 px; 10 steps per epoch, 2.5 epochs",
    ]
