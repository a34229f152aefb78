"""No visual transformer diverges: every option, five seeds, both recipes shortened, so that the rate is at its peak."""

import math

import pytest

import vtbench.models  # noqa: F401  (registers the models)
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.training import load_recipe, train_run

NARROW = "vt_resnet18:stem=small,width=8"
VARIANTS = [
    "resnet18:stem=small,width=8",
    NARROW,
    f"{NARROW},tokenizer=static",
    f"{NARROW},tokenizer=pooling",
    f"{NARROW},tokenizer=clustering",
    f"{NARROW},position=on",
    f"{NARROW},projector=off",
    f"{NARROW},relations=none",
    f"{NARROW},relations=graph_conv",
    "vt_resnet20:width=8",
]
NUM_SEEDS = 5
DATA = DataConfig(spec="scenes", limit_train=640, limit_val=100)
EPOCHS = {"default": 12, "small": 4}
"""The default recipe takes larger batches, so it takes more epochs to as many steps."""


@pytest.mark.slow
@pytest.mark.not_in_ci
@pytest.mark.parametrize("recipe", EPOCHS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_seed_diverges_and_every_seed_learns(tmp_path, variant, recipe):
    for seed in range(NUM_SEEDS):
        config = RunConfig(
            variant=variant,
            data=DATA,
            recipe=load_recipe(recipe, epochs=EPOCHS[recipe]),
            seed=seed,
            execution=ExecutionConfig(device="cpu", threads=1),
        )
        record = train_run(config, tmp_path / f"seed-{seed}")
        assert record.status == "finished", record.error
        losses = [epoch.train["loss"] for epoch in record.epochs]
        assert all(math.isfinite(loss) for loss in losses)
        assert losses[-1] < losses[0], f"seed {seed}: {losses}"
