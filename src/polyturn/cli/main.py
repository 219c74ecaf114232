"""`polyturn VERB`: finds the verb, parses its arguments, turns a user's mistake into one sentence and exit code 2.

A verb is a function in a module of its own. The list below names them without importing them, so that help is
there at once and a verb pays only for what it uses.
"""

import sys
from collections.abc import Collection
from importlib import import_module

VERBS = {
    "demo": ("polyturn.cli.demo:demo", "watch the built-in model write and run programs turn by turn"),
    "chat": ("polyturn.cli.chat:chat", "state intents one by one; see the code, see it run; undo, edit, retry, save"),
    "synth": ("polyturn.cli.synth:synth", "turns from a file -> a program"),
    "sample": ("polyturn.cli.sample:sample", "completions of a prompt"),
    "perplexity": ("polyturn.cli.perplexity:perplexity", "how unexpected texts are to a model"),
    "exec": ("polyturn.cli.exec:execute", "run a JSONL file of programs in the sandbox"),
    "sandbox check": ("polyturn.cli.sandbox:check", "what isolation this host gives, and the self-test"),
    "bench run": ("polyturn.cli.bench:run", "draw samples of a benchmark, grade them, report; resumes"),
    "bench grade": ("polyturn.cli.bench:grade", "grade samples, of a run or of another tool"),
    "bench report": ("polyturn.cli.bench:report", "the results of runs, side by side"),
    "bench check": ("polyturn.cli.bench:check", "grade a data file's own solutions: all of them should pass"),
    "bench merge": ("polyturn.cli.bench:merge", "put the shards of a run together"),
    "data build": ("polyturn.cli.data:build", "corpus -> training shards, from one config file; resumes"),
    "data show": ("polyturn.cli.data:show", "what a build kept and dropped, and some of its documents"),
    "data verify": ("polyturn.cli.data:verify", "check the shards of a build, byte by byte"),
    "models": ("polyturn.cli.models:models", "the built-in models and what is in the local cache"),
    "train export": ("polyturn.cli.train:export", "a checkpoint of a run -> a model folder"),
    "train": ("polyturn.cli.train:train", "a recipe, with overrides; resumes by itself"),
    "plan": ("polyturn.cli.plan:plan", "memory, FLOPs and time of a recipe on a mesh that is not there"),
    "tokenizer train": ("polyturn.cli.tokenizer:train", "a tokenizer from a corpus"),
}
USAGE = "usage: polyturn VERB [ARGUMENTS]      polyturn VERB --help tells more of a verb"


def main(arguments: list[str] | None = None) -> int:
    """Run one command line. Returns the exit code: 0, 1 for a failed check, 2 for a user's mistake, 130 for Ctrl-C."""
    from polyturn.sandbox import SandboxError
    from polyturn.utils.exits import exit_code

    words = sys.argv[1:] if arguments is None else arguments
    verb = next((v for v in VERBS if words[: len(v.split())] == v.split()), None)
    if verb is None:
        return exit_code("polyturn", lambda: _about(words))
    return exit_code(f"polyturn {verb}", lambda: _run(verb, words[len(verb.split()) :]), SandboxError)


def _run(verb: str, rest: list[str]) -> int | None:
    import tyro

    module, name = VERBS[verb][0].split(":")
    return tyro.cli(getattr(import_module(module), name), prog=f"polyturn {verb}", args=rest)


def _about(words: list[str]) -> int:
    """Answer a command line that has no verb."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        import polyturn

        print(f"polyturn {polyturn.__version__}")
        return 0
    if words[1:2] in (["-h"], ["--help"]) and (group := _group(words[0])):
        print(_help(group))
        return 0
    return _unknown(words)


def _group(word: str) -> list[str]:
    """The verbs of two words that begin with this one."""
    return [verb for verb in VERBS if " " in verb and verb.split()[0] == word]


def _unknown(words: list[str]) -> int:
    group = _group(words[0])
    meant = f"did you mean `polyturn {group[0]}`?" if group else "`polyturn --help` lists the verbs."
    print(f"polyturn: there is no verb {' '.join(words[:2])!r}; {meant}", file=sys.stderr)
    return 2


def _help(verbs: Collection[str] = VERBS) -> str:
    width = max(map(len, verbs)) + 2
    lines = [f"  {verb:<{width}}{VERBS[verb][1]}" for verb in verbs]
    return "\n".join(["Polyturn: language models that write programs turn by turn.", "", USAGE, "", *lines])


if __name__ == "__main__":
    sys.exit(main())
