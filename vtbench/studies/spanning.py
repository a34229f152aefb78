"""One cell on several machines of a Ray cluster: a process for each of its devices, in a bundle of a placement group.

They meet as those of torchrun do, at a port of the first one's machine, and are told so by torchrun's variables. A
process that dies ends the cell with what is known of it; one that loses its machine lets the cell be begun again.

Ray Train (2.60) brings such a group and such variables, and is not used: it forms torch's process group in the worker
that it calls, where a run here has one of its own, and fresh threads; it counts a mistake and the loss of a machine as
one kind of failure, save announced preemptions; and its ``fit`` ends at Ctrl-C without a word to the run, which could
not save itself.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from vtbench.run_folder import LOG
from vtbench.studies.cells import Cell
from vtbench.studies.executors.local import confine
from vtbench.studies.supervision import Posting, Tell, describe_unseen, supervise
from vtbench.training.exits import describe_exit

LOST = "lost"
"""The status of a cell that one of its machines was taken from."""

_SEE_LOSS_SECONDS = 60.0
"""So long Ray may take to notice that a machine is gone; a process on it is missed at once."""
_INTERFACE = "GLOO_SOCKET_IFNAME"


@dataclass(frozen=True)
class Span:
    """The processes of a cell: ``size`` of them, each with so many CPUs and GPUs."""

    size: int
    cpus: int
    gpus: int

    @classmethod
    def of(cls, cell: Cell) -> Span:
        """A process a device; the cell's threads are shared among them, wherever they are."""
        execution = cell.config.execution
        threads = max(1, (execution.threads or 1) // execution.devices)
        return cls(execution.devices, threads, int(execution.device.startswith("cuda")))

    @property
    def bundle(self) -> dict[str, int]:
        """What a process asks for."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}

    @property
    def whole(self) -> dict[str, int]:
        """What all of them ask for."""
        return {name: value * self.size for name, value in self.bundle.items()}

    def fits_one(self, machines: Sequence[Mapping[str, float]]) -> bool:
        """Whether one of ``machines`` has room for all processes; each is told by its resources."""
        return any(self._count(machine) >= self.size for machine in machines)

    def fits_all(self, machines: Sequence[Mapping[str, float]]) -> bool:
        """Whether ``machines`` together have."""
        return sum(self._count(machine) for machine in machines) >= self.size

    def _count(self, machine: Mapping[str, float]) -> int:
        return min(int(machine.get(name, 0) // value) for name, value in self.bundle.items())


def reserve(ray: Any, span: Span) -> Any:
    """The places of the processes, on as few machines as can be; they are there when all are."""
    return ray.util.placement_group([span.bundle] * span.size, strategy="PACK")


def place(ray: Any, group: Any, span: Span, rank: int) -> dict[str, Any]:
    """The options of whatever has the place of process ``rank`` in ``group``."""
    strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
    return {"num_cpus": span.cpus, "num_gpus": span.gpus, "scheduling_strategy": strategy}


def carry_first(posting: Posting, span: Span, group: Any, tell: Tell, other: type[Other]) -> tuple[str, str | None]:
    """Supervise the first process of a cell, and have the others started; status and error of the cell, or `LOST`.

    ``other`` is `Other` as Ray can import it.
    """
    import ray

    told = {
        "MASTER_ADDR": ray.util.get_node_ip_address(),
        "MASTER_PORT": str(_find_free_port()),
        "WORLD_SIZE": str(span.size),
        "LOCAL_WORLD_SIZE": str(span.size),  # Among so many the cell's threads are shared.
        "LOCAL_RANK": "0",  # Ray shows a process no other GPU than its own.
        "TORCHELASTIC_RUN_ID": "ray",
    }
    kind = ray.remote(max_restarts=0, max_concurrency=2)(other)
    actors = [kind.options(**place(ray, group, span, rank)).remote() for rank in range(1, span.size)]
    ends = [actor.carry.remote(posting, {**told, "RANK": str(n)}).future() for n, actor in enumerate(actors, start=1)]
    others = _Others(ends)

    def tell_and_look(lines: list[bytes]) -> bool:
        wishes = tell(lines)
        return others.look() is not None or wishes

    try:
        result = supervise(posting, tell_and_look, own={**told, **describe_place(), "RANK": "0"})
        for actor in actors:
            actor.leave.remote()
        if result.status != "finished" and (found := others.fault or others.wait_for_loss()) is not None:
            return found
        return result.status, result.error
    finally:
        for actor in actors:
            ray.kill(actor)


class Other:
    """Another process of a cell, watched on the machine that it was placed on."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def carry(self, posting: Posting, told: Mapping[str, str]) -> str | None:
        """Start it and wait for its end; what befell it, None if nothing did."""
        cell = Cell.model_validate_json(posting.cell)
        if (unseen := describe_unseen(posting, cell)) is not None:
            return unseen
        from vtbench.training.team import HELPER  # It imports torch, which the help of `ablate` is without.

        environment = {**os.environ, **posting.environment, **confine(cell, 0), **told, **describe_place()}
        with (cell.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                HELPER, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, cwd=posting.directory
            )
        code = self._process.wait()
        return None if code == 0 else describe_exit(code, cell.folder / LOG)

    def leave(self) -> None:
        """Let the process end: nobody needs it any more."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def describe_place() -> dict[str, str]:
    """The variables that a process takes from the machine that it is on: its GPUs, and the interface to the others."""
    import psutil
    import ray

    address = ray.util.get_node_ip_address()
    known = {one.address: name for name, addresses in psutil.net_if_addrs().items() for one in addresses}
    interface = os.environ.get(_INTERFACE) or known.get(address)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {
        **({_INTERFACE: interface} if interface else {}),
        **({"CUDA_VISIBLE_DEVICES": gpus} if gpus is not None else {}),
    }


class _Others:
    """The other processes of a cell, by what each will have said when it has ended."""

    def __init__(self, ends: Sequence[Future[str | None]]) -> None:
        self._ends = ends
        self.fault: tuple[str, str] | None = None
        """Status and error of the cell, as the first of them gives it that was seen to end otherwise than it should."""

    def look(self) -> tuple[str, str] | None:
        """`fault` as it stands now."""
        self.fault = self.fault or next(self._list_faults(), None)
        return self.fault

    def wait_for_loss(self) -> tuple[str, str] | None:
        """Status and error where one of them lost its machine, once all have ended or Ray must have noticed."""
        wait(self._ends, _SEE_LOSS_SECONDS)
        return next((fault for fault in self._list_faults() if fault[0] == LOST), None)

    def _list_faults(self) -> Iterator[tuple[str, str]]:
        for rank, end in enumerate(self._ends, start=1):
            if end.done() and (found := self._conclude(rank, end)) is not None:
                yield found

    def _conclude(self, rank: int, end: Future[str | None]) -> tuple[str, str] | None:
        import ray

        from vtbench.training.faults import RankFault

        size = len(self._ends) + 1
        try:
            said = end.result()
        except ray.exceptions.RayTaskError as error:
            said = shorten(error)
        except ray.exceptions.RayError as error:
            return LOST, f"process {rank + 1} of {size}: {shorten(error)}"
        return None if said is None else ("failed", str(RankFault(rank, size, said)))


def shorten(problem: Exception) -> str:
    """The last line of what Ray says that has words in it: the cause stands there."""
    return [line.strip() for line in str(problem).splitlines() if line.strip()][-1][:300]


def _find_free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
    return port
