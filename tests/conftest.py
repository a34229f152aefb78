import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep what tests decode, in this process or in those they start, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
