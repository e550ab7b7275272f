"""The processes of one or many machines, by PyTorch's launcher, for :mod:`smaf.launch`."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import shutil
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from torch.distributed import DistError, run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

from smaf.core.errors import InputError
from smaf.core.terminal import LOST

# Seconds from the last lines of all, or of one, of a machine's processes until it must have ended
_ALL_TOLD, _ONE_TOLD = 10, 45


def read_options(options: str, words: Sequence[str] = ()) -> Namespace:
    """`torchrun`'s options as it reads them, for `smaf` and its `words`.

    Raises :class:`InputError` for others, and for a number of machines that may change: a training
    is one of a fixed number of processes.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            args: Namespace = run.parse_args([*shlex.split(options), "-m", "smaf", *words])
        least, most = run.parse_min_max_nnodes(args.nnodes)
        args.processes = run.determine_local_world_size(args.nproc_per_node)
    except SystemExit:
        lines = said.getvalue().strip().splitlines() or ["--help is for torchrun itself"]
        raise _refused(options, lines[-1].partition("error: ")[2] or lines[-1]) from None
    except (ValueError, RuntimeError) as error:
        raise _refused(options, str(error)) from error
    if not args.module or [args.training_script, *args.training_script_args] != ["smaf", *words]:
        raise _refused(options, "expected options alone, no script")
    if not 0 < least == most:
        raise _refused(options, f"--nnodes {args.nnodes} is not a fixed number of machines")
    if args.processes < 1:
        raise _refused(options, f"--nproc_per_node {args.nproc_per_node} is no number of processes")
    return args


def _refused(options: str, why: str) -> InputError:
    return InputError(
        f"TORCHRUN is {options!r}: {why}; expected torchrun's options, such as --nnodes 2 "
        "--nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500"
    )


def start(args: Namespace) -> dict[int, int]:
    """Run the command in this machine's processes; return rank → exit status of those that failed.

    A negative status is a signal's. Raises KeyboardInterrupt where this process is told to stop,
    ConnectionError where the machines do not meet, or lose each other.
    """
    logging.disable(logging.CRITICAL)  # PyTorch tells each end in twenty lines
    try:
        run.run(args)
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException as error:
        raise KeyboardInterrupt from error
    except (RendezvousError, DistError) as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        logging.disable(logging.NOTSET)
    return {}


def end_where_stuck(folder: Path, processes: int) -> None:
    """Watch, in a thread, for an end of this machine's processes that PyTorch's agent misses.

    It asks the store of another machine how many wait to join; where that one is silent, it waits
    for the answer for ever. So this process ends, status 75, once all `processes` have left their
    last lines in `folder`, or one of them has for longer than the others have time to stop.
    """
    threading.Thread(target=_watch, args=(folder, processes), daemon=True).start()


def _watch(folder: Path, processes: int) -> None:
    some = every = 0
    while some < _ONE_TOLD and every < _ALL_TOLD:
        time.sleep(1.0)
        told = sorted(folder.glob("*.txt"))
        some, every = some + bool(told), every + (len(told) >= processes)
    for line in dict.fromkeys(path.read_text(encoding="utf-8") for path in told):
        print(line, file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(LOST)
