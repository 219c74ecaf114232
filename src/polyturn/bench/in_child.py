"""Sends a grader's own steps into the child that runs a program, with the program as data beside them.

What must happen to live objects (a cast, a rewritten statement) has to happen where they are, behind the sandbox's
walls. The steps are a file of this folder that defines functions, imports only the standard library, and ends with

    if __name__ == "child":
        run(*globals()["task"])

It is compiled here, once, and travels as marshalled code: a child would need longer to compile it than most programs
run. The supervisor never parses a program.
"""

import binascii
import marshal
from functools import cache
from pathlib import Path


def child_source(file: str, task: str, line: int = 1) -> str:
    """A program for the sandbox that runs `file` of this folder with a task.

    Args:
        file: Name of the file.
        task: Python text of the tuple of arguments, evaluated in the child, in a fresh `__main__`.
        line: The line on which the statement stands, from 1; the lines above are empty.
    """
    return "\n" * (line - 1) + f'exec({_code(file)}, {{"__name__": "child", "task": {task}}})'


@cache
def _code(file: str) -> str:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    code = compile(text, f"<{file}>", "exec", dont_inherit=True, optimize=2)
    packed = binascii.b2a_base64(marshal.dumps(code), newline=False).decode()  # a shorter text than repr's
    return f"__import__('marshal').loads(__import__('binascii').a2b_base64('{packed}'))"
