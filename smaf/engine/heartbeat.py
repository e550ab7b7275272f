"""Whether the other processes are still there: a machine that loses its power closes no connection.

A process that ends, however it ends, closes its connections, which the others see at their next
exchange. One whose machine is off, hangs or is cut off leaves them waiting: collectives know no
other bound than their timeout, and one process may well read a list for hours while others wait.
So each process counts up in PyTorch's store; process 0 watches all counts, the others watch that
of process 0. A count that stands still for :data:`SILENCE` ends the watching process, which closes
its connections in turn.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from smaf.core.command import tell
from smaf.core.errors import InputError
from smaf.core.terminal import LOST

SILENCE = 60.0  # seconds without a sign after which a process counts as lost
JOIN = 1800.0  # seconds in which all processes must have come
_BEAT = 5.0  # seconds between signs
_LEFT = 1 << 40  # added to a count: the process is done


class Watch:
    """Gives signs of this process and looks for those of others.

    Args:
        store: `add(key, n)` adds to a counter that all processes see, and returns it.
        rank, world: this process's number, and how many there are.
        lost: called with the number of a process that gave no sign for `silence` seconds.

    Seconds are counted in steps while this process runs: one that was halted itself does not take
    the others for lost.
    """

    def __init__(
        self, store: Any, rank: int, world: int, lost: Callable[[int], None], *, silence: float
    ) -> None:
        self.store, self.rank, self.lost, self.silence = store, rank, lost, silence
        self._counts: dict[int, int] = {}
        self._quiet = dict.fromkeys(range(1, world) if rank == 0 else (0,), 0.0)
        self._beat, self._left = min(_BEAT, silence / 5), threading.Event()

    def look(self) -> None:
        """Give a sign, and look for those of the others."""
        self.store.add(f"beat/{self.rank}", 1)
        for other in list(self._quiet):
            count = self.store.add(f"beat/{other}", 0)
            if count >= _LEFT:
                del self._quiet[other]
            elif count != self._counts.get(other):
                self._counts[other], self._quiet[other] = count, 0.0

    def wait(self, seconds: float) -> None:
        """Count `seconds` of waiting; call `lost` where a process was not heard of for too long."""
        for other in list(self._quiet):
            self._quiet[other] = self._quiet.get(other, 0.0) + seconds
            if self._quiet[other] > self.silence and not self._left.is_set():
                self.lost(other)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do both beside the block."""
        threads = [threading.Thread(target=t, daemon=True) for t in (self._look, self._wait)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._left.set()
            for thread in threads:  # one that is within the store when Python ends would abort it
                thread.join(_BEAT)

    def _look(self) -> None:
        """Look again and again; a store that is silent halts this thread, not :meth:`_wait`."""
        try:
            while True:
                self.look()
                if self._left.wait(self._beat):
                    self.store.add(f"beat/{self.rank}", _LEFT)
                    return
        except RuntimeError:  # the store is gone, and with it the process that has it
            return

    def _wait(self) -> None:
        while not self._left.wait(1.0):
            self.wait(1.0)


@contextmanager
def watched(rank: int, world: int) -> Iterator[None]:
    """Watch the other processes during the block; one that is lost ends this process, status 75.

    Waits for all of them first. Raises :class:`InputError` where they do not come.
    """
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=JOIN)))
    except RuntimeError as error:
        raise InputError(
            f"not all of the {world} processes came within {JOIN / 60:g} minutes "
            f"({str(error).splitlines()[0][:200]}): start as many on each machine"
        ) from error
    with Watch(dist.PrefixStore("smaf", store), rank, world, _end, silence=SILENCE).running():
        yield


def _end(other: int) -> None:
    """End this process, whose main thread may wait for ever; what it has written is whole."""
    if other:  # this is process 0, which shows a progress bar: the line ends
        print(file=sys.stderr, flush=True)
    tell(
        f"error: process {other} gave no sign for {SILENCE:g} s: its machine or the network is "
        "down; run the same command again, it goes on where it stopped"
    )
    os._exit(LOST)
