"""`python -m smaf.launch`: many processes that start, stop and fail as one, with one line and one
exit status."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from smaf import launch

ENDS = """
import os, sys, time
rank = int(os.environ["RANK"])
line, status, seconds = {row[0]: row[1:] for row in ENDS}[rank]
time.sleep(seconds)
if line:
    open(os.path.join(os.environ["SMAF_ERRORS"], f"{rank}.txt"), "w").write(line)
os.kill(os.getpid(), -status) if status < 0 else sys.exit(status)
"""


def ended(
    *ends: tuple[str, int, float], capfd: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """Status and lines of a run whose processes each leave a line, wait some seconds and end with a
    status."""
    code = f"ENDS = {[(rank, *end) for rank, end in enumerate(ends)]!r}\n{ENDS}"
    status = launch.launch(len(ends), [sys.executable, "-c", code])
    return status, capfd.readouterr().err.splitlines()


def test_each_process_knows_its_place(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = (
        "import os; names = 'RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR "
        "OMP_NUM_THREADS'.split();os.write(1, (' '.join(os.environ[n] for n in names) + "
        "'\\n').encode())"
    )
    assert launch.launch(3, [sys.executable, "-c", code]) == 0
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    out, err = capfd.readouterr()
    assert (
        sorted(out.splitlines())
        == [f"{k} {k} 3 3 127.0.0.1 {max(1, cores // 3)}" for k in range(3)]
        and err == ""
    )


def test_equal_lines_are_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(("error: no such list", 2, 0), ("error: no such list", 2, 0), capfd=capfd) == (
        2,
        ["error: no such list"],
    )
    assert ended(("", 0, 0), ("", 0, 0), capfd=capfd) == (0, [])


def test_bad_input_comes_before_what_follows_from_it(capfd: pytest.CaptureFixture[str]) -> None:
    """The process that meets it fails last: the connection of another breaks while it unwinds."""
    assert ended(
        ("error: connection reset", 1, 0), ("error: p3.jpg is empty", 2, 0.4), capfd=capfd
    ) == (2, ["error: p3.jpg is empty"])
    assert ended(("error: a", 1, 0), ("stopped", 130, 0), ("error: b", 1, 0), capfd=capfd) == (
        1,
        ["error: a", "error: b"],
    )


def test_who_waits_for_a_failed_process_is_ended(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_PATIENCE", 0.2)
    start = time.monotonic()
    assert ended(("", 0, 60), ("error: p3.jpg is empty", 2, 0), capfd=capfd) == (
        2,
        ["error: p3.jpg is empty"],
    )
    assert time.monotonic() - start < 30


def test_a_killed_process_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    status, (line,) = ended(("", 0, 0), ("", -signal.SIGKILL, 0), capfd=capfd)
    assert status == 1 and line.startswith("error: process 1 was killed by SIGKILL: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "NPROC is ''"),
        (("two", "train_eps"), "NPROC is 'two'"),
        (("0", "train_eps"), "NPROC is '0'"),
        (("-1", "train_eps"), "NPROC is '-1'"),
        (("2",), "'' has one process"),
        (("2", "predict"), "'predict' has one"),
        (("--nnodes 2", "predict"), "'predict' has one"),
        (("--nodes 2", "train_eps"), "TORCHRUN is '--nodes 2': unrecognized arguments: --nodes;"),
        (("--nnodes", "train_eps"), "TORCHRUN is '--nnodes': "),
        (("--nnodes two", "train_eps"), "TORCHRUN is '--nnodes two': "),
        (("--nnodes 1:2", "train_eps"), "TORCHRUN is '--nnodes 1:2': --nnodes 1:2 is not a fixed"),
        (("--nnodes 1 x.py", "train_eps"), "TORCHRUN is '--nnodes 1 x.py': expected options alone"),
        (("--nproc_per_node many", "train_eps"), "TORCHRUN is '--nproc_per_node many': "),
        (("--nproc_per_node 0", "train_eps"), "TORCHRUN is '--nproc_per_node 0': "),
        (("--run_path '", "train_eps"), 'TORCHRUN is "--run_path \'": No closing quotation'),
    ],
)
def test_bad_words_are_one_line(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
