"""The restricted reader: arrays, dicts, text and numbers of every protocol come in, code does
not."""

from __future__ import annotations

import io
import os
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy_format

from smaf.core.errors import InputError, MissingInputError
from smaf.core.pickles import read_pickled_dict, write_pickled_dict

SAMPLE = {
    "2007_000032": np.array([0, 1, 0.5], dtype=np.float32),
    7: np.arange(6, dtype=np.int64).reshape(2, 3),
    "n": 3,
    "f": np.float64(0.25),
    "l": [1, 0.5, True],
    "t": (1, 0),
    "big": np.array([[1.5, -2.0]], ">f4"),
    "b": np.array([True, False]),
    np.str_("né"): np.zeros((0, 3)),
    "columns": np.arange(6.0).reshape(2, 3).T,
}


def npy(path: Path, value: Any, *, protocol: int = 2, payload: bytes | None = None) -> Path:
    """What `numpy.save(path, value)` writes, with the pickle of our choice."""
    stream = io.BytesIO()
    npy_format.write_array_header_1_0(stream, {"shape": (), "fortran_order": False, "descr": "|O"})
    array = np.empty((), dtype=object)
    array[()] = value
    path.write_bytes(
        stream.getvalue() + (pickle.dumps(array, protocol=protocol) if payload is None else payload)
    )
    return path


def read(path: Path) -> dict[Any, Any]:
    return read_pickled_dict(path, "label file", "make it again")


def equal(a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    return list(a) == list(b) and all(
        np.array_equal(a[key], b[key]) if isinstance(b[key], np.ndarray) else a[key] == b[key]
        for key in b
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_each_protocol(tmp_path: Path, protocol: int) -> None:
    value = read(npy(tmp_path / "a.npy", SAMPLE, protocol=protocol))
    assert equal(value, SAMPLE)
    assert value["2007_000032"].dtype == np.float32 and value[7].dtype == np.int64


def test_what_numpy_writes_and_back(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SAMPLE, allow_pickle=True)  # type: ignore[arg-type]
    assert equal(read(tmp_path / "a.npy"), SAMPLE)
    cams = {3: np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)}
    write_pickled_dict(tmp_path / "b.npy", cams)
    assert equal(read(tmp_path / "b.npy"), cams)


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    """Python 2's text is bytes, and its arrays are text with the bytes of latin1: NumPy 1's module
    names."""
    data = np.array([1.5, -2.0], dtype="<f4").tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nU"
        + bytes([len(data)])
        + data
        + b"tb"
    )
    outer = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(tcnumpy\ndtype\n"
        b"(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntbI00\n(l(dS'2007_000032'\n"
        + array
        + b"satb."
    )
    value = read(npy(tmp_path / "old.npy", None, payload=outer))
    assert list(value) == ["2007_000032"]
    np.testing.assert_array_equal(value["2007_000032"], np.array([1.5, -2.0], dtype=np.float32))


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Bomb:
        def __init__(self, function: Any, *arguments: Any) -> None:
            self.call = function, arguments

        def __reduce__(self) -> Any:
            return self.call

    bombs = (
        Bomb(os.system, f"touch {mark}"),
        Bomb(eval, f"open({str(mark)!r}, 'w')"),
        Bomb(open, str(mark), "w"),
        Bomb(np.fromfile, "/etc/hostname"),
        Bomb(getattr, 1, "real"),
        Bomb(__import__, "os"),
    )
    for bomb in bombs:
        for protocol in (2, 5):
            for value in ({"x": bomb}, bomb, {"x": np.array([bomb], dtype=object)}):
                with pytest.raises(InputError, match="is not an array, dict, text or number"):
                    read(npy(tmp_path / "bomb.npy", value, protocol=protocol))
    assert not mark.exists()
    dotted = (
        b"\x80\x04\x8c\x05numpy\x8c\x14ndarray.__class__.mr\x93."  # protocol 4 may name attributes
    )
    with pytest.raises(InputError, match="asks for numpy"):
        read(npy(tmp_path / "dotted.npy", None, payload=dotted))


def test_other_contents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for value in ([1, 2], "text", 3.0):
        with pytest.raises(InputError, match="expected a dict: make it again"):
            read(npy(path, value))
    np.save(path, np.zeros(3))
    with pytest.raises(InputError, match="a plain array of float64"):
        read(path)
    with pytest.raises(
        MissingInputError, match=r"label file .*none\.npy does not exist: make it again"
    ):
        read(tmp_path / "none.npy")


def test_damage_is_refused(tmp_path: Path) -> None:
    whole = npy(tmp_path / "whole.npy", SAMPLE).read_bytes()
    path, rng, refused = tmp_path / "a.npy", np.random.default_rng(0), 0
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npy cannot be read"):
            read(path)
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            broken[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(broken))
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_only_arrays_and_flat_lists_of_numbers_come_in(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    cases: list[tuple[Any, str]] = [
        ({"x": "text"}, "has 'text' for 'x', expected an array or a flat list of numbers"),
        ({"x": None}, "has None for 'x'"),
        ({"x": {"y": 1}}, "for 'x', expected"),
        ({"x": [[1, 0], [0, 1]]}, "for 'x', expected"),
        ({"x": [1, None]}, "for 'x', expected"),
        ({"x": [np.zeros(2)]}, r"has \[an array\] for 'x'"),
        ({"x": np.array(["a"])}, "an array of <U1 for 'x'"),
        ({"x": np.zeros(2, complex)}, "arrays of the type 'c16'"),
        ({"x": np.zeros(2, "f4,i4")}, "arrays of the type"),
        ({"x": np.array([1, None])}, "an array of objects"),
        ({"x": np.zeros(2, "M8[s]")}, "arrays of the type"),
        ({1.5: np.zeros(2)}, r"has the key 1\.5, expected text or a whole number"),
        ({(1, 2): 3}, "has the key"),
        ({True: 3}, "has the key True"),
        ({None: 3}, "has the key None"),
        ({2**70: 3}, "has the key"),
    ]
    for value, words in cases:
        for protocol in (2, 4, 5):
            with pytest.raises(InputError, match=words) as caught:
                read(npy(path, value, protocol=protocol))
            assert "\n" not in str(caught.value)
    twice = b"}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u."
    with pytest.raises(InputError, match="has the key 'a' twice"):
        read(npy(path, None, payload=twice))


def shared(levels: int, kind: bytes) -> bytes:
    """A pickle of lists (`]`…`e`) or tuples (`(`…`t`), each of ten times the one before: 10**levels
    numbers."""
    payload = b"K\x01q\x00"
    for level in range(levels):
        inner = b"h" + bytes([level])
        payload += (
            (b"](" + inner * 10 + b"e" if kind == b"e" else b"(" + inner * 10 + b"t")
            + b"q"
            + bytes([level + 1])
        )
    return b"\x80\x02" + payload


def test_small_files_that_would_take_all_memory_or_time_are_refused_at_once(tmp_path: Path) -> None:
    array = pickle.dumps(np.zeros(10_000), protocol=4)[:-1]
    text = (
        b"\x8c\x10numpy.core.multi"
        + b"X"
        + (1 << 20).to_bytes(4, "little")
        + b"x" * (1 << 20)
        + b"q\x00"
    )
    encode = b"\x8c\x07_codecs\x8c\x06encode\x93q\x01\x8c\x06latin1q\x02"
    payloads = {
        "nested lists": shared(12, b"e") + b"q\x63}X\x01\x00\x00\x00ah\x63s.",
        "nested tuples": shared(12, b"t") + b"q\x63}X\x01\x00\x00\x00ah\x63s.",
        "a nested key": shared(40, b"t") + b"q\x63}h\x63K\x01s.",
        "one array many times": array
        + b"r\xff\xff\x00\x00}("
        + b"".join(b"J" + n.to_bytes(4, "little") + b"j\xff\xff\x00\x00" for n in range(30_000))
        + b"u.",
        "one text encoded many times": text
        + encode
        + b"]("
        + b"h\x01h\x00h\x02\x86R" * 30_000
        + b"e.",
        "a far place": b"}r\xff\xff\xff\x7f}u.",
        "a claimed text": b"X\xff\xff\xff\x7fabc.",
        "claimed bytes": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "a claimed buffer": b"\x96" + b"\xff" * 7 + b"\x7f.",
        "a long number": b"L" + b"9" * 5000 + b"L\n.",
        "a set": b"\x80\x04\x8f.",
        "an object": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)\x81.",
        "a huge array": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93J\xff\xff\xff\x7f\x85R.",
    }
    for name, payload in payloads.items():
        path = npy(tmp_path / "bomb.npy", None, payload=payload)
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(InputError) as caught:
            read(path)
        seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 10 and peak < 2e8 and len(str(caught.value)) < 500, (name, seconds, peak)


def test_what_ids_share_is_read(tmp_path: Path) -> None:
    """Writers may give one vector to many ids: it comes out for each, and as arrays of their
    own."""
    zeros = np.zeros(20, np.float32)
    value = read(npy(tmp_path / "a.npy", {f"{n:06}": zeros for n in range(1000)}))
    value["000000"][0] = 1
    assert len(value) == 1000 and value["000000"].sum() == 1 and not value["000999"].any()
