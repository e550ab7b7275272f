"""Work in several processes: order, errors and workers that the system kills."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from smaf.core.errors import InputError, during
from smaf.core.parallel import Conveyor, conveyor, map_parallel


def double(value: int) -> int:
    return 2 * value


def refuse(value: int) -> int:
    if value == 2:
        raise InputError("the third is refused")
    time.sleep(0.05 * value)
    return value


def fail(value: int) -> int:
    with during(f"doing {value}"):
        return 1 // (value - 2)


def die(value: int) -> int:
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("num_workers", [0, 2])
def test_results_keep_their_order_and_errors_end_the_work(num_workers: int) -> None:
    options = {"num_workers": num_workers, "what": "test", "chunk": 1}
    assert map_parallel(double, range(5), **options) == [0, 2, 4, 6, 8]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the third is refused"):
        map_parallel(refuse, [2, 400, 400, 400], **options)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError) as caught:
        map_parallel(fail, range(4), **options)  # type: ignore[arg-type]
    assert caught.value.during == "doing 2"  # type: ignore[attr-defined]


def test_threads_work_at_once_and_keep_the_order_and_the_first_error() -> None:
    options: dict[str, Any] = {"num_workers": 0, "what": "test", "threads": 2}
    both = threading.Barrier(2)  # one thread alone would wait until it breaks

    def meet(value: int) -> int:
        both.wait(timeout=30)
        return 2 * value

    assert map_parallel(meet, range(6), **options) == [0, 2, 4, 6, 8, 10]
    done: list[int] = []

    def refuse_first(value: int) -> None:
        if not value:
            raise InputError("the first is refused")
        time.sleep(0.01)
        done.append(value)

    with pytest.raises(InputError, match="the first is refused"):
        map_parallel(refuse_first, range(500), **options)
    assert len(done) < 400  # what had not begun was dropped
    with conveyor(0, tasks=6, threads=2) as belt:
        for value in range(6):
            belt.put(meet, value)
    with (
        pytest.raises(InputError, match="the first is refused"),
        conveyor(0, tasks=9, threads=2) as belt,
    ):
        belt.put(refuse_first, 0)
    for stopped in (KeyboardInterrupt, InputError):  # in the main thread, while threads work
        done.clear()
        with pytest.raises(stopped), conveyor(0, tasks=600, threads=2) as belt:
            for value in range(1, 6):
                belt.put(refuse_first, value)
            raise stopped("here")
        assert len(done) <= 5
    with conveyor(1, tasks=9, threads=2) as belt:
        assert belt.pool is None  # one process is one thread
    where = map_parallel(lambda _: threading.get_ident(), [0, 1], **{**options, "num_workers": 1})
    assert where == 2 * [threading.get_ident()]


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(
        InputError, match="a worker process was killed, most likely because the memory is full"
    ):
        map_parallel(die, range(4), num_workers=2, what="test", chunk=1)


def test_a_conveyor_bounds_what_is_under_way() -> None:
    with conveyor(0, tasks=9) as belt:
        assert belt.pool is None  # in this process
        done: list[int] = []
        belt.put(done.append, 1, size=10)
        assert done == [1]

    class Waiting:
        """A pool whose work is done when it is waited for."""

        def __init__(self) -> None:
            self.under_way, self.most = 0, 0

        def submit(self, function: object, *_: object) -> Waiting:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            return self

        def result(self) -> None:
            self.under_way -= 1

    for size, most in ((1, 3), (60, 1), (200, 1), (40, 2)):
        pool = Waiting()
        belt = Conveyor(pool, most=3, most_bytes=100)  # type: ignore[arg-type]
        for _ in range(7):
            belt.put(print, size=size)
        assert pool.most == most
        belt.finish()
        assert pool.under_way == 0
