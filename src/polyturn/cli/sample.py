"""`polyturn sample`: completions of a prompt."""

import json
import sys
from typing import Annotated

import tyro


def sample(
    prompt: Annotated[str, tyro.conf.Positional],
    model: str | None = None,
    n: int = 1,
    max_tokens: int = 64,
    temperature: float = 0.2,
    top_p: float = 0.95,
    stop: tuple[str, ...] = (),
    seed: int = 0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Continue a prompt and print what came, n times.

    Args:
        prompt: The text to continue; - reads it from standard input.
        model: Built-in name, model folder, or Hub id (owner/name).
        n: How many samples.
        max_tokens: Longest sample.
        temperature: 0 takes the likeliest token each time.
        top_p: Draw from the likeliest tokens that hold this much probability.
        stop: Texts that end a sample; they are not part of it.
        seed: The same seed gives the same samples.
        json_output: One JSON object a line, with the text and why it ended.
    """
    import polyturn

    text = _text(prompt)
    completions = polyturn.load(model).generate(
        text, n=n, max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop=list(stop), seed=seed
    )
    for number, completion in enumerate(completions):
        if json_output:
            print(json.dumps({"text": completion.text, "finish_reason": completion.finish_reason}))
        else:
            if n > 1:
                print(f"--- sample {number + 1} of {n} ({completion.finish_reason})")
            print(completion.text)
    return 0


def _text(prompt: str) -> str:
    from polyturn.synthesis.turns import is_text
    from polyturn.utils.errors import UserError

    try:
        text = sys.stdin.buffer.read().decode() if prompt == "-" else prompt
    except UnicodeDecodeError:
        raise UserError("Standard input is not UTF-8; convert it first, for instance with iconv.") from None
    if not is_text(text):  # what is not UTF-8 on the command line, Python hands on as half characters
        raise UserError("The prompt is not UTF-8; convert it first, for instance with iconv.")
    if not text:
        raise UserError("The prompt is empty; give some text to continue.")
    return text
