"""The quickstart measured: bits per byte, yardsticks, parse rate, prediction errors.

Runs `groundup run` on a copy of examples/first-llm (or goes on in --work) and prints what its
artifacts say. With --tokens the size is fixed at 4 x 256 and the run is as long as asked, which is
the
target of the first release: after 3.8 million tokens at most 1.35 bits per byte on the test split,
and below `xz -9`.

    python benchmarks/first_llm.py --work /tmp/first-llm
    python benchmarks/first_llm.py --work /tmp/long --tokens 3800000
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples/first-llm"
TOKENS_PER_STEP = 16 * 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokens", type=int, help="train 4 x 256 on that many tokens")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLE / "groundup.yaml", arguments.work)
    overrides = list(arguments.overrides)
    if arguments.tokens:
        steps = round(arguments.tokens / TOKENS_PER_STEP)
        overrides += [
            "model.n_layers=4",
            "model.d_model=256",
            f"pretrain.steps={steps}",
            "plan.budget=",
        ]
    command = [sys.executable, "-m", "groundup", "run", str(arguments.work), *overrides, "--json"]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(ran.stdout.splitlines()[-1])
    found = figures(Path(result["report"]).parent, arguments.work)
    for name, value in found.items():
        print(f"{name:32} {value}")
    print(json.dumps(found))


def figures(report: Path, project: Path) -> dict[str, object]:
    """What the newest report's artifacts say."""
    manifest = json.loads((report / "manifest.json").read_text())
    run = newest(project / "runs", "run.json")
    evaluation = newest(project / "artifacts/evaluation", "evaluation.json")
    predicted, measured = run["predicted"], run["measured"]
    bits = evaluation["bits_per_byte"]
    rates = evaluation["completions"]["parse_rate"]
    return {
        "processor": manifest["environment"]["processor"],
        "threads": run["config"]["settings"]["n_threads"],
        "model": f"{run['config']['model']['n_layers']} x {run['config']['model']['d_model']}",
        "steps": run["steps"],
        "tokens": run["tokens"],
        **{f"bits_per_byte.{name}": round(value, 4) for name, value in bits.items()},
        **{f"parse_rate.{name}": rate for name, rate in rates.items()},
        **{
            f"prediction_error.{name}": f"{predicted[name] / value - 1:+.1%}"
            for name, value in measured.items()
            if value and predicted.get(name)
        },
        "duration_seconds": round(measured["duration_seconds"], 1),
        "final_hash": run["final_hash"],
    }


def newest(folder: Path, name: str) -> dict[str, object]:
    """The JSON file of that name written last below ``folder``."""
    path = max(folder.glob(f"*/{name}"), key=lambda found: found.stat().st_mtime)
    return json.loads(path.read_text())


if __name__ == "__main__":
    main()
