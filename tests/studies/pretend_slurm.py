"""As much of Slurm's commands as submitit calls: jobs are processes of this machine. Links name the command.

``PRETEND_SLURM`` is the folder where scripts are kept; a file ``lose`` there makes the next submission come to nothing.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("PRETEND_SLURM", "."))


def sbatch(script: str) -> None:
    """Begin the script once for each element of its array, or once."""
    text, number = Path(script).read_text(), 100 + len(list(FOLDER.glob("*.sh")))
    (FOLDER / f"{number}.sh").write_text(text)
    array = re.search(r"--array='?0-(\d+)%", text)
    if (FOLDER / "lose").exists():
        (FOLDER / "lose").rename(FOLDER / f"{number}.lost")
    else:
        for index in range(int(array[1]) + 1 if array else 1):
            own = {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(index)} if array else {}
            env = {**os.environ, **own, "SLURM_JOB_ID": str(number + index)}
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.Popen(["bash", script], env=env, start_new_session=True, **quiet)  # type: ignore[call-overload]
    print(f"Submitted batch job {number}")


def srun(*words: str) -> None:
    """Do what comes after the options."""
    os.execvp(sys.executable, words[next(at for at, word in enumerate(words) if word == sys.executable) :])


def sacct(*words: str) -> None:
    """Jobs that were lost have failed; of others nothing is known."""
    print("JobID|State|NodeList")
    for path in FOLDER.glob("*.lost"):
        print(f"{path.stem}|FAILED|nowhere")


def scancel(*words: str) -> None:
    """Nothing: cells hear of a stop by their mailbox."""


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel}[Path(sys.argv[0]).name](*sys.argv[1:])
