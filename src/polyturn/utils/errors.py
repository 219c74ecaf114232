"""The one exception for mistakes a user can mend, and what other errors say, to be part of its sentence."""

import re


class UserError(Exception):
    """A sentence that says what is wrong and what to do about it.

    The command line prints it and exits with code 2; nothing was half-written.
    """


def reason(error: BaseException) -> str:
    """What an error says, in words alone: without the number that the system gave it."""
    text = getattr(error, "strerror", None) or re.sub(r"\[Errno -?\d+\] ", "", str(error))
    return text or type(error).__name__
