"""What OpenAI's interface is asked and what its answers mean, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyturn.engine.types import Sampling, TextRequest
from polyturn.synthesis.wire import chat_message, continuation, read, same_model, too_long, usage
from polyturn.utils.errors import UserError

TEXT = "# Set x.\n"


@pytest.mark.parametrize(
    ("answer", "added", "whole"),
    [
        ("```python\nx = 1\n```", "x = 1\n", True),
        ("Sure!\n\n```python\nx = 1\n```\nIt sets x.\n```\ny\n```", "x = 1\n", True),
        ("```\nx = 1\n```", "x = 1\n", True),
        ("````py\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n", True),
        ("```python\nx = 1\ny = [", "x = 1\ny = [", False),
        ("```python\n# Set x.\nx = 1\n```", "x = 1\n", True),
        ("x = 1", "x = 1", False),
        ("# Set x.\nx = 1", "x = 1", False),
        ("", "", False),
        ("```python\n```", "", True),
        ("use `x` or ```y``` here", "use `x` or ```y``` here", False),
    ],
)
def test_the_code_of_a_chat_answer(answer: str, added: str, whole: bool) -> None:
    assert continuation(answer, TEXT) == (added, whole)


@given(st.text(alphabet="`x\n ", max_size=30))
def test_a_model_that_answers_with_the_block_it_was_given_has_added_nothing(text: str) -> None:
    text += "\n"
    assert continuation(chat_message(text), text) == ("", True)


SAME = [
    ("codegen", "codegen"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
    ("gpt-4o-2024-08-06", "gpt-4o"),
    ("codegen", "/models/codegen"),
    ("Salesforce/codegen-350M-mono", "codegen-350M-mono"),
]
OTHER = [
    ("gpt-4o", "gpt-4o-mini"),
    ("gpt-4o", "gpt-4"),
    ("codegen-350M", "codegen-350M-multi"),
    ("a/codegen", "b/codegen"),
    ("codegen", "my-codegen"),
    ("codegen", ""),
    ("codegen-2B", "codegen-2B-12"),
]


@pytest.mark.parametrize(("asked", "answered"), SAME)
def test_a_date_or_a_folder_is_no_other_model(asked: str, answered: str) -> None:
    assert same_model(asked, answered)


@pytest.mark.parametrize(("asked", "answered"), OTHER)
def test_another_model(asked: str, answered: str) -> None:
    assert not same_model(asked, answered)


def answer(finish_reason: str, text: str = "x = 1\ny = 2\n", **more: object) -> dict[str, object]:
    return {"model": "m", "choices": [{"text": text, "finish_reason": finish_reason, **more}]}


CUT = TextRequest((TEXT,), complete=lambda text: 6 if len(text) > 8 else None)
STOP = TextRequest((TEXT,), Sampling(stop=("z",)))
PLAIN = TextRequest((TEXT,))


@pytest.mark.parametrize(
    ("given", "request_", "text", "reason"),
    [
        (answer("stop"), PLAIN, "x = 1\ny = 2\n", "eos"),
        (answer("stop"), STOP, "x = 1\ny = 2\n", "stop"),
        (answer("stop", stop_reason="z"), STOP, "x = 1\ny = 2\n", "stop"),
        (answer("stop", stop_reason=None), STOP, "x = 1\ny = 2\n", "eos"),
        (answer("length"), PLAIN, "x = 1\ny = 2\n", "length"),
        (answer("length"), CUT, "x = 1\n", "stop"),
        (answer("stop"), CUT, "x = 1\n", "stop"),
        (answer("stop", "xyz"), STOP, "xy", "stop"),
        (answer("content_filter", ""), PLAIN, "", "length"),
        (answer("stop", "a\ud800b"), PLAIN, "a\ufffdb", "eos"),
    ],
)
def test_why_a_sample_ended(given: dict[str, object], request_: TextRequest, text: str, reason: str) -> None:
    completion = read(given, request_, "m", chat=False)
    assert (completion.text, completion.finish_reason) == (text, reason)


@pytest.mark.parametrize(
    ("content", "finish", "reason"),
    [("```\nx\n```", "stop", "eos"), ("```\nx\n```\nand", "length", "eos"), ("```\nx\n", "length", "length")],
)
def test_why_a_chat_sample_ended(content: str, finish: str, reason: str) -> None:
    chat = {"model": "m", "choices": [{"message": {"content": content}, "finish_reason": finish}]}
    completion = read(chat, STOP, "m", chat=True)
    assert (completion.text, completion.finish_reason) == ("x\n", reason)


@pytest.mark.parametrize("content", [None, ""])
def test_a_chat_answer_may_be_empty(content: str | None) -> None:
    chat = {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}
    assert read(chat, PLAIN, "m", chat=True).text == ""


STRANGE = [None, 3, [], {}, {"choices": []}, {"choices": {}}, {"choices": [3]}, {"choices": [{}]}, {"error": "none"}]
STRANGE += [answer("stop") | {"model": "other"}, answer("tool_calls"), {"choices": [{"text": "x"}]}]
STRANGE += [{"choices": [{"text": 3, "finish_reason": "stop"}]}, {"choices": [{"message": 3, "finish_reason": "stop"}]}]


@pytest.mark.parametrize("given", STRANGE)
@pytest.mark.parametrize("chat", [False, True])
def test_an_answer_of_another_form_is_refused(given: object, chat: bool) -> None:
    with pytest.raises(UserError):
        read(given, PLAIN, "m", chat)


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({"usage": {"prompt_tokens": 4, "completion_tokens": 2}}, (4, 2)),
        ({"usage": {"prompt_tokens": 4}}, (4, 0)),
        ({"usage": None}, (0, 0)),
        ({"usage": {"prompt_tokens": "4", "completion_tokens": None}}, (0, 0)),
        ([], (0, 0)),
    ],
)
def test_tokens_are_counted_where_the_server_does(given: object, counted: tuple[int, int]) -> None:
    assert usage(given) == counted


CONTEXT = [
    (400, "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens."),  # OpenAI, vLLM
    (400, "The input (2100 tokens) is longer than the model's context length (2048 tokens)."),  # SGLang
    (400, "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it"),  # llama.cpp
    (500, "Context size has been exceeded."),  # llama.cpp
    (400, "Requested tokens (2285) exceed context window of 2048"),  # llama-cpp-python
    (422, "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens"),  # TGI
    (400, "too many tokens context_length_exceeded"),
]


@pytest.mark.parametrize(("status", "said"), CONTEXT)
def test_a_text_that_is_too_long_is_known_by_what_servers_say(status: int, said: str) -> None:
    assert too_long(status, said)


@pytest.mark.parametrize(
    ("status", "said"), [(400, "max_tokens must be at least 1"), (429, "context length quota"), (500, "out of memory")]
)
def test_other_errors_are_not_about_length(status: int, said: str) -> None:
    assert not too_long(status, said)
