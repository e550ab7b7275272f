"""Ctrl-C and SIGTERM while a network is trained."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopAfterStep:
    """Ctrl-C and SIGTERM wait for the end of the step, so that a checkpoint can be written."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note stops in `asked` for the block, instead of raising KeyboardInterrupt."""
        try:
            before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: whoever runs it handles signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        self.asked = True
