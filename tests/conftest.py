import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # Workers fill the cores: more threads than these wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # What has more threads nevertheless waits without a core.


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep what tests decode, in this process or in those they start, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_signs_of_life(monkeypatch):
    """Let what a verb says not depend on how busy the machine is."""
    monkeypatch.setattr("vtbench.cli.waiting.FIRST_AFTER_SECONDS", 3600.0)


@pytest.fixture(autouse=True)
def no_width_of_a_caller(monkeypatch):
    """Let tables be as wide in the tests as without a terminal, whatever started them."""
    monkeypatch.delenv("COLUMNS", raising=False)


def pytest_collection_modifyitems(items):
    """Let tests that take minutes take them: what stands still is told from them by the person who waits."""
    for item in items:
        if item.get_closest_marker("not_in_ci"):
            item.add_marker(pytest.mark.timeout(0))
