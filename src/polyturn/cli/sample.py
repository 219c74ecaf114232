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
        model: Built-in name, model folder, or Hub id in the local cache.
        n: How many samples.
        max_tokens: Longest sample.
        temperature: 0 takes the likeliest token each time.
        top_p: Draw from the likeliest tokens that hold this much probability.
        stop: Texts that end a sample; they are not part of it.
        seed: The same seed gives the same samples.
        json_output: One JSON object a line, with the text and why it ended.
    """
    import polyturn

    text = sys.stdin.read() if prompt == "-" else prompt
    completions = polyturn.load(model).generate(
        text, n=n, max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop=list(stop), seed=seed
    )
    for number, completion in enumerate(completions):
        if json_output:
            print(json.dumps({"text": completion.text, "finish_reason": completion.finish_reason}))
        else:
            print(
                f"--- sample {number + 1} of {n} ({completion.finish_reason})\n{completion.text}"
                if n > 1
                else completion.text
            )
    return 0
