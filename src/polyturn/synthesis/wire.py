"""OpenAI's HTTP interface, as far as a completer needs it: what is sent, and what an answer says.

`/v1/completions` continues a text. The text goes out as text, never as token ids, which would need the server's
own tokenizer here. Of the stop strings the first four are sent, which is all that OpenAI takes; all of them, and
`complete`, are applied to what comes back. Settings that are not sent (top_k, penalties) are the server's own: some
take them from the model's generation_config.json.

`/v1/chat/completions` has no text to continue, so the program so far goes out as a user's message (`chat_message`)
and the continuation is taken from the answer (`continuation`). No stop strings are sent: they would end the
model's own talk.

What an answer's `finish_reason` becomes:

======================================================  =============================================================
a stop string or `complete` cut the text here           stop
"stop", and no stop string was sent                     eos
"stop", stop strings sent                               stop; eos if the server says so (vLLM: a null `stop_reason`)
"length"                                                length
"content_filter": the server withholds the rest         length, as the text is just as unfinished
======================================================  =============================================================
"""

import json
import re

from polyturn.engine.stopping import find_cut
from polyturn.engine.types import Completion, FinishReason, TextRequest
from polyturn.synthesis.turns import SURROGATE
from polyturn.utils.errors import UserError

MOST_STOPS = 4
CHAT_PROMPT = (
    "Continue this Python program. Answer with one code block that holds only the lines that come next, "
    "nothing that already stands here.\n\n{fence}python\n{text}{fence}"
)
BLOCK = re.compile(r"^[ \t]*(`{3,})[^`\n]*\n(.*?)(^[ \t]*\1`*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")
TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|max_new_tokens` must be", re.IGNORECASE
)
MOST_MESSAGE = 300


def body(request: TextRequest, model: str, chat: bool) -> dict[str, object]:
    """The JSON to send for one sample."""
    sampling, text = request.sampling, "".join(request.pieces)
    asked: dict[str, object] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    if chat:
        return asked | {"messages": [{"role": "user", "content": chat_message(text)}]}
    if sampling.stop:
        asked["stop"] = list(sampling.stop[:MOST_STOPS])
    return asked | {"prompt": text}


def chat_message(text: str) -> str:
    """The user's message that asks to continue `text`. Its fence is longer than any row of backticks in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return CHAT_PROMPT.format(fence=fence, text=text if text.endswith("\n") else text + "\n")


def continuation(answer: str, text: str) -> tuple[str, bool]:
    """What a chat model's answer adds to `text`, and whether it certainly came to its end.

    That is the first fenced block, or all of the answer if it has none; one that begins by repeating the whole
    text loses the repetition. A block that is closed is whole, even if the answer then ran into its length limit.
    """
    block = BLOCK.search(answer)
    added, closed = (block[2], bool(block[3])) if block else (answer, False)
    return added.removeprefix(text), closed


def read(answer: object, request: TextRequest, model: str, chat: bool) -> Completion:
    """The sample that an answer holds; ids and log-probabilities stay empty.

    Raises:
        UserError: the answer comes from another model, is an error, or is none of this interface.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(choices, list) or not choices:
        raise UserError(f"The answer holds no completion ({excerpt(message(answer))}); is this an OpenAI interface?")
    served = answer.get("model")
    if isinstance(served, str) and not same_model(model, served):
        raise UserError(f"The endpoint was asked for {model} and answered with {served}; give the name it serves.")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    text, reason = _text(choice, chat), choice.get("finish_reason")
    if text is None or reason not in ("stop", "length", "content_filter"):
        raise UserError(f"The completion is of an unknown form ({excerpt(json.dumps(choices[0]))}); is this OpenAI's?")
    text = SURROGATE.sub("\ufffd", text)
    whole = False
    if chat:
        text, whole = continuation(text, "".join(request.pieces))
    stop = request.sampling.stop
    cut = find_cut(text, 0, stop, request.complete)
    finish: FinishReason
    if cut is not None:
        text, finish = text[:cut], "stop"
    elif reason != "stop" and not whole:
        finish = "length"
    else:
        finish = "eos" if chat or not stop or choice.get("stop_reason", "") is None else "stop"
    prompt_tokens, sample_tokens = usage(answer)
    return Completion([], text, finish, [], prompt_tokens, sample_tokens or None)


def _text(choice: dict[str, object], chat: bool) -> str | None:
    """The text of a choice; a chat answer of none (a refusal, or nothing but thoughts) is empty."""
    text = choice.get("text")
    if chat:
        said = choice.get("message")
        text = (said.get("content") or "") if isinstance(said, dict) else None
    return text if isinstance(text, str) else None


def usage(answer: object) -> tuple[int, int]:
    """Tokens of the prompt and of the sample, as the server counted them; 0 where it did not."""
    counted = answer.get("usage") if isinstance(answer, dict) else None
    fields = ("prompt_tokens", "completion_tokens")
    found = [counted.get(field) if isinstance(counted, dict) else 0 for field in fields]
    prompt, sample = (n if isinstance(n, int) else 0 for n in found)
    return prompt, sample


def same_model(asked: str, answered: str) -> bool:
    """Whether a server that answers as `answered` may serve `asked`.

    Equal names, or one is the other with a date behind it (`name-2024-08-06`, `name-0125`), or with folders or an
    owner before it (`owner/name`, `/models/name`).
    """
    shorter, longer = sorted((asked, answered), key=len)
    dated = longer.startswith(shorter) and DATE.fullmatch(longer[len(shorter) :])
    return shorter == longer or bool(dated) or longer.endswith("/" + shorter.lstrip("/"))


def message(answer: object) -> str:
    """What an error says: OpenAI's `{"error": {"message", "type", "code"}}`, or something like it."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        said = error.get("message", error.get("detail"))
        kinds = [str(error[key]) for key in ("type", "code") if isinstance(error.get(key), str)]
        error = " ".join([said, *kinds]) if isinstance(said, str) else json.dumps(error)
    return str(error)


def too_long(status: int, said: str) -> bool:
    """Whether an error means that text and `max_tokens` exceed the context.

    OpenAI, vLLM, SGLang and llama.cpp say so in other words and with other codes (llama.cpp sometimes with 500).
    """
    return status in (400, 413, 422, 500) and TOO_LONG.search(said) is not None


def excerpt(text: str) -> str:
    """A foreign text in one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_MESSAGE else line[: MOST_MESSAGE - 1] + "…"
