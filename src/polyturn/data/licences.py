"""Which licence a repository is under: from its licence files, or from what its metadata declares.

A text is known by phrases that no other licence has, compared without case, punctuation and line breaks, or by an SPDX
identifier in it. The result is an SPDX expression, such as `MIT` or `Apache-2.0 AND BSD-3-Clause`; "" where nothing is
said of a licence; `other` where something is said, and it is none of the licences known here. `spdx.txt` holds the ids
of version 3.27 of the SPDX list.
It errs on the strict side: several licence texts mean that all of them apply, and a file that begins with other text
than a known licence is another one, whatever it quotes further down (as proprietary terms quote those of their parts).
"""

import email.parser
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from importlib.resources import files
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
OTHER = "other"  # stands in an expression for a licence that is none of those known here
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

# How people name a licence where they do not use SPDX: normalised, without "license", "the", "software" and "osi".
_SAID = {
    "": "",
    "unknown": "",  # what setuptools writes where nothing was said
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
    "bsd 2 clause simplified": "BSD-2-Clause",
    "bsd 3 clause new or revised": "BSD-3-Clause",
    "boost 1 0": "BSL-1.0",
    "creative commons zero v1 0 universal": "CC0-1.0",
    "eclipse public 2 0": "EPL-2.0",
    "mozilla public 2 0": "MPL-2.0",
}
_GNU = re.compile(  # likewise; "+" is " or later"
    r"(?:gnu )?(?:(?P<short>[al]?)gpl|(?P<long>affero |lesser |library |library or lesser )?general public)"
    r"(?: [al]?gpl)? ?(?:v|version )?(?P<version>\d)?(?: (?P<minor>\d))?"
    r"(?P<later> or (?:any )?later(?: version)?| or newer)?(?: [al]?gplv\d(?: or later)?)?(?: only)?"
)
_IDS = {each.lower(): each for each in (files("polyturn.data") / "spdx.txt").read_text(encoding="utf-8").split()}

_HEADER = re.compile(  # in a comment of any language; the expression ends with the comment or the line
    rb"^[^\w\n]*(?:dnl|rem)?[ \t]*SPDX-License-Identifier:[ \t]*([\w.+() \t-]*)", re.IGNORECASE | re.MULTILINE
)
HEADER_BYTES = 1 << 12  # from the beginning of a file, in which its header is looked for

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
    """The expression for the licence files of one repository, which all apply."""
    return conjunction(of_text(text) for text in texts)


def of_text(text: str) -> str:
    """The expression for one licence file; an empty one says nothing."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    starts = [at for at in map(words.find, _FIRST_PHRASES) if at >= 0]
    if not starts or min(starts) > START:
        return OTHER if words else ""
    found = [
        licence
        for licence, every, none in _TEXTS
        if all(phrase in words for phrase in every) and not any(phrase in words for phrase in none)
    ]
    found += [of_saying(said) for said in re.findall(r"SPDX-License-Identifier:[ \t]*([^\n*#]+)", text)]
    return conjunction(found) or OTHER


def of_header(data: bytes) -> str | None:
    """The expression that a file of source code has in its own SPDX-License-Identifier lines; None without one."""
    head = data[:HEADER_BYTES]
    if b"-License-Identifier" not in head:
        return None
    said = [found.decode("ascii", "replace").strip(" \t-") for found in _HEADER.findall(head)]
    return conjunction(map(of_saying, said)) or None


def declared(name: str, text: str) -> str:
    """The expression that a metadata file declares; "" where it declares none.

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
    return of_saying(said) if isinstance(said, str) and not said.upper().startswith("SEE LICEN") else ""


def _of_headers(text: str) -> str:
    """From a Python package's metadata: the expression, else the licence field, else the classifiers."""
    headers = email.parser.HeaderParser().parsestr(text)
    classifiers = [str(each) for each in headers.get_all("Classifier", [])]
    said = [each.rsplit("::", 1)[-1] for each in classifiers if each.startswith("License ::")]
    said = [each for each in said if each.strip() != "OSI Approved"]
    fields = [of_saying(str(headers.get(field, ""))) for field in ("License-Expression", "License")]
    found = [*fields, conjunction(map(of_saying, said))]
    known = (each for each in found if each and OTHER not in _words(each))
    return next(known, OTHER if any(found) else "")


def of_saying(said: str) -> str:
    """From an SPDX expression, names as people write them, or a whole text in the wrong place."""
    if listed := as_expression(said):
        return listed
    if len(said) > 200:
        return of_text(said)
    expression = as_expression("-".join(re.sub(r"(?i)\b(?:the|licen[cs]e)\b", "", said).split()))
    if expression:
        return expression
    if re.search(r"\sand\s", said, re.IGNORECASE):
        return conjunction(of_saying(part) or OTHER for part in re.split(r"\sand\s", said, flags=re.IGNORECASE))
    words = re.findall(r"[a-z0-9]+", said.lower().replace("+", " or later"))
    plain = " ".join(word for word in words if word not in ("license", "licence", "the", "software", "osi"))
    gnu = _GNU.fullmatch(plain)
    return _gnu(gnu) if gnu else _SAID.get(plain, OTHER)


def _gnu(said: re.Match[str]) -> str:
    """A licence of GNU's; where no version is named, any will do."""
    kind = said["short"].upper() if said["short"] is not None else (said["long"] or " ")[0].upper().strip()
    version = f"{said['version']}.{said['minor'] or 0}" if said["version"] else {"L": "2.0"}.get(kind, "1.0")
    later = "or-later" if said["later"] or not said["version"] else "only"
    return _IDS.get(f"{kind}gpl-{version}-{later}".lower(), OTHER)


def conjunction(expressions: Iterable[str]) -> str:
    """Several expressions that all apply, as one, each once."""
    parts = [part for part in dict.fromkeys(expressions) if part]
    choices = [len(parts) > 1 and " OR " in part and not re.fullmatch(r"\([^()]*\)", part) for part in parts]
    return " AND ".join(f"({part})" if choice else part for part, choice in zip(parts, choices, strict=True))


def as_expression(said: str) -> str | None:
    """The SPDX expression with ids as SPDX spells them; None where it is no expression or has an id unknown here."""
    words = _words(said)
    ids = [word for at, word in enumerate(words) if word not in _SYNTAX and words[at - 1 : at] != ["WITH"]]
    if not ids or any(spelled(word) is None for word in ids):
        return None
    whole = " ".join(word if word in _SYNTAX else spelled(word) or word for word in words)
    return whole.replace("( ", "(").replace(" )", ")") if _value(whole, {}) is not None else None


def allowed(expression: str, ids: Collection[str]) -> bool:
    """Whether the licences `ids` are enough: of an OR one side, of an AND both.

    "" in `ids` allows what nothing is said of, and OTHER what is said and unknown, such as what is no expression. An
    exception (`WITH`) only adds permissions, so the licence before it decides.
    """
    if not ids:
        return True
    if not expression:
        return "" in ids
    value = _value(expression, {each.lower(): True for each in ids})
    return OTHER in ids if value is None else value


_SYNTAX = ("AND", "OR", "WITH", "(", ")")


def _words(expression: str) -> list[str]:
    found = re.findall(r"[()]|[^\s()]+", expression)
    return [word.upper() if word.upper() in _SYNTAX else word for word in found]


def spelled(word: str) -> str | None:
    """An id as SPDX spells it, `GPL-2.0+` included; None for a word that is none."""
    if word.startswith("LicenseRef-") or word == OTHER:
        return word
    known = _IDS.get(word.lower()) or _IDS.get(word.removesuffix("+").lower())
    return known and known.removesuffix("+") + "+" * word.endswith("+")


def nearest(word: str) -> str | None:
    """The id that a misspelt one may mean."""
    found = get_close_matches(word.lower(), _IDS, 1, 0.6)
    return _IDS[found[0]] if found else None


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
