"""The page in a real browser that cannot reach any network."""

import os
import shutil
import subprocess

import pytest

from groundup.report.page import write_report
from tests.report.finished import finished_project

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The page after its scripts ran, and what the browser logged."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        reason = "no Chromium: install Debian's package `chromium`"
        if os.environ.get("GROUNDUP_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("browser")
    write_report(folder / "report", **finished_project(folder))
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--window-size=1280,2000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            (folder / "report" / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, done.stderr


def test_every_chart_is_drawn(seen):
    dom, _ = seen
    assert dom.count('class="js-plotly-plot"') + dom.count("plotly-graph-div js-plotly-plot") == 7
    assert dom.count('class="main-svg"') >= 7
    assert "training, smoothed" in dom


def test_the_browser_logs_no_error(seen):
    _, log = seen
    # CONSOLE lines are what the page's scripts and its content policy had to complain about.
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
