"""The command line: help with every default, recipe files, exit statuses."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_set import run

import smaf
from smaf import cli, options, train_eps
from smaf.core.errors import InputError

ROOT = Path(smaf.__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "script" / "recipes").glob("*/*.args"))


def smaf_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["smaf", *words])
    return cli.main()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_every_command(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    assert smaf_command(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", out, flags=re.MULTILINE)
        assert importlib.util.find_spec(f"smaf.{name}"), name


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert smaf_command(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"smaf {smaf.__version__}\n"


def test_unknown_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert smaf_command(monkeypatch, "train") == 2
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: unknown command 'train': expected one of prepare, train_")
    assert shown.err.count("\n") == 1


def test_command_is_handed_its_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert smaf_command(monkeypatch, "evaluate", "--data_root", "nowhere", "--pred_dir", "p") == 2
    assert capsys.readouterr().err == "error: data set nowhere does not exist: name its folder with --data_root\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_shows_the_default_of_every_option(name: str) -> None:
    done = run(importlib.import_module(f"smaf.{name}").main, "--help")
    assert done.status == 0 and done.err == ""
    entries = re.split(r"^  (?=-)", done.out, flags=re.MULTILINE)[1:]
    named = {entry.split()[0].rstrip(","): " ".join(entry.split()) for entry in entries}
    assert len(named) > 3
    for option, text in named.items():
        assert option == "-h" or "(default: " in text, option
    assert done.out.startswith(f"usage: smaf {name}")


def test_defaults_are_the_published_recipe() -> None:
    args = vars(train_eps.build_parser().parse_args([]))
    published = {"steps": 20_000, "batch_size": 8, "lr": 0.01, "power": 0.9, "weight_decay": 5e-4, "momentum": 5e-4,
                 "tau": 0.4, "lam": 0.5, "crop": 448, "resize_long": [256, 512], "seed": 1337, "backbone": "resnet38",
                 "head": "smaf", "optimiser": "sgd", "batchnorm": "frozen"}
    assert {key: args[key] for key in published} == published


def test_recipe_file_with_comments(tmp_path: Path) -> None:
    recipe = tmp_path / "small.args"
    recipe.write_text("# a comment's apostrophe\n--steps 7 --lr 0.5   # two in a line\n\n--resize_long 10 20\n"
                      "--class_names 'my names.txt'\n")
    parse = train_eps.build_parser().parse_args
    args = parse([f"@{recipe}"])
    assert (args.steps, args.lr, args.resize_long, args.class_names) == (7, 0.5, [10, 20], "my names.txt")
    assert parse([f"@{recipe}", "--steps", "9"]).steps == 9  # later options win
    assert parse(["--steps", "9", f"@{recipe}"]).steps == 7


@pytest.mark.parametrize(("text", "words"), [("--steps 'seven", "No closing quotation"), (None, "No such file"),
                                             ("--stepz 7", "--stepz"), ("--steps seven", "invalid int value")])
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
    args = options.checked(parser.parse_args([f"@{path}"]))
    changed = {action.dest for action in parser._actions if action.dest != "help"
               and getattr(args, action.dest) != action.default}
    assert changed  # a recipe that sets nothing is not read


def test_light_recipes_cover_the_stages() -> None:
    assert {path.stem for path in RECIPES if path.parent.name == "light"} >= {"train_eps", "gen_fusion",
                                                                             "train_fusion", "gen_pm"}


def test_options_are_not_abbreviated() -> None:
    done = run(train_eps.main, "--step", 3)
    assert done.status == 2 and "--step" in done.lines[0]


def test_error_that_is_no_fault_of_the_input_is_not_hidden() -> None:
    def broken(argv: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(broken)

    def refused(argv: object) -> None:
        raise InputError("two\nlines")

    assert run(refused).err == "error: two lines\n"


@pytest.mark.slow
def test_entry_script_runs_by_its_path(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "smaf" / "gen_fusion.py"), "--help"], capture_output=True,
                          text=True, cwd=tmp_path, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--max_view_pixels" in done.stdout and list(tmp_path.iterdir()) == []
