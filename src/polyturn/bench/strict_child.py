"""Runs one program in the sandbox's child (`in_child.py`), its last bare expression shown as at Python's prompt."""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "<program>"  # what the sandbox calls it


def run(source: str, main: dict[str, Any]) -> None:
    """Execute the program in the namespace `main`; print the value of a bare expression at its end, unless None."""
    tree: Any = compile(source, PROGRAM, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(source, PROGRAM, "exec", dont_inherit=True), main)
        return
    del tree.body[-1]
    before = compile(tree, PROGRAM, "exec", dont_inherit=True)
    expression = compile(ast.Expression(last.value), PROGRAM, "eval", dont_inherit=True)
    show = print  # the sandbox's, whatever the program makes of its own
    exec(before, main)
    value = eval(expression, main)
    if value is not None:
        show(value)


if __name__ == "child":
    run(*globals()["task"])
