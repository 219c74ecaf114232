"""What a newcomer waits for: help, a list of models, the demo; and how much memory the demo takes.

    python benchmarks/first_minutes.py

There is no peer for a demo; the limits that the project sets itself stand beside the figures. The last line of
output is one JSON object.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time

LIMITS = {"help_s": 0.3, "demo_s": 60.0, "demo_peak_mib": 1536.0}
COMMAND = [sys.executable, "-m", "polyturn.cli.main"]


def seconds(*verb: str) -> float:
    """Wall time of one call, which must succeed."""
    begun = time.perf_counter()
    subprocess.run([*COMMAND, *verb], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Run and print."""
    ours = {
        "help_s": min(seconds("--help") for _ in range(10)),
        "chat_help_s": min(seconds("chat", "--help") for _ in range(5)),
        "models_s": min(seconds("models") for _ in range(5)),
        "demo_s": seconds("demo"),
    }
    # of the largest child so far, which is the demo: helps and lists import no JAX
    ours["demo_peak_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for name, value in ours.items():
        limit = f"   (limit {LIMITS[name]:g})" if name in LIMITS else ""
        print(f"{name:<15}{value:>10.2f}{limit}")
    host = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"ours": ours, "peers": {}, "ratios": {}, "limits": LIMITS, "host": host}))


if __name__ == "__main__":
    main()
