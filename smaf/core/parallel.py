"""Many tasks in several processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from smaf.core.errors import InputError

CHUNK = 32

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_parallel(function: Callable[[Task], Result], tasks: Sequence[Task], *, num_workers: int,
                 what: str, chunk: int | None = None) -> list[Result]:
    """`[function(task) for task in tasks]` with a progress bar, in `num_workers` processes (0 or 1: in this one).

    A process takes `chunk` tasks at a time (default 32); no more tasks than that are not worth another process.
    """
    chunk = CHUNK if chunk is None else chunk
    if num_workers <= 1 or len(tasks) <= chunk:
        with tqdm(tasks, desc=what) as bar:
            return [function(task) for task in bar]
    # spawn: a forked worker would hold on to the whole annotation file that this process has in memory
    try:
        with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn"),
                                 initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool, \
             tqdm(pool.map(function, tasks, chunksize=chunk), desc=what, total=len(tasks)) as bar:
            return list(bar)
    except BrokenProcessPool as error:
        raise InputError("a worker process was killed, most likely because the memory is full: run the same command "
                         "again with fewer --num_workers") from error
