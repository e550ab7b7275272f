"""Which photographs `smaf predict` finds: trees, links, globs, hidden files, its own results; and
where masks go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_set import run

from smaf import predict
from smaf.core.errors import InputError, printable
from smaf.core.images import write_mask
from smaf.engine.predicting.photographs import find_photographs


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (200, 150, 60)).save(path)
    return path


def found(*arguments: object) -> dict[str, str]:
    """Photograph → the place of its mask, both as text."""
    return {
        str(p.path): p.place.as_posix()
        for p in find_photographs([str(argument) for argument in arguments])
    }


@pytest.fixture()
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_masks_mirror_folders_and_globs(here: Path) -> None:
    for name in ("n/a.jpg", "n/x/001.jpg", "n/y/001.JPG", "n/y/z/002.Jpeg"):
        photo(here / name)
    (here / "n/x/notes.txt").write_text("no photograph")
    tree = {
        "n/a.jpg": "a",
        "n/x/001.jpg": "x/001",
        "n/y/001.JPG": "y/001",
        "n/y/z/002.Jpeg": "y/z/002",
    }
    assert found("n") == found("n/") == found("n/*") == tree
    assert found("n/**/*.jpg") == {"n/a.jpg": "a", "n/x/001.jpg": "x/001"}
    assert found("n/*/00?.*") == {"n/x/001.jpg": "x/001", "n/y/001.JPG": "y/001"}
    assert found("n/y/z/002.Jpeg", "n/a.jpg") == {"n/y/z/002.Jpeg": "002", "n/a.jpg": "a"}
    assert found(here / "n/**/*.Jpeg") == {str(here / "n/y/z/002.Jpeg"): "y/z/002"}
    assert found("n/x/001.jpg", "n", "./n/x", "n/y/../x/*.jpg") == {
        **tree,
        "n/x/001.jpg": "001",
    }  # each once


def test_names_with_wildcards_dots_and_no_suffix(here: Path) -> None:
    for name in ("[1]/a[b].jpg", "v1.2.jpg"):
        photo(here / name)
    photo(here / "plain.png").rename(here / "plain")
    assert found("[1]") == {"[1]/a[b].jpg": "a[b]"}
    assert found("[1]/a[b].jpg", "v1.2.jpg", "plain") == {
        "[1]/a[b].jpg": "a[b]",
        "v1.2.jpg": "v1.2",
        "plain": "plain",
    }


def test_two_links_to_one_photograph_are_two(here: Path) -> None:
    stored = photo(here / "store/ab12.png")
    (here / "links").mkdir()
    for name in ("x.png", "y.png"):
        (here / "links" / name).symlink_to(stored)
    (here / "links/gone.jpg").symlink_to(here / "nowhere.jpg")
    (here / "links/self.jpg").symlink_to(here / "links/self.jpg")
    assert list(found("links").values()) == ["gone", "self", "x", "y"]
    for folder in ("tree/one", "tree/two"):
        (here / folder).parent.mkdir(exist_ok=True)
        (here / folder).symlink_to(here / "store", target_is_directory=True)
    assert found("tree") == {"tree/one/ab12.png": "one/ab12", "tree/two/ab12.png": "two/ab12"}


def test_a_place_is_one_masks_where_two_names_are_one_file(here: Path) -> None:
    photo(here / "a/1.jpg")
    (here / "b").symlink_to(here / "a", target_is_directory=True)
    assert found("a/1.jpg", "b/1.jpg") == {"a/1.jpg": "1"}


def test_links_in_circles_end(here: Path) -> None:
    photo(here / "n/x/001.jpg")
    for name in ("up", "x/up", "x/again", "self"):
        (here / "n" / name).symlink_to(here / "n", target_is_directory=True)
    started = time.process_time()
    assert found("n") == found("n/**/*.jpg") == {"n/x/001.jpg": "x/001"}
    assert time.process_time() - started < 2


def test_hidden_files_are_left_out_unless_named(here: Path) -> None:
    for name in (
        "n/a.jpg",
        "n/.b.jpg",
        "n/.thumbnails/a.jpg",
        "n/__MACOSX/a.jpg",
        "n/@eaDir/a.jpg/thumb.jpg",
    ):
        photo(here / name)
    (here / "n/._a.jpg").write_bytes(b"\0\5\26\7Mac OS X")
    assert found("n") == {"n/a.jpg": "a"} == found("n/*.jpg")
    assert found("n/.b.jpg", "n/.thumbnails") == {"n/.b.jpg": ".b", "n/.thumbnails/a.jpg": "a"}


@pytest.mark.parametrize(
    ("files", "arguments", "words"),
    [
        (
            ("n/a.jpg", "n/a.png"),
            ("n",),
            ("n/a.jpg and n/a.png would both be written to a.png: rename one",),
        ),
        (
            ("n/x/1.jpg", "n/y/1.jpg"),
            ("n/x", "n/y"),
            (
                "n/x/1.jpg and n/y/1.jpg would both be written to 1.png: name ",
                "/n, whose folders the masks mirror",
            ),
        ),
        (
            ("n/x/1.jpg", "n/y/1.jpg"),
            ("n/x/1.jpg", "n/y/1.jpg"),
            ("would both be written to 1.png",),
        ),
        (("n/x/1.jpg",), ("n/z",), ("n/z names no photograph",)),
        (("n/x/1.heic",), ("n",), ("n names no photograph",)),
    ],
)
def test_what_cannot_be_is_named(
    files: tuple[str, ...], arguments: tuple[str, ...], words: tuple[str, ...], here: Path
) -> None:
    for name in files:
        photo(here / name) if not name.endswith("heic") else (here / name).parent.mkdir(
            parents=True
        )
    if files[0].endswith("heic"):
        (here / files[0]).write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InputError) as caught:
        found(*arguments)
    assert all(word in str(caught.value) for word in words)


def test_photographs_of_another_kind_are_told(here: Path) -> None:
    photo(here / "n/a.jpg")
    for name in ("IMG_1.HEIC", "IMG_2.heic", "notes.txt"):
        (here / "n" / name).write_bytes(b"\0\0\0\x18ftypheic")
    done = run(predict.main, "n", "--out", "out", "--device", "cpu")
    assert (
        done.status == 0
        and "2 files of n were left out, n/IMG_1.HEIC first" in done.err
        and "convert" in done.err
    )


def test_masks_and_overlays_are_no_photographs(here: Path) -> None:
    photo(here / "n/a.jpg")
    photo(here / "n/b_overlay.jpg")  # a photograph that is only called so
    write_mask(here / "n/true.png", np.zeros((12, 16), dtype=np.uint8))
    Image.new("L", (16, 12)).save(here / "n/grey.png")
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16)).convert("RGB").quantize(8).save(
        here / "n/p.png"
    )
    assert set(found("n").values()) == {"a", "b_overlay", "grey", "p"}
    photo(here / "n/true_overlay.jpg")  # beside its mask, as version 0.3 wrote it
    assert set(found("n").values()) == {"a", "b_overlay", "grey", "p"}
    with pytest.raises(InputError, match="names no photograph but masks and overlays"):
        found("n/true.png")


def test_printable() -> None:
    assert printable("é\n\udcff.jpg") == "é\\n\\udcff.jpg"
    assert os.fsencode(Path("\udcff.jpg")) == b"\xff.jpg"
