"""How processes find each other at a store that holds what dead ones have said."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module

import pytest
from torch.distributed import HashStore, Store

from vtbench.training.progress import StopRequest
from vtbench.training.team import Team


def test_those_that_live_hear_each_other_and_no_word_of_those_that_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third comes late, and what is read under its name until then is of a dead one."""
    shared, size = HashStore(), 3
    own = threading.local()

    def rendezvous(url: str, timeout: timedelta) -> Iterator[tuple[Store, int, int]]:
        yield shared, own.rank, size

    def meet(rank: int) -> Team:
        own.rank = rank
        time.sleep(0.2 if rank == 2 else 0.0)
        return Team.meet(among_dead=True)

    monkeypatch.setattr(import_module("torch.distributed.rendezvous"), "rendezvous", rendezvous)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    for _attempt in range(2):
        with ThreadPoolExecutor(size) as pool:
            teams = list(pool.map(meet, range(size)))
        stop = StopRequest()
        stop.request()
        assert [team.listen(stop) for team in teams[1:]] == [None, None], "no call of the dead is heard"
        assert not teams[1].store.check(["call 0"])
        teams[0].dismiss()
        assert all(team.store.get("call 0") == b"end" for team in teams)
