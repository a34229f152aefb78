import pytest
import torch

from vtbench.environment import describe_environment, resolve_device
from vtbench.errors import UserError


def test_the_environment_names_versions_and_threads() -> None:
    found = describe_environment(torch.device("cpu"))
    assert found.packages["torch"] == torch.__version__.split("+")[0] or found.packages["torch"] == torch.__version__
    assert found.threads == torch.get_num_threads()
    assert found.cpu


def test_auto_finds_a_device_that_is_there() -> None:
    torch.empty(1, device=resolve_device("auto"))


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:97"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"device.*'{name}'"):
        resolve_device(name)
