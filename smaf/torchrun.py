"""The processes of one or many machines, by PyTorch's launcher, for :mod:`smaf.launch`."""

from __future__ import annotations

import contextlib
import io
import logging
import shlex
from argparse import Namespace
from collections.abc import Sequence

from torch.distributed import DistError, run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

from smaf.core.errors import InputError


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
