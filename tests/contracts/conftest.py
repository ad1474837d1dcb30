"""Count what the contracts hold for, and say it at the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from octabox.catalog.pipelines import Catalog, load_catalog

#: Lines for the end of the run.
COUNTS = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Return the catalog of the installed diffusers, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTABOX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield load_catalog()


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str, int, int], None]:
    """Return what notes how many classes a contract holds for, and how many are excused."""
    counts = request.config.stash.setdefault(COUNTS, {})

    def note(contract: str, held: int, excused: int = 0) -> None:
        counts[contract] = f"{held} hold, {excused} excused"

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the counts."""
    counts = config.stash.get(COUNTS, {})
    if counts:
        terminalreporter.section("contracts")
        for contract, line in counts.items():
            terminalreporter.write_line(f"{contract}: {line}")
