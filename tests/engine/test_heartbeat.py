"""Signs of life between processes: a count that stands still is told, one that left is not."""

from __future__ import annotations

import time

import pytest

from smaf.core import command
from smaf.engine.heartbeat import Watch


class Counters:
    """PyTorch's store, as far as it counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, key: str, number: int) -> int:
        self.counts[key] = self.counts.get(key, 0) + number
        return self.counts[key]


def watches(world: int, lost: list[tuple[int, int]], *, silence: float = 60.0) -> list[Watch]:
    """One watch a process, on one store; `lost` gets (who tells it, who is lost)."""

    def told(rank: int) -> Watch:
        return Watch(store, rank, world, lambda r: lost.append((rank, r)), silence=silence)

    store = Counters()
    return [told(rank) for rank in range(world)]


def test_the_first_watches_all_and_the_others_the_first() -> None:
    lost: list[tuple[int, int]] = []
    first, second, third = watches(3, lost)
    for _ in range(20):  # 100 s in which all give signs
        for watch in (first, second, third):
            watch.look()
            watch.wait(5.0)
    assert lost == []
    for _ in range(12):  # 60 s without the third one
        for watch in (first, second):
            watch.look()
            watch.wait(5.0)
    assert lost == []
    first.wait(1.0)
    second.wait(1.0)
    assert lost == [(0, 2)]  # the second one need not know: process 0 ends, and that it sees
    for _ in range(10):  # 6 s are over since the last sign of process 0
        second.look()
        second.wait(5.0)
    assert lost == [(0, 2)]
    second.wait(5.0)
    assert lost == [(0, 2), (1, 0)]


def test_who_has_left_is_not_missed() -> None:
    lost: list[tuple[int, int]] = []
    first, second = watches(2, lost, silence=1.0)
    with second.running():
        time.sleep(0.1)
    with first.running():
        time.sleep(3.5)
    assert lost == []


def test_who_hangs_is_missed_by_the_thread_that_waits() -> None:
    lost: list[tuple[int, int]] = []
    first, second = watches(2, lost, silence=1.0)
    second.look()
    with first.running():
        time.sleep(3.5)
    assert (0, 1) in lost


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:1"), True),
        (RuntimeError("Connection reset by peer"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("Connection reset by peer"), False),
    ],
)
def test_a_lost_connection_is_known_by_its_words(
    error: Exception, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command.is_lost_connection(error) == lost
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not command.is_lost_connection(error)
