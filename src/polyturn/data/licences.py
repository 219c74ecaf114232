"""Which licence a repository is under: from its licence files, or from what its metadata declares.

A text is known by phrases that no other licence has, compared without case, punctuation and line breaks, or by an SPDX
identifier in it. The result is an SPDX expression, such as `MIT` or `Apache-2.0 AND BSD-3-Clause`, or "" for unknown.
It errs on the strict side: several licence texts mean that all of them apply, and a file that begins with other text
than a known licence is unknown, whatever it quotes further down (as proprietary terms quote those of their parts).
"""

import email.parser
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

PERMISSIVE = (  # what may be used, changed and passed on for a notice at most
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "HPND",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
)
LARGEST = 1 << 18  # bytes of a licence file that are read
START = 2500  # characters, normalised, within which a licence's phrase begins; its title and copyrights come before

# SPDX id, phrases that are all there, phrases of which none is. In the order that results are told in.
_TEXTS: list[tuple[str, list[str], list[str]]] = [
    ("Apache-2.0", ["apache license version 2 0 january 2004"], []),
    ("Apache-2.0", ["licensed under the apache license version 2 0"], ["apache license version 2 0 january 2004"]),
    (
        "MIT",
        [
            "permission is hereby granted free of charge to any person obtaining a copy",
            "the above copyright notice and this permission notice",
            "the software is provided as is without warranty of any kind",
        ],
        ["shall be used for good", "redistributions of source code must retain"],
    ),
    (
        "MIT-0",
        [
            "permission is hereby granted free of charge to any person obtaining a copy",
            "the software is provided as is without warranty of any kind",
        ],
        ["the above copyright notice and this permission notice", "redistributions of source code must retain"],
    ),
    (
        "NCSA",
        [
            "permission is hereby granted free of charge to any person obtaining a copy",
            "redistributions of source code must retain",
        ],
        ["redistribution and use in source and binary forms"],
    ),
    (
        "MIT",  # beside a BSD licence in one file
        [
            "permission is hereby granted free of charge to any person obtaining a copy",
            "the above copyright notice and this permission notice",
            "redistribution and use in source and binary forms",
        ],
        ["shall be used for good"],
    ),
    ("JSON", ["the software shall be used for good not evil"], []),
    ("LicenseRef-Commons-Clause", ["commons clause license condition"], []),
    (
        "BSD-4-Clause",
        [
            "redistribution and use in source and binary forms",
            "all advertising materials mentioning features or use of this software",
        ],
        [],
    ),
    (
        "BSD-3-Clause",
        ["redistribution and use in source and binary forms", "to endorse or promote products derived from"],
        ["all advertising materials mentioning features or use of this software"],
    ),
    (
        "BSD-2-Clause",
        ["redistribution and use in source and binary forms", "redistributions in binary form must reproduce"],
        ["to endorse or promote products derived from"],
    ),
    (
        "ISC",
        [
            "distribute this software for any purpose with or without fee is hereby granted",
            "notice and this permission notice appear in all copies",
        ],
        [],
    ),
    (
        "0BSD",
        ["distribute this software for any purpose with or without fee is hereby granted"],
        ["notice and this permission notice appear in all copies"],
    ),
    (
        "HPND",
        [
            "distribute this software and its documentation for any purpose",
            "without fee is hereby granted",
            "and that both that copyright notice and this permission notice appear in supporting documentation",
        ],
        [],
    ),
    ("PSF-2.0", ["python software foundation license version 2"], []),
    ("MPL-2.0", ["mozilla public license version 2 0"], []),
    ("MPL-2.0", ["terms of the mozilla public license v 2 0"], ["mozilla public license version 2 0"]),
    ("MPL-1.1", ["mozilla public license version 1 1"], []),
    ("EPL-2.0", ["eclipse public license v 2 0"], []),
    ("LGPL-3.0-only", ["gnu lesser general public license version 3 29 june 2007"], []),
    ("LGPL-2.1-only", ["gnu lesser general public license version 2 1 february 1999"], []),
    ("LGPL-2.0-only", ["gnu library general public license version 2 june 1991"], []),
    ("AGPL-3.0-only", ["gnu affero general public license version 3 19 november 2007"], []),
    ("GPL-3.0-only", ["gnu general public license version 3 29 june 2007"], []),
    ("GPL-2.0-only", ["gnu general public license version 2 june 1991"], []),
    (
        "GPL-1.0-or-later",
        ["under the terms of the gnu general public license"],
        ["version 3 29 june 2007", "june 1991"],
    ),
    ("LGPL-2.0-or-later", ["under the terms of the gnu lesser general public license"], ["june 2007", "february 1999"]),
    ("Unlicense", ["this is free and unencumbered software released into the public domain"], []),
    ("CC0-1.0", ["cc0 1 0 universal"], []),
    ("CC-BY-SA-4.0", ["creative commons attribution sharealike 4 0 international"], []),
    ("CC-BY-4.0", ["creative commons attribution 4 0 international"], []),
    (
        "Zlib",
        [
            "altered source versions must be plainly marked as such",
            "this notice may not be removed or altered from any source distribution",
        ],
        [],
    ),
    ("BSL-1.0", ["boost software license version 1 0"], []),
]
_FIRST_PHRASES = sorted(
    {phrases[0] for _, phrases, _ in _TEXTS} | {"a history of the software", "spdx license identifier"}
)

# How metadata names a licence where it does not use SPDX: normalised, without "license", "the", "software" and "osi".
_SAID = {
    "mit": "MIT",
    "bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "3 clause bsd": "BSD-3-Clause",
    "bsd 3 clause": "BSD-3-Clause",
    "bsd 3": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "2 clause bsd": "BSD-2-Clause",
    "bsd 2 clause": "BSD-2-Clause",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2 0": "Apache-2.0",
    "apache version 2 0": "Apache-2.0",
    "asl 2 0": "Apache-2.0",
    "isc": "ISC",
    "isc iscl": "ISC",
    "python foundation": "PSF-2.0",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "mozilla public 2 0 mpl 2 0": "MPL-2.0",
    "mpl 2 0": "MPL-2.0",
    "unlicense unlicense": "Unlicense",
    "zlib libpng": "Zlib",
    "zlib": "Zlib",
    "boost 1 0 bsl 1 0": "BSL-1.0",
    "cc0 1 0 universal cc0 1 0 public domain dedication": "CC0-1.0",
    "historical permission notice and disclaimer hpnd": "HPND",
    "gnu general public gpl": "GPL-1.0-or-later",
    "gnu general public v2 gplv2": "GPL-2.0-only",
    "gnu general public v2 or later gplv2": "GPL-2.0-or-later",
    "gnu general public v3 gplv3": "GPL-3.0-only",
    "gnu general public v3 or later gplv3": "GPL-3.0-or-later",
    "gnu lesser general public v2 lgplv2": "LGPL-2.0-only",
    "gnu lesser general public v2 or later lgplv2": "LGPL-2.0-or-later",
    "gnu lesser general public v3 lgplv3": "LGPL-3.0-only",
    "gnu lesser general public v3 or later lgplv3": "LGPL-3.0-or-later",
    "gnu library or lesser general public lgpl": "LGPL-2.0-or-later",
    "gnu affero general public v3": "AGPL-3.0-only",
    "gnu affero general public v3 or later agplv3": "AGPL-3.0-or-later",
}
_OTHER_IDS = """AFL-2.1 AFL-3.0 Artistic-2.0 BSD-3-Clause-Clear BlueOak-1.0.0 CC-BY-3.0 CC-BY-NC-4.0 EUPL-1.2 EPL-1.0
    GPL-2.0 GPL-2.0-or-later GPL-3.0 GPL-3.0-or-later LGPL-2.1 LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-or-later
    AGPL-3.0 AGPL-3.0-or-later PostgreSQL TCL UPL-1.0 W3C WTFPL Vim X11 bzip2-1.0.6 curl libpng-2.0 OpenSSL OFL-1.1
    Ruby""".split()
_IDS = {each.lower(): each for each in [*PERMISSIVE, *(row[0] for row in _TEXTS), *_SAID.values(), *_OTHER_IDS]}

_FILE = re.compile(r"(?:.*[-_.])?(?:licen[cs]es?|copying|unlicense)(?:[-_.].*)?", re.IGNORECASE)
_NO_TEXT = (".py", ".pyc", ".c", ".h", ".js", ".html", ".json", ".png", ".pdf", ".toml", ".yml", ".yaml", ".sh")
_METADATA = ("pyproject.toml", "package.json", "Cargo.toml", "METADATA", "PKG-INFO")


def is_licence_file(name: str) -> bool:
    """Whether a file of this name, without folders, holds a licence's text: LICENSE, COPYING.LESSER, MIT-LICENSE..."""
    return _FILE.fullmatch(name) is not None and not name.lower().endswith(_NO_TEXT)


def is_metadata(name: str) -> bool:
    """Whether a file of this name may declare a licence."""
    return name in _METADATA


def of_texts(texts: Iterable[str]) -> str:
    """The expression for the licence files of one repository; one unknown text makes the whole unknown."""
    found = [of_text(text) for text in texts]
    return conjunction(found) if all(found) else ""


def of_text(text: str) -> str:
    """The expression for one licence file."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    starts = [at for at in map(words.find, _FIRST_PHRASES) if at >= 0]
    if not starts or min(starts) > START:
        return ""
    found = [
        licence
        for licence, every, none in _TEXTS
        if all(phrase in words for phrase in every) and not any(phrase in words for phrase in none)
    ]
    found += [as_expression(said) or "" for said in re.findall(r"SPDX-License-Identifier:[ \t]*([^\n*#]+)", text)]
    return conjunction(found)


def declared(name: str, text: str) -> str:
    """The expression that a metadata file declares; "" where it declares none that we know.

    Names: those of `is_metadata`. Fields that point to a file say nothing here; the file is a licence file.
    """
    if name in ("METADATA", "PKG-INFO"):
        return _of_headers(text)
    try:
        table: Any = json.loads(text) if name == "package.json" else tomllib.loads(text)
    except (ValueError, RecursionError):
        return ""
    section = {"pyproject.toml": "project", "Cargo.toml": "package"}.get(name)
    table = table.get(section, {}) if section and isinstance(table, dict) else table
    said = table.get("license", "") if isinstance(table, dict) else ""
    if isinstance(said, dict):
        said = said.get("type") or said.get("text") or ""
    return _of_saying(said) if isinstance(said, str) else ""


def _of_headers(text: str) -> str:
    """From a Python package's metadata: the expression, else the licence field, else the classifiers."""
    headers = email.parser.HeaderParser().parsestr(text)
    for field in ("License-Expression", "License"):
        expression = _of_saying(str(headers.get(field, "")))
        if expression:
            return expression
    classifiers = [str(each) for each in headers.get_all("Classifier", [])]
    said = [each.rsplit("::", 1)[-1] for each in classifiers if each.startswith("License ::")]
    said = [each for each in said if each.strip() != "OSI Approved"]
    found = [_of_saying(each) for each in said]
    return conjunction(found) if all(found) else ""


def _of_saying(said: str) -> str:
    """From an SPDX expression, a name as people write it, or a whole text in the wrong place."""
    if len(said) > 200:
        return of_text(said)
    words = re.findall(r"[a-z0-9]+", said.lower())
    plain = " ".join(word for word in words if word not in ("license", "licence", "the", "software", "osi"))
    return as_expression(said) or _SAID.get(plain, "")


def conjunction(expressions: Iterable[str]) -> str:
    """Several expressions that all apply, as one, each once."""
    parts = [part for part in dict.fromkeys(expressions) if part]
    choices = [len(parts) > 1 and " OR " in part and not re.fullmatch(r"\([^()]*\)", part) for part in parts]
    return " AND ".join(f"({part})" if choice else part for part, choice in zip(parts, choices, strict=True))


def as_expression(said: str) -> str | None:
    """The SPDX expression with ids as SPDX spells them; None where it is no expression or has an id unknown here."""
    words = _words(said)
    ids = [word for word in words if word not in _SYNTAX]
    if not ids or any(_id(word) is None for word in ids):
        return None
    spelled = " ".join(word if word in _SYNTAX else str(_id(word)) for word in words)
    return spelled.replace("( ", "(").replace(" )", ")") if _value(spelled, {}) is not None else None


def allowed(expression: str, ids: Collection[str]) -> bool:
    """Whether the licences `ids` are enough: of an OR one side, of an AND both. "" in `ids` allows unknown ones.

    An exception (`WITH`) only adds permissions, so the licence before it decides. What is no expression is unknown.
    """
    if not ids:
        return True
    value = _value(expression, {each.lower(): True for each in ids})
    return "" in ids if value is None else value


_SYNTAX = ("AND", "OR", "WITH", "(", ")")


def _words(expression: str) -> list[str]:
    found = re.findall(r"[()]|[^\s()]+", expression)
    return [word.upper() if word.upper() in _SYNTAX else word for word in found]


def _id(word: str) -> str | None:
    """An id as SPDX spells it, `GPL-2.0+` included."""
    if word.startswith("LicenseRef-") or word.endswith("-exception"):
        return word
    known = _IDS.get(word.removesuffix("+").lower())
    return known and known + "+" * word.endswith("+")


def _value(expression: str, ids: Mapping[str, bool]) -> bool | None:
    """Whether `ids` satisfy the expression; None where it is malformed. AND binds closer than OR."""
    words = _words(expression)[::-1]

    def either() -> bool:
        value = both()
        while words and words[-1] == "OR":
            words.pop()
            value = both() or value
        return value

    def both() -> bool:
        value = one()
        while words and words[-1] == "AND":
            words.pop()
            value = one() and value
        return value

    def one() -> bool:
        word = words.pop()
        if word == "(":
            value = either()
            if words.pop() != ")":
                raise ValueError
            return value
        if word in _SYNTAX:
            raise ValueError
        value = ids.get(word.lower(), False)
        if words and words[-1] == "WITH":
            words.pop()
            if words.pop() in _SYNTAX:
                raise ValueError
        return value

    try:
        value = either()
    except (IndexError, ValueError, RecursionError):
        return None
    return None if words else value
