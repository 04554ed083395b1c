"""Links lead somewhere, the workflow runs the commands of the README, figures are drawn."""

import inspect
import re
import runpy
from pathlib import Path

import pytest
import yaml

import gravis_triton
from gravis_triton.cli import JOBS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "kernels").glob("*.md")]
OTHER_FLAGS = {"help", "loss", "head_dim"}
"""What no function takes: --loss is another name of --method, --head-dim is of the example of a method."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:|\.\./\.\./actions", link):  # elsewhere, or a page of GitHub
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_workflow_runs_the_commands_of_the_readme():
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    steps = [step.get("run") for step in workflow["jobs"]["readme"]["steps"]]
    assert len(commands) == 2
    assert steps[-2:] == commands


def test_the_table_of_data_sets_is_current():
    written = runpy.run_path(str(ROOT / "docs" / "data.py"))["page"]()
    assert (ROOT / "docs" / "data.md").read_text() == written, "run: python docs/data.py"


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_tables_of_scores_are_those_of_the_csv_files(name):
    results = runpy.run_path(str(ROOT / "docs" / "results.py"))
    written = (ROOT / name).read_text()
    assert "<!-- scores " in written
    assert written == results["page"](ROOT / name), "run: python docs/results.py"


def test_every_csv_of_scores_says_where_it_is_from():
    folder = ROOT / "docs" / "results"
    runs = yaml.safe_load((folder / "runs.yaml").read_text())
    scores = {file.stem for file in folder.glob("*.csv") if file.read_text().startswith("task,")}
    assert set(runs) == scores
    assert all({"command", "commit", "machine"} <= set(run) for run in runs.values())


def test_the_figure_of_the_method_gives_nearer_views_more_attention():
    figure = runpy.run_path(str(ROOT / "docs" / "method.py"))["draw"]()
    texts = [text.get_text() for text in figure.axes[0].texts]
    weights = [float(text) for text in texts if re.fullmatch(r"0\.\d\d", text)]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_only_flags_of_their_jobs(page):
    if page.name == "CHANGELOG.md":
        return  # of earlier versions too
    text = page.read_text().replace("\\\n", "")
    for job, rest in re.findall(r"(?:gravis|-m gravis_triton) ([a-z][a-z-]+)([^`#\n]*)", text):
        if job not in JOBS:
            continue  # words after the name of the package
        function = getattr(gravis_triton, JOBS[job].workflow.split(".")[1])
        known = {*inspect.signature(function).parameters, *OTHER_FLAGS}
        flags = {flag.replace("-", "_") for flag in re.findall(r"--([a-z][a-z-]*)", rest)}
        assert {flag.removeprefix("no_") for flag in flags} <= known, f"gravis {job}{rest}"
