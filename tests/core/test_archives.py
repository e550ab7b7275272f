"""Archives that lie, leave their folder, or hold far more than they weigh: judged before anything
is unpacked."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smaf.core.archives import open_arrays
from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused, write_fused

GOOD = {
    "classes": np.array([1], np.uint8),
    "size": np.array([2, 3], np.int32),
    "low": np.zeros((1, 2, 3), np.uint8),
    "high": np.zeros((1, 2, 3), np.uint8),
}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def archive(
    path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def good() -> list[tuple[str, bytes]]:
    return [(f"{name}.npy", npy(array)) for name, array in GOOD.items()]


def header(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def refused(path: Path, words: str, size: tuple[int, int] | None = (3, 2)) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_fused(path, num_classes=20, size=size)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_whole_archives_of_both_methods_are_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert (
            read_fused(archive(tmp_path / "a.npz", good(), method), num_classes=20)[1].tolist()
            == [[0] * 3] * 2
        )
    columns = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "b.npz", x=columns)
    with open_arrays(tmp_path / "b.npz", ["x"], "arrays", "make it again") as arrays:
        assert arrays["x"].shape == (2, 3) and arrays["x"].read().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_do_not_belong_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    refused(archive(path, [*good(), ("more.npy", npy(np.zeros(2)))]), "also holds 'more.npy'")
    refused(archive(path, [*good(), ("low.npy", npy(GOOD["low"]))]), "holds 'low.npy' twice")
    refused(archive(path, [*good(), ("../x.npy", b"")]), "a path out of the archive")
    refused(archive(path, [*good(), ("/etc/x", b"")]), "a path out of the archive")
    refused(archive(path, good()[1:]), "it has no classes")
    refused(archive(path, [("classes.npy", npy(np.array([None]))), *good()[1:]]), "holds objects")
    refused(
        archive(path, [("classes.npy", b"\x93NUMPY\x09\x00abc"), *good()[1:]]), "cannot be read"
    )


@pytest.mark.parametrize(
    ("method", "words"), [(zipfile.ZIP_BZIP2, "packed by bzip2"), (zipfile.ZIP_LZMA, "by LZMA")]
)
def test_other_methods_are_named(tmp_path: Path, method: int, words: str) -> None:
    refused(archive(tmp_path / "a.npz", good(), method), words)


def edited(path: Path, change: Callable[[bytearray, int], None]) -> Path:
    """Change the entry of the first member in the archive's directory, which starts at the given
    place."""
    data = bytearray(path.read_bytes())
    change(data, data.index(b"PK\x01\x02"))
    path.write_bytes(bytes(data))
    return path


def test_a_directory_that_lies_is_named(tmp_path: Path) -> None:
    def encrypt(data: bytearray, at: int) -> None:
        data[at + 8] |= 1

    def claim(data: bytearray, at: int) -> None:
        data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFF00)

    def checksum(data: bytearray, at: int) -> None:
        data[at + 16] ^= 0xFF

    for change, words in (
        (encrypt, "encrypted"),
        (claim, r"claims 4294967040 bytes, which cannot be in it"),
        (checksum, "Bad CRC-32"),
    ):
        refused(edited(archive(tmp_path / "a.npz", good()), change), words)


def measured(path: Path, words: str, size: tuple[int, int] | None) -> None:
    tracemalloc.start()
    began = time.process_time()
    refused(path, words, size)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1 and peak < 4_000_000


def test_small_files_of_huge_maps_are_refused_at_once(tmp_path: Path) -> None:
    """Maps of 12,000²: the photograph's size, or the cap where it is not known, is asked before
    they are unpacked."""
    side, planes = 12_000, 4
    start = header(f"({planes}, {side}, {side})")
    filler = np.random.default_rng(0).bytes(
        planes * side * side // 1000
    )  # as much as deflate could make of zeros
    path = archive(
        tmp_path / "a.npz",
        [
            ("classes.npy", npy(np.arange(planes, dtype=np.uint8))),
            ("size.npy", npy(np.array([side, side], np.int32))),
            ("low.npy", start + filler),
            ("high.npy", start + filler),
        ],
    )
    data = bytearray(path.read_bytes())
    for name in (b"low.npy", b"high.npy"):  # the directory claims the whole maps
        at = data.rindex(name) - 46
        data[at + 24 : at + 28] = struct.pack("<I", len(start) + planes * side * side)
    path.write_bytes(bytes(data))
    measured(path, "is 12000×12000 pixels, its photograph is 180×135", (180, 135))
    measured(path, "more than 500 million values", None)


def test_headers_that_claim_more_than_they_have_are_named(tmp_path: Path) -> None:
    for shape, dtype in (
        ("(4, 40000, 40000)", "|u1"),
        ("(1, 2, 3)", "<f8"),
        ("(1, 2, -3)", "|u1"),
        ("(1, 2, 3)", "<U90000000"),
    ):
        members = [*good()[:2], ("low.npy", header(shape, dtype) + bytes(6)), good()[3]]
        refused(archive(tmp_path / "a.npz", members), "low.npy in it claims")
    bomb = (
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 4_000_000) + b" " * 4_000_000
    )  # a header without end
    measured(
        archive(tmp_path / "b.npz", [*good()[:2], ("low.npy", bomb), good()[3]]),
        "cannot be read",
        (3, 2),
    )


def test_classes_are_compared_before_maps_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_fused(path, {7: np.zeros((2, 3), np.float32)}, (2, 3))
    with pytest.raises(InputError, match=r"has the classes \[7\], the task has 3"):
        read_fused(path, num_classes=3)
    members = [
        ("classes.npy", npy(np.array([1, 1], np.uint8))),
        good()[1],
        *((f"{name}.npy", npy(np.zeros((2, 2, 3), np.uint8))) for name in ("low", "high")),
    ]
    refused(archive(path, members), "has a class twice")
