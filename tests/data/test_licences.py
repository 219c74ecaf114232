"""Licences: texts, declarations, expressions. The oracles are licence texts that others keep, and `packaging`."""

from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from polyturn.data.licences import (
    OTHER,
    PERMISSIVE,
    allowed,
    as_expression,
    conjunction,
    declared,
    is_licence_file,
    nearest,
    of_header,
    of_saying,
    of_text,
    of_texts,
    spelled,
)

DEBIAN = Path("/usr/share/common-licenses")
IDS = ["MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0-or-later", "MPL-2.0", "Zlib"]
EXPRESSIONS = st.recursive(
    st.sampled_from(IDS),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)
MIT = """Copyright (c) 2020 Someone

Permission is hereby granted, free of charge, to any person obtaining a copy of this software ...
The above copyright notice and this permission notice shall be included in all copies ...
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED ...
"""


@pytest.mark.parametrize(
    ("file", "licence"),
    [
        ("Apache-2.0", "Apache-2.0"),
        ("BSD", "BSD-3-Clause"),
        ("CC0-1.0", "CC0-1.0"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-3", "GPL-3.0-only"),
        ("LGPL-2", "LGPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("LGPL-3", "LGPL-3.0-only"),
        ("MPL-2.0", "MPL-2.0"),
        ("Artistic", OTHER),
        ("GFDL-1.3", OTHER),
    ],
)
def test_the_texts_that_debian_keeps(file: str, licence: str) -> None:
    path = DEBIAN / file
    if not path.is_file():
        pytest.skip(f"this system has no {path}")
    assert of_text(path.read_text(encoding="utf-8", errors="replace")) == licence


def installed() -> list[tuple[str, str, list[str]]]:
    """Distribution, licence by its metadata, its licence texts; those under one licence alone, with one text."""
    found = []
    for each in metadata.distributions():
        said = str(each.metadata.get("License-Expression", ""))
        files = [p for p in each.files or [] if ".dist-info" in str(p) and is_licence_file(p.name)]
        if said and " " not in said and len(files) == 1:
            texts = [Path(str(each.locate_file(f))).read_text(encoding="utf-8", errors="replace") for f in files]
            found.append((each.metadata["Name"], said, texts))
    return found


def test_the_licence_texts_of_installed_packages_agree_with_their_metadata() -> None:
    cases = installed()
    assert len(cases) > 5  # pytest and hypothesis bring as many
    unknown = [name for name, _, texts in cases if OTHER in of_texts(texts).split(" AND ")]
    assert len(unknown) < len(cases) / 4
    for name, said, texts in cases:
        if name not in unknown:  # a text may add those of bundled parts
            assert said in of_texts(texts).split(" AND "), name


def test_a_permissive_text_quoted_in_others_terms_does_not_count() -> None:
    assert of_text(MIT) == "MIT"
    terms = "You may not copy, change or share this product, as agreed. " * 60
    assert of_text(terms + MIT) == OTHER


@pytest.mark.parametrize(
    "addition",
    ["The Software shall be used for Good, not Evil.", '"Commons Clause" License Condition v1.0', "GPL"],
)
def test_conditions_added_to_a_permissive_text(addition: str) -> None:
    if addition == "GPL":
        addition = "under the terms of the GNU General Public License as published by the Free Software Foundation"
    assert not allowed(of_text(MIT + addition), PERMISSIVE)


@pytest.mark.parametrize("leader", ["# ", " * ", "// ", "> "])
def test_leaders_of_comments_and_line_breaks_do_not_matter(leader: str) -> None:
    text = "\n".join(leader + " ".join(MIT.split()[i : i + 7]) for i in range(0, 80, 7))
    assert of_text(text) == "MIT"


def test_an_spdx_line_is_a_licence() -> None:
    assert of_text("// SPDX-License-Identifier: apache-2.0 OR MIT\n") == "Apache-2.0 OR MIT"
    assert of_text("# SPDX-License-Identifier: Something-Else\n") == OTHER


def test_several_texts_all_apply_and_an_unknown_one_decides() -> None:
    assert of_texts([MIT, "SPDX-License-Identifier: GPL-2.0-only"]) == "MIT AND GPL-2.0-only"
    assert of_texts([MIT, "Ask me first."]) == f"MIT AND {OTHER}"
    assert not allowed(f"MIT AND {OTHER}", PERMISSIVE)
    assert of_texts(["", MIT]) == "MIT"
    assert of_texts([]) == ""


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("pyproject.toml", '[project]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause License"}', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}', ""),
        ("pyproject.toml", "[project", ""),
        ("Cargo.toml", '[package]\nlicense = "MIT OR Apache-2.0"', "MIT OR Apache-2.0"),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": {"type": "MIT"}}', "MIT"),
        ("package.json", '{"license": "SEE LICENSE IN x"}', ""),
        ("package.json", "[" * 100_000, ""),
        ("METADATA", "Name: a\nLicense-Expression: MIT AND Zlib\nLicense: GPL\n\nbody", "MIT AND Zlib"),
        ("METADATA", "Name: a\nLicense: Apache 2.0\n\nbody", "Apache-2.0"),
        ("METADATA", "Name: a\nClassifier: License :: OSI Approved :: BSD License\n", "BSD-3-Clause"),
        ("METADATA", "Name: a\nClassifier: License :: Other/Proprietary License\n", OTHER),
        ("METADATA", "Name: a\nLicense: see LICENSE\nClassifier: License :: OSI Approved :: MIT License\n", "MIT"),
        ("METADATA", "Name: a\nLicense: UNKNOWN\n", ""),
        ("METADATA", "Name: a\nLicense: ask me\n", OTHER),
        ("package.json", '{"license": "UNLICENSED"}', OTHER),
        ("METADATA", "Name: a\n\nLicense: MIT\n", ""),  # in the description, not in the headers
        ("METADATA", "License: " + MIT.replace("\n", "\n        ") + "\n\nbody", "MIT"),
    ],
)
def test_what_metadata_declares(name: str, text: str, licence: str) -> None:
    assert declared(name, text) == licence


@given(EXPRESSIONS)
def test_expressions_are_spelled_as_packaging_spells_them(expression: str) -> None:
    assert as_expression(expression.lower()) == canonicalize_license_expression(expression.lower())


@given(EXPRESSIONS, st.sets(st.sampled_from(IDS), min_size=1))
def test_allowed_is_the_boolean_value_of_the_expression(expression: str, ids: set[str]) -> None:
    value = eval(
        expression.replace("AND", "and").replace("OR", "or").translate({ord(c): "_" for c in "-."}),
        {each.replace("-", "_").replace(".", "_"): each in ids for each in [*IDS, "GPL-3.0_or-later"]}
        | {"GPL_3_0_or_later": "GPL-3.0-or-later" in ids},
    )
    assert allowed(expression, ids) == value


def test_what_is_said_of_nothing_and_what_is_unknown_are_allowed_by_name() -> None:
    assert not allowed("", ["MIT"])
    assert not allowed("", ["MIT", OTHER])
    assert allowed("", ["MIT", ""])
    for unknown in ("(MIT", "MIT AND", "MIT MIT", "GPL v3", OTHER, f"MIT AND {OTHER}"):
        assert not allowed(unknown, ["MIT"])
        assert not allowed(unknown, ["MIT", ""])
        assert allowed(unknown, ["MIT", OTHER])
        assert allowed(unknown, [])
    assert allowed(f"MIT OR {OTHER}", ["MIT"])
    assert not allowed("GPL-2.0-only", ["MIT", ""])
    assert allowed("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"])
    assert not allowed("Apache-2.0+", ["MIT"])


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("", ""),
        ("  ", ""),
        ("unknown", ""),
        ("mit", "MIT"),
        ("The MIT License", "MIT"),
        ("MIT and Apache 2.0", "MIT AND Apache-2.0"),
        ("Artistic License 2.0", "Artistic-2.0"),
        ("Mozilla Public License 2.0", "MPL-2.0"),
        ('BSD 3-Clause "New" or "Revised" License', "BSD-3-Clause"),
        ("GPL-2.0+", "GPL-2.0+"),
        ("GPL v3", "GPL-3.0-only"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("GPL", "GPL-1.0-or-later"),
        ("LGPL", "LGPL-2.0-or-later"),
        ("GNU LGPL version 2.1 or later", "LGPL-2.1-or-later"),
        ("GNU Affero General Public License v3.0", "AGPL-3.0-only"),
        ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
        ("GNU Library or Lesser General Public License (LGPL)", "LGPL-2.0-or-later"),
        ("GPL v9", OTHER),
        ("GPL-2.0-only WITH Linux-syscall-note", "GPL-2.0-only WITH Linux-syscall-note"),
        ("LicenseRef-Ours", "LicenseRef-Ours"),
        ("Proprietary", OTHER),
        ("All rights reserved", OTHER),
        ("MIT and Proprietary", f"MIT AND {OTHER}"),
        ("MIT or GPL v3", OTHER),  # whose choice is not ours to read
        ("NOASSERTION", OTHER),
    ],
)
def test_what_people_say_of_a_licence(said: str, licence: str) -> None:
    assert of_saying(said) == licence
    assert allowed(licence, [""]) == (licence == "")


def test_every_id_of_the_spdx_list_is_spelled_as_packaging_spells_it() -> None:
    from packaging.licenses._spdx import LICENSES

    assert len(LICENSES) > 600
    for lower, each in LICENSES.items():
        assert spelled(lower) == each["id"]
    assert spelled("Proprietary") is None
    assert nearest("BSD-3-Claus") == "BSD-3-Clause"
    assert nearest("Apache2.0") == "Apache-2.0"
    assert nearest("xyzzy") is None


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        ("#!/bin/sh\n# SPDX-License-Identifier: gpl-2.0 WITH Linux-syscall-note\n", "GPL-2.0 WITH Linux-syscall-note"),
        ("/* SPDX-License-Identifier: (GPL-2.0 OR MIT) */ int x;\n", "(GPL-2.0 OR MIT)"),
        ("/*\n * Copyright 2020\n *\n * SPDX-License-Identifier: Apache-2.0\n */\n", "Apache-2.0"),
        ("<!-- SPDX-License-Identifier: CC0-1.0 -->", "CC0-1.0"),
        (".. SPDX-License-Identifier: BSD-2-Clause\r\n", "BSD-2-Clause"),
        ("REM SPDX-License-Identifier: ISC\n", "ISC"),
        ("// SPDX-License-Identifier: MIT\n// SPDX-License-Identifier: Zlib\n", "MIT AND Zlib"),
        ("# SPDX-License-Identifier: Our-Own\n", OTHER),
        ("# SPDX-License-Identifier:\n", None),
        ("print('SPDX-License-Identifier: MIT')\n", None),
        ("# see the SPDX-License-Identifier: MIT\n", None),
        ("x = 1\n" * 1000 + "# SPDX-License-Identifier: MIT\n", None),
        ("x = 1\n", None),
    ],
)
def test_the_header_of_a_file(head: str, licence: str | None) -> None:
    assert of_header(head.encode()) == licence


def test_a_choice_stays_a_choice_in_a_conjunction() -> None:
    assert conjunction(["MIT OR Zlib", "MIT OR Zlib", "", "ISC"]) == "(MIT OR Zlib) AND ISC"
    assert conjunction(["(MIT OR Zlib)", "ISC"]) == "(MIT OR Zlib) AND ISC"


def test_names_of_licence_files() -> None:
    yes = "LICENSE LICENCE.txt license.md COPYING COPYING.LESSER MIT-LICENSE LICENSE-APACHE UNLICENSE LICENSE_BSD"
    no = "licenses.py license_check.sh LICENSE.png unlicensed README"
    assert all(map(is_licence_file, yes.split()))
    assert not any(map(is_licence_file, no.split()))
