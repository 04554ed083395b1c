"""Jobs are killed, stopped, crowded and starved, and their files damaged, by the hundred; nothing is lost.

The short form is part of the suite. All of it, a table and a JSON file:

    python -m pytest -m campaign -s --campaign-out reliability.json
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from campaign import faults
from campaign.faults import Laboratory, Trial
from campaign.jobs import JOBS

from gravis_triton.cli import JOBS as COMMANDS

TRAINING = ("pretrain", "finetune-classification", "finetune-segmentation")
READING = ("evaluate", "embed", "predict")
# fault, jobs, trials of each job
PLAN: tuple[tuple[Trial, tuple[str, ...], int], ...] = (
    (faults.kill, TRAINING + READING, 100),
    (faults.group_signal, TRAINING + READING, 50),
    (faults.full_disk, TRAINING + READING, 20),
    (faults.damaged_run, TRAINING, 40),
    (faults.damaged_cache, (*TRAINING, "evaluate"), 20),
    (faults.damaged_encoder, READING, 20),
    (faults.crowd, TRAINING, 10),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # no threads that a fork would lack
    for job in JOBS:
        COMMANDS[job].workflow  # imports, once for all forks  # noqa: B018
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield Laboratory(tmp_path_factory.mktemp("laboratory"))
    torch.set_num_threads(threads)


def survive(lab: Laboratory, trial: Trial, job: str, seed: int) -> str | None:
    """What a trial lost; its directory goes unless it lost something."""
    directory = lab.root / f"{trial.__name__}-{job}-{seed}"
    directory.mkdir()
    draw = random.Random(f"{trial.__name__} {job} {seed}")
    lost = trial(lab, JOBS[job], draw, directory / "out")
    if lost is None:
        shutil.rmtree(directory)
    return lost


@pytest.mark.parametrize(("trial", "jobs"), [(trial, jobs) for trial, jobs, _ in PLAN])
def test_a_job_survives(lab: Laboratory, trial: Trial, jobs: tuple[str, ...]) -> None:
    """Of each fault one trial with the first job, of kills two."""
    for seed in range(2 if trial is faults.kill else 1):
        assert survive(lab, trial, jobs[0], seed) is None


@pytest.mark.campaign
def test_every_job_survives_every_fault(lab: Laboratory, request: pytest.FixtureRequest) -> None:
    for job in JOBS.values():
        lab.undisturbed(job)
    rows = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as lanes:
        for trial, jobs, trials in PLAN:
            for job in jobs:
                outcomes = lanes.map(survive, *zip(*[(lab, trial, job, seed) for seed in range(trials)], strict=True))
                lost = {seed: what for seed, what in enumerate(outcomes) if what is not None}
                rows.append({"fault": trial.__name__, "job": job, "trials": trials, "lost": lost})
                print(
                    f"{trial.__name__:16}{job:26}{trials:4} trials {trials - len(lost):4} survived",
                    flush=True,
                )
                print("".join(f"    {seed}: {what}\n" for seed, what in lost.items()), end="", flush=True)
    if out := request.config.getoption("campaign_out"):
        Path(out).write_text(json.dumps(rows, indent=1) + "\n")
    assert [row for row in rows if row["lost"]] == []
