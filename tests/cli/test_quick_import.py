"""Quick imports: nothing looks through what they made, and the process ends in silence."""

import gc
import subprocess
import sys

import pytest

from vtbench.cli.commands import quick_import


def test_what_an_import_makes_is_not_looked_through_again_and_collecting_goes_on() -> None:
    program = (
        "import gc\nfrom vtbench.cli.commands import quick_import\n"
        "with quick_import():\n    import decimal\n    assert not gc.isenabled()\n"
        "print(gc.get_freeze_count() > 1000, gc.isenabled())"
    )
    call = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert call.stdout.split() == ["True", "True"]


@pytest.mark.slow
def test_a_process_that_has_loaded_torchs_compiler_ends_in_silence() -> None:
    """Triton 3.9.0, which comes with torch 2.15.0 on Linux, tells of 30 lines of leaks when its objects are frozen."""
    program = "import torch._dynamo\nfrom vtbench.cli.commands import quick_import\nwith quick_import(): pass"
    call = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (call.stdout, call.stderr) == ("", "")


def test_a_caller_that_collects_no_garbage_still_does_not_afterwards() -> None:
    gc.disable()
    try:
        with quick_import():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
