"""Draw the pictures of the pages: charts of the pages that the commands write, by a real browser.

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

from groundup.cli.frame import run

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH = 1200  # pixels
DAY = "2026-11-21"
PLAN = ["plan", "estimate", "--usd", "500k", "--gpu", "h100", "--n", "256", "--date", DAY]
ANSWERS = str(HERE.parent / "examples/decide/answers.yaml")

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
    command, page, charts = PICTURES[name]
    with tempfile.TemporaryDirectory() as folder:
        if run([*command, "--output", folder, "--json"]):
            raise SystemExit(f"groundup {' '.join(command)} failed")
        bare = Path(folder) / "bare.html"
        bare.write_text(_only(charts, (Path(folder) / page).read_text(encoding="utf-8")))
        height = re.search(r"<title>(\d+)</title>", _browse(bare, "--dump-dom"))
        assert height is not None  # _only's script put it there
        _browse(bare, f"--screenshot={HERE / name}.png", height=int(height[1]))


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
    for name in sys.argv[1:] or PICTURES:
        draw(name)
