import io

import pytest
from rich.console import Console

from gravis_triton.report.display import Display, format_metrics

METRICS = {
    "step": 20,
    "epoch": 2,
    "epochs": 5,
    "loss": 0.51234,
    "similarity/positives": 0.8,
    "similarity/negatives": 0.1,
    "active_triplets": 0.023,
    "attention_entropy": 0.95,
    "lr": 0.001,
    "images_per_second": 40.4,
    "data_time": 0.031,
    "bad_steps": 0,
    "views_per_second": 161.6,
}


def display_on(terminal: bool, width: int = 120) -> tuple[Display, io.StringIO]:
    display, out = Display(), io.StringIO()
    display.console = Console(file=out, force_terminal=terminal, width=width, soft_wrap=not terminal)
    return display, out


def test_outside_a_terminal_every_report_is_one_line():
    display, out = display_on(terminal=False)
    with display.training(0, 100) as show:
        show(METRICS)
        show(METRICS | {"step": 40, "loss": 0.4})
    first, second = out.getvalue().splitlines()
    assert first.startswith(
        "epoch 2/5  step 20  loss 0.5123  similarity/positives 0.800  similarity/negatives 0.100  "
        "active triplets 0.023  attention entropy 0.950  lr 1.00e-03  images/s 40  data time 3%  views/s 162"
    )
    assert "step 40  loss 0.4000" in second


def test_on_a_terminal_a_bar_and_a_table_show_the_last_report():
    display, out = display_on(terminal=True)
    with display.training(0, 100) as show:
        show(METRICS)
        display.print("a line between")
    text = out.getvalue()
    for part in ("epoch 2/5", "20/100", "eta", "positives", "0.5123", "0.023", "a line between"):
        assert part in text


@pytest.mark.parametrize("width", [64, 80])
def test_on_a_narrow_terminal_nothing_is_cut(width):
    display, out = display_on(terminal=True, width=width)
    with display.training(0, 100) as show:
        show(METRICS)
    text = out.getvalue()
    for name, value in format_metrics(METRICS).items():
        assert name in text
        assert value in text
    assert "…" not in text


def test_a_metric_of_a_new_method_is_shown_without_registering_it():
    display, out = display_on(terminal=False)
    with display.training(0, 100) as show:
        show(METRICS | {"center_norm": 1.5})
    assert "center norm 1.500" in out.getvalue()


def test_bad_steps_are_shown_once_there_are_some():
    assert "bad steps" not in format_metrics(METRICS)
    assert format_metrics(METRICS | {"bad_steps": 2})["bad steps"] == "2"


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
