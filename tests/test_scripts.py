"""The bash scripts in other shells and folders, and the environments that they make, by a stand-in
for Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path.name
    for path in (ROOT / "script").glob("*.sh")
    if path.name not in {"common.sh", "venv.sh"}
)
STAGES = [
    name
    for name in SCRIPTS
    if name not in {"demo.sh", "test.sh", "check.sh", "docs.sh", "reproduce_voc12.sh"}
]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

# Says its version, makes environments of itself, and writes down what else it is asked for
PYTHON = """#!/bin/sh
case "$*" in
  -c*version_info*) echo "${VERSION:-3.11}" ;;
  -c*) ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" ;;
  *) printf '%s|' "$(basename "$(dirname "$(dirname "$0")")")" "$PYTHONPATH" "$@" >>"$SEEN"; echo >>"$SEEN"
     case "$*" in *pip*) exit "${PIP:-0}" ;; esac ;;
esac
"""


CRF = "smaf/ops/crf/__pycache__"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone's scripts in a folder with a space in its name, and a stand-in beside it."""
    root = tmp_path / "my clone"
    shutil.copytree(ROOT / "script", root / "script")
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "pyproject.toml"]:
        shutil.copy(path, root)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (root / CRF).mkdir(parents=True)
    (root / CRF / "dense.1.py311.nbc").touch()  # Numba has compiled it
    return root


def call(
    clone: Path,
    script: str | Path,
    *options: str,
    shell: str = "bash",
    cwd: Path | None = None,
    **settings: str,
) -> tuple[int, list[str], list[list[str]]]:
    """Exit status, lines on standard error, and the commands seen: folder of the environment,
    PYTHONPATH, words."""
    seen = clone.parent / "seen"
    seen.unlink(missing_ok=True)
    plain = {
        "PATH": f"{clone.parent / 'path'}:{os.environ['PATH']}",
        "HOME": str(clone.parent),
        "SEEN": str(seen),
    }
    done = subprocess.run(
        [shell, str(clone / "script" / script), *options],
        timeout=60,
        cwd=cwd or clone.parent,
        env={**plain, "PYTHON": str(clone.parent / "python"), **settings},
        check=False,
        capture_output=True,
        text=True,
    )
    commands = (
        [line.rstrip("|").split("|") for line in seen.read_text().splitlines()]
        if seen.exists()
        else []
    )
    return done.returncode, done.stderr.splitlines(), commands


@pytest.mark.parametrize("script", STAGES)
def test_stages_are_found_from_any_folder_through_links_and_with_cdpath(
    clone: Path, script: str
) -> None:
    link = clone.parent / "link.sh"
    link.symlink_to(clone / "script" / script)
    (clone.parent / "smaf").mkdir()  # a clone's usual name: not to be taken for the package
    for path, cwd in ((script, clone.parent), (link, Path("/")), (script, clone / "script")):
        status, err, commands = call(
            clone, path, cwd=cwd, CDPATH=f".:{clone.parent}:/tmp", EVALUATE="0"
        )
        assert (status, err) == (0, [])
        (command,) = commands
        assert command[1:4] == [str(clone), "-m", f"smaf.{script.removesuffix('.sh')}"]
        assert command[command.index("--data_root") + 1] == str(clone / "dataset/VOC2012")


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_shell_is_told_to_use_bash(clone: Path, script: str) -> None:
    shell = shutil.which("dash")
    if shell is None:
        pytest.skip("there is no dash")
    status, err, commands = call(clone, script, shell=shell)
    path = clone / "script" / script
    assert (status, err, commands) == (2, [f"error: {path} needs bash: bash {path}"], [])


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interpreter_that_does_not_run_is_one_line(clone: Path, script: str) -> None:
    status, err, commands = call(clone, script, PYTHON="nonsuch")
    assert (
        status == 2
        and len(err) == 1
        and err[0].startswith("error: ")
        and "nonsuch" in err[0]
        and commands == []
    )


@pytest.mark.parametrize("script", STAGES)
def test_before_there_is_an_environment_a_stage_names_what_makes_it(
    clone: Path, script: str
) -> None:
    (clone.parent / "path").mkdir()
    (clone.parent / "path/python3").write_text("#!/bin/sh\nexit 1\n")
    (clone.parent / "path/python3").chmod(0o755)
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").symlink_to("/nonsuch/python3")
    status, err, commands = call(clone, script, PYTHON="")
    assert status == 2 and len(err) == 1 and "script/demo.sh" in err[0] and commands == []


@pytest.mark.parametrize("version", ["3.9", "3.15", "2.7"])
def test_a_python_that_nobody_tested_is_refused(clone: Path, version: str) -> None:
    status, err, _ = call(clone, "demo.sh", VERSION=version)
    assert status == 2 and len(err) == 1 and f"is {version}" in err[0] and "3.10 to 3.14" in err[0]
    assert not (clone / ".venv").exists()


def test_an_environment_is_made_once(clone: Path) -> None:
    status, err, commands = call(clone, "demo.sh", "--out", "here", CDPATH=".:/tmp")
    assert (status, err) == (0, [])
    assert [command[2:4] for command in commands] == [["-m", "pip"], ["-m", "smaf"]]
    assert commands[0][0] == ".venv" and f"-e|{clone}" in "|".join(commands[0])
    assert commands[1][1:] == [str(clone), "-m", "smaf", "demo", "--out", "here"]
    assert [command[2:5] for command in call(clone, "demo.sh", PYTHON="")[2]] == [
        ["-m", "smaf", "demo"]
    ]
    (clone / "requirements.txt").write_text("torch>=99\n")
    assert len(call(clone, "demo.sh")[2]) == 2


def test_what_numba_compiles_is_compiled_before_the_first_demo(clone: Path) -> None:
    shutil.rmtree(clone / CRF)
    _, _, commands = call(clone, "demo.sh")
    assert [command[2:4] for command in commands] == [
        ["-m", "pip"],
        ["-m", "smaf.ops.crf.warm_up"],
        ["-m", "smaf"],
    ]


def test_tests_need_no_tools_that_judge_style(clone: Path) -> None:
    assert not {"ruff", "mypy"} & {
        line.split("=")[0] for line in (clone / "requirements-test.txt").read_text().split()
    }
    _, _, commands = call(clone, "test.sh", "-k", "some")
    assert f"{clone}[test]" in commands[0] and commands[-1][2:] == [
        "-m",
        "pytest",
        "-n",
        "2",
        "-k",
        "some",
    ]
    _, _, commands = call(clone, "check.sh")
    assert [command[2:5] for command in commands] == [
        ["-m", "pip", "install"],
        ["-m", "ruff", "format"],
        ["-m", "ruff", "check"],
        ["-m", "mypy"],
    ]
    assert {command[0] for command in commands} == {".venv-check"} and "--no-deps" in commands[0]


def test_documentation_is_built_in_an_environment_of_its_own(clone: Path) -> None:
    for options, builder in ((), "html"), (("--links",), "linkcheck"):
        _, _, commands = call(clone, "docs.sh", *options)
        assert commands[-1][0] == ".venv-docs" and commands[-1][2:5] == ["-m", "sphinx", "-W"]
        assert commands[-1][-1] == f"{clone}/docs/_build/{builder}"


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ((), True),
        (("-x", "--durations=5"), True),
        (("tests/core",), False),
        (("-x", "-k", "a"), False),
    ],
)
def test_coverage_is_demanded_of_the_whole_suite_only(
    clone: Path, options: tuple[str, ...], whole: bool
) -> None:
    measured = ["--cov", "--cov-report=term", "--cov-fail-under=90"] if whole else []
    _, _, commands = call(clone, "test.sh", *options, JOBS="3")
    assert commands[-1][2:] == ["-m", "pytest", "-n", "3", *measured, *options]


@pytest.mark.parametrize(
    "fault", ["python gone", "python broken", "half installed", "folder moved", "other version"]
)
def test_an_environment_that_does_not_work_is_made_again(clone: Path, fault: str) -> None:
    if fault == "half installed":
        assert call(clone, "demo.sh", PIP="1")[0] == 1
    else:
        call(clone, "demo.sh")
    python, settings = clone / ".venv/bin/python", {}
    (clone / ".venv/left").touch()
    if fault == "python gone":
        python.unlink()
        python.symlink_to("/nonsuch/python3")
    elif fault == "python broken":
        python.write_text("#!/bin/sh\nexit 1\n")
    elif fault == "folder moved":
        clone = clone.rename(clone.with_name("moved"))
    elif fault == "other version":
        settings = {"VERSION": "3.12"}
        python.write_text(PYTHON.replace("${VERSION:-3.11}", "3.11"))
    status, err, commands = call(clone, "demo.sh", **settings)
    assert (
        status == 0 and len(err) == 1 and err[0].startswith(f"note: making {clone}/.venv again")
    ), err
    assert not (clone / ".venv/left").exists() and len(commands) == 2


def test_an_environment_of_the_user_is_never_removed(clone: Path) -> None:
    mine = clone.parent / "mine"
    (mine / "bin").mkdir(parents=True)
    (mine / "thesis.txt").touch()
    status, err, commands = call(clone, "demo.sh", VENV="mine")
    assert status == 2 and len(err) == 1 and str(mine) in err[0] and commands == []
    assert (mine / "thesis.txt").exists()
