"""The two exceptions that end a job early, other than bugs, and a hint for their messages."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can fix: the command line prints it as one line, without a traceback, and exits with status 2.

    The message names the offending value and how to fix it.
    """


class Interrupted(Exception):
    """A signal stopped training after its checkpoint was written; the message says how to resume.

    The command line exits with status 128 + `signal`.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


_FAILED_COLLECTIVES = (
    "imed out", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited",
)  # fmt: skip
"""What the messages of gloo and NCCL contain if another process hangs or has ended."""


LOST_PROCESS = "another process hangs or has ended: its own output says why; a run continues with --resume"


def is_lost_process(error: BaseException) -> bool:
    """Whether an operation with the other processes failed because one of them hangs or has ended."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _FAILED_COLLECTIVES)


def did_you_mean(name: object, known: Iterable[str], *, at_most: int = 1) -> str:
    """ "; did you mean X or Y?" with the most similar known names, or "" if none is similar."""
    near = difflib.get_close_matches(str(name), list(known), n=at_most)
    return f"; did you mean {' or '.join(near)}?" if near else ""
