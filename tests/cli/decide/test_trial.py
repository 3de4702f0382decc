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
    assert record["ceilings"][0]["verdict"] == "at the top"
    assert (record["refusals"], record["stopped"]) == ([], None)
    assert record == json.loads((out / "trial.json").read_text())
    page = (out / "trial.html").read_text()
    assert "nothing is left to gain" in page
    assert all(f"short, {n}" in page for n in ("0 shots", "1 shot", "2 shots"))
    assert "error_x" in page
    done = groundup(capsys, *arguments)
    assert "Has prompting flattened?" in done.out
    assert len(server.asked) == 30  # the second call asks nothing
    assert " ms" in done.out
    assert "refused" not in done.out  # no column for what did not happen


def test_prompts_of_one_file_name_are_told_apart_by_their_folders(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    files = [tmp_path / "d1" / "p.txt", tmp_path / "d2" / "p.txt", tmp_path / "q.txt"]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"As in {file.parent.name}.")
    prompts = [part for file in files for part in ("--prompt", file)]
    arguments = ("decide", "trial", evaluation, "--model", "m", "--output", tmp_path / "o")
    done = groundup(capsys, *arguments, *prompts, "--json")
    assert done.code == 0, done.err
    names = [one["prompt"] for one in json.loads(done.out)["tries"]]
    assert names == [str(files[0]), str(files[1]), "q"]
    done = groundup(capsys, *arguments, *prompts, "--prompt", files[0])
    assert done.code == 2
    assert "two prompts are called" in done.err


def test_what_was_answered_before_the_cap_is_shown_and_the_cap_said(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    file = tmp_path / "candidates.yaml"
    file.write_text(
        "candidates:\n- name: here\n  model: m\n"
        "  usd_per_million_input: 1\n  usd_per_million_output: 2\n"
    )
    arguments = ("decide", "trial", evaluation, "--candidates", file, "--max-usd", "0.0003",
                 "--output", tmp_path / "out")  # fmt: skip
    done = groundup(capsys, *arguments, "--json")
    assert done.code == 2
    record = json.loads(done.out)
    (one,) = record["tries"]
    assert (one["n"], one["not_asked"]) == (6, 6)
    assert "would be passed" in record["stopped"]
    assert record["ceilings"][0]["verdict"] == "no verdict"
    assert "surely enough" in done.err
    done = groundup(capsys, *arguments)
    assert done.code == 2
    assert "not asked" in done.out
    assert "not everything was asked" in (tmp_path / "out" / "trial.html").read_text()


def test_refusals_are_shown_in_the_endpoints_words(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    server.refuses = lambda body: "what is this?"
    arguments = ("decide", "trial", evaluation, "--model", "m", "--output", tmp_path / "out")
    done = groundup(capsys, *arguments)
    assert done.code == 2
    assert "every request of 'm' is refused: HTTP 400: what is this?" in done.err
    assert "Refused requests" in done.out
    server.refuses = lambda body: None
    done = groundup(capsys, *arguments, "--retry-refused", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["tries"][0]["refused"] == 0


def test_answers_cut_off_and_empty_are_shown(
    capsys: pytest.CaptureFixture[str], server: Server, evaluation: Path, tmp_path: Path
) -> None:
    server.finish_reason, server.answer = "length", lambda chat: None
    done = groundup(capsys, "decide", "trial", evaluation, "--model", "m", "--shots", "0,1,2",
                    "--output", tmp_path / "out")  # fmt: skip
    assert done.code == 0
    assert "cut off  empty" in done.out
    assert "raise --max-tokens" in done.out
    assert "fine-tuning is next" not in done.out


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
        ("candidates:\n- {name: a, model: m, max_tokens_parameter: n}\n", "max_tokens"),
        ("candidates:\n- {name: a, model: m, temperature: 3}\n", "temperature"),
        ("candidates:\n- {name: a, model: m, base_url: 'http://[::1'}\n", "no http address"),
        ("candidates:\n- {name: a, model: m, base_url: 'http://h:abc/v1'}\n", "no http address"),
        ('candidates:\n- {name: a, model: m, base_url: "http://h/\\nv1"}\n', "no http address"),
    ],
)
def test_a_wrong_file_of_candidates(
    capsys: pytest.CaptureFixture[str], evaluation: Path, tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "candidates.yaml"
    file.write_text(content)
    out = tmp_path / "out"
    done = groundup(capsys, "decide", "trial", evaluation, "--candidates", file, "--output", out)
    assert done.code == 2
    assert not out.exists()
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
        (("--model", "m", "--timeout", "nan"), "timeout"),
        (("--model", "m", "--timeout", "inf"), "timeout"),
        (("--model", "m", "--concurrency", "100000"), "concurrency"),
        (("--model", "m", "--attempts", "0"), "attempts"),
        (("--model", "m", "--match", "number"), "holds none"),
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
