"""Language models that write programs turn by turn: training, synthesis, a sandbox to run them, evaluation.

    import polyturn

    model = polyturn.load()  # the built-in model; or give a name, a folder, a Hub id
    session = polyturn.Session(model)
    step = session.turn("Assign the list [3, 1, 2] to a variable named xs.")
    print(step.code, step.result)

Names are imported when they are first used, so that `import polyturn` costs nothing: running a program in the
sandbox, for one, never waits for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyturn.api import load
    from polyturn.sandbox import Limits, run_program
    from polyturn.synthesis.session import Session
    from polyturn.utils.errors import UserError

    __version__: str

__all__ = ["Limits", "Session", "UserError", "__version__", "load", "run_program"]

_HOMES = {
    "Limits": "polyturn.sandbox",
    "Session": "polyturn.synthesis.session",
    "UserError": "polyturn.utils.errors",
    "load": "polyturn.api",
    "run_program": "polyturn.sandbox",
}


def __getattr__(name: str) -> object:
    """Import what `name` stands for, or read the installed version."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("polyturn")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next look-up finds it at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
