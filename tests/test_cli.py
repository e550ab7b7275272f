"""The command line: help with every default, recipe files, exit statuses."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_set import run

import smaf
from smaf import cli, train_eps
from smaf.core.errors import InputError, during
from smaf.core.files import atomic_path

ROOT = Path(smaf.__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "smaf" / "recipes").glob("*/*.args"))


def smaf_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["smaf", *words])
    return cli.main()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_every_command(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smaf_command(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", out, flags=re.MULTILINE)
        assert importlib.util.find_spec(cli.module_of(name)), name


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert smaf_command(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"smaf {smaf.__version__}\n"


def test_unknown_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smaf_command(monkeypatch, "train") == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith(
        "error: unknown command 'train': expected one of init, prepare, run, report, saliency, "
    )
    assert shown.err.count("\n") == 1


def test_command_is_handed_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smaf_command(monkeypatch, "evaluate", "--data_root", "nowhere", "--pred_dir", "p") == 2
    assert (
        capsys.readouterr().err
        == "error: data set nowhere does not exist: name its folder (--data_root)\n"
    )


def test_a_command_whose_module_has_another_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smaf_command(monkeypatch, "report", "nowhere") == 2
    assert capsys.readouterr().err.startswith("error: nowhere/run.json does not exist: name the ")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_shows_the_default_of_every_option(name: str) -> None:
    done = run(importlib.import_module(cli.module_of(name)).main, "--help")
    assert done.status == 0 and done.err == ""
    entries = re.split(r"^  (?=-)", done.out, flags=re.MULTILINE)[1:]
    named = {entry.split()[0].rstrip(","): " ".join(entry.split()) for entry in entries}
    assert len(named) > 3
    for option, text in named.items():
        assert option == "-h" or "(default: " in text, option
    assert done.out.startswith(f"usage: smaf {name}")


def test_defaults_are_the_published_recipe() -> None:
    args = vars(train_eps.build_parser().parse_args([]))
    published = {
        "steps": 20_000,
        "batch_size": 8,
        "lr": 0.01,
        "power": 0.9,
        "weight_decay": 5e-4,
        "momentum": 5e-4,
        "tau": 0.4,
        "lam": 0.5,
        "crop": 448,
        "resize_long": [256, 512],
        "seed": 1337,
        "backbone": "resnet38",
        "head": "smaf",
        "optimiser": "sgd",
        "batchnorm": "frozen",
    }
    assert {key: args[key] for key in published} == published


def test_recipe_file_with_comments(tmp_path: Path) -> None:
    recipe = tmp_path / "small.args"
    recipe.write_text(
        "# a comment's apostrophe\n--steps 7 --lr 0.5   # two in a line\n\n--resize_long 10 20\n"
        "--class_names 'my names.txt'\n"
    )
    parse = train_eps.build_parser().parse_args
    args = parse([f"@{recipe}"])
    assert (args.steps, args.lr, args.resize_long, args.class_names) == (
        7,
        0.5,
        [10, 20],
        "my names.txt",
    )
    assert parse([f"@{recipe}", "--steps", "9"]).steps == 9  # later options win
    assert parse(["--steps", "9", f"@{recipe}"]).steps == 7


def test_a_recipe_of_ones_own_is_a_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train_eps.args").write_text("--recipe light --steps 7\n")
    args = train_eps.build_parser().parse_args(["--recipe", str(mine), "--lr", "0.5"])
    assert (args.steps, args.lr, args.crop) == (7, 0.5, 280)
    done = run(train_eps.main, "--recipe", tmp_path)  # which holds no .args
    assert (
        done.status == 2
        and f"--recipe {tmp_path}: expected one of light, vit, or a" in done.lines[0]
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--steps 'seven", "No closing quotation"),
        (None, "does not exist"),
        ("--stepz 7", "--stepz"),
        ("--steps seven", "invalid int value"),
    ],
)
def test_bad_recipe_is_one_line(text: str | None, words: str, tmp_path: Path) -> None:
    recipe = tmp_path / "small.args"
    if text is not None:
        recipe.write_text(text)
    done = run(train_eps.main, f"@{recipe}")
    assert done.status == 2 and len(done.lines) == 1
    assert done.lines[0].startswith("error: ") and words in done.lines[0]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipes_are_read(path: Path) -> None:
    parser = importlib.import_module(f"smaf.{path.stem}").build_parser()
    args = parser.parse_args(["--recipe", path.parent.name])
    changed = {
        action.dest
        for action in parser._actions
        if action.dest not in {"help", "recipe"} and getattr(args, action.dest) != action.default
    }
    assert changed  # a recipe that sets nothing is not read


def test_light_recipes_cover_the_stages() -> None:
    assert {path.stem for path in RECIPES if path.parent.name == "light"} >= {
        "train_eps",
        "gen_fusion",
        "train_fusion",
        "gen_pm",
    }


def test_options_are_not_abbreviated() -> None:
    done = run(train_eps.main, "--step", 3)
    assert done.status == 2 and "--step" in done.lines[0]


def test_what_nobody_foresaw_is_one_line_and_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(argv: object) -> None:
        with during("fusing photograph x.jpg"), during("reading photograph x.jpg"):
            raise ZeroDivisionError("by\nzero")

    done = run(broken)
    assert done.status == 1 and len(done.lines) == 1
    told = re.fullmatch(
        r"error: ZeroDivisionError while reading photograph x\.jpg: by zero \(not foreseen; the "
        r"traceback is in (.*)\)",
        done.lines[0],
    )
    assert told
    log = Path(told[1])
    assert "in broken" in log.read_text() and log.stat().st_mode & 0o077 == 0
    log.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(
            "tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))
        )
        done = run(broken)
    assert "in broken" in done.err and done.lines[-1].endswith(
        "(not foreseen; the traceback is above)"
    )

    def refused(argv: object) -> None:
        raise InputError("two\nlines")

    assert run(refused).err == "error: two lines\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
    ],
)
def test_full_memory_is_told_with_what_needs_less(error: Exception) -> None:
    def full(argv: object) -> None:
        with during("fusing photograph x.jpg"):
            raise error

    done = run(full)
    assert done.status == 2 and done.err.startswith(
        "error: the memory is full while fusing photograph x.jpg: "
    )


def test_a_full_disk_names_the_users_file(tmp_path: Path) -> None:
    def full(argv: object) -> None:
        with atomic_path(tmp_path / "checkpoint.pth") as temporary:
            raise OSError(errno.ENOSPC, "No space left on device", str(temporary))

    done = run(full)
    assert done.status == 2 and done.err.startswith(
        f"error: {tmp_path / 'checkpoint.pth'}: the disk is full"
    )


def test_one_of_many_processes_leaves_its_line_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(argv: object) -> None:
        raise InputError("mend it")

    monkeypatch.setenv("SMAF_ERRORS", str(tmp_path))
    monkeypatch.setenv("RANK", "3")
    done = run(refused)
    assert (
        done.status == 2 and done.err == "" and (tmp_path / "3.txt").read_text() == "error: mend it"
    )


def test_recipes_are_read_with_a_mark_of_their_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "recipe").write_text("--steps 7  # größer\n", encoding=encoding)
        assert train_eps.build_parser().parse_args([f"@{tmp_path / 'recipe'}"]).steps == 7
    (tmp_path / "recipe").write_text(f"@{tmp_path / 'recipe'}\n")
    assert "reads itself" in run(train_eps.main, f"@{tmp_path / 'recipe'}").err


def start(code: str, **options: Any) -> subprocess.Popen[bytes]:
    """A Python process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


_PRINT = (
    "from smaf.core.command import run_command\ndef main(_):\n    print('×' * 10)\n"
    "raise SystemExit(run_command(main))"
)


def test_a_closed_pipe_and_a_poor_encoding_do_no_harm() -> None:
    process = start(_PRINT)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process = start(_PRINT, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b"\\xd7" * 10 + b"\n", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_one_line_while_modules_load_and_later(number: signal.Signals) -> None:
    wait = "print(flush=True)\nimport time\ntime.sleep(60)"
    loading = f"from smaf.core.terminal import stop_at_once\nstop_at_once()\n{wait}"
    working = (
        "from smaf.core.command import run_command\ndef main(_):\n    print(flush=True)\n    "
        "import time\n    time.sleep(60)\nraise SystemExit(run_command(main))"
    )
    for code in (loading, working):
        process = start(code)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert (
            process.returncode == 130 and err.startswith(b"stopped: ") and err.count(b"\n") == 1
        ), err


@pytest.mark.parametrize("words", [("-m", "smaf", "train_eps"), ("-m", "smaf.train_eps")])
def test_a_stop_while_pytorch_loads(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.startswith(b"stopped: ") and err.count(b"\n") == 1, err


@pytest.mark.slow
def test_entry_script_runs_by_its_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "smaf" / "gen_fusion.py"), "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "--max_view_pixels" in done.stdout and list(tmp_path.iterdir()) == []
