"""Photographs of every kind go through stages 0, 1 and 3; a very large one in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_set import ADAMW, good, make_set, stage0, stage1, stage3, write_list

from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask

W, H = 60, 48

LARGE = (6000, 4000)


def pixels() -> np.ndarray:
    """(48, 60, 3): a red disc on grey."""
    y, x = np.mgrid[:H, :W]
    disc = (x - 30) ** 2 + (y - 24) ** 2 < 200
    return np.where(disc[..., None], (220, 60, 40), (120, 120, 120)).astype(np.uint8)


def rotated(path: Path) -> None:
    """Stored lying on its side; EXIF says to turn it by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def transparent(path: Path) -> None:
    image = Image.fromarray(pixels()).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)


KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "16-bit grey PNG": (
        "png",
        lambda p: Image.fromarray(pixels()[..., 0].astype(np.uint16) * 257).save(p),
    ),
    "greyscale JPEG": ("jpg", lambda p: Image.fromarray(pixels()).convert("L").save(p)),
    "palette PNG": ("png", lambda p: Image.fromarray(pixels()).quantize(8).save(p)),
    "CMYK JPEG": ("jpg", lambda p: Image.fromarray(pixels()).convert("CMYK").save(p)),
    "RGBA PNG": ("png", transparent),
    "EXIF-rotated JPEG": ("jpg", rotated),
    "one pixel": ("png", lambda p: Image.new("RGB", (1, 1), (220, 60, 40)).save(p)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_set(folder / "set")
    good(stage0(folder / "set", folder / "eps", "--steps", 2, *ADAMW))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_photograph_goes_through_all_stages(kind: str, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set")
    suffix, write = KINDS[kind]
    (root / "JPEGImages/p0.jpg").unlink()
    write(root / f"JPEGImages/p0.{suffix}")
    w, h = (1, 1) if kind == "one pixel" else (W, H)
    Image.open(root / "SALImages/p0.png").resize((w, h)).save(root / "SALImages/p0.png")
    write_list(root, "one", ("p0",))
    eps = tmp_path / "eps"
    good(stage0(root, eps, "--list", "one", "--steps", 2))
    good(stage1(root, eps / "classifier.pth", tmp_path / "cams", "--list", "one"))
    fused = read_fused(tmp_path / "cams/p0.npz", num_classes=3)
    assert list(fused) == [0] and fused[0].shape == (h, w)
    assert np.isfinite(fused[0]).all() and 0.99 < fused[0].max() <= 1.0
    good(stage3(root, tmp_path / "masks", "--list", "one", "--weights", eps / "classifier.pth"))
    assert read_mask(tmp_path / "masks/p0.png").shape == (h, w)


# MB; not getrusage's figure, which a process inherits from the one that starts it
PEAK = """
import re
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads memory from /proc"
)
MEASURE = (
    PEAK
    + """
import json, sys
import torch
from smaf.core.command import run_command
from smaf.gen_fusion import main

torch.set_num_threads(1)
options = json.loads(sys.argv[1])
assert run_command(main, [*options, "--list", "one", "--out", sys.argv[2]]) == 0
before = peak()
status = run_command(main, [*options, "--list", "large", "--out", sys.argv[3]])
print(json.dumps({"status": status, "before": before, "increase": peak() - before}))
"""
)


@needs_proc
@pytest.mark.slow
def test_large_photograph_in_bounded_memory(made: Path, tmp_path: Path) -> None:
    """24 megapixels: without the cap its largest view alone had 96, some 20 GB of activations."""
    root = make_set(tmp_path / "set")
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (40, 60, 3)).astype(np.uint8))
    small.resize(LARGE, Image.Resampling.BICUBIC).save(root / "JPEGImages/p2.jpg")
    write_list(root, "one", ("p0",))
    write_list(root, "large", ("p2",))
    options = [
        "--data_root",
        str(root),
        "--weights",
        str(made / "eps/classifier.pth"),
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURE,
            json.dumps(options),
            str(tmp_path / "one"),
            str(tmp_path / "large"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    assert figures["status"] == 0
    warned = [line for line in done.stderr.splitlines() if "warning" in line.lower()]
    assert len(warned) == 1 and "6000×4000 pixels is worked on at 866×577" in warned[0]
    fused = read_fused(tmp_path / "large/p2.npz", num_classes=3)
    assert list(fused) == [2] and fused[2].shape == LARGE[::-1]
    assert figures["increase"] < 1200  # MiB


PREDICT = (
    PEAK
    + """
import json, sys
from smaf.core.command import run_command
from smaf.predict import main

status = run_command(main, sys.argv[1:])
print(json.dumps({"status": status, "peak": peak()}))
"""
)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--score", "0.01"), ("--labels", "cat,person"), ("--labels", "cat", "--crf")]
)
def test_prediction_of_a_huge_photograph_in_bounded_memory(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """48 megapixels took 3.5 GB when all maps were brought to its size at once."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (60, 80, 3)).astype(np.uint8))
    small.resize((8000, 6000), Image.Resampling.BICUBIC).save(tmp_path / "huge.jpg")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT,
            str(tmp_path / "huge.jpg"),
            "--out",
            str(tmp_path / "out"),
            "--device",
            "cpu",
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    assert figures["status"] == 0 and figures["peak"] < 1500  # MiB
    assert read_mask(tmp_path / "out/huge.png").shape == (6000, 8000)
