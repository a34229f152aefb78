"""One network in training: a step, the sums of an epoch, and the state that a checkpoint keeps."""

from __future__ import annotations

import itertools
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.configuration import ExecutionConfig, Recipe
from vtbench.tasks import Tally, Task
from vtbench.training.freezing import find_frozen_norms
from vtbench.training.kernels import CompiledNetwork, Kernels
from vtbench.training.optimization import (
    WeightAverage,
    build_optimizer,
    learning_rate_at,
    read_optimizer_state,
    restore_optimizer_state,
    set_learning_rate,
)
from vtbench.training.reproducibility import seed_step
from vtbench.training.strided_convolution import subsample_first
from vtbench.training.world import ALONE, World

# Dimensions: B images of a batch, C channels, H height, W width. Targets and scores are of the shape of the task.


class DivergenceError(Exception):
    """The loss is no number any more."""


class Trainer:
    """Trains ``model`` for ``task`` by ``recipe``; ``epoch`` and ``batch``, counted from 0, say which batch comes next.

    Options of the execution, and what they do to repeatability on the same machine, threads and versions:

    - ``precision``: bfloat16 and float16 round differently from float32 and repeat themselves to the bit. float16
      scales the loss so that small gradients survive; the scale is saved.
    - ``channels_last``: another order of summation in convolutions, repeated to the bit.
    - ``compile``: fuses operators; repeated to the bit as long as the compiler chooses the same kernels, which its
      cache does not promise across versions of torch or of the C++ compiler: `kernels` tells. Only batches of full
      size are compiled for: a smaller last one would take as long again, and leave kernels of any size to full ones
      after it, but not in a run that goes on from there.
    - ``accumulate``: micro-batches instead of one batch. The same gradient up to rounding, but batch normalisation sees
      micro-batches, and so dropout draws differ: another training, repeated to the bit.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        recipe: Recipe,
        execution: ExecutionConfig,
        device: torch.device,
        *,
        seed: int,
        batches_per_epoch: int,
        teacher: nn.Module | None = None,
        world: World = ALONE,
    ) -> None:
        self.recipe, self.execution, self.device, self.seed = recipe, execution, device, seed
        self.batches_per_epoch = batches_per_epoch
        self.num_steps = batches_per_epoch * recipe.epochs
        if device.type == "cpu" and execution.channels_last:
            subsample_first(model)
        self._layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(device, memory_format=self._layout)  # type: ignore[call-overload]
        self._parallel = world.parallelize(self.model)
        self._compiled_images = split_share(recipe.batch_size, execution.accumulate, world.rank, world.size)[0]
        self._compiled = CompiledNetwork(self._parallel) if execution.compile else None
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay is not None else None
        self._sharing = world if execution.shard_optimizer else ALONE
        self.optimizer = build_optimizer(self.model, recipe.optimizer, self._sharing.share_out)
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self._frozen_norms = find_frozen_norms(self.model)
        self._scaler = torch.amp.GradScaler(device.type, enabled=execution.precision == "float16")
        self.task, self.world = task, world
        self._normalize = world.normalize if recipe.sync_batch_norm else ALONE.normalize
        self._objective = task.make_objective(recipe, teacher)
        self.epoch = 0
        self.batch = 0
        self.num_images = 0
        self._tally = Tally(task, batches_per_epoch)

    @property
    def step(self) -> int:
        """Steps done since the start of the run."""
        return self.epoch * self.batches_per_epoch + self.batch

    @property
    def models(self) -> tuple[nn.Module, ...]:
        """The networks that are evaluated; the numbers and weights of a run are those of the last."""
        return (self.model,) if self.average is None else (self.model, self.average.model)

    @property
    def kernels(self) -> Kernels:
        """Those that compiled steps were done with in this process."""
        return self._compiled.kernels if self._compiled is not None else ()

    def to_device(self, tensor: Tensor) -> Tensor:
        """Move images or targets to the device, images in the memory layout of the network."""
        if tensor.ndim == 4:
            return tensor.to(self.device, non_blocking=True, memory_format=self._layout)
        return tensor.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the forward pass."""
        if self.execution.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.execution.precision))

    def switch_to_training(self) -> None:
        """Put the network into training, all but frozen batch normalisations."""
        self.model.train()
        for norm in self._frozen_norms:
            norm.eval()

    def begin_epoch(self) -> None:
        """Start the sums of ``epoch`` anew."""
        self.batch = 0
        self.num_images = 0
        self._tally = Tally(self.task, self.batches_per_epoch)

    def train_batch(self, images_BCHW: Tensor, targets: Tensor) -> None:
        """Do one step with this process's share of a batch. Nothing in it waits for the device."""
        set_learning_rate(self.optimizer, learning_rate_at(self.recipe, self.step, self.num_steps))
        seed_step(self.seed, self.step, self.world.rank)
        num_own = self.task.count_items(targets)
        num_items, num_images = self.world.sum_counts([num_own, len(images_BCHW)])
        sizes = split_share(num_images, self.execution.accumulate, self.world.rank, self.world.size)
        counts = [num_own] if len(sizes) == 1 else [self.task.count_items(part) for part in torch.split(targets, sizes)]
        weights = [count / max(1, num_items) for count in counts]
        images, targets_there = self.to_device(images_BCHW), self.to_device(targets)
        parts = list(zip(torch.split(images, sizes), torch.split(targets_there, sizes), weights, strict=True))
        with self.world.keep_gradients(self._parallel) if len(parts) > 1 else nullcontext():
            losses = [self._backward(*part) for part in parts[:-1]]
        loss = torch.stack([*losses, self._backward(*parts[-1])]).sum()
        if self.recipe.gradient_clip_norm is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.recipe.gradient_clip_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        self._tally.add_loss(self.batch, loss * num_items, num_own)
        self.num_images += num_images
        self.batch += 1

    def read_epoch(self, *, of_all: bool = False) -> dict[str, float]:
        """Loss and metrics of the epoch so far, in this process or of all; waits for the device.

        Raises ``DivergenceError`` at the first NaN.
        """
        sums = self.world.all_sum(self._tally.sums) if of_all else self._tally.sums
        for batch, loss in enumerate(sums["losses"].tolist()):
            if not math.isfinite(loss):
                kind = "NaN" if math.isnan(loss) else "infinite"
                raise DivergenceError(
                    f"The training loss became {kind} in epoch {self.epoch + 1}, batch {batch + 1} "
                    f"(step {self.epoch * self.batches_per_epoch + batch + 1} of {self.num_steps}). "
                    "A lower learning rate, a warm-up or gradient clipping may help."
                )
        return self._tally.read(lambda _: sums)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on, as named tensors and as JSON values; sums are those of all."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state = self._sharing.collect(read_optimizer_state(self.optimizer))
        tensors |= {f"optimizer.{name}": value for name, value in state.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.model.state_dict().items()}
        tensors |= {f"tally.{name}": value for name, value in self.world.all_sum(self._tally.sums).items()}
        values = {
            "epoch": self.epoch,
            "batch": self.batch,
            "num_images": self.num_images,
            "scaler": self._scaler.state_dict(),
            "num_averaged": self.average.num_updates if self.average is not None else 0,
        }
        return tensors, values

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Put back what `state` gave, memory layouts included; the sums so far are the first process's."""
        self.model.load_state_dict(_below("model.", tensors))
        restore_optimizer_state(self.optimizer, _below("optimizer.", tensors))
        if self.average is not None:
            self.average.model.load_state_dict(_below("average.", tensors))
            self.average.num_updates = values["num_averaged"]
        sums = _below("tally.", tensors)
        self._tally.sums = {
            name: value.to(self.device, copy=True)
            if self.world.is_first
            else torch.zeros_like(value, device=self.device)
            for name, value in sums.items()
        }
        self.epoch, self.batch, self.num_images = values["epoch"], values["batch"], values["num_images"]
        self._scaler.load_state_dict(values["scaler"])

    def _backward(self, images_BCHW: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Add the gradient of ``weight`` times the loss, and what the task counts; returns that loss.

        A process that has no image of a batch goes along with one that is black and weighs nothing.
        """
        is_real = len(images_BCHW) > 0
        if not is_real:
            images_BCHW, targets = (one.new_zeros((1, *one.shape[1:])) for one in (images_BCHW, targets))
        with self.autocast(), self._normalize(is_real=is_real):
            scores = self._choose_forward(len(images_BCHW))(images_BCHW)
            loss = self._objective(images_BCHW, scores, targets)
        if weight != 1.0:
            loss = loss * weight
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if is_real:
            self._tally.count(scores.detach(), targets)
        return loss.detach()

    def _choose_forward(self, num_images: int) -> Any:
        is_regular = num_images == self._compiled_images or self.batches_per_epoch == 1
        return self._compiled if self._compiled is not None and is_regular else self._parallel


def split_share(num_images: int, num_parts: int, rank: int, num_ranks: int) -> list[int]:
    """How many of each micro-batch of ``num_images`` are this process's, if it has every ``num_ranks``-th.

    Micro-batches are those of `torch.chunk`.

    >>> [split_share(10, 3, rank, 2) for rank in (0, 1)]
    [[2, 2, 1], [2, 2, 1]]
    """
    side = -(-num_images // num_parts)
    starts = [*range(0, num_images, side), num_images]
    own = [max(0, -(-(start - rank) // num_ranks)) for start in starts]
    return [end - start for start, end in itertools.pairwise(own)]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
