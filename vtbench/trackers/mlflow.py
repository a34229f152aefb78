"""MLflow: the store that ``MLFLOW_TRACKING_URI`` names, or ``mlflow.db`` in the folder of the run or study."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from vtbench.documents.table import Table, to_markdown
from vtbench.files import place_within, resolve
from vtbench.trackers.tracker import TRACKERS, Status, TrackedRun

_STORE, _ARTIFACTS = "mlflow.db", "mlartifacts"
_TAG = "vtbench.key"
_LONGEST_VALUE = 5000
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


def name_store(root: Path) -> str:
    """The address of the store for what lies in ``root``. Raises ``UserError`` where it would lie behind a link."""
    if named := os.environ.get("MLFLOW_TRACKING_URI"):
        return named
    place_within(root, _ARTIFACTS)
    return f"sqlite:///{resolve(place_within(root, _STORE))}"


@TRACKERS.register("mlflow")
class MLflow:
    """One run of an experiment that is named as the study; it is found again by its key."""

    package = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        if "MLFLOW_LOGGING_LEVEL" not in os.environ:
            logging.getLogger("mlflow").setLevel(logging.WARNING)  # Its import has set another level.

        self._client = MlflowClient(tracking_uri=name_store(run.root))
        experiment = self._find_experiment(run)
        found = self._client.search_runs([experiment], filter_string=f"tags.`{_TAG}` = '{run.key}'", max_results=1)
        if found:
            self._id, known = found[0].info.run_id, found[0].data.params
            self._metrics = list(found[0].data.metrics)
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {_TAG: run.key, "vtbench.folder": str(run.folder)}
            self._id = self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
            known, self._metrics = {}, []
        values = {key: str(value)[:_LONGEST_VALUE] for key, value in run.settings.items() if key not in known}
        params = [Param(key, value) for key, value in values.items()]
        for first in range(0, len(params), 100):  # The most that one call takes.
            self._client.log_batch(self._id, params=params[first : first + 100])

    def find_steps(self) -> set[int]:
        """Of the run's metrics in the store."""
        of_each = [{one.step for one in self._client.get_metric_history(self._id, key)} for key in self._metrics]
        return set.intersection(*of_each) if of_each else set()

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """All numbers in one call, so that an epoch is there as a whole or not."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in numbers.items()])

    def log_table(self, name: str, table: Table) -> None:
        """As an artifact in Markdown."""
        self._client.log_text(self._id, to_markdown(table), f"{name}.md")

    def close(self, status: Status) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._id, _STATUS[status])

    def _find_experiment(self, run: TrackedRun) -> str:
        experiment = self._client.get_experiment_by_name(run.group)
        if experiment is not None:
            return str(experiment.experiment_id)
        local = not os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = resolve(run.root / _ARTIFACTS).as_uri() if local else None
        return str(self._client.create_experiment(run.group, artifact_location=artifacts))
