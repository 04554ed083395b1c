"""How a recipe ends: its exit status, and one line for what the user can mend."""

import os
import sys
from collections.abc import Callable

import torch.distributed

from gravis_triton.errors import UserError


def run_recipe(main: Callable[[], int]) -> None:
    """Run a recipe's main function and end the process with the status it returns.

    A UserError becomes one line on stderr and status 2, Ctrl-C status 130.
    """
    try:
        status = main()
    except UserError as error:
        process = os.environ.get("RANK", "0")
        print(
            f"error: {error}" if process == "0" else f"error in process {process}: {error}", file=sys.stderr
        )
        status = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 130
    if status == 0 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.exit(status)
