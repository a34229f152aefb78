"""``vtbench watch``: what it sees in the files of runs that live, rest, were killed or fell silent."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.console import Console
from test_ablate_output import make_record

from vtbench.cli.watch_display import Watch
from vtbench.configuration import DataConfig, ExecutionConfig, Recipe, RunConfig
from vtbench.files import publish_text
from vtbench.locking import DEAD_AFTER_SECONDS, Heartbeats
from vtbench.records import EpochRecord, TimingRecord, save_lines, save_record
from vtbench.reporting.live_runs import RunReader
from vtbench.studies.cells import ResolvedStudy, list_cells

DEAD_PID = 2**22 - 3


def write_run(folder: Path, *, epochs: int = 3, of: int = 10) -> Path:
    """A run under way, as training leaves it after so many epochs."""
    config = RunConfig(
        variant="resnet20", data=DataConfig(), recipe=Recipe(name="small", epochs=of), execution=ExecutionConfig()
    )
    publish_text(folder / "config.json", config.model_dump_json())
    numbers = {"loss": 1.5, "top1_percent": 40.0}
    records = [EpochRecord(epoch=n, learning_rate=0.1, train=numbers, val=numbers) for n in range(epochs)]
    save_lines(folder / "metrics.jsonl", records)
    times = [TimingRecord(epoch=n, train_seconds=8, val_seconds=2, train_images_per_second=125) for n in range(epochs)]
    save_lines(folder / "timing.jsonl", times)
    return folder


def hold(folder: Path, *, age: float = 0.0, pid: int | None = None, host: str | None = None) -> None:
    owner = {"pid": pid or os.getpid(), "host": host or socket.gethostname(), "since": "2026-01-01T00:00:00+00:00"}
    lock = folder / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps(owner))
    os.utime(lock, (time.time() - age,) * 2)


def save_part(folder: Path, *, epoch: int, num_images: int) -> None:
    values = json.dumps({"epoch": epoch, "batch": 3, "num_images": num_images, "train_seconds": 4.0})
    header = json.dumps({"__metadata__": {"vtbench": values}}).encode()
    place = folder / "checkpoint" / "00000007.safetensors"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(len(header).to_bytes(8, "little") + header)


def show(*folders: Path) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False).print(Watch(folders).render())
    assert all(len(line) <= 80 for line in stream.getvalue().splitlines())
    return stream.getvalue()


def find_line(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return line


def test_a_run_that_lives_shows_epoch_loss_metric_speed_and_the_time_that_is_left(tmp_path: Path) -> None:
    hold(write_run(tmp_path / "alive"))
    above, head, line = show(tmp_path).splitlines()[:3]
    assert (above.split(), head.split()[:3]) == (["train"], ["run", "epoch", "loss"])
    assert len(above.rstrip()) == head.index("loss ") + len("loss") and line.startswith("alive ")
    for said in ("4/10", "1.500", "40.0", "125", "1 min 10 s", "running"):
        assert said in line
    save_part(tmp_path / "alive", epoch=3, num_images=500)  # Of 1,000 an epoch.
    assert "1 min 05 s" in find_line(show(tmp_path), "alive")
    save_part(tmp_path / "alive", epoch=2, num_images=500)
    assert "1 min 10 s" in find_line(show(tmp_path), "alive")


@pytest.mark.parametrize(
    ("age", "pid", "host", "said"),
    [
        (DEAD_AFTER_SECONDS + 5, None, None, "no sign of life for 2 min 05 s"),
        (DEAD_AFTER_SECONDS + 5, DEAD_PID, "elsewhere", "no sign of life for 2 min 05 s"),
        (1.0, DEAD_PID, "elsewhere", "running"),
        (1.0, DEAD_PID, None, "killed"),
    ],
)
def test_a_run_without_a_heartbeat_is_marked(
    tmp_path: Path, age: float, pid: int | None, host: str | None, said: str
) -> None:
    hold(write_run(tmp_path / "one"), age=age, pid=pid, host=host)
    line = find_line(show(tmp_path), "one")
    assert said in line and (said == "running" or "1 min" not in line.partition("no sign")[0])


def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    write_run(tmp_path / "piped")
    os.mkfifo(tmp_path / "piped" / "record.json")
    assert "record.json is no file" in " ".join(show(tmp_path).split())


def test_a_run_that_was_left_in_good_order_is_stopped_and_one_that_reads_its_data_starts(tmp_path: Path) -> None:
    write_run(tmp_path / "left")
    (tmp_path / "left" / ".lock").touch()
    hold(tmp_path / "fresh")
    text = show(tmp_path)
    assert "stopped" in find_line(text, "left")
    assert "starts" in find_line(text, "fresh")


def test_the_heartbeat_is_watched_where_clocks_differ(tmp_path: Path) -> None:
    hold(tmp_path, age=-3600)  # The clock of the file server is an hour ahead.
    lock, now = tmp_path / ".lock", [time.time()]
    beats = Heartbeats(lambda: now[0])
    assert beats.look(lock).silent_seconds == 0
    os.utime(lock, (now[0] + 3610,) * 2)
    now[0] += 10
    assert beats.look(lock).silent_seconds == 0
    now[0] += 200
    assert beats.look(lock).silent_seconds == pytest.approx(200)
    lock.write_text("")
    assert beats.look(lock) is None


def test_a_study_shows_its_grid_and_the_cells_under_way(tmp_path: Path) -> None:
    study = ResolvedStudy(
        name="mine",
        question="q",
        base=None,
        reference="a",
        arms={"a": "resnet20", "b": "resnet32"},
        data=DataConfig(),
        recipe=Recipe(name="small", epochs=10),
        seeds=2,
        execution=ExecutionConfig(),
    )
    publish_text(tmp_path / "study.json", study.model_dump_json())
    cells = list_cells(study, tmp_path)
    hold(write_run(cells[0].folder, epochs=5))
    text = show(tmp_path)
    assert "mine: 0 of 4 cells done, " in text and "left" in text
    assert find_line(text, "a ").split() == ["a", "50", "%…", "·"]
    assert "running" in find_line(text, "a, seed 0")
    save_record(cells[3].folder / "record.json", make_record(cells[1], 50.0))
    text = " ".join(show(tmp_path).split())
    assert "mine: 0 of 4 cells done" in text and "record.json is the record of another run: arm is none in it" in text
    publish_text(tmp_path / "study.json", "{}")
    assert "study.jsonisdamaged" in "".join(show(tmp_path).split())


def test_studies_and_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    study = ResolvedStudy(
        name="mine",
        question="q",
        base=None,
        reference="a",
        arms={"a": "resnet20"},
        data=DataConfig(),
        recipe=Recipe(name="small", epochs=10),
        seeds=1,
        execution=ExecutionConfig(),
    )
    for place in ("one", "other"):
        publish_text(tmp_path / place / "mine" / "study.json", study.model_dump_json())
        write_run(tmp_path / place / "run")
    watch = Watch([tmp_path])
    text = "".join(show(tmp_path).split())
    for place in ("one", "other"):
        assert f"mine:0of1celldone,in{tmp_path}/{place}/mine" in text
    cells = [(row["study_folder"], row["run"]) for row in watch.list_runs()]
    assert cells == [
        *((f"{tmp_path}/{place}/mine", "a, seed 0") for place in ("one", "other")),
        *((None, f"{tmp_path}/{place}/run") for place in ("one", "other")),
    ]


def test_runs_whose_names_are_shortened_are_still_told_apart(tmp_path: Path) -> None:
    for epochs, images in ((1, 100), (2, 100), (20, 300)):
        write_run(
            tmp_path / f"vt_resnet20-width-8-scenes-small-epochs-{epochs}-limit-train-{images}-limit-val-50-seed0"
        )
    names = [line.split()[0] for line in show(tmp_path).splitlines() if line.startswith("vt_")]
    assert len(set(names)) == 3
    assert ["epochs-20" in name for name in names] == [False, False, True]


def test_what_has_a_file_of_the_same_name_is_no_run_and_no_study(tmp_path: Path) -> None:
    write_run(tmp_path / "vt_resnet20-scenes-small-learning-rate-0.05-color-jitter-0.1-mixup-0.2-seed0")
    write_run(tmp_path / "vt_resnet20-scenes-small-learning-rate-0.05-color-jitter-0.1-mixup-0.2-seed1")
    for name, text in ("config", '{"hidden_size": 768}'), ("study", '{"name": "of others"}'), ("record", "[1]"):
        publish_text(tmp_path / "others" / name / f"{name}.json", text)
    publish_text(tmp_path / "others" / "project" / ".lock", "")
    publish_text(tmp_path / "damaged" / "config.json", "{torn")
    publish_text(tmp_path / "damaged" / "metrics.jsonl", "")
    lines = show(tmp_path).splitlines()
    assert [line.split()[1:] for line in lines if line.startswith("damaged ")] == [["–", "–", "–", "–", "failed"]]
    said = f"damaged: FAILED: config.json is damaged, or of another version ({tmp_path}/damaged)"
    assert "".join(said.split()) in "".join("".join(lines).split())
    runs = [line.split()[0] for line in lines if line.startswith("vt_resnet20")]
    assert [name.partition("…")[2][-5:] for name in runs] == ["seed0", "seed1"]
    assert not any(name in "".join(lines) for name in ("others", "project"))


def test_looking_leaves_no_trace_and_reads_only_what_has_changed(tmp_path: Path) -> None:
    hold(write_run(tmp_path / "run"))
    save_part(tmp_path / "run", epoch=3, num_images=500)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    reader = RunReader()
    first = reader.look(tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert reader.look(tmp_path / "run").epochs is first.epochs
    write_run(tmp_path / "run", epochs=4)
    assert len(reader.look(tmp_path / "run").epochs) == 4
    (tmp_path / "run" / "metrics.jsonl").write_text("{torn")
    assert "damaged" in (reader.look(tmp_path / "run").problem or "")


def call(*words: str) -> list[str]:
    return [sys.executable, "-m", "vtbench", "watch", *words]


def test_in_a_pipe_it_is_shown_once_and_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    hold(write_run(tmp_path / "run"))
    shown = subprocess.run(call(str(tmp_path)), capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0 and "4/10" in shown.stdout and "\x1b" not in shown.stdout
    shown = subprocess.run(call(str(tmp_path / "gone")), capture_output=True, text=True, timeout=300)
    assert shown.returncode == 2 and "There is no folder" in shown.stderr and "Traceback" not in shown.stderr


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_in_a_terminal_it_follows_until_q_or_ctrl_c_and_ends_with_0(tmp_path: Path, key: bytes) -> None:
    hold(write_run(tmp_path / "run"))
    main, side = pty.openpty()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Jobs in the background are told to ignore it.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        call(str(tmp_path), "--every", "0.2"),
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=prepare,
    )
    os.close(side)
    seen, sent, ends = b"", False, time.monotonic() + 300
    while time.monotonic() < ends and process.poll() is None:
        if select.select([main], [], [], 0.1)[0]:
            try:
                seen += os.read(main, 4096)
            except OSError:
                break
        if b"4/10" in seen and not sent:
            write_run(tmp_path / "run", epochs=6)
            sent = True
        if b"7/10" in seen:
            os.write(main, key)
            break
    assert process.wait(timeout=300) == 0, seen
    os.close(main)
    assert b"4/10" in seen and b"7/10" in seen
