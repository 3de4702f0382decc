from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import groundup
from tests.decide.server import Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(Server()) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield running


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    path = tmp_path / "evaluation.jsonl"
    items = [{"prompt": f"Question {n}", "expected": "Paris"} for n in range(12)]
    path.write_text("\n".join(map(json.dumps, items)))
    return path


def test_a_trial_from_the_command_line(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("One word.\n\n{question}")
    out = tmp_path / "out"
    arguments = ("decide", "trial", evaluation, "--model", "m", "--prompt",
                 tmp_path / "short.txt", "--shots", "0,1,2", "--output", out)  # fmt: skip
    done = groundup(capsys, *arguments, "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert [(one["shots"], one["n"], one["quality"]) for one in record["tries"]] == [
        (0, 10, 1.0), (1, 10, 1.0), (2, 10, 1.0),
    ]  # fmt: skip
    assert record["ceilings"][0]["verdict"] == "flattened"
    assert record == json.loads((out / "trial.json").read_text())
    assert "prompting has flattened" in (out / "trial.html").read_text()
    done = groundup(capsys, *arguments)
    assert "Has prompting flattened?" in done.out
    assert len(server.asked) == 30  # the second call asks nothing


def test_a_file_of_candidates(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    file = tmp_path / "candidates.yaml"
    file.write_text(
        f"candidates:\n- name: here\n  model: m\n  base_url: {server.url}\n"
        "  usd_per_million_input: 1\n  usd_per_million_output: 2\n"
    )
    done = groundup(capsys, "decide", "trial", evaluation, "--candidates", file, "--max-usd", "1",
                    "--output", tmp_path / "out", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out)["tries"][0]["usd_per_1000"] == pytest.approx(0.026)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("candidates: []", "candidates"),
        ("candidates:\n- name: a\n", "candidates.yaml:2"),
        ("candidates:\n- {name: a, model: m, api_key: sk-x}\n", "api_key_env"),
        ("candidates:\n- {name: a, model: m}\n- {name: a, model: n}\n", "'a'"),
        ("3", "candidates"),
    ],
)
def test_a_wrong_file_of_candidates(
    capsys: pytest.CaptureFixture[str], evaluation: Path, tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "candidates.yaml"
    file.write_text(content)
    done = groundup(capsys, "decide", "trial", evaluation, "--candidates", file)
    assert done.code == 2
    assert problem in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "nobody to try"),
        (("--model", "m", "--shots", "some"), "0,1,4"),
        (("--model", "m", "--shots", "-1"), "at least 0"),
        (("--model", "m", "--shots", "50"), "50 examples"),
        (("--model", "m", "--max-usd", "1"), "prices"),
        (("--model", "m", "--max-tokens", "0"), "max_tokens"),
        (("--model", "m", "--prompt", "none.txt"), "none.txt"),
        (("--model", "m", "--timeout", "0"), "timeout"),
        (("--model", "a\x1bb"), "name"),
        (("--model", "m", "--requests-per-minute", "0"), "requests_per_minute"),
    ],
)
def test_wrong_options_are_named(
    capsys: pytest.CaptureFixture[str],
    server: Server,
    evaluation: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    done = groundup(capsys, "decide", "trial", evaluation, *arguments, "--output", tmp_path / "out")
    assert done.code == 2
    assert problem in done.err
    assert "Traceback" not in done.err
    assert server.asked == []
