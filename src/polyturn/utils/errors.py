"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """A sentence that says what is wrong and what to do about it.

    The command line prints it and exits with code 2; nothing was half-written.
    """
