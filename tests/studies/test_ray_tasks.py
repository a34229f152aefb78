"""The Ray executor with a stand-in for Ray, whose tasks are threads and whose machines can be lost."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from stand_in_cells import COMMAND, CellNotes, make_study

from vtbench.errors import UserError
from vtbench.studies.cells import list_cells
from vtbench.studies.events import CellEpoch, CellMessage
from vtbench.studies.executor import CellResult, open_executor
from vtbench.studies.executors import ray as ray_executor
from vtbench.studies.executors.ray import RayTasks
from vtbench.training import StopRequest

NODES = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}]


class RayError(Exception):
    pass


class TaskCancelledError(RayError):
    pass


class RayTaskError(RayError):
    pass


class Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def remote(self, *arguments: Any) -> Any:
        return ready(self._call(*arguments))


def ready(value: Any) -> Any:
    future: Future[Any] = Future()
    future.set_result(value)
    future.future = lambda: future  # type: ignore[attr-defined]
    return future


class Actor:
    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self._of, name))


class FakeRay:
    """Each task is a thread; ``losses`` says of a task by its name how often its machine is lost, and after what."""

    __spec__ = object()
    exceptions = SimpleNamespace(
        RayError=RayError,
        TaskCancelledError=TaskCancelledError,
        RayTaskError=RayTaskError,
        RuntimeEnvSetupError=RayTaskError,
        TaskUnschedulableError=RayTaskError,
    )
    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: (node, soft))
    )

    def __init__(self, losses: dict[str, int] | None = None, fault: Exception | None = None) -> None:
        self.losses, self.fault, self.asked = dict(losses or {}), fault, list[dict[str, Any]]()

    def remote(self, **settings: Any) -> Callable[[Any], Any]:
        return lambda it: SimpleNamespace(remote=lambda: Actor(it())) if isinstance(it, type) else self._wrap(it)

    def _wrap(self, function: Callable[..., Any]) -> Any:
        def options(**wanted: Any) -> Any:
            self.asked.append(wanted)

            def start(*arguments: Any) -> Future[Any]:
                done: Future[Any] = Future()

                def work() -> None:
                    try:
                        value = function(*arguments)
                        if self.fault is not None:
                            raise self.fault
                        if self.losses.get(wanted["name"], 0) > 0:
                            self.losses[wanted["name"]] -= 1
                            raise RayError("the node died")
                    except Exception as error:
                        done.set_exception(error)
                    else:
                        done.set_result(value)

                threading.Thread(target=work, daemon=True).start()
                return done

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    @staticmethod
    def get(future: Any) -> Any:
        return future.result()

    @staticmethod
    def wait(futures: list[Any], num_returns: int = 1, timeout: float = 0) -> tuple[list[Any], list[Any]]:
        done = wait(futures, timeout, FIRST_COMPLETED).done
        return list(done)[:num_returns], []

    @staticmethod
    def nodes() -> list[dict[str, Any]]:
        return NODES

    @staticmethod
    def cluster_resources() -> dict[str, float]:
        return {"CPU": 6.0, "GPU": 1.0}

    @staticmethod
    def get_runtime_context() -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    @staticmethod
    def kill(actor: Any) -> None: ...


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    def run(fake: FakeRay, *arms: str, threads: int = 1) -> tuple[dict[str, CellResult], CellNotes]:
        executor = RayTasks(command=COMMAND)
        monkeypatch.setattr(RayTasks, "_connect", lambda self: fake)
        monkeypatch.setitem(sys.modules, "ray", fake)
        study = make_study(dict.fromkeys(arms, "resnet20"), seeds=1)
        cells = [cell.with_threads(threads) for cell in list_cells(study, tmp_path)]
        watcher = CellNotes()
        results = executor.run(cells, 2, watcher=watcher, stop=StopRequest())
        return {result.cell.arm: result for result in results}, watcher

    yield run


def test_a_cell_that_loses_its_machine_is_begun_again_and_all_end_once(begin: Callable[..., Any]) -> None:
    fake = FakeRay({"good, seed 0": 2})
    results, watcher = begin(fake, "good", "better", "raises", threads=3)
    assert {arm: result.status for arm, result in results.items()} == {
        "good": "finished", "better": "finished", "raises": "failed",
    }  # fmt: skip
    assert watcher.begun == ["good", "better", "raises"]
    told = [event.text for arm, event in watcher.events if arm == "good" and isinstance(event, CellMessage)]
    assert len(told) == 2 and all("goes on from its last checkpoint" in text for text in told)
    assert sum(arm == "better" and isinstance(event, CellEpoch) for arm, event in watcher.events) == 4
    assert {(wanted["num_cpus"], wanted["num_gpus"]) for wanted in fake.asked} == {(3, 0)}


def test_a_cell_that_loses_every_machine_fails_in_the_end_unless_it_gets_on(
    begin: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_executor, "MOST_LOSSES", 1)
    results, _ = begin(FakeRay({"diverges, seed 0": 2, "good, seed 0": 2}), "diverges", "good")
    assert results["diverges"].status == "failed"
    assert "lost its machine 2 times without an epoch in between" in (results["diverges"].error or "")
    assert results["good"].status == "finished"


def test_what_the_task_itself_raises_is_the_error_of_the_cell_and_a_cell_too_large_is_told(
    begin: Callable[..., Any],
) -> None:
    results, watcher = begin(FakeRay(fault=RayTaskError("trace\n  ModuleNotFoundError: vtbench\n")), "good", threads=8)
    assert results["good"].error == "Ray could not run the cell: ModuleNotFoundError: vtbench"
    assert "No machine of the cluster has 8 CPU" in str(watcher.events[0][1])


def test_a_switchboard_that_does_not_answer_is_not_waited_for_for_ever(
    begin: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered = SimpleNamespace(remote=lambda: Future[Any]())
    monkeypatch.setattr(Actor, "__getattr__", lambda self, name: unanswered)
    monkeypatch.setattr(FakeRay, "cancel", staticmethod(lambda task, force: None), raising=False)
    monkeypatch.setattr(ray_executor, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(ray_executor, "GRACE_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"has not answered for 1\.0 s: see `ray status`"):
        begin(FakeRay(), "slow")


def test_the_cluster_says_what_cells_may_use_and_which_device_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayTasks, "_connect", lambda self: FakeRay())
    executor = RayTasks()
    affinity = executor.affinity("cuda")
    assert (affinity.threads, affinity.most_threads, affinity.num_gpus) == (6, 4, 1)
    assert executor.affinity("cpu").num_gpus == 0
    assert (executor.settle_device("auto"), executor.settle_device("cpu")) == ("cuda", "cpu")


def test_what_cannot_be_chosen_or_is_not_installed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_executor("ray:address=auto") == open_executor("ray", address="auto")
    for text, address, message in (
        ("ray:adress=auto", None, "Did you mean 'address'"),
        ("local", "auto", "--address is that of a cluster"),
        ("local:jobs=2", None, "leaves nothing to choose"),
    ):
        with pytest.raises(UserError, match=message):
            open_executor(text, address=address)
    monkeypatch.setattr(ray_executor, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'vtbench\[ray\]'"):
        open_executor("ray")
