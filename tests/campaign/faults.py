"""Faults, each drawn from a seed, and whether the job survives it: in the end it has what an undisturbed one has.

A trial returns None if so, else what was lost.
"""

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from campaign.forks import Ended, Fork
from campaign.jobs import JOBS, Job

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A job that was left alone: its directory, what it holds, and how long it took."""

    directory: Path
    result: object
    seconds: float


class Laboratory:
    """Undisturbed runs of all jobs, each made when it is needed, and what jobs read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = {
            "cache": root / "cache",
            "encoder": root / "pretrain" / "encoder",
            "model": root / "finetune-classification",
            "images": root / "images",
        }
        _write_images(self.places["images"], 24)
        self._undisturbed: dict[str, Undisturbed] = {}

    def undisturbed(self, job: Job) -> Undisturbed:
        if job.name not in self._undisturbed:
            for needed in job.needs:
                self.undisturbed(JOBS[needed])
            directory = self.root / job.name
            started = time.monotonic()
            ended = self.start(job, directory).wait()
            seconds = time.monotonic() - started
            assert ended.fault(0) is None, ended.text
            self._undisturbed[job.name] = Undisturbed(directory, job.result(directory), seconds)
        return self._undisturbed[job.name]

    def start(
        self, job: Job, out: Path, *, again: bool = False, workers: int = 0, cache: Path | None = None,
        file_bytes: int | None = None,
    ) -> Fork:  # fmt: skip
        places = {**self.places, "cache": cache or self.places["cache"]}
        return Fork(job.argv(again, out=out, workers=workers, **places), file_bytes)

    def finish(self, job: Job, out: Path, *, cache: Path | None = None) -> str | None:
        """Take the job up again, undisturbed; what is wrong in the end."""
        ended = self.start(job, out, again=True, cache=cache).wait()
        return ended.fault(0) or self.compare(job, out)

    def compare(self, job: Job, out: Path) -> str | None:
        if job.result(out) != self.undisturbed(job).result:
            return "another result"
        left = [path.name for path in out.rglob("*") if "partial" in path.name]
        return f"leaves {', '.join(left)}" if left else None

    def refused_or_same(self, job: Job, out: Path, ended: Ended) -> str | None:
        """What is wrong with the end of a job that may refuse what it was given in one line."""
        return ended.fault(0, 2) or (self.compare(job, out) if ended.status == 0 else None)


Trial = Callable[[Laboratory, Job, random.Random, Path], str | None]


def kill(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """SIGKILL to the whole group at any moment, once or twice, then again to the end."""
    for attempt in range(draw.choice((1, 1, 2))):
        run = lab.start(job, out, again=attempt > 0, workers=draw.choice((0, 0, 0, 1)))
        time.sleep(draw.random() * lab.undisturbed(job).seconds)
        run.send(signal.SIGKILL)
        ended = run.wait()
        if ended.status == 0:  # it was faster
            return lab.compare(job, out)
        if fault := ended.fault(-signal.SIGKILL):
            return fault
    return lab.finish(job, out)


def group_signal(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """A signal to the whole group at any moment: the job ends by itself, then again to the end."""
    number = draw.choice(SIGNALS)
    run = lab.start(job, out, workers=draw.choice((0, 0, 1, 2)))
    time.sleep(draw.random() * lab.undisturbed(job).seconds)
    run.send(number)
    ended = run.wait(30)
    if fault := ended.fault(0, 128 + number, -number):
        return fault
    return lab.compare(job, out) if ended.status == 0 else lab.finish(job, out)


def full_disk(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """No file may grow beyond a size: one line says which, and with room again the job goes on."""
    files = [file.stat().st_size for file in lab.undisturbed(job).directory.rglob("*") if file.is_file()]
    cache = out.with_name("cache") if draw.random() < 0.3 else None
    limit = int(draw.random() ** 2 * max(files))
    ended = lab.start(job, out, cache=cache, file_bytes=limit).wait()
    if fault := ended.fault(0, 2):
        return fault
    return lab.compare(job, out) if ended.status == 0 else lab.finish(job, out, cache=cache)


def damaged_run(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """A file of a stopped run is damaged: the same result, or one line that says what is wrong."""
    run = lab.start(job, out)
    checkpoints = out / "checkpoints"
    while not list(checkpoints.glob("step-*")) and time.monotonic() < run.started + 30:
        time.sleep(0.02)
    time.sleep(draw.random() * 0.5)
    run.send(signal.SIGKILL)
    run.wait()
    files = sorted(file for file in out.rglob("*") if file.is_file() and file.name != ".lock")
    damaged = draw.choice(files)
    what = damage(damaged, draw)
    ended = lab.start(job, out, again=True).wait()
    lost = damaged.name == "metrics.jsonl"  # whose lines are nowhere else
    fault = ended.fault(0, 2) if lost else lab.refused_or_same(job, out, ended)
    return fault and f"{fault} ({what})"


def damaged_cache(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """A file of the cache is damaged: decoded anew, or one line."""
    cache = out.with_name("cache")
    shutil.copytree(lab.places["cache"], cache)
    what = damage(draw.choice(sorted(file for file in cache.rglob("*") if file.is_file())), draw)
    ended = lab.start(job, out, cache=cache).wait()
    fault = lab.refused_or_same(job, out, ended)
    return fault and f"{fault} ({what})"


def damaged_encoder(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """A file of the encoder or the model that a job opens is damaged."""
    place = "model" if job.name == "predict" else "encoder"
    copy = out.with_name(place)
    shutil.copytree(lab.places[place], copy)
    inside = copy / "model" if place == "model" else copy
    what = damage(draw.choice(sorted(file for file in inside.rglob("*") if file.is_file())), draw)
    places = {**lab.places, place: copy}
    ended = Fork(job.argv(False, out=out, workers=0, **places)).wait()
    fault = lab.refused_or_same(job, out, ended)
    return fault and f"{fault} ({what})"


def crowd(lab: Laboratory, job: Job, draw: random.Random, out: Path) -> str | None:
    """Three runs start with an empty cache in common, one is killed; another starts in the directory of the first."""
    cache = out.with_name("cache")
    outs = [out.with_name(f"{out.name}-{i}") for i in range(3)]
    runs = [lab.start(job, each, cache=cache) for each in outs]
    time.sleep(draw.random() * lab.undisturbed(job).seconds)
    runs[2].send(signal.SIGKILL)
    runs[2].wait()
    intruder = lab.start(job, outs[0], cache=cache).wait()
    # the first and the intruder have one directory: either may be refused
    first, second = (run.wait() for run in runs[:2])
    faults = [
        intruder.fault(0, 2),
        first.fault(0, 2),
        second.fault(0),
        *(lab.compare(job, each) for each in outs[:2]),
    ]
    faults.append(lab.finish(job, outs[2], cache=cache))
    return next(filter(None, faults), None)


def damage(file: Path, draw: random.Random) -> str:
    """Damages a file as disks, copies and people do; says how."""
    content = file.read_bytes()
    how = draw.choice(("empty", "truncated", "bit flipped", "overwritten", "missing"))
    if how == "missing":
        file.unlink()
    elif how == "empty" or not content:
        file.write_bytes(b"")
    elif how == "truncated":
        file.write_bytes(content[: draw.randrange(len(content))])
    elif how == "bit flipped":
        place = draw.randrange(len(content))
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)])
        file.write_bytes(content[:place] + flipped + content[place + 1 :])
    else:
        file.write_bytes(draw.randbytes(len(content)))
    return f"{file.parent.name}/{file.name} {how}"


def _write_images(directory: Path, count: int) -> None:
    from PIL import Image

    directory.mkdir()
    draw = random.Random(0)
    for i in range(count):
        Image.frombytes("RGB", (40, 36), draw.randbytes(40 * 36 * 3)).save(directory / f"image_{i:02}.png")
