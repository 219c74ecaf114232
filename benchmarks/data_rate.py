"""How many megabytes of source a second become training shards, beside datatrove.

    python benchmarks/data_rate.py
    python benchmarks/data_rate.py --source FOLDER      # another corpus, for a quick look

The corpus is all of `installed`: the Python of the standard library and the installed packages, whatever the licence.
datatrove gets the texts as JSON lines and does, with two workers: our filters (the same functions, but for parsing),
exact deduplication, MinHash deduplication of runs of 5 words with 14 times 8 hashes (words by `str.split`, faster than
any tokenizer that it brings), tokens by the same tokenizer, shuffled. Ours is `polyturn data build`, which packs rows
besides: with the same filters and two workers, which the ratio is of; the same with one; and with all that the shipped
config does (Python must parse, secrets and addresses are replaced).

A rate is of megabytes (10^6) of source read, per second and core. Peak memory and seconds of processor are of all
processes of a side together, sampled; the latter say more where the machine has other work. The peer is installed into
.venv-datatrove of this checkout, or run in --peer-python, which has it. The last line of output is one JSON object.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

import peers

from polyturn.data import sources
from polyturn.data.config import load
from polyturn.data.sources import Raw
from polyturn.hub.catalogue import DEFAULT, resolve

WORKERS = 2
CONFIG = """
[data]
languages = ["Python"]
[[source]]
kind = "installed"
[filter]
licences = []
python_parses = false
redact = false
"""
_PEER = """
import json, sys, time
from dataclasses import dataclass
from types import SimpleNamespace
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig, ExactDedupFilter, ExactDedupSignature, ExactFindDedups)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer
from polyturn.data import filters

RULES = SimpleNamespace(mean_line=100, longest_line=1000, digits=0.9, generated=True, comment_ratio=(0.01, 0.8),
                        python_parses=False)

def keep(document):
    return filters.reason(document.text, "Python", RULES, document.metadata.get("path", "")) is None

class Words(WordTokenizer):
    def word_tokenize(self, text):
        return text.split()
    def sent_tokenize(self, text):
        raise NotImplementedError
    span_tokenize = sent_tokenize

def content(document) -> str:
    return document.text

def main(folder, tasks, workers, tokenizer):
    times = {}
    def stage(name, steps, tasks):
        begun = time.perf_counter()
        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=f"{folder}/logs/{name}").run()
        times[name] = round(time.perf_counter() - begun, 1)
    exact = ExactDedupConfig(content_getter=content)
    def read(name):
        return JsonlReader(f"{folder}/{name}")
    def write(name):
        return JsonlWriter(f"{folder}/{name}", compression=None)
    stage("filter", [read("input"), LambdaFilter(keep), write("filtered")], tasks)
    stage("exact 1", [read("filtered"), ExactDedupSignature(f"{folder}/exact", exact)], tasks)
    stage("exact 2", [ExactFindDedups(f"{folder}/exact", f"{folder}/exact-found", exact)], 1)
    stage("exact 3", [read("filtered"), ExactDedupFilter(f"{folder}/exact-found", exact), write("unique")], tasks)
    stage("minhash 1", [read("unique"), MinhashDedupSignature(f"{folder}/signatures", language=Words("en"))], tasks)
    stage("minhash 2", [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets")], 14)
    stage("minhash 3", [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove")], 1)
    tokens = DocumentTokenizer(f"{folder}/tokens", tokenizer, eos_token="<|endoftext|>", seed=0)
    stage("minhash 4, tokens", [read("unique"), MinhashDedupFilter(f"{folder}/remove"), tokens], tasks)
    print(json.dumps(times))

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


class Use:
    """What a process and its descendants use, sampled: the largest sum of resident MiB, and seconds of processor."""

    def __init__(self, process: int) -> None:
        self.peak = 0.0
        self._seconds: dict[int, float] = {}
        self._process = process
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Of those that have ended too, but for what they did since the last look."""
        return sum(self._seconds.values())

    def _watch(self) -> None:
        while os.path.exists(f"/proc/{self._process}"):
            family = self._family()
            self.peak = max(self.peak, sum(map(self._resident, family)) / 2**20)
            time.sleep(0.2)

    def _family(self) -> list[int]:
        parents: dict[int, int] = {}
        seconds: dict[int, float] = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                parents[int(name)] = int(fields[1])
                seconds[int(name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        family = [self._process]
        for member in family:
            family += [process for process, parent in parents.items() if parent == member]
        self._seconds |= {process: seconds[process] for process in family if process in seconds}
        return family

    @staticmethod
    def _resident(process: int) -> int:
        try:
            return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0


def timed(command: list[str], **settings: object) -> tuple[dict[str, float], str]:
    """Seconds, seconds of processor and peak MiB of a command, and its output."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **settings)  # pyright: ignore
    use = Use(process.pid)
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed")
    seconds = time.perf_counter() - begun
    return {"seconds": round(seconds, 1), "cpu_s": round(use.seconds, 1), "peak_mib": round(use.peak)}, output


def ours(config: Path, folder: Path, workers: int) -> dict[str, object]:
    """Our pipeline from files to shards."""
    command = [sys.executable, "-m", "polyturn.cli.main", "data", "build", str(config), "--out", str(folder)]
    figures, output = timed([*command, "--workers", str(workers), "--json"])
    report = json.loads(output)
    read = sum(size for found in report["outcomes"]["Python"].values() for size in [found[1]])
    return figures | {
        "mb": round(read / 1e6, 1),
        "mb_per_s_per_core": round(read / 1e6 / figures["seconds"] / workers, 2),
        "times": json.loads((folder / "times.json").read_text()),
    }


def peer(python: str, config: Path, folder: Path, workers: int) -> dict[str, object]:
    """The peer, on the same texts."""
    loaded, size = load(str(config)), 0
    (folder / "input").mkdir(parents=True)
    units = list(sources.units(loaded))
    for number, unit in enumerate(units):
        with open(folder / "input" / f"{number:05}.jsonl", "w") as file:
            for raw in sources.read(loaded, unit):
                if isinstance(raw, Raw):
                    size += len(raw.data)
                    text = raw.data.decode()
                    file.write(json.dumps({"id": raw.id, "text": text, "metadata": {"path": raw.path}}) + "\n")
    script = folder / "peer.py"
    script.write_text(_PEER)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(sources.__file__).parents[3]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    tokenizer = str(resolve(DEFAULT) / "tokenizer.json")
    command = [python, str(script), str(folder), str(len(units)), str(workers), tokenizer]
    figures, output = timed(command, env=environment, stderr=subprocess.DEVNULL)
    times = json.loads(output.strip().split("\n")[-1])
    rate = round(size / 1e6 / figures["seconds"] / workers, 2)
    return figures | {"mb": round(size / 1e6, 1), "mb_per_s_per_core": rate, "times": times}


def main() -> None:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a folder to read in place of `installed`")
    parser.add_argument("--peer-python", help="an interpreter that has datatrove")
    options = parser.parse_args()
    python = options.peer_python or peers.datatrove()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = folder / "config.toml"
        source = f'kind = "folder"\npath = {json.dumps(os.path.abspath(options.source))}' if options.source else ""
        config.write_text(CONFIG.replace('kind = "installed"', source) if source else CONFIG)
        results = {"ours": ours(config, folder / "ours", WORKERS), "one worker": ours(config, folder / "one", 1)}
        every = folder / "every.toml"
        every.write_text(config.read_text().replace("python_parses = false\nredact = false\n", ""))
        results["all filters"] = ours(every, folder / "every", WORKERS)
        results["datatrove"] = peer(python, config, folder / "peer", WORKERS)
    for name, figures in results.items():
        print(name, figures, flush=True)
    rates = {name: float(str(figures["mb_per_s_per_core"])) for name, figures in results.items()}
    versions = {name: version(name) for name in ("daft", "tokenizers", "numpy")}
    host = {"cpus": len(os.sched_getaffinity(0)), "kernel": platform.release(), "python": platform.python_version()}
    cpu = {name: float(str(figures["mb"])) / float(str(figures["cpu_s"])) for name, figures in results.items()}
    ratios = {
        "datatrove": round(rates["ours"] / rates["datatrove"], 2),
        "datatrove, by processor seconds": round(cpu["ours"] / cpu["datatrove"], 2),
    }
    mine = {name: results[name] for name in ("ours", "one worker", "all filters")}
    print(
        json.dumps(
            {"ours": mine, "peers": {"datatrove": results["datatrove"]}, "ratios": ratios, "host": host | versions}
        )
    )


if __name__ == "__main__":
    main()
