"""Kill runs of every feature of recipes, at random moments and at random operations on files, and compare the bytes.

    python tests/faults/kill_features.py /tmp/kills                          # 200 kills over all features
    python tests/faults/kill_features.py /tmp/kills --kills 20 --features float16 compile

Each kill (SIGKILL, which no process can catch) hits a run of its own, with a cache of its own, in one of two ways in
turn: after a random part of the seconds that the undisturbed run takes, or at a random one of its operations on files.
The same run is then carried out to its end, and must leave the bytes of the undisturbed one. What was finished before
the kill, epoch by epoch, must stand in the files as it stood. Kills are noted in FOLDER/kills.jsonl one by one: the
same command goes on from there, and ends by printing the table of counts.

The parent loads torch once and never computes; every run is a fork of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from recipe_features import FEATURES, Feature, make_config, write_parquet

from vtbench.documents.table import make_table, to_markdown
from vtbench.run_folder import CERTIFICATE, CONFIG, EXAMPLES, METRICS, RECORD, WEIGHTS

FILES = (RECORD, METRICS, WEIGHTS, CERTIFICATE, CONFIG, EXAMPLES)
NOTES = "kills.jsonl"
_MOST_TRIES = 12


def carry_out(feature: Feature, work: Path, run: Path, *, die_at: int = 0) -> int:
    """Start the run of ``feature`` in a process that dies at its operation on files ``die_at``; returns its number.

    How many operations there were is noted beside the run.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        with run.with_suffix(".log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ |= {"VTBENCH_CACHE": str(run.with_name("cache")), "TORCHINDUCTOR_CACHE_DIR": f"{work}/compiled"}
        from vtbench.training import train_run

        count = _count_operations(run.parent, die_at)
        record = train_run(make_config(feature, work), run)
        run.with_suffix(".count").write_text(str(count()))
        status = 0 if record.status == "finished" else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _count_operations(place: Path, die_at: int) -> Callable[[], int]:
    """Count operations on files below ``place``, and end this process at one of them."""
    number = 0
    prefix = str(place)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number
        paths = arguments if event == "open" or event.startswith("os.") else ()
        if any(isinstance(path, str | os.PathLike) and str(path).startswith(prefix) for path in paths):
            number += 1
            if number == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: number


def finish(feature: Feature, work: Path, run: Path) -> float:
    """Carry the run out to its end; returns the seconds that it took."""
    began = time.monotonic()
    _, status = os.waitpid(carry_out(feature, work, run), 0)
    if status:
        raise SystemExit(f"The run in {run} did not finish:\n{run.with_suffix('.log').read_text()[-2000:]}")
    return time.monotonic() - began


def kill_once(feature: Feature, work: Path, run: Path, draw: random.Random, kind: str) -> str:
    """Kill the run at a random moment of ``kind``; returns which it was."""
    reference = json.loads((work / "reference" / _spell(feature) / "facts.json").read_text())
    for _ in range(_MOST_TRIES):
        shutil.rmtree(run.parent, ignore_errors=True)
        if kind == "operation":
            operation = draw.randint(1, reference["operations"])
            child, moment = carry_out(feature, work, run, die_at=operation), f"operation {operation}"
        else:
            seconds = draw.uniform(0.0, reference["seconds"])
            child, moment = carry_out(feature, work, run), f"{seconds:.2f} s"
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return moment
        if status:
            raise SystemExit(f"The run in {run} failed by itself:\n{run.with_suffix('.log').read_text()[-2000:]}")
    raise SystemExit(f"The run in {run} finished {_MOST_TRIES} times before it could be killed.")


def digest(run: Path) -> dict[str, str]:
    """The hashes of the files that must not depend on how they came about."""
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FILES if (run / name).exists()}


def prepare(work: Path, names: list[str]) -> None:
    """Data, teacher and the undisturbed runs, those that are not there yet."""
    if not (work / "parquet").exists():
        write_parquet(work / "parquet")
    if not (work / "teacher" / RECORD).exists():
        finish(Feature(), work, work / "teacher")
    for name in names:
        place = work / "reference" / _spell(FEATURES[name])
        if (place / "facts.json").exists():
            continue
        finish(FEATURES[name], work, place / "warm-up" / "run")  # What is compiled is compiled here.
        seconds = finish(FEATURES[name], work, place / "run")
        facts = {
            "seconds": seconds,
            "operations": int((place / "run.count").read_text()),
            "files": digest(place / "run"),
        }
        (place / "facts.json").write_text(json.dumps(facts))
        print(f"{name}: {seconds:.1f} s, {facts['operations']} operations on files", flush=True)


def check_kill(name: str, number: int, work: Path) -> dict[str, object]:
    """Kill the run of a feature for the ``number``-th time and carry it out to its end; what was found."""
    feature, kind = FEATURES[name], "operation" if number % 2 else "moment"
    place, draw = work / "killed" / f"{_spell(feature)}-{number}", random.Random(f"{name} {number}")
    run, reference = place / "run", work / "reference" / _spell(feature)
    moment = kill_once(feature, work, run, draw, kind)
    half_written = len(list(place.rglob("*.partial")))
    before = (run / METRICS).read_bytes() if (run / METRICS).exists() else b""
    finish(feature, work, run)
    expected = json.loads((reference / "facts.json").read_text())["files"]
    found = digest(run)
    different = sorted(one for one in {*expected, *found} if expected.get(one) != found.get(one))
    kept = (reference / "run" / METRICS).read_bytes().startswith(before)
    if not different and kept:
        shutil.rmtree(place)
    return {
        "feature": name,
        "number": number,
        "kind": kind,
        "moment": moment,
        "half_written": half_written,
        "epochs_before": before.count(b"\n"),
        "different": different,
        "kept": kept,
    }


def tabulate(notes: list[dict[str, object]]) -> str:
    """Kills and equal ends of every feature."""
    rows = []
    for name in [*dict.fromkeys(str(note["feature"]) for note in notes), "all"]:
        kills = [note for note in notes if name in (note["feature"], "all")]
        equal = [note for note in kills if not note["different"] and note["kept"]]
        at_files = [note for note in kills if note["kind"] == "operation"]
        rows.append((name, str(len(kills)), str(len(at_files)), str(len(equal))))
    header = ("feature", "kills", "at an operation on files", "same bytes")
    return to_markdown(make_table(header, rows, numbers=header[1:]))


def _spell(feature: Feature) -> str:
    name = next(name for name, other in FEATURES.items() if other is feature)
    return name.replace(" ", "-").replace(",", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder to work in")
    parser.add_argument("--kills", type=int, default=200, help="over all features together")
    parser.add_argument("--features", nargs="+", choices=list(FEATURES), default=list(FEATURES))
    options = parser.parse_args()
    work, names = options.work.resolve(), options.features
    work.mkdir(parents=True, exist_ok=True)
    import vtbench.models  # Before the forks.
    import vtbench.training

    assert vtbench.models
    assert vtbench.training
    prepare(work, names)
    noted = work / NOTES
    notes = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    done = {(note["feature"], note["number"]) for note in notes}
    for index in range(options.kills):
        name, number = names[index % len(names)], index // len(names)
        if (name, number) in done:
            continue
        notes.append(check_kill(name, number, work))
        with noted.open("a") as stream:
            stream.write(json.dumps(notes[-1]) + "\n")
        print(json.dumps(notes[-1]), flush=True)
    asked = [note for note in notes if note["feature"] in names]
    print(tabulate(asked), end="")
    raise SystemExit(any(note["different"] or not note["kept"] for note in asked))


if __name__ == "__main__":
    main()
