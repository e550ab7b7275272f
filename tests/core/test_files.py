"""Files are written whole or not at all; ids stay inside the data set; what is missing is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smaf.core import files
from smaf.core.errors import InputError, MissingInputError
from smaf.core.files import (
    atomic_path,
    check_id,
    output_folder,
    read_json,
    read_lines,
    require_file,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old\n")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent and path.read_text() == "old\n"
    assert path.read_text() == "new" and names(path.parent) == ["a.txt"]


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
        assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "b.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:3])
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(path, b"much more")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_ids_are_plain_names() -> None:
    for good in ("2007_000032", "COCO_train2014_000000000009", "a-b.c", "Ä 1", ".hidden"):
        assert check_id(good, "list") == good
    for bad in ("", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b"):
        with pytest.raises(InputError, match=r"list\.txt: .* is not an image id"):
            check_id(bad, "list.txt")


def test_lines_and_json(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\n  two \nthree")
    assert read_lines(path, "list", "fix") == ["one", "two", "three"]
    path.write_bytes("one\n zwölf \n".encode("utf-16"))  # with its mark, as spreadsheets save it
    assert read_lines(path, "list", "fix") == ["one", "zwölf"]
    path.write_bytes(b"\xffbad")
    with pytest.raises(InputError, match=r"list .*list\.txt is not a text file .*; mend it"):
        read_lines(path, "list", "mend it")
    write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json", "record", "fix") == {"ä": [1, 2.5, None]}
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
    for damaged in (b"", b"{", b'{"a": 1', b"\xff", b"[" * 100_000, b"9" * 5_000):
        (tmp_path / "a.json").write_bytes(damaged)
        with pytest.raises(
            InputError, match=r"a\.json is (not valid JSON|not a text file|nested too deeply)"
        ):
            read_json(tmp_path / "a.json", "record", "fix")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"mask .*x\.png does not exist: draw it"):
        require_file(tmp_path / "x.png", "mask", "draw it")
    with pytest.raises(MissingInputError):
        require_file(tmp_path, "mask", "a folder is no file")
    error = MissingInputError("gone")
    assert (
        isinstance(error, FileNotFoundError)
        and isinstance(error, InputError)
        and str(error) == "gone"
    )


def test_output_folder_is_probed_before_work(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir() and names(folder) == []
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="is not writable"):
            output_folder(bad)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(
    os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may write everywhere",
)
def test_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="not writable"):
            output_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_two_writers_never_share_a_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with files.atomic_path(path) as first, files.atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first" and names(tmp_path) == ["a.txt"]  # the outer block ends last


def test_names_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_bytes(path, b"mask", durable=True)
    assert path.read_bytes() == b"mask" and names(tmp_path) == [path.name]


def test_names_that_are_no_utf8_are_kept_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "a.json", {name: "ä"})
    assert read_json(tmp_path / "a.json", "record", "fix") == {name: "ä"}
    assert "caf\\udce9.jpg" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "bad", ["a\nb", "a\x00", "a\x7fb", "a\x85b", "a\u2028b", os.fsdecode(b"caf\xe9")]
)
def test_control_characters_are_no_part_of_an_id(bad: str) -> None:
    with pytest.raises(
        InputError,
        match=r"list\.txt: the name .* has a control character, or bytes that are no UTF-8",
    ):
        check_id(bad, "list.txt")


def test_ids_are_composed_unicode() -> None:
    assert check_id("Cafe\u0301", "list") == "Caf\u00e9"


def test_a_colon_is_forbidden_on_windows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_id("2024-01-01 12:30", "list") == "2024-01-01 12:30"
    monkeypatch.setattr(files.sys, "platform", "win32")
    with pytest.raises(InputError, match="on Windows: rename it"):
        check_id("2024-01-01 12:30", "list")


def test_files_are_found_by_stem_whatever_the_suffix_case_and_the_form_of_accents(
    tmp_path: Path,
) -> None:
    for name in ("a.Jpg", "a.png", "._a.jpg", ".a.jpg", "Cafe\u0301.TIF", "b.c.jpg", "d.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "e.jpg").mkdir()
    suffixes = (".jpg", ".png", ".tif")
    assert files.find_by_stem(tmp_path, "a", suffixes) == tmp_path / "a.Jpg"
    assert files.find_all_by_stem(tmp_path, "a", (".png", ".jpg")) == [
        tmp_path / "a.png",
        tmp_path / "a.Jpg",
    ]
    assert files.find_by_stem(tmp_path, "Caf\u00e9", suffixes) == tmp_path / "Cafe\u0301.TIF"
    assert files.find_by_stem(tmp_path, "b.c", suffixes) == tmp_path / "b.c.jpg"
    for absent in ("b", "d", "e", "._a"):
        assert files.find_by_stem(tmp_path, absent, suffixes) is None
    assert files.find_by_stem(tmp_path / "nowhere", "a", suffixes) is None


def test_new_files_are_found_though_the_listing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.utime(tmp_path, (1, 1))
    assert (
        files.find_by_stem(tmp_path, "a", (".jpg",))
        and files.find_by_stem(tmp_path, "b", (".jpg",)) is None
    )
    (tmp_path / "b.jpg").write_bytes(b"x")
    assert files.find_by_stem(tmp_path, "b", (".jpg",)) == tmp_path / "b.jpg"


def test_leftovers_of_killed_runs_are_dropped(tmp_path: Path) -> None:
    for name in (
        ".smaf-0123abcd.part",
        ".checkpoint.pth.0123abcd.part",
        "mine.part",
        ".hidden.part",
        "a.npz",
    ):
        (tmp_path / name).write_bytes(b"x")
    files.drop_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden.part", "a.npz", "mine.part"]
    files.drop_leftovers(tmp_path / "nowhere")
