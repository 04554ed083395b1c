import json
import math
import os

import pytest
from safetensors import SafetensorError

from gravis_triton.errors import UserError
from gravis_triton.files import (
    atomic_directory,
    atomic_write,
    checksums,
    inside,
    read_json,
    read_metrics,
    verify_checksums,
    write_checksums,
    write_json,
    writing,
)


def test_a_file_replaces_an_earlier_one_and_leaves_nothing_else(tmp_path):
    for content in ("first", b"second"):
        atomic_write(tmp_path / "file.txt", content)
    assert (tmp_path / "file.txt").read_text() == "second"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def write_until_the_disk_is_full(directory):
    with atomic_directory(directory) as partial:
        (partial / "weights").write_text("new")
        raise OSError("disk full")


def test_a_directory_appears_only_when_it_is_complete(tmp_path):
    with atomic_directory(tmp_path / "model") as partial:
        (partial / "weights").write_text("old")
        assert not (tmp_path / "model").exists()
    with pytest.raises(OSError, match="disk full"):
        write_until_the_disk_is_full(tmp_path / "model")
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_of_a_directory_follow_the_umask(tmp_path, umask, mode):
    earlier = os.umask(umask)
    try:
        with atomic_directory(tmp_path / "model") as partial:
            (partial / "weights").touch(mode=0o600)  # as safetensors writes them
    finally:
        os.umask(earlier)
    assert (tmp_path / "model" / "weights").stat().st_mode & 0o777 == mode


def test_json_has_null_for_every_number_that_is_not_finite(tmp_path):
    write_json(tmp_path / "values.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, 2)}})
    assert json.loads((tmp_path / "values.json").read_text()) == {
        "a": None,
        "b": [None, 1.5],
        "c": {"d": [None, 2]},
    }


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("Error while serializing: I/O error")]
)
def test_a_failure_to_write_is_one_line_with_the_file_and_the_free_space(tmp_path, error):
    with (
        pytest.raises(UserError, match=r"cannot write .*scores.json: .*; [\d,]+ MB free on its disk; earlier"),
        writing(tmp_path / "scores.json"),
    ):
        raise error


def test_a_directory_that_has_gone_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*: the directory .*/gone no longer exists"):
        atomic_write(tmp_path / "gone" / "scores.json", "{}")


def test_a_failure_to_read_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path / "scores.json"):
        (tmp_path / "nowhere").read_text()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ".."])
def test_a_name_that_leads_out_of_a_directory_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="outside"):
        inside(tmp_path / "masks", name)
    assert inside(tmp_path, "a/b") == tmp_path / "a" / "b"


def test_metrics_are_the_complete_lines(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert read_metrics(file) == []
    file.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read_metrics(file) == [{"step": 1, "loss": 0.5}]


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 0.5}', '{"step": "1"}', "\xff"])
def test_damaged_metrics_are_named(tmp_path, line):
    file = tmp_path / "metrics.jsonl"
    file.write_text(f"{line}\n", encoding="latin-1")
    with pytest.raises(UserError, match=r"metrics.jsonl is damaged \(.*\): restore or delete it"):
        read_metrics(file)


def test_a_summary_that_is_no_object_is_named(tmp_path):
    (tmp_path / "summary.json").write_text("3")
    with pytest.raises(UserError, match=r"summary.json is damaged \(not a JSON object\)"):
        read_json(tmp_path / "summary.json")


def test_checksums_tell_changed_and_missing_files_from_new_ones(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    verify_checksums(tmp_path)  # without checksums
    write_checksums(tmp_path)
    assert read_json(tmp_path / "checksums.json") == checksums(tmp_path)
    (tmp_path / "new").write_bytes(b"")
    verify_checksums(tmp_path)
    (tmp_path / "a").write_bytes(b"contend")
    with pytest.raises(UserError, match="a is damaged"):
        verify_checksums(tmp_path)
    (tmp_path / "a").unlink()
    with pytest.raises(UserError, match="a is missing"):
        verify_checksums(tmp_path)
    (tmp_path / "checksums.json").write_text("{")
    with pytest.raises(UserError, match=r"checksums.json is missing or damaged"):
        verify_checksums(tmp_path)
