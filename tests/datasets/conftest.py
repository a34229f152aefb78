import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory, monkeypatch):
    """Give every test a cache folder of its own; the user's is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("VTBENCH_CACHE", str(folder))
    return folder
