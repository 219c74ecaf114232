"""What every test runs under: strict JAX on eight emulated CPU devices; and the switches of comparisons with others.

JAX is configured through its environment variables, before anything imports it, so that tests which never
touch it do not pay for importing it. Processes that tests start inherit the same settings.
"""

import os
import signal
from pathlib import Path

import pytest

JAX_SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "8",  # sharded code runs for real on any machine
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",  # no silent float32 in bfloat16 code, and the reverse
    "JAX_NUMPY_RANK_PROMOTION": "raise",  # no broadcast that nobody wrote
}
for name, value in JAX_SETTINGS.items():
    os.environ.setdefault(name, value)

# A shell starts what it runs in the background with Ctrl-C ignored, which processes that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference",
        type=Path,
        metavar="DIR",
        help="outputs written by tests/parity/make_reference.py; without it the parity tests are left out",
    )

    parser.addoption(
        "--released-grader",
        type=Path,
        metavar="PATH",
        help="the grader released with CodeGen, mtpb_exec.py; without it, it is compared with by its recorded verdicts",
    )
    parser.addoption(
        "--released-python",
        type=Path,
        metavar="PYTHON",
        help="a Python 3.9 with numpy and psutil, which can run --released-grader",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests out of a run that was given nothing to compare with."""
    for marker, option in (("parity", "--reference"), ("released", "--released-grader")):
        if config.getoption(option) is None:
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest) -> Path:
    """The folder of fresh reference outputs, given with --reference."""
    folder = request.config.getoption("--reference")
    assert isinstance(folder, Path), "parity tests are marked with pytest.mark.parity"
    return folder.resolve()
