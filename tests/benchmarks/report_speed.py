"""CPU time and peak memory of ``vtbench report`` over many records, beside the report by the code of another commit.

    python tests/benchmarks/report_speed.py [--before CHECKOUT] [--arms 20] [--seeds 100] [--epochs 90] [--rounds 3]

Each code reads an archive of its own format, and this one that of the other, too: one of the records that are committed
with it, repeated for every arm and seed with other scores after every epoch, without answers to single images, which
earlier code did not keep. All that the report is made of counts: tables, figures and, where that code makes one, the
page. Reports take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
MODEL = Path("reports", "attention_cifar10", "records", "convolution-seed0.json")


@dataclass
class Code:
    """One state of the project, and what its reports took."""

    label: str
    checkout: Path
    records: Path
    cpu_seconds: list[float] = field(default_factory=list)
    peaks_mib: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    parser.add_argument("--arms", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        codes = [Code("this", HERE, Path(temporary, "this"))]
        if options.before is not None:
            codes.append(Code("before", options.before.resolve(), Path(temporary, "before")))
        for code in codes:
            write_archive(code, options)
        if options.before is not None:
            codes.append(Code("this, of theirs", HERE, codes[-1].records))
        for code in codes:
            report(code, Path(temporary, "out"))  # Its modules are compiled, and matplotlib's fonts are listed.
            code.cpu_seconds.clear()
            code.peaks_mib.clear()
        for _ in range(options.rounds):
            for code in codes:
                report(code, Path(temporary, "out"))
        sizes = {code.label: sum(path.stat().st_size for path in code.records.rglob("*.json")) for code in codes}
    print(
        f"{options.arms} arms x {options.seeds} seeds of {options.epochs} epochs; medians of {options.rounds} rounds\n"
    )
    print(f"{'':16}{'CPU s':>8}{'peak MiB':>10}{'records MB':>12}")
    for code in codes:
        seconds, peak = statistics.median(code.cpu_seconds), statistics.median(code.peaks_mib)
        print(f"{code.label:16}{seconds:8.2f}{peak:10.0f}{sizes[code.label] / 1e6:12.1f}")


def write_archive(code: Code, options: argparse.Namespace) -> None:
    model = json.loads((code.checkout / MODEL).read_text())
    timing = (code.checkout / MODEL).with_suffix(".timing.jsonl")
    lines = [json.loads(line) for line in timing.read_text().splitlines()] if timing.is_file() else []
    outline = json.loads((code.checkout / MODEL.parents[1] / "report.json").read_text())
    arms = [f"arm{number}" for number in range(options.arms)]
    seeds = list(range(options.seeds))
    folder = code.records / "records"
    folder.mkdir(parents=True)
    outline.update(arms=arms, base=arms[0], seeds=seeds)
    (code.records / "report.json").write_text(json.dumps(outline))
    rng = random.Random(0)
    for place, arm in enumerate(arms):
        for seed in seeds:
            record = repeat_record(model, arm, seed, options.epochs, shift=rng.gauss(place / 10, 1))
            record["costs"]["macs"] += 100_000 * place
            (folder / f"{arm}-seed{seed}.json").write_text(json.dumps(record, indent=2, sort_keys=True))
            timed = [{**lines[epoch % len(lines)], "epoch": epoch} for epoch in range(options.epochs)] if lines else []
            if timed:
                text = "".join(f"{json.dumps(line, sort_keys=True)}\n" for line in timed)
                (folder / f"{arm}-seed{seed}.timing.jsonl").write_text(text)


def repeat_record(model: dict[str, Any], arm: str, seed: int, num_epochs: int, *, shift: float) -> dict[str, Any]:
    """The run of ``model`` as another arm's and seed's, longer and with other scores."""
    record: dict[str, Any] = json.loads(json.dumps(model))
    epochs = [
        {**move_scores(model["epochs"][min(epoch, len(model["epochs"]) - 1)], shift), "epoch": epoch}
        for epoch in range(num_epochs)
    ]
    record.update(
        move_scores({name: record[name] for name in ("outcome", "val_top1_percent") if name in record}, shift)
    )
    record.update(arm=arm, seed=seed, epochs=epochs)
    if "answers_sha256" in record:
        record["answers_sha256"] = None
    record["config"].update(seed=seed)
    record["config"]["recipe"].update(epochs=num_epochs)
    return record


def move_scores(values: dict[str, Any], shift: float) -> dict[str, Any]:
    return {
        name: move_scores(value, shift)
        if isinstance(value, dict)
        else value + shift
        if name.endswith("top1_percent") and value is not None
        else value
        for name, value in values.items()
    }


def report(code: Code, out: Path) -> None:
    command = [sys.executable, "-m", "vtbench.cli.main", "report", str(code.records), "--out", str(out / code.label)]
    environment = {**os.environ, "PYTHONPATH": str(code.checkout)}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=code.checkout, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read()}")
    code.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
    code.peaks_mib.append(usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
