"""Which language a file is in: by its name where that is enough, else by a look at its text.

The names are those that GitHub uses. A name such as `x.h` or `x.m` leaves several languages, and then a few telling
lines decide; where they tell nothing the answer is None rather than a guess. A program without an ending is known
by its first line, `#!`.
"""

import re
from collections.abc import Callable
from functools import cache

# Name, endings; the paper's six first. An ending that several languages have is told apart by its rule in AMBIGUOUS.
_TABLE = """
    Python .py .pyi .pyw
    C .c .h .inc
    C++ .cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .tcc .tpp .h .inc
    Go .go
    Java .java
    JavaScript .js .mjs .cjs .jsx
    Ada .adb .ads
    Assembly .asm .s .inc
    Batchfile .bat .cmd
    C# .cs .csx
    CMake .cmake
    CSS .css
    CUDA .cu .cuh
    Clojure .clj .cljs .cljc
    Common_Lisp .lisp .lsp
    Coq .v
    Cython .pyx .pxd .pxi
    D .d
    Dart .dart
    Dockerfile .dockerfile
    Elixir .ex .exs
    Emacs_Lisp .el
    Erlang .erl .hrl
    F# .fs .fsi .fsx
    Fortran .f .for .f77 .f90 .f95 .f03 .f08
    GraphQL .graphql .gql
    Groovy .groovy .gradle
    HTML .html .htm .xhtml
    Haskell .hs .lhs
    INI .ini .cfg
    JSON .json
    Jinja .j2 .jinja .jinja2
    Julia .jl
    Kotlin .kt .kts
    Less .less
    Lua .lua
    MATLAB .m
    Makefile .mk .mak .d
    Markdown .md .markdown
    Meson
    Nim .nim
    Nix .nix
    OCaml .ml .mli
    Objective-C .m .h
    Objective-C++ .mm
    PHP .php .phtml .inc
    Pascal .pas .dpr .inc
    Perl .pl .pm
    PowerShell .ps1 .psm1 .psd1
    Prolog .pl .prolog
    Protocol_Buffer .proto
    R .r
    Racket .rkt
    Ruby .rb .rake .gemspec
    Rust .rs
    SCSS .scss
    SQL .sql
    Scala .scala .sbt
    Scheme .scm .ss
    Shell .sh .bash .zsh .ksh
    Solidity .sol
    Starlark .bzl .star
    Svelte .svelte
    Swift .swift
    SystemVerilog .sv .svh
    TOML .toml
    Tcl .tcl
    TeX .tex .sty
    Text .txt .md
    Thrift .thrift
    TypeScript .ts .tsx .mts .cts
    VHDL .vhd .vhdl
    Verilog .v .vh
    Visual_Basic .vb
    Vue .vue
    XML .xml .xsd .xsl .xslt .ts
    YAML .yaml .yml
    Zig .zig
    reStructuredText .rst .rest
"""
_ROWS = [line.split() for line in _TABLE.splitlines() if line.strip()]
LANGUAGES: dict[str, tuple[str, ...]] = {name.replace("_", " "): tuple(endings) for name, *endings in _ROWS}

_ENDINGS: dict[str, tuple[str, ...]] = {}
for _name, _endings in LANGUAGES.items():
    for _ending in _endings:
        _ENDINGS[_ending] = (*_ENDINGS.get(_ending, ()), _name)

_NAMES = {  # in lower case
    "makefile": "Makefile",
    "makefile.inc": "Makefile",
    "makefile.pl": "Perl",
    "gnumakefile": "Makefile",
    "dockerfile": "Dockerfile",
    "containerfile": "Dockerfile",
    "cmakelists.txt": "CMake",
    "meson.build": "Meson",
    "build.bazel": "Starlark",
    "rakefile": "Ruby",
    "gemfile": "Ruby",
    "sconstruct": "Python",
    "sconscript": "Python",
    "wscript": "Python",
    "jenkinsfile": "Groovy",
    "readme": "Text",
    "changes": "Text",
    "changelog": "Text",
    "news": "Text",
    "authors": "Text",
}

_INTERPRETERS = {
    "python": "Python",
    "pypy": "Python",
    "node": "JavaScript",
    "deno": "TypeScript",
    "sh": "Shell",
    "bash": "Shell",
    "dash": "Shell",
    "ksh": "Shell",
    "zsh": "Shell",
    "perl": "Perl",
    "ruby": "Ruby",
    "php": "PHP",
    "lua": "Lua",
    "rscript": "R",
    "julia": "Julia",
    "tclsh": "Tcl",
    "wish": "Tcl",
    "make": "Makefile",
    "groovy": "Groovy",
    "swipl": "Prolog",
    "racket": "Racket",
}

_ALIASES = {  # other spellings in the language columns of data sets
    "cpp": "C++",
    "cxx": "C++",
    "c-sharp": "C#",
    "csharp": "C#",
    "golang": "Go",
    "js": "JavaScript",
    "ts": "TypeScript",
    "py": "Python",
    "python3": "Python",
    "rst": "reStructuredText",
    "restructuredtext": "reStructuredText",
    "plain text": "Text",
    "bash": "Shell",
    "objective c": "Objective-C",
    "visual basic .net": "Visual Basic",
}
_SPELLINGS = {**{name.lower(): name for name in LANGUAGES}, **_ALIASES}

# Endings of files that are no text, so that they need not be opened. Others are known by the bytes in them.
BINARY = frozenset(
    """.7z .a .aif .aiff .avi .bin .bmp .bz2 .class .dat .db .dll .dylib .eot .exe .flac .gif .gz .h5 .hdf5 .ico .jar
    .jpeg .jpg .lib .mo .mov .mp3 .mp4 .npy .npz .o .obj .ogg .orc .otf .parquet .pck .pdf .pickle .pkl .png .psd .pyc
    .pyd .pyo .rar .safetensors .so .sqlite .tar .tgz .tif .tiff .ttf .wasm .wav .webm .webp .whl .woff .woff2 .xls
    .xlsx .xz .zip .zst""".split()
)

LOOKED_AT = 1 << 16  # characters: what tells languages apart stands near the beginning


def named(name: str) -> str:
    """The usual spelling of a language's name; one that is not in `LANGUAGES` stays as it is."""
    return _SPELLINGS.get(name.strip().lower().replace("_", " "), name.strip())


def ending(path: str) -> str:
    """The ending of a file's name in lower case with its point, or ""; `.x` is a name without one."""
    name = path[path.rfind("/") + 1 :]
    point = name.rfind(".")
    return name[point:].lower() if point > 0 else ""


def is_binary(path: str) -> bool:
    """Whether the name alone says that a file is no text; shared libraries may have their version at the end."""
    name = path[path.rfind("/") + 1 :]
    return ending(path) in BINARY or re.search(r"\.so(\.\d+)+$", name) is not None


def candidates(path: str) -> tuple[str, ...]:
    """The languages that a file of this name may be in: none, one, or several that only its text tells apart."""
    name = path[path.rfind("/") + 1 :].lower()
    if name in _NAMES:
        return (_NAMES[name],)
    found = _ENDINGS.get(ending(path), ())
    if not found and name.startswith(("dockerfile.", "makefile.")) and not is_binary(path):
        found = (_NAMES[name.partition(".")[0]],)  # Makefile.am, Dockerfile.gpu; but makefile.py is Python
    return found


def by_name(path: str) -> str:
    """The language of a file where its name is enough to tell, else ""."""
    found = candidates(path)
    return found[0] if len(found) == 1 else ""


def detect(path: str, text: str) -> str | None:
    """The language of a file from its name and, where that is not enough, its text; None: it cannot be told."""
    found = candidates(path)
    if len(found) == 1:
        return found[0]
    head = text[:LOOKED_AT]
    if found:
        return AMBIGUOUS[ending(path)](head)
    return None if ending(path) else _shebang(head)


def _shebang(head: str) -> str | None:
    """By the interpreter of a first line such as `#!/usr/bin/env -S python3 -u`."""
    line = re.match(r"#![ \t]*(\S+)((?:[ \t]+\S+)*)", head)
    if not line:
        return None
    program, words = line[1], line[2].split()
    if program.endswith("/env"):
        program = next((word for word in words if not word.startswith("-") and "=" not in word), "")
    name = re.sub(r"[\d.]+$", "", program[program.rfind("/") + 1 :]).lower()
    return _INTERPRETERS.get(name)


_C_COMMENTS = re.compile(r"/\*.*?(?:\*/|\Z)|//[^\n]*", re.DOTALL)


@cache
def _lines(*patterns: str) -> re.Pattern[str]:
    """Any of the patterns at the beginning of a line, behind spaces."""
    return re.compile(rf"^[ \t]*(?:{'|'.join(patterns)})", re.MULTILINE)


def _has(head: str, *patterns: str) -> bool:
    return _lines(*patterns).search(head) is not None


_ONLY_FOR_CPP = re.compile(
    r"^[ \t]*#[ \t]*if[^\n]*__cplusplus.*?^[ \t]*#[ \t]*(?:else|elif|endif)", re.DOTALL | re.MULTILINE
)


def _c_family(head: str) -> str | None:
    code = _ONLY_FOR_CPP.sub(" ", _C_COMMENTS.sub(" ", head))  # a header of C may have parts for C++
    if _has(code, r"@(?:interface|implementation|protocol|class|property|end)\b", r"#[ \t]*import\b"):
        return "Objective-C"
    if _has(
        code,
        r"(?:template[ \t]*<|namespace\b|using[ \t]+[\w:]+|class[ \t]+[A-Za-z_]|constexpr\b|typename\b)",
        r"(?:public|private|protected)[ \t]*(?:Q_SLOTS|slots)?[ \t]*:",
        r"""#[ \t]*include[ \t]*(?:<[a-z_]+(?:/[a-z_]+)*>|["<][^">\n]+\.(?:hpp|hh|hxx|tcc)[">])""",
    ):
        return "C++"
    if re.search(r"\b(?:std|boost)::\w|\boperator[ \t]*(?:[=+*/<>\-\[(]|bool\b)|\bstatic_cast<", code):
        return "C++"
    return "C"


def _m(head: str) -> str | None:
    if _has(head, r"@(?:interface|implementation|protocol|import|class)\b", r"#[ \t]*(?:import|include|define)\b"):
        return "Objective-C"
    return "MATLAB" if _has(head, r"function\b", r"classdef\b", "%", r"[\w.]+[ \t]*=[^=].*;[ \t]*$") else None


def _pl(head: str) -> str | None:
    if _shebang(head) == "Perl" or _has(head, r"(?:use|package|sub|require)[ \t]+[\w:]+", r"(?:my|our)[ \t]*[($@%]"):
        return "Perl"
    if _has(head, r":-[ \t]*\w", r"[a-z]\w*(?:\([^\n]*\))?[ \t]*:-", r"[a-z]\w*\([^\n]*\)\.[ \t]*$"):
        return "Prolog"
    return "Perl" if re.search(r"[$@%]\w+", head) else None


def _ts(head: str) -> str | None:
    return "XML" if re.match(r"\s*<(?:\?xml|!DOCTYPE|TS)\b", head) else "TypeScript"


def _inc(head: str) -> str | None:
    if "<?php" in head or "<?=" in head:
        return "PHP"
    if _has(head, r"#[ \t]*(?:include|define|if|ifdef|ifndef|pragma|undef)\b", r"/[*/]"):
        return _c_family(head)
    if _has(head, r"\{\$", r"(?i:procedure|unit|const|var|begin)\b[^\n;{]*;?[ \t]*$"):
        return "Pascal"
    operations = r"(?:mov|push|pop|call|jmp|ret|xor|add|d[bwdq])\b"
    return "Assembly" if _has(head, r"[%.]?(?:macro|section|global|extern)\b", r"\w+:", operations) else None


def _v(head: str) -> str | None:
    if _has(head, r"(?:module|endmodule|always|assign|wire|reg|input|output)\b", "`(?:define|include|timescale|ifdef)"):
        return "Verilog"
    proof = r"(?:Require|Theorem|Lemma|Definition|Proof|Qed|Inductive|Fixpoint|Section|Module|From|Import|Notation)\b"
    return "Coq" if _has(head, proof) else None


def _md(head: str) -> str | None:
    if _has(head, r"\(define_(?:insn|expand|split|attr|constraint|predicate)\b"):
        return None  # a machine description of GCC
    marks = _has(
        head, r"#{1,6}[ \t]", r"[-*+][ \t]", r"\d+\.[ \t]", r"(?:=|-){3,}[ \t]*$", "```", "> ", r"\|", r"<[a-z!]"
    )
    return "Markdown" if marks or re.search(r"`[^`\n]+`|\]\(|\*\*\S|\]:", head) else "Text"


def _d(head: str) -> str | None:
    return "Makefile" if re.match(r"(?:#[^\n]*\n)*\s*[^\s:;{}]+[ \t]*:[ \t\\\n]", head) else "D"


AMBIGUOUS: dict[str, Callable[[str], str | None]] = {
    ".d": _d,
    ".h": _c_family,
    ".inc": _inc,
    ".m": _m,
    ".md": _md,
    ".pl": _pl,
    ".ts": _ts,
    ".v": _v,
}
