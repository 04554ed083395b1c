import pytest
import yaml

from gravis_triton.comparison.grid import read_grid
from gravis_triton.errors import UserError

GRID = {"encoders": {"random": "random", "ours": {"loss": "gravis"}}, "tasks": {"evaluate": {}}}


def read(tmp_path, **changes):
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
    return read_grid(file)


def test_the_first_encoder_is_the_baseline_unless_another_is_named(tmp_path):
    assert read(tmp_path).baseline == "random"
    assert read(tmp_path, baseline="ours").baseline == "ours"


def test_a_task_without_settings_may_be_left_empty(tmp_path):
    assert read(tmp_path, tasks={"classification": None}).tasks == {"classification": {}}


def test_an_encoder_may_be_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert read(tmp_path, encoders={"mine": "~/runs/a"}).encoders == {"mine": "/home/ada/runs/a"}


def test_several_numbers_of_views_make_an_encoder_of_each(tmp_path):
    encoders = {
        "random": "random",
        "short": {"loss": "gravis", "total_views": 500},
        "ours": {"loss": "gravis", "total_views": [100, 300]},
        "theirs": "peer-{seed}.pth",
    }
    grid = read(tmp_path, encoders=encoders, baseline="ours")
    assert list(grid.encoders) == ["random", "short", "ours-100", "ours-300", "theirs"]
    assert grid.encoders["ours-300"] == {"loss": "gravis", "total_views": 300}
    assert grid.curves == {"ours": {100: "ours-100", 300: "ours-300"}}
    of_all = read(tmp_path, encoders=encoders, pretrain={"model": "resnet18", "total_views": [200]})
    assert of_all.curves == {"ours": {100: "ours-100", 300: "ours-300"}}
    del encoders["short"]["total_views"]
    of_all = read(tmp_path, encoders=encoders, pretrain={"model": "resnet18", "total_views": [200]})
    assert (of_all.curves["short"], of_all.pretrain) == ({200: "short-200"}, {"model": "resnet18"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {}}, "unknown setting 'encoder'; did you mean encoders?"),
        ({"encoders": {}}, "no encoders given"),
        (
            {"tasks": {"probe": {}}},
            "unknown task 'probe'; tasks: evaluate, classification, segmentation",
        ),
        ({"baseline": "randon"}, "baseline: there is no encoder 'randon'; did you mean random?"),
        (
            {"encoders": {"ours": {"total_views": []}}},
            "the encoder ours: total_views [] must make encoders with new names, NAME-NUMBER",
        ),
        (
            {"encoders": {"ours": {"total_views": [5]}, "ours-5": "random"}},
            "the encoder ours: total_views [5] must make encoders with new names, NAME-NUMBER",
        ),
        ({"encoders": {"ours": 3}}, "ours must contain `name: value` lines, not 3"),
        ({"encoders": {"a/b": "random"}}, "the encoder name 'a/b' is used in paths"),
        ({"tasks": {"evaluate": 3}}, "evaluate must contain `name: value` lines, not 3"),
        ({"seeds": 3}, "seeds must be a list, not 3"),
    ],
)
def test_a_wrong_name_in_a_grid_is_one_clear_line(tmp_path, changes, message):
    with pytest.raises(UserError) as error:
        read(tmp_path, **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "grid.yaml"))


def test_a_grid_that_is_a_list_is_an_error_that_names_its_file_once(tmp_path):
    (tmp_path / "grid.yaml").write_text("- random\n")
    with pytest.raises(UserError) as error:
        read_grid(tmp_path / "grid.yaml")
    assert str(error.value) == f"{tmp_path}/grid.yaml must contain `name: value` lines, not a list"
