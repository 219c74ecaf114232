"""Takes e-mail addresses, keys, passwords and public IP addresses out of a text.

    redact("mail = 'jane@corp.com'")  # ("mail = '<EMAIL>'", {"email": 1})

What is looked for is narrow, so that code stays code: keys by the shape their issuers give them; other secrets only as
values that look random and are assigned to a name like `api_key`; e-mail addresses and IP addresses only where they
could be somebody's (not example.com, not 192.168.0.1, not the matrix product `a@b.T`, not version 1.2.3.4).

Each search starts from something rare that it can be looked up by (`AKIA`, `@`, a digit, an equals sign) and judges
what stands around it afterwards, which is several times faster than patterns that could begin anywhere.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from math import log2

Span = tuple[int, int]

PLACEHOLDERS = {"key": "<KEY>", "secret": "<SECRET>", "email": "<EMAIL>", "ip": "<IP_ADDRESS>"}
"""What takes the place of each kind; nothing is found in them again."""


def redact(text: str) -> tuple[str, dict[str, int]]:
    """`text` with placeholders, and how many of each kind there were; doing it again changes nothing.

    Kinds: `key` (of AWS, Google, GitHub, GitLab, Slack, Stripe, npm, PyPI, Hugging Face; JSON web tokens; private keys
    in PEM), `secret` (other passwords and tokens), `email`, `ip`.
    """
    found: Counter[str] = Counter()
    for kind, spans in _SEARCHES:
        pieces: list[str] = []
        at = 0
        for start, end in spans(text):
            pieces += (text[at:start], PLACEHOLDERS[kind])
            at = end
            found[kind] += 1
        if pieces:
            text = "".join((*pieces, text[at:]))
    return text, dict(found)


# ---- keys, by their issuers' shapes

_MARKS = [
    *"AKIA ASIA AIza ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox k_live_ k_test_ eyJ npm_ pypi- hf_".split(),
    "hooks.slack.com",
    "PRIVATE KEY",
]
_KEY = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"
    r"|\bAIza[\w-]{35}(?![\w-])"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,255}\b"
    r"|\bgithub_pat_\w{22,255}\b"
    r"|\bglpat-[\w-]{20,}"
    r"|\bxox[abeoprs]-[\w-]{12,}"
    r"|\bhooks\.slack\.com/(?:services|workflows)/[\w/]{20,}"
    r"|\b[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}\b"
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{16,}"
    r"|\bnpm_[A-Za-z0-9]{36}\b"
    r"|\bpypi-AgE[\w-]{50,}"
    r"|\bhf_[A-Za-z]{34}\b"
    # The body may be a string literal of several lines. A program that only looks for the first line has no body.
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----(?:(?!-----).){64,20000}?"
    r"-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    re.DOTALL,
)


def _keys(text: str) -> Iterator[Span]:
    if any(mark in text for mark in _MARKS):
        for match in _KEY.finditer(text):
            yield match.span()


# ---- other secrets: what is assigned to a name that says so, and looks random

_ASSIGNED = re.compile(
    r"""[=:]>?[ \t]*(?:(["'`])([\w+/=.~!@#$%^&*-]{12,200})\1"""  # in quotes, or alone at the end of a line
    r"""|([\w+/~-]{16,200}={0,2})(?=[ \t]*(?:$|[\r#;])))""",
    re.MULTILINE,
)
_NAMES_SECRET = re.compile(
    r"(?:secret|token|passw(?:or)?d|passphrase|pwd|credential|bearer"
    r"|(?:api|access|auth|private|encryption|signing|master|account|consumer|client|app|shared)[_-]?key)"
    r"(?:[_-]?(?:key|id|value|string|b64|base64|hex|\d))*[\"'\]]*\s*\Z",
    re.IGNORECASE,
)
LEAST_ENTROPY = 3.2
"""Bits for each character, from how often each occurs: 20 random letters and digits have 3.7 to 4.3, 32 hexadecimal
digits 3.3 to 3.9, words of that length 2.5 to 3.5, but words have no digits between their letters."""


def _secrets(text: str) -> Iterator[Span]:
    for match in _ASSIGNED.finditer(text):
        group = 2 if match[2] else 3
        if _random(match[group]) and _NAMES_SECRET.search(text, max(match.start() - 48, 0), match.start()):
            yield match.span(group)


_LETTERS_DIGITS = re.compile(r"[0-9][A-Za-z]|[A-Za-z][0-9]")


def _random(value: str) -> bool:
    """Do letters and digits change at least three times, and is the entropy that of random characters?"""
    if len(_LETTERS_DIGITS.findall(value)) < 3:
        return False
    size = len(value)
    return -sum(n / size * log2(n / size) for n in Counter(value).values()) >= LEAST_ENTROPY


# ---- e-mail addresses

_AT_DOMAIN = re.compile(r"@((?:[A-Za-z0-9-]{1,63}\.)+)([a-z]{2,12}|[A-Z]{2,12})(?![\w(\[-]|\.\w)")
_LOCAL = re.compile(r"[A-Za-z0-9](?:[\w.%+-]{0,62}[\w+-])?\Z")
_GENERIC = frozenset(
    "com org net edu gov mil int info biz name pro mobi asia jobs cat tel travel dev app xyz online site tech cloud "
    "email work blog shop store page live life world".split()
)
_NOBODY = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|local)$", re.IGNORECASE)


def _emails(text: str) -> Iterator[Span]:
    """Domains end in two letters (countries) or a common name: `weights@x.transpose` is a product of matrices."""
    for match in _AT_DOMAIN.finditer(text):
        if len(match[2]) > 2 and match[2].lower() not in _GENERIC:
            continue
        local = _LOCAL.search(text, max(match.start() - 64, 0), match.start())
        # git@host is the user name of every host; RFC 2606 sets the example names aside.
        if local and local[0] != "git" and not _NOBODY.search(match[1] + match[2]):
            yield local.start(), match.end()


# ---- IP addresses

_FOUR_NUMBERS = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![\w]|\.\w)")
_SIX = re.compile(r"[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![\w:])")
_NO_ADDRESS_AFTER = re.compile(  # a word of its own, or part of one such as app_version and buildVersion, not SERVER
    r"(?:[\w.]|[A-Za-z]/|[=<>~!^]="
    r"|(?:(?<![^\W\d_])(?i:version|release|ver|build|rev|section)|Version|Release|Ver|Build|Rev|Section)_*\W{0,4})\Z"
)
VERSION_LIKE = 32
"""Four numbers below this are a version, a section or a public resolver: one address in 4,096 is missed."""


def _addresses(text: str) -> Iterator[Span]:
    found = [m.span() for m in _FOUR_NUMBERS.finditer(text) if _somebodys_ipv4(m[0])]
    if ":" in text:
        found += [m.span() for m in _SIX.finditer(text) if _somebodys_ipv6(m[0])]
    for start, end in sorted(found):
        if not _NO_ADDRESS_AFTER.search(text, max(start - 16, 0), start):
            yield start, end


def _somebodys_ipv4(address: str) -> bool:
    numbers = [int(number) for number in address.split(".")]
    # The last number 0: a network, a mask or a version. A leading 0 is refused by `ip_address`.
    return max(numbers) >= VERSION_LIKE and numbers[3] != 0 and _is_public(address)


def _somebodys_ipv6(address: str) -> bool:
    slice_like = address.replace(":", "").isdecimal() and address.count(":") < 4  # x[2000::3]
    return not slice_like and _is_public(address)


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.is_global and not parsed.is_multicast


_SEARCHES: tuple[tuple[str, Callable[[str], Iterator[Span]]], ...] = (
    ("key", _keys),
    ("secret", _secrets),
    ("email", _emails),
    ("ip", _addresses),
)
