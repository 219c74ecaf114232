"""What these tests share: the module of small builds beside them, and the builds that more than one file looks at."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with one of each thing that is dropped: its config."""
    from small_builds import make

    return make(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of small pieces."""
    from small_builds import in_pieces

    return in_pieces(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def built_small(config: Path, small: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an unbroken build in small pieces leaves, by the reference runner."""
    from small_builds import finish

    return finish(config, tmp_path_factory.mktemp("built") / "out", "plain", 1, small)
