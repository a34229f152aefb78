"""What a user asks of one run becomes its configuration."""

from __future__ import annotations

from vtbench.configuration import DataConfig, ExecutionConfig, InitConfig, RunConfig
from vtbench.run_options import TrainOptions
from vtbench.training.recipe import load_recipe


def plan_run(model: str, options: TrainOptions, execution: ExecutionConfig) -> RunConfig:
    """The run of ``model`` that ``options`` ask for. Raises ``UserError`` for a recipe or setting that there is not."""
    return RunConfig(
        variant=model,
        data=options.choose_data(DataConfig()),
        recipe=load_recipe(
            options.recipe,
            epochs=options.epochs,
            teacher=options.teacher,
            freeze=options.freeze,
            **options.of_recipe,
        ),
        seed=options.seed,
        init=InitConfig(source=options.init) if options.init is not None else None,
        execution=execution,
    )
