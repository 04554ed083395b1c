"""The pages of runs: what they hold, that they need nothing else, and how a browser shows them."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import gravis_triton as gt
from gravis_triton.report.run_page import write_runs_page
from gravis_triton.run_directory import RunDirectory

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class Parsed(HTMLParser):
    """Headings, pictures and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.images: list[dict] = []
        self.addresses: list[str] = []
        self._in_heading = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self._in_heading = tag in ("h1", "h2")
        if tag == "img":
            self.images.append(values)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(runs, with_pages, run_here, cache, monkeypatch):
    """job -> directory of its run, made by the first test that asks."""
    monkeypatch.setattr("gravis_triton.evaluation.examples._FEWEST_MAPPED", 10)  # validation images

    def made(job: str):
        directory = runs / job
        flags = f"--image-size 32 --synthetic-images 60 --batch-size 8 --num-workers 0 --cache-dir {cache}"
        flags += f" --output-dir {directory}"
        more = {
            "pretrain": "--model test_resnet --views 3 --max-steps 2 --log-every 1",
            "finetune_classification": "--encoder random --model test_resnet --max-steps 2 --log-every 1",
            "finetune_segmentation": "--encoder random --model test_resnet --max-steps 2",
            "evaluate": "--encoder random --model test_resnet",
        }
        if job == "evaluate":
            flags = flags.replace(" --batch-size 8", "")
        if not directory.exists():
            status, _, err = run_here(f"{job}.py", *flags.split(), *more[job].split())
            assert status == 0, err
        return directory

    return made


@pytest.mark.parametrize(
    ("job", "headings"),
    [
        (
            "pretrain",
            {"Training", "Images and their views", "Views of one image", "Nearest neighbors", "Settings"},
        ),
        ("pretrain", {"t-SNE of the validation images"}),
        (
            "finetune_classification",
            {"Test images", "Predictions", "Training", "Settings", "Summary"},
        ),
        ("finetune_segmentation", {"Test images", "Predictions", "Settings"}),
        ("evaluate", {"Nearest neighbors", "Linear probe", "Settings"}),
    ],
)
def test_a_page_has_its_sections_and_is_self_contained(run, job, headings):
    page = (run(job) / "report.html").read_text()
    parsed = Parsed(page)
    assert headings <= set(parsed.headings)
    assert len(page) < 5_000_000
    assert parsed.images
    assert all(image.get("alt") for image in parsed.images)
    assert all(address.startswith("data:") for address in parsed.addresses)
    assert "<script" not in page


def test_scores_are_those_of_the_summary_with_intervals_around_them(run):
    directory = run("finetune_classification")
    summary = json.loads((directory / "summary.json").read_text())
    page = (directory / "report.html").read_text()
    cell = '<td class="whole">'
    low, high = re.search(
        rf"mean AUC</th>{cell}{summary['mean_auc']:.3f}</td>{cell}([\d.]+) to ([\d.]+)</td>", page
    ).groups()
    assert float(low) <= summary["mean_auc"] <= float(high)


def test_pages_are_written_again_and_compared(run, tmp_path, capsys):
    one, other = run("pretrain"), run("finetune_classification")
    before = (one / "report.html").read_text()
    (one / "report.html").unlink()
    result = gt.write_report(runs=(str(one), str(other)), output=str(tmp_path / "both.html"))
    assert (one / "report.html").read_text() == before
    assert result.pages[-1] == tmp_path / "both.html"
    page = result.pages[-1].read_text()
    assert "class_loss" in page
    assert {"Results", "Settings", "Training"} <= set(Parsed(page).headings)


def test_runs_with_the_same_name_are_named_by_their_paths(run, tmp_path):
    runs = [tmp_path / seed / "resnet" for seed in ("0", "1")]
    for path in runs:
        shutil.copytree(run("pretrain"), path)
    write_runs_page([RunDirectory(path) for path in runs], tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    assert "loss over training steps: 0/resnet, 1/resnet" in page


def test_a_directory_without_a_run_is_an_error(tmp_path):
    with pytest.raises(gt.UserError, match="contains no finished run"):
        gt.write_report(runs=(str(tmp_path),))
    with pytest.raises(gt.UserError, match="no runs given"):
        gt.write_report(runs=())


def test_runs_are_listed_with_state_and_result(run, runs, capsys):
    run("pretrain")
    stopped = runs / "stopped [new]"
    shutil.copytree(runs / "pretrain", stopped, dirs_exist_ok=True)
    (stopped / "summary.json").unlink()
    (stopped / ".lock").unlink()
    (runs / "other").mkdir(exist_ok=True)
    (runs / "other" / "config.yaml").write_text("service: web\n")
    listed = {run.directory: run for run in gt.list_runs(directory=str(runs)).runs}
    assert listed["pretrain"].state == "finished"
    assert listed["pretrain"].job == "pretrain"
    assert listed["pretrain"].result.startswith("kNN mean AUC on the validation images: 0.")
    assert listed["stopped [new]"].state == "stopped at step 2"
    assert "other" not in listed
    printed = capsys.readouterr().out
    assert "test_resnet" in printed
    assert "stopped [new]" in printed


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("job", ["pretrain", "finetune_classification", "finetune_segmentation", "evaluate"])
def test_a_browser_shows_every_image_without_errors_or_horizontal_scrolling(run, tmp_path, job, width):
    page = (run(job) / "report.html").read_text()
    frame = f'<iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{html.escape(page)}"></iframe>'
    script = """<script>onload = () => {
        const page = document.querySelector("iframe").contentDocument
        const drawn = [...page.querySelectorAll("figure img, .row img")].map(image => image.naturalWidth)
        document.title = JSON.stringify({width: page.documentElement.scrollWidth, drawn})
    }</script>"""
    (tmp_path / "frame.html").write_text(f"<!doctype html><title></title>{frame}{script}")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --window-size=1600,900"
    command = [
        BROWSER,
        *flags.split(),
        f"--user-data-dir={tmp_path}/profile",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    shown = subprocess.run([*command, f"file://{tmp_path}/frame.html"], capture_output=True, text=True, timeout=60)
    found = json.loads(html.unescape(re.search("<title>(.*)</title>", shown.stdout)[1]))
    assert found["width"] <= width
    assert found["drawn"]
    assert min(found["drawn"]) > 0
    assert "CONSOLE" not in shown.stderr
