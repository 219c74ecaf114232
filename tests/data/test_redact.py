"""Secrets and addresses go, code stays. The keys are made up, in pieces, so that no scanner takes them for real."""

import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.data.redact import PLACEHOLDERS, redact

WORD = string.ascii_letters + string.digits


def made(alphabet: str, count: int) -> str:
    """Random characters, the same in every run."""
    return "".join(random.Random(count).choices(alphabet, k=count))


KEYS = [
    "AK" + "IA" + made(string.ascii_uppercase + "234567", 16),
    "AI" + "za" + made(WORD + "_-", 34) + "x",
    *("gh" + kind + "_" + made(WORD, 36) for kind in "pousr"),
    "github_" + "pat_" + made(WORD + "_", 82),
    "gl" + "pat-" + made(WORD, 20),
    "xo" + "xb-" + "123456789012-" + made(WORD, 24),
    "hooks.slack" + ".com/services/T00000000/B00000000/" + made(WORD, 24),
    "sk_" + "live_" + made(WORD, 24),
    "rk_" + "test_" + made(WORD, 24),
    "ey" + "J" + made(WORD, 33) + ".ey" + "J" + made(WORD, 40) + "." + made(WORD + "_-", 43),
    "np" + "m_" + made(WORD, 36),
    "hf" + "_" + made(string.ascii_letters, 34),
]
PEM = f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{made(WORD, 64)}\n{made(WORD, 60)}\n-----END RSA {'PRIVATE'} KEY-----"


@pytest.mark.parametrize("key", [*KEYS, PEM, PEM.replace("\n", "\\n"), PEM.replace("RSA ", "EC ")])
@pytest.mark.parametrize("around", ["{}", "x = '{}'", "  --header {} \n", "https://{}?x", '{{"a":"{}"}}'])
def test_an_issuer_s_key_goes_wherever_it_stands(key: str, around: str) -> None:
    assert redact(around.format(key)) == (around.format("<KEY>"), {"key": 1})


@pytest.mark.parametrize(
    "text",
    [
        "API_KEY = '{}'",
        'client_secret: "{}"',
        '{{"access_token": "{}"}}',
        "password={}\n",
        "PASSWORD={}\r\nUSER=me\r\n",
        "export SECRET_KEY={}  # keep\n",
        "config['db_password'] = `{}`",
        "authToken => '{}'",
    ],
)
@pytest.mark.parametrize("value", [made(WORD, 24), made(string.hexdigits.lower(), 32), made(WORD, 40)])
def test_what_looks_random_goes_where_its_name_says_what_it_is(text: str, value: str) -> None:
    assert redact(text.format(value)) == (text.format("<SECRET>"), {"secret": 1})


@pytest.mark.parametrize(
    "text",
    [
        f"digest = '{made(string.hexdigits.lower(), 64)}'",  # no secret by name
        "password = 'correct horse battery staple'",
        "password = get_password_from_environment_2(name)",
        "token = 'TOKEN_TYPE_IDENTIFIER_NAME'",
        "token = self.tokens[index + 1].value",
        "secret_key = os.environ['SECRET_KEY_FOR_PRODUCTION']",
        "api_key = 'your-api-key-goes-here'",
        "api_key = 'xxxxxxxxxxxxxxxxxxxxxxxx'",
        "-----BEGIN " + "PRIVATE KEY-----",  # a program that looks for the line
        "begin, end = '-----BEGIN " + "PRIVATE KEY-----', '-----END PRIVATE KEY-----'",
        "def npm_" + "x" * 10 + "(): pass",
    ],
)
def test_names_and_placeholders_are_no_secrets(text: str) -> None:
    assert redact(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail jane.doe@corp.com now", "mail <EMAIL> now"),
        ("Jane Doe <jane+lists@mail.corp.co.uk>", "Jane Doe <<EMAIL>>"),
        ("'JANE@CORP.ORG',", "'<EMAIL>',"),
        ("by jane@corp.com.", "by <EMAIL>."),
        ("a@b.com,c@d.de;e_f@g-h.io", "<EMAIL>,<EMAIL>;<EMAIL>"),
        ("https://jane:pw@corp.com/x", "https://jane:<EMAIL>/x"),
        ("@author jane@corp.com\n@author joe@corp.com", "@author <EMAIL>\n@author <EMAIL>"),
    ],
)
def test_mail_addresses_go(text: str, expected: str) -> None:
    assert redact(text) == (expected, {"email": expected.count("<EMAIL>")})


@pytest.mark.parametrize(
    "text",
    [
        "@app.route('/')",
        "x\n@pytest.mark.com\ndef f(): pass",
        "y = weights@inputs.transpose(0, 1)",
        "y = W@x.to(device)",
        "y = a@b.T + c@d.at[0]",
        "git clone git@github.com:owner/name",
        "user@example.com, a@mail.example.org, b@c.test, root@localhost",
        "icon@2x.png",
        "lodash@4.17.21",
        "@angular/core",
        "a@b",
    ],
)
def test_what_has_an_at_but_is_nobody_s_stays(text: str) -> None:
    assert redact(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host = '93.184.216.34'", "host = '<IP_ADDRESS>'"),
        ("ssh root@203.1.113.9:22", "ssh root@<IP_ADDRESS>:22"),
        ("http://93.184.216.34/x?ip=93.184.216.35", "http://<IP_ADDRESS>/x?ip=<IP_ADDRESS>"),
        ("[2606:2800:220:1:248:1893:25c8:1946]", "[<IP_ADDRESS>]"),
        ("at 2a00:1450:4001:81b::200e.", "at <IP_ADDRESS>."),
        *[
            (f'{name} = "93.184.216.34"', f'{name} = "<IP_ADDRESS>"')
            for name in "SERVER server driver Receiver prev over never DNS_RESOLVER intersection rebuild Build1".split()
        ],
    ],
)
def test_public_addresses_go(text: str, expected: str) -> None:
    assert redact(text) == (expected, {"ip": expected.count("<IP")})


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 10.1.2.3 192.168.0.77 172.16.99.1 169.254.1.99",  # private
        "192.0.2.99 198.51.100.99 203.0.113.99 2001:db8::99",  # set aside for documentation
        "255.255.255.0 255.255.255.255 224.0.0.251 ff02::1 fe80::99 ::1",
        "8.8.8.8 1.1.1.1",
        "version 1.2.3.4, section 4.1.2.3",
        "pip install name==2023.1.55.7 other>=1.2.33.4",
        *[
            f'{name} = "58.0.30.110"'
            for name in "VERSION __version__ app_version buildVersion HTTPVersion app-ver Release rev2_build".split()
        ],
        "Version: 58.0.30.110 and Chrome/58.0.30.110",
        "1.3.6.1.4.1.311.60.2.1.3",  # an object identifier
        "128.66.0.0",  # a network
        "300.400.1.2 01.099.1.2",
        "x[2000::3] + y[2000:3000:2]",
        "at 2024:05:06, 20:30:40",
        "3.14159.26535",
    ],
)
def test_other_numbers_with_dots_and_colons_stay(text: str) -> None:
    assert redact(text) == (text, {})


def test_all_kinds_at_once_are_counted() -> None:
    text = f"a@b.com c@d.com 93.184.216.34\n{KEYS[0]}\npassword = '{made(WORD, 24)}'\n"
    redacted, counts = redact(text)
    assert redacted == "<EMAIL> <EMAIL> <IP_ADDRESS>\n<KEY>\npassword = '<SECRET>'\n"
    assert counts == {"key": 1, "secret": 1, "email": 2, "ip": 1}


PIECES = [
    *KEYS,
    *PLACEHOLDERS.values(),
    "a@b.com",
    "93.184.216.34",
    "@",
    ".",
    "key = '",
    "'",
    "\n",
    " ",
    "é",
    "token=",
    "1",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_redacting_again_changes_nothing(text: str) -> None:
    once, _ = redact(text)
    assert redact(once) == (once, {})


@given(st.text())
def test_a_text_without_marks_is_returned_as_it_is(text: str) -> None:
    plain = text.translate({ord(mark): None for mark in "@:=.-_"})
    assert redact(plain) == (plain, {})


def test_hostile_texts_take_time_in_proportion_to_their_length() -> None:
    for piece in (
        "=",
        "a@",
        "@a.",
        "1.",
        "2001:",
        'secret="',
        "eyJaaaaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "token=a/",
    ):
        started = time.process_time()
        redact(piece * (500_000 // len(piece)))
        assert time.process_time() - started < 2
