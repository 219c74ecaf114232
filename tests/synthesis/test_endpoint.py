"""An endpoint against a real server process: the samples of our engine, and every fault a server can have."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import polyturn
from polyturn.engine.types import Completion, Sampling, TextRequest
from polyturn.synthesis import endpoint as module
from polyturn.synthesis.completer import Completer
from polyturn.synthesis.endpoint import Endpoint
from polyturn.synthesis.session import Session
from polyturn.synthesis.truncate import turn_end
from polyturn.synthesis.turns import code_text, intent_text, prefix_text
from polyturn.tokenizer.bpe import load as load_tokenizer
from polyturn.utils.errors import UserError

KEY = "sk-very-secret"


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """The address of a server process."""
    command = [sys.executable, str(Path(__file__).with_name("openai_server.py")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("POLYTURN_API_KEY", KEY)
    monkeypatch.setattr(module, "BACKOFF_S", 0.005)


def asked(url: str) -> list[dict[str, dict[str, object]]]:
    """What the server was asked so far."""
    with urllib.request.urlopen(url + "/log") as answer:
        return json.load(answer)


def ask(endpoint: Endpoint, *texts: str) -> dict[int, Completion]:
    return dict(endpoint.complete_texts([TextRequest((text,), Sampling(seed=n)) for n, text in enumerate(texts)]))


PREFIX = prefix_text("import math")
INTENTS = ["Assign the list [41, 7, 93] to a variable named zubrelk.", "Print zubrelk.", "Print\nthe largest one."]


def requests() -> list[TextRequest]:
    """Turns with different histories, settings and ways to end."""
    first, second, third = map(intent_text, INTENTS)
    code = [code_text("zubrelk = [41, 7, 93]"), code_text("for z in zubrelk:\n    print(z)")]
    histories = [(first,), (PREFIX, first), (first, code[0], second), (first, code[0], second, code[1], third)]
    asked = [
        TextRequest(pieces, Sampling(0.9, 0.9, max_tokens=30, seed=seed), turn_end)
        for pieces in histories
        for seed in (0, 7, 2**63 - 1)
    ]
    stops = ("zub", "]", "\n\n", "(", "7")
    asked += [TextRequest(histories[2], Sampling(1.3, 1.0, 24, stops, seed)) for seed in range(4)]
    asked += [TextRequest(histories[0], Sampling(0.0, max_tokens=n)) for n in (3, 40)]
    asked += [TextRequest(histories[0], Sampling(4.0, 1.0, 12, seed=seed)) for seed in range(4)]
    return [*asked, TextRequest(histories[0], Sampling(max_tokens=2048), turn_end)]


@pytest.mark.slow
def test_an_endpoint_gives_the_samples_of_the_engine_behind_it() -> None:
    wanted = requests()
    local: Completer = polyturn.load(strict=True)
    ours = dict(local.complete_texts(wanted))
    assert {c.finish_reason for c in ours.values()} == {"stop", "length", "eos", "context"}
    with running("engine") as url:
        plain = Endpoint(url, "polyturn-micro-mono", concurrency=4)
        remote: Completer = plain
        theirs = dict(remote.complete_texts(wanted))
        chat = dict(Endpoint(url, "polyturn-micro-mono", chat=True).complete_texts(wanted))
        for index, own in ours.items():
            assert told(theirs[index], wanted[index]) == told(own, wanted[index])
            # around code in a chat stand line ends that are not the model's
            assert chat[index].text.rstrip("\n") == own.text.rstrip("\n")
        session = Session(plain, sampling=Sampling(temperature=0.0))
        for intent in INTENTS[:2]:
            session.turn(intent)
    assert session.steps[-1].output == "[41, 7, 93]\n"
    texts = [polyturn.load().tokenizer.encode("".join(r.pieces)) for r in wanted[:-1]]
    assert plain.usage.prompt_tokens > sum(map(len, texts))  # and those of the session
    assert len({own.text for own in ours.values()}) > 10, "the seeds must matter"


def told(completion: Completion, request: TextRequest) -> tuple[str, str]:
    """What both can know: with stop strings sent, OpenAI's interface does not tell a stop from an end of text."""
    stopped = "stop" if request.sampling.stop and completion.finish_reason == "eos" else completion.finish_reason
    return completion.text, stopped


def test_pieces_of_the_turn_format_are_the_tokens_of_the_whole_text() -> None:
    tokenizer = load_tokenizer(Path(polyturn.__file__).parent / "hub/builtin/polyturn-micro-mono")
    codes = ["x = 1", "    if x:\n\tpass  ", "# remark\nprint('é', \"\\n\")", "f(\n  1,\n\n\n)", "s = '''a\r\n'''"]
    pieces = [prefix_text("import re\n\n\n")]
    for number, code in enumerate(codes):
        pieces += [intent_text(f"Do {number}:\n\n  so {code!r}"), code_text(code)]
    assert tokenizer.encode("".join(pieces)) == [token for piece in pieces for token in tokenizer.encode(piece)]
    unwritten = [intent_text("Set x."), code_text(""), intent_text("Go on.")]
    assert tokenizer.encode("".join(unwritten)) != [t for piece in unwritten for t in tokenizer.encode(piece)]


def test_what_is_sent_is_what_openai_takes(url: str) -> None:
    sampling = Sampling(0.3, 0.9, 17, ("a1", "b1", "c1", "d1", "e1"), 5)
    endpoint = Endpoint(url + "/", "my-model")
    assert dict(endpoint.complete_texts([TextRequest(("# é\n", "x"), sampling)]))[0].text == "seed = 5\n"
    sent = asked(url)[-1]
    assert sent["path"] == "/v1/completions"
    assert sent["headers"]["Authorization"] == f"Bearer {KEY}"
    assert sent["headers"]["Content-Type"] == sent["headers"]["Accept"] == "application/json"
    assert sent["body"] == {
        "model": "my-model",
        "prompt": "# é\nx",
        "max_tokens": 17,
        "temperature": 0.3,
        "top_p": 0.9,
        "seed": 5,
        "stop": ["a1", "b1", "c1", "d1"],
    }
    assert (endpoint.usage.prompt_tokens, endpoint.usage.completion_tokens) == (5, 3)


def test_a_sample_knows_how_many_tokens_the_server_counted(url: str) -> None:
    endpoint = Endpoint(url + "/", "any")  # a slash more is the same address
    assert endpoint.base == Endpoint(url, "any").base
    (completion,) = ask(endpoint, "x = 1\n").values()
    assert (completion.ids, completion.tokens) == ([], 3)


def test_the_fifth_stop_string_counts_too(url: str) -> None:
    request = TextRequest(("x",), Sampling(stop=("1a", "1b", "1c", "1d", " ="), seed=5))
    ((_, completion),) = Endpoint(url, "m").complete_texts([request])
    assert (completion.text, completion.finish_reason) == ("seed", "stop")


def test_without_a_key_none_is_sent_and_openais_is_the_second_choice(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYTURN_API_KEY")
    ask(Endpoint(url, "m"), "x")
    assert "Authorization" not in asked(url)[-1]["headers"]
    monkeypatch.setenv("OPENAI_API_KEY", " other\n")
    ask(Endpoint(url, "m"), "x")
    assert asked(url)[-1]["headers"]["Authorization"] == "Bearer other"


def test_each_answer_belongs_to_its_request(url: str) -> None:
    texts = [f"fault slow 1 {n}" if n % 7 == 0 else f"x = {n}" for n in range(40)]
    order = []
    for index, completion in Endpoint(url, "m", concurrency=8).complete_texts(
        [TextRequest((text,), Sampling(seed=n)) for n, text in enumerate(texts)]
    ):
        order.append(index)
        assert completion.text == ("x = 1\n" if index % 7 == 0 else f"seed = {index}\n")
    assert sorted(order) == list(range(40))
    assert order.index(1) < order.index(0), "a quick answer does not wait for a slow one"


@pytest.mark.parametrize("fault", ["drop", "half", "truncated", "408", "409", "429", "500", "502", "503"])
def test_a_server_that_stumbles_is_asked_again(fault: str, url: str) -> None:
    text = f"fault {fault} {module.ATTEMPTS - 1}"
    assert ask(Endpoint(url, "m"), text)[0].text == "seed = 0\n"
    bodies = [entry["body"] for entry in asked(url) if entry["body"]["prompt"] == text]
    assert bodies == [bodies[0]] * module.ATTEMPTS


def test_a_request_that_is_sent_again_is_told_once_for_all(url: str) -> None:
    said: list[str] = []
    ask(Endpoint(url, "m", say=said.append), *(f"fault 503 2 {n}" for n in range(6)))
    (sentence,) = said
    assert sentence.startswith(f"{url}/completions: it answered 503")
    assert sentence.endswith(f"; attempt 2 of {module.ATTEMPTS} in 1 s.")
    said.clear()
    gave_up = rf"no answer in {module.ATTEMPTS} attempts, the last time the connection failed \(.*refused\)"
    with pytest.raises(UserError, match=gave_up):
        ask(Endpoint("http://127.0.0.1:9/v1", "m", say=said.append), "x")
    assert len(said) == 1
    assert f"refused); attempt 2 of {module.ATTEMPTS} in" in said[0]
    assert "Errno" not in said[0]


def test_an_answer_that_takes_too_long_is_asked_for_again(url: str) -> None:
    assert ask(Endpoint(url, "m", timeout_s=0.3), "fault hang 1")[0].text == "seed = 0\n"


@pytest.mark.parametrize("fault", ["after", "date"])
def test_the_pause_that_a_server_asks_for_is_kept(fault: str, url: str) -> None:
    begun = time.monotonic()
    assert ask(Endpoint(url, "m"), f"fault {fault} 1")[0].text == "seed = 0\n"
    assert 0.9 < time.monotonic() - begun < 5


def test_the_pause_that_a_server_asks_for_holds_for_all(url: str) -> None:
    before = len(asked(url))
    ask(Endpoint(url, "m", concurrency=2), "fault after 1 for all", *(f"fault slow 1 held {n}" for n in range(4)))
    times = [float(str(entry["at"])) for entry in asked(url)[before:]]
    assert len(times) == 6
    assert times[2] - times[0] > 0.9, "the slow request took half a second, and nothing followed it at once"


def test_no_more_requests_a_minute_than_allowed(url: str) -> None:
    endpoint = Endpoint(url, "m", requests_per_minute=600)
    before = len(asked(url))
    ask(endpoint, *"abc")
    ask(endpoint, *"abc")
    times = [float(str(entry["at"])) for entry in asked(url)[before:]]
    assert len(times) == 6
    assert times[-1] - times[0] > 0.45


GIVEN_UP = {
    "drop": r"the connection failed \(\w",
    "truncated": "JSON",
    "page": "JSON",
    "429": "429",
    "500": "500",
    "long": "3600 s",
    "key": "401.*POLYTURN_API_KEY",
    "404": "404.*/v1",
    "400": "a 400 of",
    "moved": "301.*redirects",
    "other": "m-1 and answered with other-model",
    "error200": "no such engine",
    "strange": "tool_calls",
}


@pytest.mark.parametrize(("fault", "said"), GIVEN_UP.items())
def test_what_stays_wrong_is_one_sentence_without_the_key(fault: str, said: str, url: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        ask(Endpoint(url, "m-1"), f"fault {fault} 99")
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert url in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(UserError, match=r"the connection failed \(.*refused\); see that the server runs"):
        ask(Endpoint("http://127.0.0.1:9/v1", "m"), "x")


@pytest.mark.parametrize("fault", ["context400", "context500"])
def test_a_text_that_is_too_long_leaves_the_others_alone(fault: str, url: str) -> None:
    drawn = ask(Endpoint(url, "m"), "x", f"fault {fault} 99", "y")
    assert [drawn[n].finish_reason for n in range(3)] == ["eos", "context", "eos"]
    assert drawn[1].text == ""


def test_what_came_before_a_failure_is_kept(url: str) -> None:
    texts = ["fault slow 1 kept", "x", "fault 400 9 last", *"abcdefgh"]
    kept = {}

    def run() -> None:
        for index, completion in Endpoint(url, "m", concurrency=3).complete_texts([TextRequest((t,)) for t in texts]):
            kept[index] = completion.text

    with pytest.raises(UserError, match="400"):
        run()
    assert kept[0] == "x = 1\n", "was under way when another one failed"
    assert len(kept) < len(texts) - 1, "no further one was begun"


def test_leaving_early_asks_for_no_more(url: str) -> None:
    before = len(asked(url))
    for _ in Endpoint(url, "m", concurrency=2).complete_texts([TextRequest((f"{n}",)) for n in range(200)]):
        break
    time.sleep(0.2)
    assert len(asked(url)) - before < 50


def test_ctrl_c_leaves_at_once(url: str) -> None:
    code = (
        "from polyturn.engine.types import TextRequest\nfrom polyturn.synthesis.endpoint import Endpoint\n"
        f"endpoint = Endpoint({url!r}, 'm')\nprint('asking', flush=True)\n"
        "list(endpoint.complete_texts([TextRequest(('fault hang 9',))] * 3))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=15)
    assert time.monotonic() - begun < 3
    assert b"KeyboardInterrupt" in error
    assert KEY.encode() not in error


def test_the_key_is_in_no_repr_and_no_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    endpoint = Endpoint(url, "m")
    ask(endpoint, "x")
    assert caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(endpoint)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "localhost:8000/v1"}, "http://localhost"),
        ({"url": "ftp://host/v1"}, "http://localhost"),
        ({"url": "http://"}, "http://localhost"),
        ({"url": "http://user:word@host/v1"}, "no user, password"),
        ({"url": "http://host/v1?key=word"}, "no user, password"),
        ({"concurrency": 0}, "Concurrency"),
        ({"requests_per_minute": 0}, "Concurrency"),
        ({"timeout_s": 0}, "Concurrency"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Endpoint(**{"url": "http://host/v1", "model": "m", **settings})  # pyright: ignore[reportArgumentType]
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "schlüssel", "a\x01b"])
def test_a_key_that_cannot_be_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYTURN_API_KEY", key)
    with pytest.raises(UserError, match="POLYTURN_API_KEY") as caught:
        Endpoint("http://host/v1", "m")
    assert key not in str(caught.value)


def test_half_characters_are_refused_before_anything_is_sent(url: str) -> None:
    before = len(asked(url))
    with pytest.raises(UserError, match="half characters"):
        ask(Endpoint(url, "m"), "x", "\ud800")
    assert len(asked(url)) == before
