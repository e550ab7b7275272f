"""Output folders: one run at a time, nothing of other runs or other settings, and runs that go on
after any end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from small_set import (
    ADAMW,
    NETWORK,
    SGD,
    Done,
    good,
    run,
    same,
    stage0,
    stage1,
    stage2,
    stage3,
    stamps,
    weights_of,
    write_list,
)

from smaf import refine_fusion
from smaf.core.errors import InputError
from smaf.core.fused_maps import read_fused
from smaf.core.record import RECORD
from smaf.engine.outputs import Output, Settings, locked, output_run
from smaf.engine.stages import train_fusion as self_training
from smaf.engine.training import prototypes
from smaf.engine.training import run as training

PRODA = ("--ema", "--rectify", "proda", "--moving_prototype")


def entries(folder: Path) -> list[dict[str, object]]:
    runs: list[dict[str, object]] = json.loads((folder / RECORD).read_text())
    return runs


def refine(root: Path, cams: Path, out: Path, *extra: object) -> Done:
    return run(
        refine_fusion.main,
        "--data_root",
        root,
        "--list",
        "all",
        "--cam_dir",
        cams,
        "--out",
        out,
        "--no_crf",
        "--saliency_weight",
        1,
        "--num_workers",
        0,
        *extra,
    )


def test_a_second_run_is_told_who_has_the_folder(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    runs = {
        "stage 0": lambda: stage0(small, out, "--steps", 1, *SGD),
        "stage 1": lambda: stage1(small, classifier, out),
        "between": lambda: refine(small, cams, out),
        "stage 3": lambda: stage3(small, out, "--cam_dir", cams),
        "stage 2": lambda: stage2(small, classifier, cams, out, "--steps", 1, *SGD),
    }
    with locked(out):
        for name, second in runs.items():
            done = second()
            assert done.status == 2 and len(done.lines) == 1, name
            assert done.lines[0].startswith(
                f"error: {out} is in use by process {os.getpid()} on "
            ), name
            assert "wait for it, end it, or choose another folder" in done.lines[0]
    assert list(out.iterdir()) == []  # the lock leaves nothing
    good(stage1(small, classifier, out))


def test_a_killed_process_leaves_neither_lock_nor_half_written_files(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom smaf.core.files import atomic_path\n"
        "from smaf.engine.outputs import locked\nfolder = Path(sys.argv[1])\n"
        "with locked(folder), atomic_path(folder / 'a') as part:\n"
        "    part.write_bytes(b'half')\n    print(flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(InputError, match=f"in use by process {process.pid} on "), locked(tmp_path):
        pass
    process.kill()
    process.wait()
    assert list(tmp_path.glob(".smaf-*.part"))
    with locked(tmp_path):
        assert not list(tmp_path.glob(".smaf-*.part"))


def test_a_file_system_without_locks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("smaf.engine.locks.FileLock.acquire", refuse)
    with locked(tmp_path):
        pass
    assert f"{tmp_path} is on a file system without locks" in caplog.text


def test_the_record_comes_first_and_goes_last(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        output_run(Output(tmp_path), Settings({"seed": 1}), results=("*.npz",), images=3),
    ):
        assert [entry["finished"] for entry in entries(tmp_path)] == [False]
        (tmp_path / "a.npz").write_bytes(b"x")
        (tmp_path / "evaluation_train.json").write_bytes(b"{}")
        raise ZeroDivisionError
    with (
        pytest.raises(InputError, match="seed was 1, is 2"),
        output_run(Output(tmp_path), Settings({"seed": 2}), results=("*.npz",), images=3),
    ):
        pass
    with output_run(
        Output(tmp_path, overwrite=True), Settings({"seed": 2}), results=("*.npz",), images=3
    ):
        assert (
            not (tmp_path / "a.npz").exists() and not (tmp_path / "evaluation_train.json").exists()
        )
        assert [(entry["settings"], entry["finished"]) for entry in entries(tmp_path)] == [
            ({"seed": 2}, False)
        ]
    assert entries(tmp_path)[-1]["finished"]


def test_a_run_killed_between_result_and_record_ends_finished(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training.distributed, "wait_for_all", killed)
        stage0(small, tmp_path, "--steps", 2, *SGD)
    assert (tmp_path / "classifier.pth").is_file() and not entries(tmp_path)[-1]["finished"]
    good(stage0(small, tmp_path, "--steps", 2, *SGD))
    assert entries(tmp_path)[-1]["finished"]


def test_prototypes_of_other_weights_are_never_taken(
    small: Path, classifier: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W1 finishes; W2 --overwrite is killed while prototypes are computed; W2 goes on: with W2's
    prototypes."""

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    good(stage0(small, tmp_path / "other", "--steps", 2, *SGD, "--seed", 3))
    options = (*PRODA, "--steps", 2, *ADAMW)
    mixed, clean, other = tmp_path / "mixed", tmp_path / "clean", tmp_path / "other/classifier.pth"
    good(stage2(small, classifier, cams, mixed, *options))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(self_training, "initial_prototypes", killed)
        stage2(small, other, cams, mixed, *options, "--overwrite")
    good(stage2(small, other, cams, mixed, *options))
    good(stage2(small, other, cams, clean, *options))
    assert same(weights_of(mixed / "classifier.pth"), weights_of(clean / "classifier.pth"))
    assert same(weights_of(mixed / "classifier_ema.pth"), weights_of(clean / "classifier_ema.pth"))


def test_prototypes_say_what_they_were_made_of(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    options = (*PRODA, "--steps", 1, *ADAMW)
    good(stage2(small, classifier, cams, tmp_path / "a", *options))
    good(stage0(small, tmp_path / "other", "--steps", 2, *SGD, "--seed", 3))
    good(stage2(small, tmp_path / "other/classifier.pth", cams, tmp_path / "b", *options))
    for name in ("checkpoint.pth", "classifier.pth", "classifier_ema.pth"):
        (tmp_path / "b" / name).unlink()
    shutil.copy(tmp_path / "a" / prototypes.PROTOTYPES, tmp_path / "b" / prototypes.PROTOTYPES)
    done = stage2(small, tmp_path / "other/classifier.pth", cams, tmp_path / "b", *options)
    assert done.status == 2 and "were made of other weights" in done.lines[-1]


def test_truncated_maps_are_made_again(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(cams, tmp_path / "cams"))
    whole = (out / "p3.npz").read_bytes()
    (out / "p3.npz").write_bytes(whole[: len(whole) // 2])
    (out / "p4.npz").write_bytes(b"")
    done = good(stage1(small, classifier, out))
    assert "2 results in" in done.lines[0] and "are made again: fused map" in done.lines[0]
    assert (out / "p3.npz").read_bytes() == whole and (out / "p4.npz").read_bytes() == (
        cams / "p4.npz"
    ).read_bytes()


@pytest.mark.parametrize("crf", [False, True])
def test_truncated_masks_are_made_again(crf: bool, small: Path, cams: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "masks", ("--cam_dir", cams, *(["--crf"] if crf else []))
    good(stage3(small, out, *options))
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    for path in (out / "p1.png", *([out / "before_crf" / "p2.png"] if crf else [])):
        path.write_bytes(path.read_bytes()[:60])
    done = good(stage3(small, out, *options))
    assert any("are made again: mask" in line for line in done.lines)
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before


def test_maps_of_other_labels_are_made_again(small: Path, classifier: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(small, tmp_path / "set"))
    out = tmp_path / "cams"
    lists = root / "ImageSets/Segmentation"
    (lists / "few.txt").write_text("p0\np1\n")
    good(stage1(root, classifier, out, "--list", "few"))
    table = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(table.replace("p1.jpg,box", "p1.jpg,tent"))
    refused = stage1(root, classifier, out, "--list", "few")
    assert refused.status == 2 and "contents of --labels changed" in refused.lines[0]
    done = good(
        stage1(root, classifier, out)
    )  # another list, whose labels cannot be compared as a whole
    assert "p1.npz is of box, the labels are now tent" in done.lines[0]
    assert list(read_fused(out / "p1.npz", num_classes=3)) == [2]


def test_replaced_saliency_maps_are_noticed(small: Path, cams: Path, tmp_path: Path) -> None:
    """By each stage that reads them, unless the list has changed or they are not used."""
    root = Path(shutil.copytree(small, tmp_path / "set"))
    masks = ("--cam_dir", cams)
    stages = {
        "eps": lambda *extra: stage0(root, tmp_path / "eps", "--steps", 2, *SGD, *extra),
        "cls": lambda *_: stage0(root, tmp_path / "cls", "--steps", 2, *SGD, "--network", "cls"),
        "refined": lambda *extra: refine(root, cams, tmp_path / "refined", *extra),
        "salient": lambda *extra: stage3(
            root, tmp_path / "salient", *masks, "--saliency_weight", 1, *extra
        ),
        "masks": lambda *_: stage3(root, tmp_path / "masks", *masks),
    }
    for stage in stages.values():
        good(stage())
        good(stage())
    path = root / "SALImages/p1.png"
    Image.open(path).resize((7, 5)).resize(Image.open(path).size).save(path)  # softer
    done = {name: stage() for name, stage in stages.items()}
    assert {name for name, one in done.items() if one.status} == {"eps", "refined", "salient"}
    for name in ("eps", "refined", "salient"):
        assert "contents of saliency maps changed" in done[name].lines[0]
    write_list(root, "few", ["p3"])
    good(stages["refined"]("--list", "few"))
    for name in ("eps", "refined", "salient"):
        good(stages[name]("--overwrite"))


def test_saliency_maps_of_maps_are_noticed(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    """Stage 2 learns from maps that saliency refined: those of its own list count."""
    root = Path(shutil.copytree(small, tmp_path / "set"))
    refined = tmp_path / "refined"

    def student() -> Done:
        return stage2(root, classifier, refined, tmp_path / "student", "--steps", 2, *SGD)

    good(refine(root, cams, refined))
    good(student())
    good(refine(root, cams, refined, "--list", "val"))  # the record's last entry is of these
    good(student())
    path = root / "SALImages/p1.png"
    Image.open(path).resize((7, 5)).resize(Image.open(path).size).save(path)
    good(refine(root, cams, refined, "--overwrite"))
    refused = student()
    assert refused.status == 2
    assert "contents of saliency maps of --cam_dir changed" in refused.lines[0]


def test_moved_data_and_lists_spelled_otherwise_are_the_same_run(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(small, tmp_path / "set"))
    maps = Path(shutil.copytree(cams, tmp_path / "maps"))
    good(stage0(root, tmp_path / "eps", "--steps", 2, *SGD))
    good(stage2(root, classifier, maps, tmp_path / "student", "--steps", 2, *SGD))
    good(stage1(root, classifier, tmp_path / "cams"))
    moved, maps = root.rename(tmp_path / "moved"), maps.rename(tmp_path / "moved_maps")
    path = moved / "ImageSets/Segmentation/train.txt"
    for done in (
        stage0(moved, tmp_path / "eps", "--steps", 2, *SGD, "--list", path),
        stage2(moved, classifier, maps, tmp_path / "student", "--steps", 2, *SGD, "--list", path),
    ):
        assert good(done).lines[-1].endswith("is finished; --overwrite trains it again")
    assert "8 of 8 images are done" in good(stage1(moved, classifier, tmp_path / "cams")).lines[0]
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    done = stage0(moved, tmp_path / "eps", "--steps", 2, *SGD)
    assert done.status == 2 and "contents of --list changed" in done.lines[0]


def test_maps_made_otherwise_are_another_run(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    good(stage2(small, classifier, cams, tmp_path / "student", "--steps", 1, *SGD))
    good(stage1(small, classifier, tmp_path / "cams", "--no_flip"))
    done = stage2(small, classifier, tmp_path / "cams", tmp_path / "student", "--steps", 1, *SGD)
    assert done.status == 2 and "contents of --cam_dir changed" in done.lines[0]


def test_a_checkpoint_that_no_run_recorded_is_refused(small: Path, tmp_path: Path) -> None:
    good(stage0(small, tmp_path, "--steps", 1, *SGD))
    (tmp_path / RECORD).unlink()
    before = stamps(tmp_path)
    done = stage0(small, tmp_path, "--steps", 2, *SGD, "--overwrite")
    assert (
        done.status == 2
        and "which no recorded run made" in done.lines[0]
        and stamps(tmp_path) == before
    )


def children(process: int) -> set[int]:
    """Ids of the processes below one, on Linux."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found |= {int(stat.parent.name)} | children(int(stat.parent.name))
    return found


_POOL = """
import sys, time
from smaf.core.command import run_command
from smaf.core.parallel import map_parallel

def nap(seconds):
    time.sleep(seconds)

if __name__ == "__main__":
    def main(_):
        print(flush=True)
        map_parallel(nap, [600.0] * 4, num_workers=2, what="nap", chunk=1)
    raise SystemExit(run_command(main))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes below /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(_POOL)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "pool.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 60
    while (
        len(children(process.pid)) < 3 and time.monotonic() < until
    ):  # two workers, and multiprocessing's tracker
        time.sleep(0.05)
    time.sleep(0.5)
    workers = children(process.pid)
    assert len(workers) == 3
    process.send_signal(number)
    _, err = process.communicate(timeout=20)  # returns only when no worker holds on to the pipes
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert number == signal.SIGKILL or err.splitlines()[-1].startswith(b"stopped: "), err
    until = time.monotonic() + 10
    while (
        any(
            Path(f"/proc/{worker}/cmdline").exists()
            and Path(f"/proc/{worker}/cmdline").read_bytes()
            for worker in workers
        )
        and time.monotonic() < until
    ):
        time.sleep(0.05)
    assert not any(
        Path(f"/proc/{w}/cmdline").exists() and Path(f"/proc/{w}/cmdline").read_bytes()
        for w in workers
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes below /proc")
def test_processes_that_read_end_with_a_training_killed_while_they_start(
    small: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "smaf",
        "train_eps",
        "--data_root",
        str(small),
        "--list",
        "train",
        "--out",
        str(tmp_path / "out"),
        *NETWORK,
        "--crop",
        "64",
        "--resize_long",
        "48",
        "72",
        "--batch_size",
        "2",
        "--device",
        "cpu",
        "--num_workers",
        "1",
        "--steps",
        "5000",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until = time.monotonic() + 120
    while len(children(process.pid)) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)  # multiprocessing's tracker, the server that forks, and the one that reads
    assert len(children(process.pid)) >= 3
    process.kill()
    process.communicate(timeout=60)  # returns only when no process holds on to the pipe


def test_weights_are_brought_to_the_disk_before_they_have_their_name(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (order.append("flush"), fsync(descriptor))[1]
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), replace(a, b))[1])
    good(stage0(small, tmp_path, "--steps", 1, *SGD))
    for name in ("checkpoint.pth", "classifier.pth"):
        assert order[order.index(name) - 1] == "flush" and order[order.index(name) + 1] == "flush"


def test_batchnorm_of_one_value_is_told(small: Path, tmp_path: Path) -> None:
    done = stage0(
        small,
        tmp_path,
        "--steps",
        1,
        *SGD,
        "--batchnorm",
        "free",
        "--batch_size",
        1,
        "--crop",
        16,
        "--resize_long",
        16,
        16,
    )
    assert done.status == 2 and done.lines[-1].startswith(
        "error: --batchnorm free needs more than one value a channel"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unable to write to file </torch_12_34_0>: No space left on device (28)", "--shm-size"),
        (
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: Success (0)",
            "--num_workers 0",
        ),
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your shared memory "
            "limit.",
            "--shm-size",
        ),
        (
            "DataLoader worker (pid(s) 7, 8) exited unexpectedly",
            "was killed, most likely because the memory is full",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "fewer --num_workers"),
    ],
)
def test_loaders_faults_are_one_line(
    text: str, words: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(training.Trainer, "_step", broken)
    done = stage0(small, tmp_path, "--steps", 1, *SGD)
    assert done.status == 2 and done.lines[-1].startswith("error: ") and words in done.lines[-1]


def test_an_unreadable_photograph_is_named_though_a_worker_met_it(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(small, tmp_path / "set"))
    (root / "JPEGImages/p1.jpg").write_bytes(b"\xff\xd8 no photograph")
    done = stage0(root, tmp_path / "out", "--steps", 4, *SGD, "--num_workers", 1)
    assert done.status == 2 and "p1.jpg cannot be read" in done.lines[-1]
