import subprocess
import sys

import pytest

PRINT_WHETHER_TORCH_IS_LOADED = """
import sys
from vtbench.cli.main import app
app({arguments!r}, standalone_mode=False)
print("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["train", "--help"], ["ablate", "--help"], ["report", "--help"]]
)
def test_help_and_list_do_not_load_torch(arguments: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_WHETHER_TORCH_IS_LOADED.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines()[-1] == "False"


def test_a_mistake_is_one_message_without_traceback_and_exit_code_2() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "vtbench.cli.main", "profile", "vt_resnet43"], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert "vt_resnet34" in answer.stderr
    assert "Traceback" not in answer.stderr
