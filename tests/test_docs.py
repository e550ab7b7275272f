"""The blocks of README and docs: their commands can be read, and run unless they are marked."""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc_blocks import (
    LANGUAGES,
    PAGES,
    Block,
    Command,
    blocks_of,
    check_benchmark,
    check_words,
    commands_in,
    module_of,
    page_blocks,
    stages_of,
)
from PIL import Image
from run_set import write_recipe
from small_set import needs_export

from smaf.core import recipes
from smaf.core.command import run_command
from smaf.core.fused_maps import read_fused
from smaf.core.images import read_mask
from smaf.data.demo.demo_set import render_demo_set, render_photographs
from smaf.engine.pipeline import run as running
from smaf.engine.pipeline.estimate import Pace

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
ALL = [block for page in PAGES for block in page_blocks(page)]
SHELL = {"cp", "mkdir", "ls", "cat", "head"}  # besides commands of the project; run as they are
# Where an example's number is for real data
SHORTER = {"steps=60": "steps=2, batch_size=2, num_workers=0"}


def test_blocks_are_found_with_their_marks() -> None:
    text = "a\n```bash\nsmaf run d\n```\n\n<!-- not run: needs VOC -->\n```python\nx\n```\n"
    text += "```{x}\n```\n"
    first, second = blocks_of(text, "p.md")
    assert (first.line, first.language, first.text, first.not_run) == (
        2,
        "bash",
        "smaf run d\n",
        None,
    )
    assert (second.line, second.text, second.not_run) == (7, "x\n", "needs VOC")


def test_commands_are_found_with_their_settings() -> None:
    text = 'export A=1\nB="x y" bash s.sh --o \\\n  2  # why\ncd d && smaf run "a b"\n'
    first, second, third = commands_in(text)
    assert (first.words, first.settings) == (["bash", "s.sh", "--o", "2"], {"A": "1", "B": "x y"})
    assert second.words == ["cd", "d"] and third.words == ["smaf", "run", "a b"]


@pytest.mark.parametrize("block", ALL, ids=str)
def test_blocks_have_a_language_that_is_tested(block: Block) -> None:
    assert block.language in LANGUAGES, f"{block}: one of {sorted(LANGUAGES)} is expected"


@needs_bash
@pytest.mark.parametrize("block", [b for b in ALL if b.language == "bash"], ids=str)
def test_commands_can_be_read(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands_in(block.text):
        for name, words in stages_of(command):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                try:
                    check_words(name, words)
                except (SystemExit, ValueError) as error:
                    pytest.fail(f"{block}: {command}: {error} {said.getvalue()}")
        if len(command.words) > 1 and command.words[1].startswith("benchmarks/"):
            check_benchmark(command.words[1:])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages name; the light recipe is one of four steps a training."""
    render_photographs(tmp_path, count=12, size=(96, 72))
    (tmp_path / "photographs").rename(tmp_path / "my_photographs")
    render_demo_set(tmp_path / "demo/data", train=4, test=1, size=(96, 64))
    photos = sorted((tmp_path / "my_photographs").iterdir())[:2]
    for folder in ("photos", "more_photographs"):
        (tmp_path / folder).mkdir()
        for photo in photos:
            shutil.copy(photo, tmp_path / folder)
    rows = "".join(f"{photo.name},cat\n" for photo in photos)
    (tmp_path / "shown.csv").write_text(f"image,labels\n{rows}")
    write_crf_example(tmp_path)
    (tmp_path / "recipes").mkdir()
    write_recipe(tmp_path / "recipes/light")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "recipes")
    monkeypatch.setattr(running, "rehearse", lambda run: {"train_eps": Pace(1.0)})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_crf_example(folder: Path) -> None:
    """A photograph of two halves, and probabilities that end four columns too far to the left."""
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:, 32:] = 255
    Image.fromarray(pixels).save(folder / "photo.jpg", quality=95)
    probability = np.full((2, 48, 64), 0.4)
    probability[1, :, 28:] = 0.6
    probability[0] = 1 - probability[1]
    np.save(folder / "probability.npy", probability)


def run_words(name: str, words: list[str]) -> None:
    """Run a command in this process, on the CPU without helpers."""
    module = module_of(name)
    parser = module.COMMAND.parser() if hasattr(module, "COMMAND") else module.build_parser()
    known = {option for action in parser._actions for option in action.option_strings}
    for option, value in (("--num_workers", "0"), ("--device", "cpu")):
        if option in known and option not in words:
            words = [*words, option, value]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run_command(module.main, words)
    assert status == 0, f"smaf {name} {shlex.join(words)}: {said.getvalue()[-2000:]}"


def run_bash(block: Block) -> None:
    """Run the commands of a block: the project's in this process, a few others by bash."""
    for command in commands_in(block.text):
        stages = stages_of(command)
        for name, words in stages:
            run_words(name, words)
        if not stages:
            run_other(block, command)


def run_other(block: Block, command: Command) -> None:
    assert command.words[0] in SHELL, f"{block}: {command}: run it by a test, or mark the block"
    subprocess.run(command.words, check=True, timeout=60, capture_output=True)


@needs_bash
@needs_export
@pytest.mark.slow
def test_blocks_run(world: Path) -> None:
    """One after the other in one folder, README first; each block that is not marked."""
    names: dict[str, dict[str, Any]] = {}
    for block in ALL:
        if block.not_run is not None or block.language not in {"bash", "python"}:
            continue
        try:
            if block.language == "bash":
                run_bash(block)
            else:
                text = block.text
                for long, short in SHORTER.items():
                    text = text.replace(long, short)
                exec(compile(text, str(block), "exec"), names.setdefault(block.page, {}))
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error
    check_readme(world, names["README.md"])
    check_from_python(world, names["docs/from_python.md"])
    check_formats(names["docs/formats.md"])
    check_crf(names["docs/speed.md"])


def check_readme(world: Path, names: dict[str, Any]) -> None:
    mask = names["result"].mask
    assert mask.shape == (48, 64) and np.array_equal(read_mask(world / "masks/photo.png"), mask)
    assert Image.open(world / "overlay.png").width >= 64
    assert len(list((world / "run/masks").glob("*.png"))) == 12
    assert len(list((world / "more_masks").glob("*.png"))) == 2


def check_from_python(world: Path, names: dict[str, Any]) -> None:
    masks = sorted((world / "training/masks").glob("train_*.png"))
    assert len(masks) == 4 and read_mask(masks[0]).shape == (64, 96)
    assert names["network"] == Path("training/net/segmenter.pth") and names["network"].is_file()


def check_formats(names: dict[str, Any]) -> None:
    """What the page says of fused maps is what the reader does."""
    expected = read_fused(names["path"], num_classes=255)
    assert expected and names["maps"].keys() == expected.keys()
    for c, plane in expected.items():
        np.testing.assert_allclose(names["maps"][c], plane, atol=1e-6)


def check_crf(names: dict[str, Any]) -> None:
    expected = np.zeros((48, 64))
    expected[:, 32:] = 1
    np.testing.assert_array_equal(names["mask"], expected)


@needs_bash
@pytest.mark.parametrize(
    "line",
    [
        "smaf predict photo.jpg --nonsuch",
        "smaf predict photo.jpg --threshold 2",
        "smaf train_eps --steps 0",
        "bash script/train_eps.sh --nonsuch 1",
        "NPROC=2 bash script/gen_pm.sh --crf nonsuch",
    ],
)
def test_commands_that_are_wrong_are_found(line: str) -> None:
    (command,) = commands_in(line)
    for name, words in stages_of(command):
        with contextlib.redirect_stderr(io.StringIO()), pytest.raises((SystemExit, ValueError)):
            check_words(name, words)


def test_a_command_of_another_program_is_run_by_name_or_its_block_is_marked() -> None:
    (block,) = blocks_of("```bash\nrm -r data\n```\n", "p.md")
    with pytest.raises(AssertionError, match=r"p.md:1: rm -r data: run it by a test, or mark"):
        run_bash(block)
