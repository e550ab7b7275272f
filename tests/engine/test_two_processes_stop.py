"""Two real processes under `python -m smaf.launch` that are stopped, or meet what they cannot
read; started by itself, and by PyTorch's launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_set import NETWORK, write_list

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("how", ["2", "--standalone --nproc_per_node 2"]),
]


def start(how: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "smaf.launch", how, *map(str, words), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("options", [("--data_root", "nowhere"), ("--steps", "few")])
def test_bad_input_is_one_line(options: tuple[str, ...], how: str) -> None:
    out, err = (process := start(how, "train_eps", *options)).communicate(timeout=120)
    assert process.returncode == 2 and out == ""
    assert len(err.splitlines()) == 1, err
    line = err.strip()
    assert line.startswith("error: ") and options[1] in line


def test_a_photograph_that_one_of_two_processes_cannot_read(
    small: Path, tmp_path: Path, classifier: Path, how: str
) -> None:
    """Both are in their process group by then, and only the second one meets it."""
    photo = small / "JPEGImages/broken.jpg"
    photo.write_bytes(b"")
    write_list(small, "some", ("p0", "broken"))
    try:
        process = start(
            how,
            "gen_fusion",
            "--data_root",
            small,
            "--list",
            "some",
            "--weights",
            classifier,
            "--out",
            tmp_path / "maps",
            "--scales",
            1.0,
        )
        _, err = process.communicate(timeout=120)
    finally:
        photo.unlink()
    lines = [
        line for line in err.replace("\r", "\n").splitlines() if "%|" not in line and line.strip()
    ]
    assert process.returncode == 2 and len(lines) == 1 and "broken" in lines[0], err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_reaches_the_processes_and_they_write_their_checkpoint(
    small: Path, tmp_path: Path, number: signal.Signals, how: str
) -> None:
    process = start(
        how,
        "train_eps",
        "--data_root",
        small,
        "--list",
        "train",
        "--out",
        tmp_path / "run",
        *NETWORK,
        "--crop",
        64,
        "--resize_long",
        48,
        72,
        "--batch_size",
        2,
        "--steps",
        100000,
        "--num_workers",
        0,
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("tensorboard/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGKILL:  # the launcher is gone at once; its processes hear of it
        if sys.platform != "linux":
            pytest.skip("only Linux tells a process that its parent is gone")
        while not (tmp_path / "run/checkpoint.pth").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    else:
        lines = [
            line
            for line in err.replace("\r", "\n").splitlines()
            if "%|" not in line and line.strip()
        ]
        assert process.returncode == 130, err
        assert lines == ["stopped: run the same command again, it goes on where it stopped"], err
    assert (tmp_path / "run/checkpoint.pth").is_file()
