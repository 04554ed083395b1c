import dataclasses
import re
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gravis_triton.comparison.grid import Grid, check_consistent, check_encoders, plan_runs
from gravis_triton.errors import UserError
from gravis_triton.methods import find_method
from gravis_triton.settings.config import write_settings
from gravis_triton.settings.defaults import complete


def values(run) -> Any:
    """The settings of a planned run by their flat names."""
    return SimpleNamespace(**vars(run.settings))


def grid(tmp_path, **changes) -> Grid:
    given = {
        "encoders": {"floor": "color-histogram", "random": "random", "ours": {"loss": "nt-xent"}},
        "tasks": {"evaluate": {}, "classification": {"epochs": 3}},
        "baseline": "random",
        "output_dir": str(tmp_path),
        "common": {"image_size": 32, "val_fraction": 0.3, "views": 3},
        "pretrain": {"model": "test_resnet", "epochs": 2},
        "label_fractions": (0.05, 1.0),
        "seeds": (0, 7),
    }
    return Grid(**{**given, **changes})


def only(runs, **expected):
    return [run for run in runs if all(getattr(run, name) == value for name, value in expected.items())]


def test_an_encoder_is_pre_trained_once_a_seed_and_before_its_tasks(tmp_path):
    runs = plan_runs(grid(tmp_path))
    assert len(runs) == 2 * (2 + 4 + 1 + 4)  # the floor has no weights to fine-tune
    ours = only(runs, encoder="ours", seed=7)
    assert [run.task for run in ours] == ["pretrain", *["evaluate"] * 2, *["classification"] * 2]
    assert ours[0].directory.path == tmp_path / "encoders" / "ours-7"
    assert ours[1].directory.path == tmp_path / "evaluate" / "ours-0.05-7"
    assert ours[4].directory.path == tmp_path / "classification" / "ours-1-7"
    assert [run.seed for run in runs] == [0] * 11 + [7] * 11


def test_a_path_with_seed_names_an_encoder_for_each_seed(tmp_path):
    runs = plan_runs(grid(tmp_path, encoders={"theirs": "peer-{seed}.pth"}, baseline="theirs"))
    assert {(run.task, run.seed) for run in runs} == {
        (task, seed) for task in ("evaluate", "classification") for seed in (0, 7)
    }
    assert {run.settings.encoder for run in only(runs, seed=7)} == {"peer-7.pth"}


def test_a_seed_draws_the_splits_of_pre_training_and_of_its_tasks_alike(tmp_path):
    for run in plan_runs(grid(tmp_path)):
        assert (values(run).seed, values(run).split_seed) == (run.seed, run.seed)
        assert values(run).val_fraction == 0.3
    assert {values(run).split_seed for run in plan_runs(grid(tmp_path, official_split=True))} == {None}


def test_every_job_has_the_common_settings_that_it_knows_and_its_own(tmp_path):
    runs = plan_runs(grid(tmp_path))
    (first, *_), fine = only(runs, task="pretrain"), only(runs, task="classification")
    assert (values(first).views, values(first).epochs, values(first).method) == (3, 2, "nt-xent")
    assert {values(run).epochs for run in fine} == {3}
    assert {values(run).image_size for run in runs} == {32}


def test_only_encoders_without_training_get_the_architecture(tmp_path):
    runs = only(plan_runs(grid(tmp_path)), task="evaluate", seed=0, label_fraction=1.0)
    assert {run.encoder: (values(run).encoder, values(run).model) for run in runs} == {
        "floor": ("color-histogram", None),
        "random": ("random", "test_resnet"),
        "ours": (str(tmp_path / "encoders" / "ours-0" / "encoder"), None),
    }


def test_encoders_without_training_are_scored_at_the_image_size_of_pre_training(tmp_path):
    pretrain = {"model": "test_resnet", "image_size": 96}
    sizes = {
        run.task: values(run).image_size
        for run in plan_runs(grid(tmp_path, common={}, pretrain=pretrain))
        if run.encoder == "random"
    }
    assert sizes == {"evaluate": 96, "classification": 96}


def test_training_resumes_and_evaluations_start_over(tmp_path):
    for run in plan_runs(grid(tmp_path)):
        assert values(run).overwrite == (run.task == "evaluate")
        assert getattr(values(run), "resume", None) == (None if run.task == "evaluate" else "auto")
        assert values(run).output_dir == str(run.directory)


def test_switches_of_the_grid_reach_the_runs(tmp_path):
    runs = plan_runs(grid(tmp_path, common={"image_size": 32, "channels_last": False, "tta": True}))
    assert not values(only(runs, task="pretrain")[0]).channels_last
    assert all(values(run).tta for run in runs if run.task != "pretrain")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks": {"classification": {"epochs": -3}}},
            "classification random: epochs must be at least 1, not -3",
        ),
        ({"tasks": {"evaluate": {"decoder": "unet"}}}, "evaluate floor: unknown setting 'decoder'"),
        ({"pretrain": {"epochs": "many"}}, "pretrain ours: epochs must be an integer, not 'many'"),
        (
            {"pretrain": {"total_views": 10, "epochs": 2}},
            "pretrain ours: --total-views and --epochs both set",
        ),
        (
            {"encoders": {"ours": {"los": "gravis"}}},
            "pretrain ours: unknown setting 'los'; did you mean loss?",
        ),
        (
            {"encoders": {"ours": {"total_views": 1.5}}},
            "pretrain ours: total_views must be an integer, not 1.5",
        ),
        ({"common": {"rotation": None}}, "classification random: rotation must be a number, not None"),
        (
            {"label_fractions": [0.5, 5]},
            "evaluate floor: label_fraction must be at most 1, not 5",
        ),
        ({"seeds": [-1]}, "evaluate floor: seed must be at least 0, not -1"),
        ({"seeds": ["a"]}, "evaluate floor: seed must be an integer, not 'a'"),
        ({"seeds": [0, 0]}, "label_fractions and seeds must be different numbers each"),
        (
            {"common": {"image_sise": 64}},
            "common: no job has the setting 'image_sise'; did you mean image_size?",
        ),
        ({"common": {"encoder": "imagenet"}}, "evaluate floor: encoder is set by the grid itself: remove it"),
        ({"common": {"seed": 1}}, "evaluate floor: seed is set by the grid itself: remove it"),
        (
            {"tasks": {"evaluate": {"model": "resnet50"}}},
            "evaluate: the encoder determines the model: set it in common",
        ),
        (
            {"pretrain": {"mixed_precision": "bf16"}},
            "mixed_precision must be the same for all runs: set it in common",
        ),
    ],
)
def test_a_wrong_value_is_rejected_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        plan_runs(grid(tmp_path, **changes))


def saved(run):
    """The run directory as pre-training leaves it."""
    run.directory.path.mkdir(parents=True)
    file = run.directory.config
    settings = complete(run.settings)
    write_settings(find_method(settings.method).complete(settings), file)
    return file


def test_a_run_with_the_settings_of_the_grid_is_consistent(tmp_path):
    (run, _) = only(plan_runs(grid(tmp_path)), task="pretrain")
    saved(run)
    check_consistent(run)


def test_a_run_with_a_setting_that_the_grid_no_longer_has_is_an_error(tmp_path):
    (run, _) = only(
        plan_runs(grid(tmp_path, pretrain={"model": "test_resnet", "epochs": 2, "lr": 0.01})),
        task="pretrain",
    )
    saved(run)
    (changed, _) = only(plan_runs(grid(tmp_path)), task="pretrain")
    with pytest.raises(UserError) as error:
        check_consistent(changed)
    assert str(error.value) == (
        f"{run.directory} was run with lr 0.01, but the grid has 0.001: "
        "delete that directory or use another --output-dir"
    )


def test_settings_that_an_older_run_did_not_save_are_not_compared(tmp_path):
    (run, _) = only(plan_runs(grid(tmp_path)), task="pretrain")
    file = saved(run)
    values = yaml.safe_load(file.read_text())
    del values["augment"], values["stain"]
    file.write_text(yaml.safe_dump(values))
    check_consistent(run)


def test_settings_that_change_no_result_may_differ(tmp_path):
    (run, _) = only(plan_runs(grid(tmp_path)), task="pretrain")
    saved(run)
    check_consistent(dataclasses.replace(run, settings=dataclasses.replace(run.settings, num_workers=3)))


def test_an_image_size_from_the_encoder_is_consistent_and_another_one_is_not(tmp_path):
    run = only(plan_runs(grid(tmp_path, common={})), task="evaluate", encoder="ours", seed=0)[0]
    assert values(run).image_size is None
    run.directory.path.mkdir(parents=True)
    (run.directory.config).write_text(yaml.safe_dump({"image_size": 48, "cache_size": 72}))
    check_consistent(run)
    wider = only(plan_runs(grid(tmp_path, common={"image_size": 64})), task="evaluate", encoder="ours")[0]
    with pytest.raises(UserError, match="run with image_size 48, but the grid has 64"):
        check_consistent(wider)


def test_a_comparison_can_be_moved(tmp_path):
    there = plan_runs(grid(tmp_path / "there"))
    here = plan_runs(grid(tmp_path / "here"))
    old, new = (only(runs, task="evaluate", encoder="ours")[0] for runs in (there, here))
    new.directory.path.mkdir(parents=True)
    new.directory.config.write_text(yaml.safe_dump({"encoder": values(old).encoder}))
    check_consistent(new)
    new.directory.config.write_text(yaml.safe_dump({"encoder": "imagenet"}))
    with pytest.raises(UserError, match="run with encoder imagenet"):
        check_consistent(new)


def test_pre_training_from_given_weights_is_scored_by_its_own(tmp_path):
    changes = {"pretrain": {"model": "test_resnet", "encoder": "imagenet", "total_views": 96}}
    pretraining, evaluation, *_ = only(plan_runs(grid(tmp_path, **changes)), encoder="ours", seed=7)
    assert (values(pretraining).encoder, values(pretraining).total_views) == ("imagenet", 96)
    assert values(evaluation).encoder == str(tmp_path / "encoders" / "ours-7" / "encoder")


def test_a_file_of_weights_gets_the_architecture(tmp_path):
    runs = plan_runs(grid(tmp_path, encoders={"mae": "mae.pth", "own": "runs/a"}, baseline="mae"))
    assert {run.settings.model for run in only(runs, encoder="mae")} == {"test_resnet"}
    assert {run.settings.model for run in only(runs, encoder="own")} == {None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoders": {"random": "randm"}}, r"encoder random: there is no randm; give random, imagenet,"),
        ({"encoders": {"theirs": "runs/none"}}, r"encoder theirs: there is no runs/none"),
        ({"encoders": {"theirs": "none-{seed}.pth"}}, r"encoder theirs: there is no none-[07].pth"),
        ({"pretrain": {"model": "resnet999"}}, r"unknown model 'resnet999'"),
    ],
)
def test_a_missing_encoder_is_an_error_before_anything_runs(tmp_path, changes, message):
    check_encoders(grid(tmp_path))
    with pytest.raises(UserError, match=message):
        check_encoders(grid(tmp_path, **changes))


def test_a_grid_without_runs_is_an_error(tmp_path):
    floor = {"floor": "color-histogram"}
    with pytest.raises(UserError, match="nothing to run"):
        plan_runs(grid(tmp_path, encoders=floor, baseline="floor", tasks={"classification": {}}))
    with pytest.raises(UserError, match="nothing to run: give seeds"):
        plan_runs(grid(tmp_path, seeds=()))
