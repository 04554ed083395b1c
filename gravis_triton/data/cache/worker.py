"""The program that each process of `workers.results_of` runs: python -m gravis_triton.data.cache.worker SOCKET.

It receives a function, then jobs one by one, and answers with results or with what the function raised. It ends when
its parent closes the socket or ends.
"""

import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType


def main(socket: int) -> None:
    signal.signal(signal.SIGTERM, _leave)
    try:
        with Connection(socket) as connection, suppress(EOFError, BrokenPipeError, ConnectionResetError):
            _serve(connection)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing left to clean up


def _serve(connection: Connection) -> None:
    work = connection.recv()
    while True:
        job = connection.recv()
        try:
            result = work(job)
        except Exception as error:
            error.add_note(traceback.format_exc())
            result = error
        connection.send(result)


def _leave(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(1)  # as an exception, so that unfinished files are removed


if __name__ == "__main__":
    main(int(sys.argv[1]))
