"""Runs the released grader on programs from stdin, prints its verdicts as a JSON list. For Python 3.9 (grader_cases).

    python3.9 run_released.py mtpb_exec.py SECONDS < cases.jsonl

The script is used as it is, but for its time limit of 20 s. It prints counts for each problem id only; here every
program has an id of its own, so that the counts are the verdicts.
"""

import contextlib
import importlib.util
import io
import json
import sys

script, seconds = sys.argv[1], float(sys.argv[2])
spec = importlib.util.spec_from_file_location("released", script)
released = importlib.util.module_from_spec(spec)
spec.loader.exec_module(released)
time_limit = released.time_limit
released.time_limit = lambda released_seconds: time_limit(seconds * released_seconds / 20)

problems = []
for number, line in enumerate(sys.stdin):
    source, gold = json.loads(line)
    problems.append({"id": f"{number:06d}", "test_id": 0, "completions": source, "gold_output": gold})
sys.stdin = io.StringIO("")
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    released.eval_problems(problems, verbose=False)
counts = printed.getvalue().rpartition("\nOverall stats\n")[2].splitlines()[2:]
passed = {line.split(":")[0].strip(): int(line.split(":")[1]) for line in counts}
assert len(passed) == len(problems)
print(json.dumps([bool(passed[problem["id"]]) for problem in problems]))
