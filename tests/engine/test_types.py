import subprocess
import sys

import pytest

from polyturn.engine.types import Request, Sampling
from polyturn.utils.errors import UserError


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ("",)}, "stop"),
        ({"stop": "\n"}, "stop"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, named):
    with pytest.raises(UserError, match=named):
        Sampling(**settings)


@pytest.mark.parametrize("numbers", [{"n": 0}, {"n": -1}, {"number": -1}, {"first": -1}])
def test_a_request_for_no_samples_is_refused(numbers):
    with pytest.raises(UserError):
        Request([1], **numbers)


def test_asking_and_answering_needs_no_jax():
    code = "import sys, polyturn.engine.types; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
