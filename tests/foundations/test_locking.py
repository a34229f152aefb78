import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vtbench import locking
from vtbench.errors import UserError
from vtbench.locking import Heartbeats, hold_lock, refuse_held, release_for

HOLD = """
import sys, time
from pathlib import Path
from vtbench.locking import hold_lock
with hold_lock(Path(sys.argv[1]) / "lock"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_elsewhere(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def write_owner(folder: Path, *, pid: int, host: str, seconds_ago: float = 0.0) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "lock"
    path.write_text(json.dumps({"pid": pid, "host": host, "since": "2026-01-01T00:00:00+00:00"}))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_a_folder_in_use_is_refused_and_its_owner_named(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    try:
        expected = (
            rf"in use by process {process.pid} on {socket.gethostname()}, since 20.*give another folder with --out"
        )
        with pytest.raises(UserError, match=expected), hold_lock(tmp_path / "lock"):
            pass
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_a_killed_owner_is_taken_over_and_the_owner_named(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    process.kill()
    process.wait()
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is not None
        assert held.took_over_from.pid == process.pid


def test_a_number_of_a_process_that_lives_again_does_not_hold_the_folder(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=os.getpid(), host=socket.gethostname())
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is not None


def test_an_owner_that_left_in_good_order_leaves_nothing_to_take_over(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"):
        pass
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is None


def test_the_lock_of_a_process_that_was_ended_on_purpose_is_left_in_good_order_and_no_other(tmp_path: Path) -> None:
    process, beats = hold_elsewhere(tmp_path), Heartbeats()
    release_for(tmp_path / "lock", process.pid)
    assert beats.look(tmp_path / "lock") is not None  # It lives.
    process.kill()
    process.wait()
    release_for(tmp_path / "lock", process.pid + 1)
    assert beats.look(tmp_path / "lock") is not None  # It was another.
    release_for(tmp_path / "lock", process.pid)
    assert beats.look(tmp_path / "lock") is None
    release_for(tmp_path / "none", process.pid)
    assert not (tmp_path / "none").exists()


def test_the_lock_is_free_again_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_lock(tmp_path / "lock"):
        raise RuntimeError
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is None


def test_an_owner_on_another_machine_holds_while_its_heart_beats(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=30)
    with (
        pytest.raises(UserError, match=r"process 1 on elsewhere.*last sign of life is 30 s old"),
        hold_lock(tmp_path / "lock"),
    ):
        pass


def test_an_owner_on_another_machine_is_dead_when_its_heart_has_stopped(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=locking.DEAD_AFTER_SECONDS + 1)
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is not None
        assert held.took_over_from.host == "elsewhere"


def test_a_heartbeat_renews_the_time_of_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.01)
    with hold_lock(tmp_path / "lock"):
        os.utime(tmp_path / "lock", (0, 0))
        deadline = time.monotonic() + 10
        while time.time() - (tmp_path / "lock").stat().st_mtime > 100:
            assert time.monotonic() < deadline, "no heartbeat came"
            time.sleep(0.01)


def test_an_owner_elsewhere_that_is_about_to_be_dead_is_waited_for(tmp_path: Path) -> None:
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=locking.DEAD_AFTER_SECONDS - 0.5)
    started = time.monotonic()
    with hold_lock(tmp_path / "lock") as held:
        assert time.monotonic() - started > 0.3
        assert held.took_over_from is not None


def test_a_folder_that_is_moved_aside_is_let_go_without_a_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.01)
    with hold_lock(tmp_path / "study" / "lock"):
        (tmp_path / "study").rename(tmp_path / "aside")
        time.sleep(0.05)
    with hold_lock(tmp_path / "study" / "lock") as held:
        assert held.took_over_from is None


@pytest.mark.parametrize(
    "text",
    [
        '{"pid": 12',
        "[" * 20_000,
        *[
            f'{{"pid": {pid}, "host": "{{host}}", "since": "x"}}'
            for pid in ("1" + "0" * 30, '"a"', "[1]", "-1", "null")
        ],
        '{"pid": 12, "host": 3, "since": "x"}',
        '{"pid": 12, "host": "{host}", "since": null}',
    ],
)
def test_a_lock_file_that_names_no_owner_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text.replace("{host}", socket.gethostname()))
    assert Heartbeats().look(tmp_path / "lock") is None
    refuse_held(tmp_path / "lock")
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is None


def test_a_process_that_inherits_the_lock_keeps_it_and_is_waited_for(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock") as held:
        command = [sys.executable, "-c", "import time; time.sleep(1)"]
        orphan = subprocess.Popen(command, pass_fds=[held.handle])
    write_owner(tmp_path, pid=_find_dead_pid(), host=socket.gethostname())
    started = time.monotonic()
    with hold_lock(tmp_path / "lock"):
        assert time.monotonic() - started > 0.3
    orphan.wait()


def test_orphans_that_do_not_end_are_named_in_the_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "_PATIENCE_SECONDS", 0.2)
    with hold_lock(tmp_path / "lock") as held:
        command = [sys.executable, "-c", "import time; time.sleep(30)"]
        orphan = subprocess.Popen(command, pass_fds=[held.handle])
    write_owner(tmp_path, pid=_find_dead_pid(), host=socket.gethostname())
    try:
        with (
            pytest.raises(UserError, match="still held by processes that outlived process"),
            hold_lock(tmp_path / "lock"),
        ):
            pass
    finally:
        orphan.kill()
        orphan.wait()


def _refuse_all(_: int) -> bool:
    raise OSError(errno.ENOLCK, "No locks available")


def test_removing_the_lock_file_of_a_live_owner_lets_no_one_in(tmp_path: Path) -> None:
    process = hold_elsewhere(tmp_path)
    try:
        (tmp_path / "lock").unlink()
        with pytest.raises(UserError, match="in use by another process"), hold_lock(tmp_path / "lock"):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_file_system_that_grants_every_lock_does_not_let_a_second_owner_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = hold_elsewhere(tmp_path)
    try:
        monkeypatch.setattr(locking, "_try_lock", lambda _: True)
        with pytest.raises(UserError, match=f"in use by process {process.pid}"), hold_lock(tmp_path / "lock"):
            pass
    finally:
        process.kill()
        process.wait()
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is not None


def test_a_file_system_without_locks_has_one_owner_and_forgets_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_try_lock", _refuse_all)
    lock = tmp_path / "lock"
    with hold_lock(lock), pytest.raises(UserError, match="in use by process"), hold_lock(lock):
        pass
    with hold_lock(lock) as held:
        assert held.took_over_from is None
    (tmp_path / "lock.soft").touch()
    write_owner(tmp_path, pid=_find_dead_pid(), host=socket.gethostname())
    with hold_lock(lock) as held:
        assert held.took_over_from is not None
    (tmp_path / "lock.soft").touch()
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=30)
    with pytest.raises(UserError, match=r"process 1 on elsewhere.*30 s old"), hold_lock(lock):
        pass
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=locking.DEAD_AFTER_SECONDS + 1)
    with hold_lock(lock) as held:
        assert held.took_over_from is not None


@pytest.mark.parametrize("locks", ["granted", "unknown", "real"])
def test_an_owner_makes_a_removed_lock_file_anew_and_leaves_it_in_good_order(
    locks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if locks != "real":
        monkeypatch.setattr(locking, "_try_lock", _refuse_all if locks == "unknown" else lambda _: True)
    monkeypatch.setattr(locking, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(locking, "_PATIENCE_SECONDS", 0.1)
    lock = tmp_path / "lock"
    with hold_lock(lock):
        for file in tmp_path.iterdir():
            file.unlink()
        time.sleep(0.3)
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        if locks != "granted":
            with pytest.raises(UserError, match=rf"in use by process {os.getpid()} "), hold_lock(lock):
                pass
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]
    with hold_lock(lock) as held:
        assert held.took_over_from is None


def test_an_owner_whose_lock_another_took_does_not_keep_it_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.01)
    with hold_lock(tmp_path / "lock"):
        write_owner(tmp_path / "other", pid=1, host="elsewhere", seconds_ago=500)
        (tmp_path / "other" / "lock").replace(tmp_path / "lock")
        time.sleep(0.1)
        assert time.time() - (tmp_path / "lock").stat().st_mtime > 400
    assert "elsewhere" in (tmp_path / "lock").read_text()


def test_a_lock_that_cannot_be_taken_is_named_and_a_held_one_of_a_windows_share_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> None:
        def flock(handle: int, how: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr("fcntl.flock", flock)

    refuse(errno.EIO)
    with pytest.raises(OSError, match=rf"the lock cannot be taken: Input/output error: '{tmp_path}/lock'"):
        hold_lock(tmp_path / "lock").__enter__()
    refuse(errno.EACCES)
    with pytest.raises(UserError, match="in use by another process"), hold_lock(tmp_path / "lock"):
        pass


def test_a_heartbeat_from_the_future_counts_only_while_it_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.2)
    write_owner(tmp_path, pid=1, host="elsewhere", seconds_ago=-1000)
    with hold_lock(tmp_path / "lock") as held:
        assert held.took_over_from is not None


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "diary")
    with pytest.raises(UserError, match=r"lock is a link to .*diary.*Remove the link"), hold_lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "diary").read_text() == "precious"


def _find_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
