import dataclasses

import pytest
import yaml

from gravis_triton.comparison.cells import plan_cells, refuse_contradiction
from gravis_triton.comparison.grid import Grid
from gravis_triton.errors import UserError
from gravis_triton.losses import resolve_loss
from gravis_triton.settings import resolve_settings, write_settings


def grid(tmp_path, **changes) -> Grid:
    values = {
        "encoders": {"floor": "color-histogram", "random": "random", "ours": {"loss": "nt-xent"}},
        "tasks": {"evaluate": {}, "classification": {"epochs": 3}},
        "baseline": "random",
        "output_dir": str(tmp_path),
        "common": {"image_size": 32, "held_out": 0.3, "views": 3},
        "pretrain": {"model": "test_resnet", "epochs": 2},
        "label_fractions": (0.05, 1.0),
        "seeds": (0, 7),
    }
    return Grid(**{**values, **changes})


def only(cells, **wanted):
    return [cell for cell in cells if all(getattr(cell, name) == value for name, value in wanted.items())]


def test_an_encoder_is_pre_trained_once_a_seed_and_before_its_tasks(tmp_path):
    cells = plan_cells(grid(tmp_path))
    assert len(cells) == 2 * (2 + 4 + 1 + 4)  # the floor has no weights to fine-tune
    ours = only(cells, encoder="ours", seed=7)
    assert [cell.recipe for cell in ours] == ["pretrain", *["evaluate"] * 2, *["finetune_classification"] * 2]
    assert ours[0].directory == tmp_path / "encoders" / "ours-7"
    assert ours[1].directory == tmp_path / "evaluate" / "ours-0.05-7"
    assert ours[4].directory == tmp_path / "classification" / "ours-1-7"
    assert [cell.seed for cell in cells] == [0] * 11 + [7] * 11


def test_a_seed_draws_the_splits_of_pre_training_and_of_its_tasks_alike(tmp_path):
    for cell in plan_cells(grid(tmp_path)):
        assert (cell.settings.seed, cell.settings.split_seed) == (cell.seed, cell.seed)
        assert cell.settings.held_out == 0.3
    assert {cell.settings.split_seed for cell in plan_cells(grid(tmp_path, official_split=True))} == {None}


def test_every_recipe_has_the_common_settings_it_knows_and_its_own(tmp_path):
    cells = plan_cells(grid(tmp_path))
    (first, *_), fine = only(cells, task="pretrain"), only(cells, task="classification")
    assert (first.settings.views, first.settings.epochs, first.settings.loss) == (3, 2, "nt-xent")
    assert {cell.settings.epochs for cell in fine} == {3}
    assert {cell.settings.image_size for cell in cells} == {32}


def test_only_encoders_without_training_are_told_their_architecture(tmp_path):
    cells = only(plan_cells(grid(tmp_path)), task="evaluate", seed=0, label_fraction=1.0)
    assert {cell.encoder: (cell.settings.encoder, cell.settings.model) for cell in cells} == {
        "floor": ("color-histogram", None),
        "random": ("random", "test_resnet"),
        "ours": (str(tmp_path / "encoders" / "ours-0" / "encoder"), None),
    }


def test_trained_cells_go_on_and_evaluations_start_anew(tmp_path):
    for cell in plan_cells(grid(tmp_path)):
        assert ("--overwrite" in cell.flags) == (cell.recipe == "evaluate")
        assert ("--resume" in cell.flags) == (cell.recipe != "evaluate")


def test_switches_are_given_as_flags(tmp_path):
    cells = plan_cells(grid(tmp_path, common={"image_size": 32, "channels_last": False, "tta": True}))
    assert not only(cells, task="pretrain")[0].settings.channels_last
    assert all(cell.settings.tta for cell in cells if cell.recipe != "pretrain")


def test_a_value_that_no_run_can_work_with_is_told_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="classification random: --epochs must be at least 0, not -3"):
        plan_cells(grid(tmp_path, tasks={"classification": {"epochs": -3}}))
    with pytest.raises(UserError, match=r"pretrain ours: .*--epochs"):
        plan_cells(grid(tmp_path, pretrain={"epochs": "many"}))


def saved(cell):
    """The run directory as pre-training leaves it."""
    cell.directory.mkdir(parents=True)
    file = cell.directory / "config.yaml"
    write_settings(resolve_loss(resolve_settings(cell.settings)), file)
    return file


def test_a_run_with_the_settings_of_the_grid_is_taken(tmp_path):
    (cell, _) = only(plan_cells(grid(tmp_path)), task="pretrain")
    saved(cell)
    refuse_contradiction(cell)


def test_a_run_with_other_settings_is_refused_by_name_even_where_the_grid_no_longer_names_them(tmp_path):
    (cell, _) = only(
        plan_cells(grid(tmp_path, pretrain={"model": "test_resnet", "epochs": 2, "lr": 0.01})),
        task="pretrain",
    )
    saved(cell)
    (changed, _) = only(plan_cells(grid(tmp_path)), task="pretrain")
    with pytest.raises(UserError) as error:
        refuse_contradiction(changed)
    assert str(error.value) == (
        f"{cell.directory} was made with lr 0.01, the grid says 0.001: "
        "delete that directory, or give another --output-dir"
    )


def test_what_an_older_run_did_not_save_is_not_compared(tmp_path):
    (cell, _) = only(plan_cells(grid(tmp_path)), task="pretrain")
    file = saved(cell)
    values = yaml.safe_load(file.read_text())
    del values["augment"], values["stain"]
    file.write_text(yaml.safe_dump(values))
    refuse_contradiction(cell)


def test_what_changes_no_result_may_differ(tmp_path):
    (cell, _) = only(plan_cells(grid(tmp_path)), task="pretrain")
    saved(cell)
    refuse_contradiction(
        dataclasses.replace(cell, settings=dataclasses.replace(cell.settings, num_workers=3))
    )


def test_another_size_than_the_encoder_chose_is_a_contradiction_and_the_chosen_one_is_none(tmp_path):
    cell = only(plan_cells(grid(tmp_path, common={})), task="evaluate", encoder="ours", seed=0)[0]
    assert cell.settings.image_size == 0
    cell.directory.mkdir(parents=True)
    (cell.directory / "config.yaml").write_text(yaml.safe_dump({"image_size": 48, "cache_size": 72}))
    refuse_contradiction(cell)
    wider = only(plan_cells(grid(tmp_path, common={"image_size": 64})), task="evaluate", encoder="ours")[0]
    with pytest.raises(UserError, match="made with image_size 48, the grid says 64"):
        refuse_contradiction(wider)


def test_a_comparison_that_was_moved_goes_on(tmp_path):
    there = plan_cells(grid(tmp_path / "there"))
    here = plan_cells(grid(tmp_path / "here"))
    old, new = (only(cells, task="evaluate", encoder="ours")[0] for cells in (there, here))
    new.directory.mkdir(parents=True)
    (new.directory / "config.yaml").write_text(yaml.safe_dump({"encoder": old.settings.encoder}))
    refuse_contradiction(new)
    (new.directory / "config.yaml").write_text(yaml.safe_dump({"encoder": "imagenet"}))
    with pytest.raises(UserError, match="made with encoder imagenet"):
        refuse_contradiction(new)
