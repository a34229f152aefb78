"""A study that is kept in an S3 store (moto's server) goes on from it, and an outage of the store loses nothing."""

import hashlib
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from test_ray_cluster import FILES, PATIENCE, STUDY, running

from vtbench.files import hash_file
from vtbench.stores import Store, StoreError

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]
URL = "s3://bench/studies/mini"


class Gate(socketserver.ThreadingTCPServer):
    """Passes connections on to a port, unless it is shut."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.port, self.is_shut = port, False
        super().__init__(("127.0.0.1", 0), Passage)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Passage(socketserver.BaseRequestHandler):
    server: Gate

    def handle(self) -> None:
        if self.server.is_shut:
            return
        with socket.create_connection(("127.0.0.1", self.server.port)) as onward:
            threading.Thread(target=self._pass_on, args=(onward, self.request), daemon=True).start()
            self._pass_on(self.request, onward)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while not self.server.is_shut and (data := source.recv(65536)):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gate]:
    """The way to an S3 store with a bucket, to which the environment points."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            until = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                assert time.monotonic() < until
                time.sleep(0.1)
            with Gate(port) as gate:
                monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{gate.server_address[1]}")
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                    monkeypatch.setenv(name, "testing")
                monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
                import s3fs

                s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bench")
                yield gate
                gate.shutdown()
        finally:
            server.kill()


def ablate(*options: str) -> list[str]:
    return ["-m", "vtbench", "ablate", "study.toml", "--device", "cpu", "--jobs", "2", "--threads", "2", *options]


def hash_cells(study: Path) -> dict[str, str]:
    names = [f"cells/{arm}/seed-0/{name}" for arm in ("narrow", "wide") for name in FILES]
    return {name: hash_file(study / name) for name in names}


def wait_for(what: str, *, but_not: str | None = None) -> None:
    """Until the store has a file whose name ends so."""
    until = time.monotonic() + 90
    while True:
        names: dict[str, int] = {}
        with suppress(StoreError):
            names = Store(URL).list_files()
        if any(name.endswith(what) for name in names):
            assert but_not is None or not any(name.endswith(but_not) for name in names)
            return
        assert time.monotonic() < until, names
        time.sleep(0.2)


def test_a_study_goes_on_from_its_store_when_all_is_gone_here_and_an_outage_of_the_store_loses_nothing(
    gate: Gate, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("seeds = 2", "seeds = 1"))
    with running(ablate("--out", "local"), tmp_path) as local:
        assert local.communicate(timeout=PATIENCE)[0].count("finished with") == 2
    expected = hash_cells(tmp_path / "local")
    kept = ["--out", "kept", "--store", URL]
    with running(ablate(*kept), tmp_path) as killed:
        wait_for("seed-0/checkpoint/00000002.sha256", but_not="record.json")
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=PATIENCE)
    time.sleep(5)  # Its cells leave.
    shutil.rmtree(tmp_path / "kept")
    with running(ablate(*kept), tmp_path) as study:
        wait_for("record.json")
        gate.is_shut = True
        time.sleep(3)
        gate.is_shut = False
        output = study.communicate(timeout=PATIENCE)[0]
    assert study.returncode == 0, output
    assert "Fetching" in output
    assert hash_cells(tmp_path / "kept") == expected
    store = Store(URL)
    assert {name: hashlib.sha256(store.read(name)).hexdigest() for name in expected} == expected
    assert not [name for name in store.list_files() if "checkpoint" in name]
