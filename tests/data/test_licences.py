"""Licences: texts, declarations, expressions. The oracles are licence texts that others keep, and `packaging`."""

from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from polyturn.data.licences import (
    PERMISSIVE,
    allowed,
    as_expression,
    conjunction,
    declared,
    is_licence_file,
    of_text,
    of_texts,
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
        ("Artistic", ""),
        ("GFDL-1.3", ""),
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
    unknown = [name for name, _, texts in cases if not of_texts(texts)]
    assert len(unknown) < len(cases) / 4
    for name, said, texts in cases:
        if name not in unknown:  # a text may add those of bundled parts
            assert said in of_texts(texts).split(" AND "), name


def test_a_permissive_text_quoted_in_others_terms_does_not_count() -> None:
    assert of_text(MIT) == "MIT"
    terms = "You may not copy, change or share this product, as agreed. " * 60
    assert of_text(terms + MIT) == ""


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
    assert of_text("# SPDX-License-Identifier: Something-Else\n") == ""


def test_several_texts_all_apply_and_an_unknown_one_decides() -> None:
    assert of_texts([MIT, "SPDX-License-Identifier: GPL-2.0-only"]) == "MIT AND GPL-2.0-only"
    assert of_texts([MIT, "Ask me first."]) == ""
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
        ("METADATA", "Name: a\nClassifier: License :: Other/Proprietary License\n", ""),
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


def test_unknown_licences_are_allowed_where_the_empty_id_is() -> None:
    for unknown in ("", "(MIT", "MIT AND", "MIT MIT"):
        assert not allowed(unknown, ["MIT"])
        assert allowed(unknown, ["MIT", ""])
        assert allowed(unknown, [])
    assert not allowed("GPL-2.0-only", ["MIT", ""])
    assert allowed("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"])
    assert not allowed("Apache-2.0+", ["MIT"])


def test_a_choice_stays_a_choice_in_a_conjunction() -> None:
    assert conjunction(["MIT OR Zlib", "MIT OR Zlib", "", "ISC"]) == "(MIT OR Zlib) AND ISC"
    assert conjunction(["(MIT OR Zlib)", "ISC"]) == "(MIT OR Zlib) AND ISC"


def test_names_of_licence_files() -> None:
    yes = "LICENSE LICENCE.txt license.md COPYING COPYING.LESSER MIT-LICENSE LICENSE-APACHE UNLICENSE LICENSE_BSD"
    no = "licenses.py license_check.sh LICENSE.png unlicensed README"
    assert all(map(is_licence_file, yes.split()))
    assert not any(map(is_licence_file, no.split()))
