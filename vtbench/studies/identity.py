"""Whether the data of a study are those that its finished and begun cells were trained on, by content.

Each run is certified with a hash of its images. Before a cell is added, these hashes are taken again for every seed
that the folder has. Where they are equal, the data may lie at another place than before; where they are not, the same
path does not help, because a mean over two data sets is a mean of nothing.
"""

from __future__ import annotations

from vtbench.configuration import DataConfig
from vtbench.datasets.dataset import Split
from vtbench.datasets.loading import identify_data
from vtbench.errors import UserError, format_names
from vtbench.records import Certificate
from vtbench.run_folder import RECORD
from vtbench.settings import undo_treatment
from vtbench.studies.cells import Cell, ResolvedStudy
from vtbench.studies.ledger import Ledger

_WORDS: dict[Split, str] = {"train": "training", "val": "validation"}


def check_identity(study: ResolvedStudy, ledger: Ledger) -> bool:
    """Whether the cells in the folder are known to be of the data of ``study``; False where there are none yet.

    Raises ``UserError`` naming the arms and seeds that were trained or validated on other images.
    """
    known = ledger.list_certificates()
    if not known:
        return False
    others = _find_others(study.data, known)
    if any(others.values()):
        raise UserError(
            f"The data {study.data.spec} are not those that {ledger.folder} was begun with: "
            f"{'; '.join(f'other {_WORDS[split]} images: {_name(cells)}' for split, cells in others.items() if cells)}"
            ". Bring those data, or the version of vtbench that read them, back, name with --data where they lie now, "
            "or start another study with --fresh or --out."
        )
    return True


def check_agreement(study: ResolvedStudy, ledger: Ledger) -> None:
    """Hold the certificates in the folder against each other; the data are not opened.

    Raises ``UserError`` where cells of one seed and the same settings were trained or validated on different images:
    one of them has the record of another study.
    """
    alike: dict[tuple[DataConfig, int], dict[tuple[str, str], list[Cell]]] = {}
    for cell, certificate in ledger.list_certificates():
        own = certificate.untreated or certificate
        images = alike.setdefault((_place(cell, study.data), cell.config.seed), {})
        images.setdefault((own.train_data, own.val_data), []).append(cell)
    for images in alike.values():
        if len(images) > 1:
            raise UserError(
                f"Cells of {ledger.folder} were trained or validated on different images: "
                f"{' and '.join(map(_name, images.values()))}. So one has the record of another study: remove the "
                f"{RECORD} of that cell, and the same command runs it."
            )


def _find_others(data: DataConfig, known: list[tuple[Cell, Certificate]]) -> dict[Split, list[Cell]]:
    now: dict[tuple[DataConfig, int], dict[Split, str]] = {}
    for config in dict.fromkeys(_place(cell, data) for cell, _ in known):
        seeds = sorted({cell.config.seed for cell, _ in known if _place(cell, data) == config})
        now |= {(config, seed): found for seed, found in identify_data(config, seeds).items()}
    untreated = [(cell, certificate.untreated or certificate) for cell, certificate in known]
    then: list[tuple[Cell, dict[Split, str]]] = [
        (cell, {"train": certificate.train_data, "val": certificate.val_data}) for cell, certificate in untreated
    ]
    return {
        split: [cell for cell, before in then if before[split] != now[_place(cell, data), cell.config.seed][split]]
        for split in _WORDS
    }


def _place(cell: Cell, data: DataConfig) -> DataConfig:
    """What the cell was trained on without what is declared of its arm, at the place of ``data``."""
    return undo_treatment(cell.config).data.model_copy(update={"spec": data.spec})


def _name(cells: list[Cell]) -> str:
    """``seed 0 (narrow, wide), seed 1 (wide)``."""
    arms: dict[int, list[str]] = {}
    for cell in cells:
        arms.setdefault(cell.config.seed, []).append(cell.arm)
    return ", ".join(f"seed {seed} ({format_names(names)})" for seed, names in arms.items())
