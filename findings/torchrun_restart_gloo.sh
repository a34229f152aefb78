#!/usr/bin/env bash
# torchrun restarts the processes of a job, and with gloo the restarted ones cannot form a process group.
#
# Versions: torch 2.14.1 from the package index, Python 3.11, Linux, one machine, CPU.
#
# Guess: torchrun's documentation (torch/distributed/run.py) says that upon a worker failure all workers are stopped
# and started again, up to --max-restarts times. So a program that fails in its first attempt only, and calls
# init_process_group("gloo") at the start as the documentation shows, succeeds in the second.
#
# Behaviour: in the second attempt init_process_group raises RuntimeError in at least one of the processes, torchrun stops
# the other, and the job fails. Seen on 2.14.1 (shortened; the number of the port varies):
#
#   attempt 0: process group of 2
#   attempt 1: RuntimeError: Gloo connectFullMesh failed with [.../gloo/transport/tcp/pair.cc:152] timed out connecting:
#   SO_ERROR: Connection refused, remote=[127.0.0.1]:9643
#   the job failed
#
# With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 the same program succeeds, as guessed:
#
#   attempt 0: process group of 2
#   attempt 1: process group of 2
#   the job succeeded
#
# Cause: since the agent shares its TCPStore with the workers (dynamic_rendezvous.py), that store outlives them. The
# addresses that the dead gloo processes left there are found by the new ones under the same keys.
# torch/distributed/rendezvous.py puts no prefix for each attempt before the keys, because, as its comment has it, "We
# create a new TCPStore for every retry"; with the shared store that is so no longer.
#
# Exit code 0: all as described. 1: it has changed, or the installation failed.
set -euo pipefail
PYTHON="${PYTHON:-python3}"
FOLDER="$(mktemp -d)"
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

"$PYTHON" -m venv venv
venv/bin/python -m pip install --quiet --no-cache-dir 'torch==2.14.1' numpy
venv/bin/python -c 'import torch; print("torch", torch.__version__)'

cat > fails_once.py <<'PROGRAM'
import os
import sys

import torch
import torch.distributed as dist

attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
try:
    dist.init_process_group("gloo")
    together = torch.ones(1)
    dist.all_reduce(together)
except RuntimeError as error:
    print(f"attempt {attempt}: RuntimeError: {str(error).splitlines()[0][:200]}", flush=True)
    raise
if dist.get_rank() == 0:
    print(f"attempt {attempt}: process group of {int(together)}", flush=True)
if attempt == "0":
    dist.barrier()
    if dist.get_rank() == 1:
        sys.exit("this process fails in the first attempt")
    dist.barrier()
dist.destroy_process_group()
PROGRAM

export OMP_NUM_THREADS=1
run() {
    local code=0
    timeout 900 env "$1" venv/bin/python -m torch.distributed.run --standalone --max-restarts 1 --nproc-per-node 2 \
        fails_once.py > output.txt 2> log.txt || code=$?
    case "$code" in
        0) echo "the job succeeded" ;;
        124) echo "the job did not end within 15 minutes" ;;
        *) echo "the job failed" ;;
    esac >> output.txt
    echo "$1"
    sed 's/^/    /' output.txt
}

run TORCH_DISABLE_SHARE_RDZV_TCP_STORE=0
grep -q '^attempt 0: process group of 2' output.txt
grep -q '^attempt 1: RuntimeError' output.txt || { echo "CHANGED: the second attempt no longer fails as described"; exit 1; }
grep -q '^the job failed' output.txt || { echo "CHANGED: the job no longer fails"; exit 1; }

run TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
grep -q '^attempt 1: process group of 2' output.txt || { echo "CHANGED: the way round no longer works"; exit 1; }
grep -q '^the job succeeded' output.txt || { echo "CHANGED: the way round no longer works"; exit 1; }
echo "as described"
