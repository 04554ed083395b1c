import dataclasses
import io

import pytest
from rich.console import Console

from gravis_triton.report import Display
from gravis_triton.training.metrics import ContrastiveMetrics

METRICS = ContrastiveMetrics(
    step=20,
    epoch=2,
    epochs=5,
    loss=0.51234,
    lr=0.001,
    images_per_second=40.4,
    views_per_second=161.6,
    data_time=0.031,
    positive_similarity=0.8,
    negative_similarity=0.1,
    active_triplets=0.023,
    attention_entropy=0.95,
)


def display_on(terminal: bool, width: int = 120) -> tuple[Display, io.StringIO]:
    display, out = Display(), io.StringIO()
    display.console = Console(file=out, force_terminal=terminal, width=width, soft_wrap=not terminal)
    return display, out


def test_outside_a_terminal_every_report_is_one_line():
    display, out = display_on(terminal=False)
    with display.training(0, 100) as show:
        show(METRICS)
        show(dataclasses.replace(METRICS, step=40, loss=0.4))
    first, second = out.getvalue().splitlines()
    assert first.startswith(
        "epoch 2/5  step 20  loss 0.5123  lr 1.00e-03  images/s 40  data time 3%  views/s 162"
    )
    assert "positives 0.800  negatives 0.100  active triplets 2.3%  attention entropy 0.950" in first
    assert "step 40  loss 0.4000" in second


def test_on_a_terminal_a_bar_and_a_table_show_the_last_report():
    display, out = display_on(terminal=True)
    with display.training(0, 100) as show:
        show(METRICS)
        display.print("a line between")
    text = out.getvalue()
    for part in ("epoch 2/5", "20/100", "eta", "positives", "0.5123", "2.3%", "a line between"):
        assert part in text


@pytest.mark.parametrize("width", [64, 80])
def test_on_a_narrow_terminal_nothing_is_cut(width):
    display, out = display_on(terminal=True, width=width)
    with display.training(0, 100) as show:
        show(METRICS)
    text = out.getvalue()
    for name, value in METRICS.texts().items():
        assert name in text
        assert value in text
    assert "…" not in text


def test_two_views_have_no_attention_to_show():
    two_views = dataclasses.replace(METRICS, attention_entropy=float("nan"))
    assert "attention" not in two_views.line()
    assert "nan" not in two_views.line()


@pytest.mark.parametrize("terminal", [False, True])
def test_all_processes_but_the_first_are_silent(capsys, terminal):
    display = Display(enabled=False)
    display.print("not heard")
    with display.training(0, 10) as show, display.task("not seen") as task:
        show(METRICS)
        task(1, 2)
    assert capsys.readouterr().out == ""


def test_text_of_the_user_is_not_taken_for_markup():
    display, out = display_on(terminal=False)
    display.print("--data my[bold]folder")
    assert out.getvalue() == "--data my[bold]folder\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_crowded_cores_are_a_warning_once_in_a_while(monkeypatch, threads):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    display, out = display_on(terminal=False)
    with display.training(0, 100) as show:
        show(METRICS)
        show(dataclasses.replace(METRICS, core_wait=0.8))
        show(dataclasses.replace(METRICS, core_wait=0.9))
    assert out.getvalue().count("warning: threads wait for a CPU core 80% of the time") == 1
    assert "90%" not in out.getvalue()
    assert ("--cpu-threads 1" in out.getvalue()) == (threads > 1)
