"""What must be known of a study before its cells begin, for which torch builds its networks.

A process that has imported torch holds some 300 MB for it, and one that waits for the cells of others needs none of
that: `look_apart` has another process look, ``python -m vtbench.studies.inspection``, which leaves its `Answers`.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vtbench.configuration import ExecutionConfig
from vtbench.errors import UserError
from vtbench.records import CostRecord
from vtbench.run_options import StudyOptions
from vtbench.studies.cells import ResolvedStudy
from vtbench.studies.data_facts import DataFacts
from vtbench.studies.study import Study

if TYPE_CHECKING:
    from vtbench.studies.executor import Executor

MOST_COUNTED = 32
"""Of so many networks the MACs are counted before cells begin, which takes each some tenths of a second."""
Network = tuple[str, tuple[int, int], int]
"""What the MACs of an image depend on: the variant, the (height, width) of images, and the number of classes."""


class Inspector:
    """Looks at a study in this process."""

    def inspect(self, study: ResolvedStudy) -> DataFacts:
        """Open the data and build every arm. Raises ``UserError`` for what cannot be had."""
        from vtbench.studies.resolution import inspect_study

        return inspect_study(study)

    def count(self, variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
        """Count a network. Raises ``UserError`` for one that cannot be counted."""
        import vtbench.models  # noqa: F401  (fills the registry)
        from vtbench.profiling import count_costs

        return count_costs(variant, image_size, num_classes)


@dataclass(frozen=True)
class Answers(Inspector):
    """What another process found out of ``study``; what it was not asked is looked up here.

    ``facts`` are None where no cell is to be run, and an error where data or arms cannot be used.
    """

    study: ResolvedStudy
    facts: DataFacts | UserError | None = None
    costs: Mapping[Network, CostRecord | UserError] = field(default_factory=dict)

    def inspect(self, study: ResolvedStudy) -> DataFacts:
        """The facts of the study, of fewer of its arms, or of other seeds."""
        whole = self.study
        kept = {arm: variant for arm, variant in whole.arms.items() if arm in study.arms}
        seeds = {"seeds": study.seeds, "until": study.until}
        if self.facts is None or whole.model_copy(update={"arms": kept, **seeds}) != study:
            return super().inspect(study)
        if isinstance(self.facts, UserError):
            raise self.facts
        return self.facts

    def count(self, variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
        """The costs of a network."""
        found = self.costs.get((variant, image_size, num_classes))
        if isinstance(found, UserError):
            raise found
        return super().count(variant, image_size, num_classes) if found is None else found


@dataclass(frozen=True)
class Question:
    """A call on a study whose cells run on this machine: see `vtbench.studies.resolution.resolve_study`."""

    name: str
    study: Study
    options: StudyOptions
    execution: ExecutionConfig
    file: str | None
    folder: Path
    retry_failed: bool
    fresh: bool


def can_look_apart(executor: Executor) -> bool:
    """Whether that keeps torch out of this process: it has not been loaded, and cells have processes of their own."""
    return executor.has_processes and "torch" not in sys.modules


def look_apart(question: Question) -> Answers:
    """What `look` finds, in a process of its own, or here where that breaks off. Raises ``UserError`` as it does."""
    command = [sys.executable, "-m", "vtbench.studies.inspection"]
    asked = pickle.dumps(question)
    # In a session of its own, so that Ctrl-C reaches this process alone, which then ends it.
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=False, start_new_session=True)
    if done.returncode != 0:
        return look(question)
    answers: Answers | UserError = pickle.loads(done.stdout)
    if isinstance(answers, UserError):
        raise answers
    return answers


def look(question: Question) -> Answers:
    """Resolve the study and, if a cell is to be run, open its data, build its arms and count them.

    Raises ``UserError`` for a study that cannot be resolved; what is wrong with data or arms stands in the answers,
    because the study's folder comes first.
    """
    from vtbench.studies.ledger import Ledger
    from vtbench.studies.resolution import inspect_study, resolve_study

    study = resolve_study(question.name, question.study, question.options, question.execution, file=question.file)
    try:
        if not (question.fresh or Ledger(question.folder).needs_data(study, retry_failed=question.retry_failed)):
            return Answers(study)
    except UserError:  # Of the folder, whose message is that of whoever holds it.
        return Answers(study)
    try:
        facts = inspect_study(study)
    except UserError as error:
        return Answers(study, error)
    networks = {
        (study.spell(arm), seen.image_size, seen.num_classes): None for arm in study.arms for seen in (facts.of(arm),)
    }
    return Answers(study, facts, _count(networks) if len(networks) <= MOST_COUNTED else {})


def _count(networks: Mapping[Network, None]) -> dict[Network, CostRecord | UserError]:
    found: dict[Network, CostRecord | UserError] = {}
    for network in networks:
        try:
            found[network] = Inspector().count(*network)
        except UserError as error:
            found[network] = error
    return found


def main() -> None:
    """Read a question from standard input and write the answers, or what the user is to be told, to standard output."""
    from vtbench.studies.worker import claim_output

    output = claim_output()
    try:
        answers: Answers | UserError = look(pickle.load(sys.stdin.buffer))
    except UserError as error:
        answers = error
    except Exception:  # Whoever asked looks himself, and meets it there.
        sys.exit(1)
    with output:
        output.write(pickle.dumps(answers))


if __name__ == "__main__":
    from vtbench.studies import inspection

    inspection.main()
