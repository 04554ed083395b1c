import os
import signal
import time

import pytest
import torch
from torch.utils.data import Dataset

from gravis_triton.data.loading.workers import Loader


class Pids(Dataset):
    """The process that loads an item, after a while."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        time.sleep(0.2)
        return os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signals_do_not_reach_workers_from_their_first_moment(number: signal.Signals) -> None:
    loading = iter(Loader(Pids(), batch_size=1, num_workers=2))
    for worker in loading._workers:  # type: ignore[attr-defined]
        os.kill(worker.pid, number)  # they may not have begun yet
    pids = torch.cat(list(loading))
    assert len(set(pids.tolist())) == 2


def test_the_main_process_gets_signals_as_before() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert len(list(Loader(Pids(), batch_size=4, num_workers=1))) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask


def test_workers_end_with_a_main_process_that_is_killed() -> None:
    reader, writer = os.pipe()
    main = os.fork()
    if main == 0:
        pids = [int(batch) for batch in Loader(Pids(), batch_size=1, num_workers=2, persistent_workers=True)]
        os.write(writer, " ".join(map(str, pids)).encode())
        time.sleep(60)
        os._exit(0)
    pids = {int(pid) for pid in os.read(reader, 1000).split()}
    os.kill(main, signal.SIGKILL)
    os.waitpid(main, 0)
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}/exe") and _is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"
