"""Disturb a run or a study in the middle of its work: ``python disturbed.py SUBJECT TASK FOLDER FAULT...``.

The command is carried out by a fork of this process, which has loaded torch and never computes. After three quarters of
its saves it waits; then the fault comes, and it goes on. What is wrong is put right again, and the same command is
called until it has nothing left to do. Prints a JSON object for every fault: how the command ended and what it said,
whether all that was finished at that moment is still there byte by byte, and whether the end is that of the undisturbed
command.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recipe_features import CLASSIFIER, SCENES, SEGMENTER

VARIANTS = {"classification": ("resnet20:width=2", CLASSIFIER), "segmentation": ("fpn_resnet18:width=4", SEGMENTER)}
RECIPES = {"classification": "small", "segmentation": "segmentation_small"}
COMPARED = ("record.json", "metrics.jsonl", "weights.safetensors", "examples.zip", "study.json")
ROOM = 48 * 10**6
_PATIENCE_SECONDS = 240.0


@dataclass
class Disturbed:
    """A command that waits in the middle of its work, and where it works."""

    place: Path
    pid: int
    words: list[str] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.place / "out"

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


Repair = Callable[[], None]


def do_nothing() -> None:
    """There is nothing to be put right."""


def send(number: signal.Signals) -> Callable[[Disturbed], Repair]:
    def fault(command: Disturbed) -> Repair:
        command.send(number)
        return do_nothing

    return fault


def stop_and_continue(command: Disturbed) -> Repair:
    """While it is stopped, nobody else gets in."""
    command.send(signal.SIGSTOP)
    code, said = finish(start(command.place, command.words, log="second"), command.place, "second")
    assert code == 2, said
    assert "in use by" in said, said
    command.send(signal.SIGCONT)
    return do_nothing


def fill_disk(command: Disturbed) -> Repair:
    filler = command.place / "filler"
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"x" * size)
    return filler.unlink


def take_inodes(command: Disturbed) -> Repair:
    folder = command.place / "many"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(10**6):
            (folder / str(number)).touch()
    return lambda: shutil.rmtree(folder)


def forbid_writing(command: Disturbed) -> Repair:
    """The file system becomes one to read only, after the owner has died."""
    command.send(signal.SIGKILL)
    os.waitpid(command.pid, 0)
    command.pid = 0
    subprocess.run(["mount", "-o", "remount,ro", str(command.place)], check=True)
    code, said = finish(start(command.place, command.words, log="second"), command.place, "second")
    subprocess.run(["mount", "-o", "remount,rw", str(command.place)], check=True)
    assert code in (1, 2), said
    assert "Read-only file system" in said, said
    return do_nothing


def set_clock_back(command: Disturbed) -> Repair:
    """What was written so far comes from a day ahead."""
    tomorrow = time.time() + 86_400
    for path in [*command.place.rglob("*")]:
        with contextlib.suppress(OSError):
            os.utime(path, (tomorrow, tomorrow))
    command.send(signal.SIGKILL)
    return do_nothing


def remove_cache(command: Disturbed) -> Repair:
    shutil.rmtree(command.place / "cache")
    return do_nothing


def move_out(command: Disturbed) -> Repair:
    elsewhere = command.place / "elsewhere"
    command.out.rename(elsewhere)

    def put_back() -> None:
        shutil.rmtree(command.out, ignore_errors=True)
        elsewhere.rename(command.out)

    return put_back


def remove_out(command: Disturbed) -> Repair:
    shutil.rmtree(command.out)
    return do_nothing


def kill_reader(command: Disturbed) -> Repair:
    """The process that reads images ahead is killed."""
    for child in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
    return do_nothing


FAULTS: dict[str, Callable[[Disturbed], Repair]] = {
    "kill": send(signal.SIGKILL),
    "SIGTERM": send(signal.SIGTERM),
    "SIGHUP": send(signal.SIGHUP),
    "SIGINT": send(signal.SIGINT),
    "SIGSTOP and SIGCONT": stop_and_continue,
    "full disk": fill_disk,
    "full inodes": take_inodes,
    "read-only": forbid_writing,
    "no flock": send(signal.SIGKILL),
    "clock set back": set_clock_back,
    "cache removed": remove_cache,
    "folder moved": move_out,
    "folder removed": remove_out,
    "worker killed": kill_reader,
    "parent killed": lambda command: do_nothing,
}
MOUNTED = {"full disk": f"size={ROOM}", "full inodes": "nr_inodes=400", "read-only": f"size={ROOM}"}
"""Faults that want a file system of their own, which takes the right to mount one."""
LOSES_ALL = {"folder removed"}


def list_words(subject: str, task: str, work: Path, fault: str) -> list[str]:
    """The command, in terms of the folder in which it works."""
    small = ["--recipe", RECIPES[task], "--epochs", "3", "--batch-size", "16"]
    options = ["--device", "cpu", "--threads", "1"]
    options += ["--workers", "1"] if fault == "worker killed" else []
    if subject == "run":
        options += ["--checkpoint-seconds", "0.000001"]
        return ["train", VARIANTS[task][1], "--data", SCENES, "--image-size", "32", *small, *options, "--out", "{out}"]
    study = work / "study.toml"
    arms = "".join(f'arm{number} = "{variant}"\n' for number, variant in enumerate(VARIANTS[task]))
    study.write_text(
        f'question = "Does it survive?"\nrecipe = "{RECIPES[task]}"\nepochs = 3\nseeds = 1\n'
        f'[data]\nspec = "{SCENES}"\nimage_size = 32\n[arms]\n{arms}'
    )
    return ["ablate", str(study), "--executor", "in_process", "--jobs", "1", *options, "--out", "{out}"]


def start(place: Path, words: list[str], *, pause_at: int = 0, log: str = "log", orphan: bool = False) -> int:
    """Carry the command out in a process of its own, which waits at a save; returns its number."""
    place.mkdir(parents=True, exist_ok=True)
    sync = Path(f"{place}.sync")
    sync.mkdir(exist_ok=True)
    child = os.fork()
    if child:
        return child
    if orphan and os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    code: object = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        with (sync / log).open("wb") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        (sync / "pid").write_text(str(os.getpid()))
        os.environ["VTBENCH_CACHE"] = str(place / "cache")
        sys.argv = ["vtbench", *(word.format(out=place / "out") for word in words)]
        _wait_at_save(pause_at, sync)
        from vtbench.cli.main import run

        run()
        code = 0
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        (sync / "ended").write_text(str(code or 0))
        os._exit(int(code or 0) & 0xFF)  # type: ignore[call-overload]


def _wait_at_save(pause_at: int, sync: Path) -> None:
    from vtbench.training import loop

    saved = loop.publish_checkpoint
    count = 0

    def save(*arguments: object) -> None:
        nonlocal count
        saved(*arguments)  # type: ignore[arg-type]
        count += 1
        (sync / "saves").write_text(str(count))
        if count == pause_at:
            (sync / "reached").touch()
            wait_for(sync / "go on")

    loop.publish_checkpoint = save  # type: ignore[assignment]


def wait_for(path: Path) -> None:
    """Until the file is there."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{path} does not come")
        time.sleep(0.01)


def finish(pid: int, place: Path | None = None, log: str = "log") -> tuple[int, str]:
    """The exit code of the process, or minus the signal that ended it, and what it said."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, "" if place is None else (Path(f"{place}.sync") / log).read_text(errors="replace")


def read_finished(out: Path) -> dict[str, bytes]:
    """The files of finished cells, and the epochs of the others."""
    found = {}
    for path in out.rglob("*"):
        if path.name == "metrics.jsonl" or (path.name in COMPARED and (path.parent / "record.json").exists()):
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


def digest(out: Path) -> dict[str, str]:
    """The hashes of all that must not depend on how it came about, and by how many processes images were read."""
    return {
        str(path.relative_to(out)): hashlib.sha256(
            path.read_bytes().replace(b'"workers": 1', b'"workers": 0')
        ).hexdigest()
        for path in out.rglob("*")
        if path.name in COMPARED
    }


@contextlib.contextmanager
def mounted(place: Path, options: str | None) -> Iterator[None]:
    """A small file system of its own at ``place``, where the fault wants one."""
    if options is None:
        yield
        return
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def disturb(subject: str, task: str, work: Path, fault: str, reference: Path, num_saves: int) -> dict[str, object]:
    """Let the command suffer one fault; what came of it."""
    place = work / fault.replace(" ", "-")
    words = list_words(subject, task, work, fault)
    sync = Path(f"{place}.sync")
    with mounted(place, MOUNTED.get(fault)), _without_flock(fault == "no flock"):
        child = start(place, words, pause_at=num_saves * 3 // 4, orphan=fault == "parent killed")
        wait_for(sync / "reached")
        command = Disturbed(place, child, words)
        before = read_finished(command.out)
        repair = FAULTS[fault](command)
        (sync / "go on").touch()
        if fault == "parent killed":
            wait_for(sync / "ended")
        code, said = finish(child, place) if command.pid else (-signal.SIGKILL, "")
        repair()
        after = read_finished(command.out)
        kept = all(after.get(name, b"").startswith(data) for name, data in before.items()) or fault in LOSES_ALL
        words = list_words(subject, task, work, "")  # Processes that read ahead are free.
        again, said_again = finish(start(place, words, log="again"), place, "again")
        if again == 1:  # A cell that failed is tried again on request only.
            more = [*words, "--retry-failed"] if subject == "study" else words
            again, said_again = finish(start(place, more, log="again"), place, "again")
        expected, found = digest(reference / "out"), digest(command.out)
        different = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return {
        "fault": fault,
        "code": code,
        "said": said[-1500:],
        "finished_before": sum(name.endswith("record.json") for name in before),
        "epochs_before": sum(data.count(b"\n") for name, data in before.items() if name.endswith("metrics.jsonl")),
        "kept": kept,
        "again": again,
        "said_again": said_again[-1500:],
        "different": different,
    }


@contextlib.contextmanager
def _without_flock(wanted: bool) -> Iterator[None]:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    flock = fcntl.flock
    if wanted:
        fcntl.flock = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        fcntl.flock = flock


def main() -> None:
    subject, task, folder, *faults = sys.argv[1:]
    work = Path(folder).resolve()
    work.mkdir(parents=True, exist_ok=True)
    import vtbench.cli.verb_ablate
    import vtbench.models
    import vtbench.training

    assert vtbench.training.train_run
    reference = work / "reference"
    code, said = finish(start(reference, list_words(subject, task, work, "")), reference)
    assert code == 0, said
    num_saves = int(Path(f"{reference}.sync", "saves").read_text())
    for fault in faults or FAULTS:
        began = time.monotonic()
        try:
            found = disturb(subject, task, work, fault, reference, num_saves)
        except subprocess.CalledProcessError as error:
            found = {"fault": fault, "skipped": f"cannot mount: {error.stderr.decode().strip()}"}
        print(json.dumps(found | {"seconds": round(time.monotonic() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()
