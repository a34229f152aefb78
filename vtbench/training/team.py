"""Who is called together for a run: processes that torchrun started, or helpers that the first one starts itself.

The first process alone has the folder, listeners and the user's wishes. It tells the others each run that it begins,
by a store that all reach, and they do their share of it (`vtbench.training.follower`). A run has a world of its own, so
that one that failed leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from vtbench.configuration import ExecutionConfig, Recipe, RunConfig
from vtbench.environment import count_started, resolve_device
from vtbench.errors import UserError
from vtbench.files import refuse_special
from vtbench.run_folder import LOG
from vtbench.training.exits import describe_exit
from vtbench.training.faults import RankFault
from vtbench.training.progress import StopRequest
from vtbench.training.world import ALONE, World

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from vtbench.training.ranks import Ranks

HELPER = (sys.executable, "-m", "vtbench.cli.started")
"""A process that helps with one run, as its environment tells it."""
_FOR_EVER = timedelta(days=365)
_END = "end"
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Call:
    """A run that the first process begins; ``threads`` are those of each process."""

    config: RunConfig
    folder: Path
    threads: int | None


@dataclass(frozen=True)
class Seat:
    """What a process has in a run."""

    world: World
    device: torch.device
    threads: int | None


class Team:
    """Processes that meet at a store: this is ``rank`` of ``size``, on its machine ``local_rank`` of ``local_size``."""

    def __init__(self, store: Store, rank: int, size: int, local_rank: int, local_size: int) -> None:
        self.store, self.rank, self.size = store, rank, size
        self.local_rank, self.local_size = local_rank, local_size
        self._num_calls = 0

    @classmethod
    def meet(cls, *, among_dead: bool = False) -> Team:
        """The team that the environment tells of, in the variables that torchrun sets.

        ``among_dead`` says that the store may hold the words of processes that went before, and are dead.
        """
        from torch.distributed.rendezvous import rendezvous

        store, rank, size = next(rendezvous("env://", timeout=_FOR_EVER))
        if among_dead:
            store = _part_from_dead(store, rank, size)
        store.set(f"here {rank}", "")
        return cls(store, rank, size, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))

    def call(self, call: Call) -> None:
        """Call the others to a run; every process then asks for its `open_world`."""
        told = {"config": call.config.model_dump(mode="json"), "folder": str(call.folder.absolute())}
        self._tell(json.dumps({**told, "threads": call.threads}))

    def dismiss(self) -> None:
        """Tell the others that there is no more to do."""
        self._tell(_END)

    def _tell(self, text: str) -> None:
        self.store.set(f"call {self._num_calls}", text)

    def listen(self, stop: StopRequest) -> Call | None:
        """The next run that the first process calls to; None where there is none, or ``stop`` is requested."""
        key = f"call {self._num_calls}"
        while not self.store.check([key]):
            if stop.requested:
                return None
            time.sleep(_POLL_SECONDS)
        text = self.store.get(key).decode()
        if text == _END:
            return None
        told = json.loads(text)
        return Call(RunConfig.model_validate(told["config"]), Path(told["folder"]), told["threads"])

    @contextmanager
    def open_world(self, device: torch.device) -> Iterator[Ranks]:
        """The world of the run that was called to last."""
        from torch.distributed.distributed_c10d import PrefixStore

        from vtbench.training.ranks import Ranks

        store = PrefixStore(f"run {self._num_calls}", self.store)
        self._num_calls += 1
        world = Ranks(store, self.rank, self.size, device)
        try:
            yield world
        finally:
            world.close()

    def place(self, device: torch.device) -> torch.device:
        """The device of this process."""
        if device.type != "cuda":
            return device
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)


@cache
def join_started() -> Team:
    """The team of the processes that torchrun has started; the first one's is there when all are."""
    return Team.meet(among_dead=True)


def _part_from_dead(store: Store, rank: int, size: int) -> Store:
    """A part of ``store`` that the living processes have for themselves: torchrun keeps it over its restarts.

    Nothing that torchrun tells them names it: on several machines ``TORCHELASTIC_RESTART_COUNT`` counts the faults of
    each. So every process shows a mark that only it has, and the first answers each under that mark until all are here.
    """
    from torch.distributed.distributed_c10d import PrefixStore

    mark = uuid.uuid4().hex
    if rank > 0:
        store.set(f"mark {rank}", mark)
        while not store.check([mark]):
            time.sleep(_POLL_SECONDS)
        return PrefixStore(store.get(mark).decode(), store)
    own, others = PrefixStore(mark, store), range(1, size)
    while not own.check([f"here {other}" for other in others]):
        for shown in [f"mark {other}" for other in others]:
            if store.check([shown]):
                store.set(store.get(shown).decode(), mark)
        time.sleep(_POLL_SECONDS)
    return own


def settle_devices(config: RunConfig) -> RunConfig:
    """``config`` with the number of processes that carry it out. Raises ``UserError`` for one that cannot be."""
    started, asked = count_started(), config.execution.devices
    if started > 1 and os.environ["RANK"] != "0":
        raise UserError(
            "A process that torchrun started beside the first begins a run of its own. Call vtbench by "
            "torchrun -m vtbench, or without torchrun with devices=N."
        )
    if started > 1 and asked not in (1, started):
        raise UserError(
            f"--devices {asked} was asked for, and torchrun has started {started} processes. "
            "Leave one of the two numbers out."
        )
    devices = max(started, asked)
    execution = config.execution.model_copy(update={"devices": devices})
    check_devices(config.recipe, execution)
    return config.model_copy(update={"execution": execution})


def check_devices(recipe: Recipe, execution: ExecutionConfig, *, elsewhere: str | None = None) -> None:
    """Raise ``UserError`` for more devices than there are, or than a batch has images.

    Where cells run on other machines, they get the device ``elsewhere``, and how many there are is not known here.
    """
    devices, name = execution.devices, execution.device
    if devices == 1:
        return
    device = resolve_device(name) if elsewhere is None else torch.device(elsewhere)
    where = "this machine" if elsewhere is None else "the cluster"
    if device.type == "mps" or device.index is not None:
        raise UserError(f"{devices} devices were asked for, and {name!r} is one. Take --device cuda or cpu.")
    if device.type == "cpu" and name == "auto" and count_started() == 1:
        raise UserError(
            f"{devices} devices were asked for, and {where} has no GPU. With --device cpu a run is shared among "
            f"{devices} processes on its CPU."
        )
    is_here = elsewhere is None and count_started() == 1
    if device.type == "cuda" and is_here and devices > torch.cuda.device_count():
        raise UserError(
            f"{devices} devices were asked for, but this machine has {torch.cuda.device_count()} CUDA devices."
        )
    micro_batch = recipe.batch_size // execution.accumulate
    if devices > micro_batch:
        parts = f", and with --accumulate {execution.accumulate} {micro_batch} in a part" if micro_batch > 0 else ""
        parts = parts if execution.accumulate > 1 else ""
        raise UserError(
            f"{devices} devices were asked for, and the batches of the recipe {recipe.name!r} have "
            f"{recipe.batch_size} images{parts}: some would have nothing to do. Give fewer devices or larger batches."
        )


def describe_sharing(recipe: Recipe, execution: ExecutionConfig, model: torch.nn.Module) -> str | None:
    """How a batch is shared out, and what that changes; None where it is not, unless that was asked for in vain."""
    if execution.devices == 1:
        if execution.shard_optimizer:
            return "The optimiser's state was to be shared among devices, and there is one: it keeps all of it."
        return None
    text = (
        f"Each batch of {recipe.batch_size} images is shared among {execution.devices} devices, with the recipe's "
        f"learning rate of {recipe.optimizer.learning_rate:g} for the whole batch."
    )
    if not recipe.sync_batch_norm and any(isinstance(part, _BatchNorm) for part in model.modules()):
        text += (
            " Batch normalisation takes the statistics of each device's share; with --set recipe.sync_batch_norm=true "
            "it takes those of the batch, as one device does."
        )
    return text


@contextmanager
def open_world(config: RunConfig, folder: Path, device: torch.device) -> Iterator[Seat]:
    """This process's place in a run that it begins in ``folder``; all others are called to it.

    ``threads`` are those of the run on a machine, and its processes there share them.
    """
    started, devices, threads = count_started(), config.execution.devices, config.execution.threads
    if started > 1:
        team = join_started()
        threads = threads and max(1, threads // team.local_size)  # Else as torchrun has set them.
        with _begin(team, Call(config, folder, threads), device) as world:
            yield Seat(world, world.device, threads)
    elif devices == 1:
        yield Seat(ALONE, device, threads)
    else:
        threads = max(1, (threads or torch.get_num_threads()) // devices)
        with start_helpers(devices, folder) as helpers:
            helpers.wait_for_all()
            with _begin(helpers.team, Call(config, folder, threads), device) as world:
                world.find_lost = helpers.find_lost
                yield Seat(world, world.device, threads)


@contextmanager
def _begin(team: Team, call: Call, device: torch.device) -> Iterator[Ranks]:
    team.call(call)
    with team.open_world(team.place(device)) as world:
        try:
            yield world
        except Exception as error:
            cause = world.find_cause(error)
            if cause is error:
                raise
            raise UserError(str(cause)) from error


class Helpers:
    """Processes on this machine that help with one run; they end with it, or when this one is gone."""

    def __init__(self, team: Team, processes: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
        self.team, self._processes, self._log = team, processes, log

    def wait_for_all(self) -> None:
        """Wait until all have come. Raises ``UserError`` where one is dead before."""
        while not self.team.store.check([f"here {rank}" for rank in range(1, self.team.size)]):
            if (lost := self.find_lost()) is not None:
                raise UserError(str(lost))
            time.sleep(_POLL_SECONDS)

    def find_lost(self) -> RankFault | None:
        """What became of the first helper that is found dead."""
        for rank, process in enumerate(self._processes, start=1):
            if process.poll():
                return RankFault(rank, self.team.size, describe_exit(process.returncode, self._log))
        return None


@contextmanager
def start_helpers(devices: int, folder: Path) -> Iterator[Helpers]:
    """Start all but the first process of a run; what they print goes to the log in ``folder``.

    Raises ``UserError`` where the log is a link, or no file.
    """
    from torch._C._distributed_c10d import TCPStore

    refuse_special(folder / LOG, "log")
    store = TCPStore("127.0.0.1", 0, devices, is_master=True, wait_for_workers=False, timeout=_FOR_EVER)
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    told |= {"WORLD_SIZE": str(devices), "LOCAL_WORLD_SIZE": str(devices)}
    processes: list[subprocess.Popen[bytes]] = []
    with (folder / LOG).open("ab") as log, _by_loopback():
        try:
            for rank in range(1, devices):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                processes.append(
                    subprocess.Popen(
                        HELPER,
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        env={**os.environ, **told, **own},
                    )
                )
            yield Helpers(Team(store, 0, devices, 0, devices), processes, folder / LOG)
        finally:
            _end(processes)


_INTERFACE = "GLOO_SOCKET_IFNAME"


@contextmanager
def _by_loopback() -> Iterator[None]:
    """Let processes of one machine speak over its own interface, whatever the machine's name stands for."""
    known = _INTERFACE in os.environ
    os.environ.setdefault(_INTERFACE, "lo" if sys.platform == "linux" else "lo0")
    try:
        yield
    finally:
        if not known:
            del os.environ[_INTERFACE]


def _end(processes: Sequence[subprocess.Popen[bytes]], within_seconds: float = 2.0) -> None:
    deadline = time.monotonic() + within_seconds
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()  # The sign that nobody needs it any more.
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
