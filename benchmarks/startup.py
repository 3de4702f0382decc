"""How long groundup takes to answer before it does any work, beside bare Python, alternating.

python benchmarks/startup.py [--runs 10]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "groundup --help": ["-m", "groundup", "--help"],
    "groundup show": ["-m", "groundup", "show", "--project", "examples/first-llm"],
    "import torch": ["-c", "import torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    bare = medians["python -c pass"]
    for name, times in seconds.items():
        low, high, ratio = min(times[1:]), max(times[1:]), medians[name] / bare
        print(f"{name:18}  {medians[name]:.3f} s  ({low:.3f}-{high:.3f})  {ratio:.1f}x")
    print(json.dumps({"median_seconds": medians}))


if __name__ == "__main__":
    main()
