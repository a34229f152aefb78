#!/usr/bin/env bash
# Ray cannot be imported beside Zeus, the energy meter, on a machine without AMD's ROCm.
#
# Versions: ray 2.60.0, zeus 0.16.0 and the amdsmi 7.0.2 that it brings, from the package index, Python 3.11, Linux
# x86-64 without a GPU. No torch is needed.
#
# Guess: the two know nothing of each other, so `import ray` prints Ray's version, as it does without Zeus.
#
# Behaviour: zeus requires amdsmi, whose import raises KeyError where the shared library of ROCm is missing. Zeus expects
# that and goes on. Ray looks for accelerators while it is imported: it tries `import amdsmi`, expects ImportError alone,
# and so its own import ends in the KeyError. On a cluster of CPUs or of NVIDIA's GPUs the installation of a meter takes
# the scheduler away; without amdsmi both work. Seen:
#
#   ray alone: 2.60.0
#   ray beside zeus: KeyError 'libamd_smi.so'
#   zeus beside ray: ZeusMonitor
#   without amdsmi: 2.60.0 ZeusMonitor
#
# Exit code 0: all as described. 1: it has changed, or the installation failed.
set -euo pipefail
PYTHON="${PYTHON:-python3}"
FOLDER="$(mktemp -d)"
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"

"$PYTHON" -m venv venv
venv/bin/python -m pip install --quiet --no-cache-dir 'ray==2.60.0'

cat > import_ray.py <<'PROGRAM'
try:
    import ray

    print(ray.__version__)
except Exception as error:
    print(type(error).__name__, error)
PROGRAM
cat > import_zeus.py <<'PROGRAM'
from zeus.monitor import ZeusMonitor

print(ZeusMonitor.__name__)
PROGRAM

# amdsmi itself prints where it looked for the library: the last line is ours.
say() { venv/bin/python "$1" 2> errors.txt | tail -n 1; }

{
    echo "ray alone: $(say import_ray.py)"
    venv/bin/python -m pip install --quiet --no-cache-dir 'zeus==0.16.0' 'amdsmi==7.0.2'
    echo "ray beside zeus: $(say import_ray.py)"
    echo "zeus beside ray: $(say import_zeus.py)"
    venv/bin/python -m pip uninstall --quiet --yes amdsmi
    echo "without amdsmi: $(say import_ray.py) $(say import_zeus.py)"
} > output.txt
cat output.txt
cat > expected.txt <<'EXPECTED'
ray alone: 2.60.0
ray beside zeus: KeyError 'libamd_smi.so'
zeus beside ray: ZeusMonitor
without amdsmi: 2.60.0 ZeusMonitor
EXPECTED
diff expected.txt output.txt > changed.txt || { echo "CHANGED:"; cat changed.txt; exit 1; }
echo "as described"
