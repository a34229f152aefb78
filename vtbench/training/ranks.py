"""A world of several processes, by torch's distributed package: gloo on CPUs, nccl on GPUs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import Store
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from vtbench.errors import UserError
from vtbench.training.faults import RankFault, describe_any_fault
from vtbench.training.shared_norm import SharedStatistics
from vtbench.training.world import World

_FAULT = "fault"
_WAIT_FOR_CAUSE_SECONDS = 3.0
_LONGEST_WAIT = timedelta(hours=6)
"""A process that is gone is noticed at once; this is for one that reads data before the others go on."""


class Ranks(World):
    """Process ``rank`` of ``size`` that meet at ``store`` and train on ``device``; there is one at a time.

    Sums are taken in the order of the ranks, or in one that depends on their number alone: equal runs give equal bits.
    """

    find_lost: Callable[[], RankFault | None] = staticmethod(lambda: None)
    """What became of another process that is found dead, where that can be seen from here."""

    def __init__(self, store: Store, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device
        self._store = store
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=_LONGEST_WAIT,
            device_id=device if device.type == "cuda" else None,
        )
        self._control: Any = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
        self._norms = dist.new_group(
            timeout=_LONGEST_WAIT
        )  # Its order and that of gradients are nothing to each other.

    def close(self) -> None:
        """Leave. The others notice only what is still to come."""
        dist.destroy_process_group()

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sums, in main memory."""
        sums: dict[str, Tensor] = {}
        for shares in self.gather({name: value.detach().cpu() for name, value in tensors.items()}):
            for name, value in shares.items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def sum_counts(self, counts: Sequence[int]) -> list[int]:
        """The sums, by one small exchange through main memory."""
        sums = torch.tensor(counts, dtype=torch.int64)
        dist.all_reduce(sums, group=self._control)
        found: list[int] = sums.tolist()
        return found

    def share(self, value: Any) -> Any:
        """What the first process gives; it is pickled."""
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """What each process gives; it is pickled."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._control)
        return values

    def collect(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of all, in main memory; they are pickled."""
        parts: list[Any] | None = [None] * self.size if self.is_first else None
        own = {name: value.detach().cpu() for name, value in tensors.items()}
        dist.gather_object(own, parts, dst=0, group=self._control)
        return {name: value for part in parts or () for name, value in part.items()}

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.sum_counts([0])

    def parallelize(self, model: nn.Module) -> nn.Module:
        """``model`` in DistributedDataParallel, which starts all processes from the weights of the first.

        Parameters that a step leaves out are looked for: some networks have them, and gradients then stay in the order
        in which a run that goes on adds them up, too.
        """
        parallel = DistributedDataParallel(_WithSpare(model), find_unused_parameters=True)
        parallel.register_comm_hook(None, _sum_bucket)
        return parallel

    def share_out(self, kind: type[Optimizer], groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
        """ZeroRedundancyOptimizer: a parameter is stepped where its state is, then sent to all (ZeRO, stage 1)."""
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(groups, kind, **settings)

    def keep_gradients(self, model: nn.Module) -> AbstractContextManager[Any]:
        """DistributedDataParallel's ``no_sync``."""
        assert isinstance(model, DistributedDataParallel)
        return model.no_sync()

    def normalize(self, *, is_real: bool = True) -> AbstractContextManager[Any]:
        """See `SharedStatistics`."""
        return SharedStatistics(self._norms, is_real=is_real)

    def align_buffers(self, model: nn.Module) -> None:
        """Those of the first process, by one message each."""
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `World.together`."""
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        faults = self.gather(None if error is None else describe_any_fault(error))
        if error is not None:
            raise error
        for rank, fault in enumerate(faults):
            if fault is not None:
                raise UserError(str(RankFault(rank, self.size, *fault)))

    def tell_fault(self, text: str, traceback: str | None) -> None:
        """Let the first process know what went wrong in this one."""
        self._store.set(_FAULT, json.dumps([self.rank, self.size, text, traceback]))

    def find_cause(self, error: Exception) -> Exception:
        """What another process has told, or was found of it, where ``error`` only says that one is gone.

        Raises ``SystemExit`` where nothing can be found: whoever started the processes knows, and may start them again.
        """
        if not is_of_others(error):
            return error
        give_up = time.monotonic() + _WAIT_FOR_CAUSE_SECONDS
        while time.monotonic() < give_up:
            if self._store.check([_FAULT]):
                return RankFault(*json.loads(self._store.get(_FAULT)))
            if (lost := self.find_lost()) is not None:
                return lost
            time.sleep(0.02)
        raise SystemExit(
            f"vtbench: one of the {self.size} processes of this run is gone, and its run with it. The same command "
            "goes on from the last checkpoint."
        )


def is_of_others(error: Exception) -> bool:
    """Whether ``error`` only says that another process of the world is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


class _WithSpare(nn.Module):
    """``model`` with a parameter that nothing uses: DistributedDataParallel warns where it looks and finds none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.spare = nn.Parameter(torch.zeros((), device=next(model.parameters()).device))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        scores: Tensor = self.model(images_BCHW)
        return scores


def _sum_bucket(_: None, bucket):  # type: ignore[no-untyped-def]
    """The sum of gradients over the processes, whose losses are weighted parts of one mean; torch's own is a mean.

    DistributedDataParallel (torch 2.14.1) refuses annotations that are texts, as those of this module are.
    """
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])
