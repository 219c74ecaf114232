"""Natural language out of files that are something else: docstrings of Python, descriptions of packages."""

import ast
import email.parser
import warnings

from polyturn.data.nesting import with_room

PACKAGE_METADATA = ("METADATA", "PKG-INFO")
PROSE = ("Text", "Markdown", "reStructuredText")  # the languages that `prose_of` gives
_MARKUP = {"text/markdown": "Markdown", "text/x-rst": "reStructuredText"}


def turns_to_prose(path: str) -> bool:
    """Whether a file of this name is one that `prose_of` reads."""
    return path.endswith((".py", ".pyi")) or path.rpartition("/")[2] in PACKAGE_METADATA


def prose_of(path: str, text: str) -> tuple[str, str] | None:
    """The language and the text of what a file says to people; None where it says nothing or does not parse."""
    language, prose = _description(text) if path.endswith(PACKAGE_METADATA) else ("Text", _docstrings(text))
    prose = prose.replace("\0", "").encode("utf-8", "replace").decode().strip()  # escapes make what UTF-8 cannot hold
    return (language, prose + "\n") if prose else None


def _docstrings(source: str) -> str:
    """The docstrings of a module and of what is in it, in order, an empty line between two."""
    try:
        with warnings.catch_warnings():  # invalid escapes in the source are not ours to report
            warnings.simplefilter("ignore")
            tree = with_room(lambda: ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found, below = [], [tree]
    while below:
        node = below.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(ast.get_docstring(node) or "")
        if isinstance(node, ast.stmt | ast.Module | ast.ExceptHandler | ast.match_case):  # no expression holds any
            below += list(ast.iter_child_nodes(node))[::-1]
    return "\n\n".join(filter(None, found))


def _description(metadata: str) -> tuple[str, str]:
    """The long description of a Python package, and the language it is in."""
    message = email.parser.HeaderParser().parsestr(metadata)
    kind = str(message.get("Description-Content-Type", "")).partition(";")[0].strip().lower()
    text = message.get_payload() or message.get("Description", "")
    return _MARKUP.get(kind, "Text"), str(text)
