"""TensorBoard: event files in ``tensorboard`` of each run, so that ``tensorboard --logdir runs`` shows all."""

from __future__ import annotations

from collections.abc import Mapping

from vtbench.documents.table import Table, make_table, to_markdown
from vtbench.trackers.tracker import TRACKERS, Status, TrackedRun

FOLDER = "tensorboard"


@TRACKERS.register("tensorboard")
class TensorBoard:
    """The events of one run; those that were torn when it was killed are superseded by the next ones."""

    package = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = run.folder / FOLDER
        self._known = self._read_steps() if self._folder.exists() else set()
        purge = max(self._known) + 1 if self._known else None
        self._writer = SummaryWriter(str(self._folder), purge_step=purge)
        if not self._known:
            rows = [(key, str(value)) for key, value in run.settings.items()]
            self.log_table("settings", make_table(("setting", "value"), rows))

    def find_steps(self) -> set[int]:
        """Of the events on file."""
        return self._known

    def log_epoch(self, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar a number."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def log_table(self, name: str, table: Table) -> None:
        """As text in Markdown."""
        self._writer.add_text(name, to_markdown(table), 0)

    def close(self, status: Status) -> None:
        """Write the file to its end."""
        self._writer.close()

    def _read_steps(self) -> set[int]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(self._folder), size_guidance={"scalars": 0})
        events.Reload()
        of_each = [{event.step for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]]
        return set.intersection(*of_each) if of_each else set()
