"""Languages: by name, by first line, and by a look inside where one ending is of several languages."""

import pytest

from polyturn.data.languages import AMBIGUOUS, LANGUAGES, candidates, detect, is_binary, named


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b/x.py", "Python"),
        ("x.PYI", "Python"),
        ("x.c", "C"),
        ("x.cpp", "C++"),
        ("x.go", "Go"),
        ("X.java", "Java"),
        ("x.min.js", "JavaScript"),
        ("_x.pyx", "Cython"),
        ("src/Makefile", "Makefile"),
        ("Dockerfile.gpu", "Dockerfile"),
        ("Makefile.am", "Makefile"),
        ("Makefile.in", "Makefile"),
        ("Makefile.inc", "Makefile"),
        ("Makefile.PL", "Perl"),
        ("makefile.py", "Python"),
        ("makefile.js", "JavaScript"),
        ("makefile.test.js", "JavaScript"),
        ("dockerfile.py", "Python"),
        ("makefile.pyc", None),
        ("CMakeLists.txt", "CMake"),
        ("notes.txt", "Text"),
        ("README", "Text"),
        ("README.rst", "reStructuredText"),
        ("x.unknown", None),
        (".py", None),  # a hidden file without an ending
        ("folder.py/x", None),
    ],
)
def test_a_name_is_enough(path: str, language: str | None) -> None:
    assert detect(path, "") == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/usr/bin/python3.12 -I", "Python"),
        ("#!/usr/bin/env python", "Python"),
        ("#! /usr/bin/env -S PYTHONPATH=. pypy3 -u", "Python"),
        ("#!/bin/sh", "Shell"),
        ("#!/usr/local/bin/node", "JavaScript"),
        ("#!/usr/bin/env", None),
        ("#!/opt/frobnicate", None),
        ("import os", None),
    ],
)
def test_a_script_without_an_ending(line: str, language: str | None) -> None:
    assert detect("bin/tool", line + "\nx = 1\n") == language


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("x.h", "#ifndef X_H\n#define X_H\n#include <stdio.h>\nint f(struct s *class);\n#endif\n", "C"),
        ("x.h", '#ifdef __cplusplus\nextern "C" {\n#endif\nvoid f(void);\n', "C"),
        ("x.h", "#ifdef __cplusplus\ntemplate <class T> T g();\n#else\nint g();\n#endif\n", "C"),
        ("x.h", "/* class of namespace\nclass a\n*/\n// template <x>\nint f(int);\n", "C"),
        ("x.h", "#pragma once\nnamespace a::b {\nint f(int);\n}\n", "C++"),
        ("x.h", "#pragma once\n#include <vector>\nint f(int);\n", "C++"),
        ("x.h", '#include "a.h"\nstd::string name();\n', "C++"),
        ("x.h", "  template <typename T>\n  T f(T);\n", "C++"),
        ("x.h", "#import <Foundation/Foundation.h>\n@interface A : NSObject\n@end\n", "Objective-C"),
        ("x.m", '#import "A.h"\n@implementation A\n@end\n', "Objective-C"),
        ("x.m", "function y = f(x)\n% twice\ny = 2 * x;\nend\n", "MATLAB"),
        ("x.m", "(* Content-type: notebook *)\n", None),
        ("x.pl", "#!/usr/bin/perl -w\nprint 1;\n", "Perl"),
        ("x.pl", "use strict;\nmy $x = 1;\n", "Perl"),
        ("x.pl", ":- module(a, [b/1]).\nb(X) :- c(X).\n", "Prolog"),
        ("x.pl", "father(tom, ann).\n", "Prolog"),
        ("x.ts", "export const a: number = 1;\n", "TypeScript"),
        ("x.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS version="2.1"/>\n', "XML"),
        ("x.inc", "<?php\n$a = 1;\n", "PHP"),
        ("x.inc", "#define A 1\nint x[] = {1, 2};\n", "C"),
        ("x.inc", "#include <map>\nstd::map<int, int> m;\n", "C++"),
        ("x.inc", "{$IFDEF WINDOWS}\nconst A = 1;\n{$ENDIF}\n", "Pascal"),
        ("x.inc", "%macro twice 1\n  add %1, %1\n%endmacro\n", "Assembly"),
        ("x.inc", "a b c\n", None),
        ("x.v", "module m(input a, output b);\n  assign b = a;\nendmodule\n", "Verilog"),
        ("x.v", "Require Import List.\nTheorem t : True.\nProof. trivial. Qed.\n", "Coq"),
        ("x.v", "hello\n", None),
        ("x.md", "# Title\n\nWords.\n", "Markdown"),
        ("x.md", "See [here](there).\n", "Markdown"),
        ("x.md", "Only words, and a second sentence.\n", "Text"),
        ("x.md", '(define_insn "addsi3"\n  [(set (match_operand:SI 0))])\n', None),
        ("x.d", "main.o: main.c a.h \\\n b.h\n", "Makefile"),
        ("x.d", "module a;\nimport std.stdio;\nvoid main() {}\n", "D"),
    ],
)
def test_a_look_inside(path: str, text: str, language: str | None) -> None:
    assert language is None or language in candidates(path)
    assert detect(path, text) == language


def test_every_ending_of_several_languages_has_a_rule_and_no_other() -> None:
    endings = [ending for row in LANGUAGES.values() for ending in row]
    assert {e for e in endings if endings.count(e) > 1} == set(AMBIGUOUS)


@pytest.mark.parametrize(
    "text", ["", "\n" * 70_000, "/*" * 40_000, "#!" * 40_000, "`" * 70_000, "(" * 70_000, "#if __cplusplus\n" * 5_000]
)
@pytest.mark.parametrize("ending", sorted(AMBIGUOUS))
def test_odd_texts_take_no_time(ending: str, text: str) -> None:
    assert detect(f"x{ending}", text) in (*LANGUAGES, None)  # a rule that backtracks would not come back


@pytest.mark.parametrize("path", ["a.pyc", "liba.so", "a/liba.so.1.2.3", "x.tar.gz", "x.PNG"])
def test_binary_by_name(path: str) -> None:
    assert is_binary(path)
    assert not is_binary(path + ".py")


def test_other_spellings() -> None:
    assert [named(n) for n in ("python", "cpp", "C++", "Jupyter_Notebook", "common_lisp", " go ")] == [
        "Python",
        "C++",
        "C++",
        "Jupyter_Notebook",
        "Common Lisp",
        "Go",
    ]
