import pytest

from gravis_triton import launcher


def test_without_a_launcher_every_variable_is_the_users(monkeypatch):
    monkeypatch.setattr(launcher, "_parents_command", lambda: ["/bin/bash"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launcher.user_has_set("OMP_NUM_THREADS")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert not launcher.user_has_set("OMP_NUM_THREADS")


def test_what_a_launcher_has_added_to_the_environment_is_not_the_users(monkeypatch):
    monkeypatch.setattr(launcher, "_parents_command", lambda: ["python", "/usr/bin/accelerate", "launch"])
    monkeypatch.setenv("SET_BY_THE_LAUNCHER", "1")
    assert not launcher.user_has_set("SET_BY_THE_LAUNCHER")
    assert launcher.user_has_set("PATH")  # of this process's parent as well


@pytest.mark.parametrize(
    ("command", "is_launcher"),
    [
        (["python", "/env/bin/accelerate", "launch", "recipes/pretrain.py"], True),
        (["python", "-m", "torch.distributed.run", "x.py"], True),
        (["/env/bin/python", "/env/bin/torchrun", "x.py"], True),
        (["bash", "-c", "gravis pretrain"], False),
        ([], False),
    ],
)
def test_launchers_are_known_by_their_command(monkeypatch, command, is_launcher):
    monkeypatch.setattr(launcher, "_parents_command", lambda: command)
    assert launcher.has_launcher() == is_launcher
