import pytest
from forked import Started


@pytest.fixture
def fork(tmp_path_factory):
    """Run a function in one or more processes of their own, forked from one that has imported what they need."""
    started = []

    def start(function, *arguments, processes: int = 1, **variables: str) -> Started:
        folder = tmp_path_factory.mktemp("output")
        started.append(Started(function, *arguments, processes=processes, folder=folder, **variables))
        return started[-1]

    yield start
    for processes in started:
        processes.kill()
