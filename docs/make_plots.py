"""Draw the pictures of the pages by a real browser: commands' charts, and the schedules.

    python docs/make_plots.py [NAME]...

Needs Chromium on the path; it reaches no network. Prices are those of a fixed day; only the star of
the landscape stands at today.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groundup.charts import Series, line_chart
from groundup.charts.figure import STYLE, script
from groundup.cli.frame import run
from groundup.train.config import CHOSEN, PretrainConfig, settle
from groundup.train.schedules import learning_rate_ratio

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1200  # pixels
DAY = "2026-11-21"
PLAN = ["plan", "estimate", "--usd", "500k", "--gpu", "h100", "--n", "256", "--date", DAY]
ANSWERS = str(HERE.parent / "examples/decide/answers.yaml")

# What each schedule is shown with.
SCHEDULES = "schedules"
SHOWN: tuple[dict[str, Any], ...] = (
    {"schedule": "wsd", "warmup_steps": 100, "decay_fraction": 0.3},
    {"schedule": "cosine", "warmup_steps": 100, "min_lr_ratio": 0.1},
    {"schedule": "linear", "warmup_steps": 100, "decay_steps": 700},
    {"schedule": "opt", "warmup_steps": 10},
    {"schedule": "inverse_sqrt", "warmup_steps": 100},
    {"schedule": "exponential", "warmup_steps": 100, "lr_half_life": 200},
    {"schedule": "step", "warmup_steps": 100, "lr_step_every": 300, "lr_step_factor": 0.4},
    {"schedule": "constant", "warmup_steps": 100},
)

# name of the picture → (command, the page it writes, which of its charts)
PICTURES: dict[str, tuple[list[str], str, tuple[int, ...]]] = {
    "heatmap": (
        ["plan", "heatmap", "--params", "13B", "--tokens", "300B"], "heatmap.html", (0,),
    ),
    "landscape": (
        ["plan", "landscape", "--price-on", "h100", "--date", "2025-04-01",
         "--params", "13B", "--tokens", "300B", "--usd", "500k"], "landscape.html", (0, 1),
    ),
    "plan": (PLAN, "plan.html", (0, 2, 3)),
    "decide": (["decide", "--answers", ANSWERS], "decide.html", (0, 1)),
}  # fmt: skip


def draw(name: str) -> None:
    """Write one picture beside the pages."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.html"
        bare.write_text(schedules() if name == SCHEDULES else charts_of(name, Path(folder)))
        height = re.search(r"<title>(\d+)</title>", _browse(bare, "--dump-dom"))
        assert height is not None  # _only's script put it there
        _browse(bare, f"--screenshot={HERE / name}.png", height=int(height[1]))


def charts_of(name: str, folder: Path) -> str:
    """A page of some of the charts that a command writes."""
    command, page, charts = PICTURES[name]
    if run([*command, "--output", str(folder), "--json"]):
        raise SystemExit(f"groundup {' '.join(command)} failed")
    return _only(charts, (folder / page).read_text(encoding="utf-8"))


def schedules() -> str:
    """A page with a chart of each schedule, of a run of 1,000 steps."""
    figures = [
        line_chart(
            f"schedule: {config['schedule']}",
            [Series("", range(1000), _ratios(**config), in_legend=False)],
            "step",
            "share of the peak",
            from_zero=True,
            height=220,
        )
        for config in SHOWN
    ]
    colours = ":root { --ink: #222; --line: #ccc; --grid: #e4e4e4 }"
    style = f"{colours} body {{ font: 15px sans-serif; color: var(--ink) }} {STYLE}"
    head = f"<!doctype html><html><head><meta charset='utf-8'><style>{style}</style>{script()}"
    columns = "body { grid-template-columns: 1fr 1fr }"
    page = f"{head}</head><body>{''.join(figures)}</body></html>"
    return _only(range(len(figures)), page).replace("</style>", f" {columns}</style>", 1)


def _ratios(**config: Any) -> list[float]:
    choice = {**dict.fromkeys(CHOSEN, 1), "steps": 1000}
    settings = settle(PretrainConfig(**config), choice, context_length=1, seed=0)
    return [learning_rate_ratio(settings, step) for step in range(settings.steps)]


def _only(charts: Sequence[int], html: str) -> str:
    """The page with nothing but these charts; its height becomes the title."""
    head = html.partition("<body>")[0]
    figures = re.findall(r'<figure class="chart">.*?</figure>', html, re.DOTALL)
    return (
        f"{head}<body><style>body {{ padding: 1rem 1.25rem; display: grid; gap: 2rem }}"
        f" .modebar, button {{ display: none !important }}</style>"
        f"{''.join(figures[i] for i in charts)}"
        "<script>addEventListener('load', () => {"
        " document.title = Math.ceil(document.body.getBoundingClientRect().height) });"
        "</script></body></html>"
    )


def _browse(page: Path, *options: str, height: int = 1000) -> str:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("no Chromium: install Debian's package `chromium`")
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={page.parent / 'profile'}",
            f"--window-size={WIDTH},{height}",
            "--virtual-time-budget=5000",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    for name in sys.argv[1:] or [*PICTURES, SCHEDULES]:
        draw(name)
