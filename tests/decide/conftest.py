from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.decide.server import Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An endpoint of this machine, with a key, that is asked again without long pauses."""
    with serving(Server()) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-mine")
        monkeypatch.setattr("groundup.decide.endpoint.FIRST_PAUSE_SECONDS", 0.01)
        yield running
