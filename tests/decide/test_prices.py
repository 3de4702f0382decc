from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from groundup.decide.prices import (
    Levers,
    find_price,
    price_age_note,
    price_book,
    self_hosted_price,
    slide_table,
    usage_cost,
)
from groundup.errors import InputError
from groundup.plan.catalogs import read_rows

SLIDES = Path(__file__).parents[3] / "shared" / "planner" / "slide_cost_table.csv"

# The slides' table: (input, output, tuning) in US dollars, for 6e9, 3e9 and 6e9 tokens.
PRINTED = {
    "GPT-4 32K": (360_000, 360_000, 0),
    "GPT-4 8K": (180_000, 180_000, 0),
    "DaVinci": (120_000, 60_000, 0),
    "Claude v1": (66_000, 96_000, 0),
    "Curie": (12_000, 6_000, 0),
    "Self-hosted 7B": (350, 1_750, 0),
    "Fine-tuned DaVinci": (720_000, 360_000, 180_000),
    "Fine-tuned Curie": (72_000, 36_000, 18_000),
    "Fine-tuned self-hosted 7B": (350, 1_750, 1_400),
}


@pytest.mark.parametrize("model", PRINTED)
def test_a_row_of_the_slides_to_the_dollar(model: str) -> None:
    row = {row.model: row for row in slide_table()}[model]
    read, written, tuned = PRINTED[model]
    assert row.bill.input_usd == pytest.approx(read, abs=1e-6)
    assert row.bill.output_usd == pytest.approx(written, abs=1e-6)
    assert row.bill.training_usd == pytest.approx(tuned, abs=1e-6)
    assert row.bill.total_usd == pytest.approx(row.slide_total_usd)


def test_the_slides_have_nine_rows_and_no_other() -> None:
    assert [row.model for row in slide_table()] == list(PRINTED)


def test_the_rows_agree_with_the_shared_table() -> None:
    if not SLIDES.is_file():
        pytest.skip("no shared data here")
    ours = {row.model: row.bill.total_usd for row in slide_table()}
    theirs = {row.text("row"): row.needed("calc_total") for row in read_rows(SLIDES)}
    assert ours == pytest.approx(theirs, abs=1)


def test_claude_at_its_list_price_is_2160_dollars_more() -> None:
    claude = {row.model: row for row in slide_table()}["Claude v1"]
    assert claude.list_total_usd == pytest.approx(164_160)  # 6e9 × 11.02e-6 + 3e9 × 32.68e-6
    assert "$164,160" in claude.note


def test_the_self_hosted_price_is_350_dollars_for_6e9_tokens() -> None:
    price = self_hosted_price(training=True)
    assert price.input_usd * 1e6 == pytest.approx(350 / 6000, rel=1e-12)
    assert price.output_usd == pytest.approx(10 * price.input_usd)
    assert price.training_usd == pytest.approx(4 * price.input_usd)


def test_volumes_are_inputs() -> None:
    one = {row.model: row for row in slide_table(1e6, 0, 0)}["GPT-4 32K"]
    assert one.bill.total_usd == pytest.approx(60)
    assert one.slide_total_usd is None


@pytest.mark.parametrize(
    ("levers", "usd"),
    [
        (Levers(), 30_000 + 60_000),
        (Levers(prompt_factor=8), 30_000 / 8 + 60_000),
        (Levers(batch=True), 45_000),
        (Levers(discount=0.3), 63_000),
        (Levers(cached_share=0.5, cached_price=0.1), 30_000 * 0.55 + 60_000),
    ],
)
def test_levers_lower_the_bill(levers: Levers, usd: float) -> None:
    assert usage_cost(find_price("gpt-4-8k"), 1e9, 1e9, levers=levers).total_usd == pytest.approx(
        usd
    )


@pytest.mark.parametrize("volume", [-1, float("nan"), float("inf"), 1e21])
def test_an_absurd_volume_is_refused(volume: float) -> None:
    with pytest.raises(InputError, match="input_tokens"):
        usage_cost(find_price("curie"), volume, 0)


@pytest.mark.parametrize("bad", [{"prompt_factor": 0.5}, {"discount": 1.5}, {"cached_share": -1}])
def test_a_lever_that_raises_the_bill_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad)).replace("_", "[_ ]")):
        Levers(**bad)  # type: ignore[arg-type]


def test_an_unknown_model_is_named_with_its_nearest() -> None:
    with pytest.raises(InputError, match="gpt-4-9k") as caught:
        find_price("gpt-4-9k")
    assert "gpt-4-8k" in str(caught.value)


def test_every_price_has_a_source_and_a_day() -> None:
    for price in price_book().values():
        assert price.source, price.id
        assert price.effective, price.id


def test_an_old_price_is_said_to_be_old() -> None:
    price = replace(find_price("gpt-4-8k"), effective=date(2026, 1, 1))
    assert price_age_note(price, today=date(2026, 11, 1)) is None
    assert "1 year" in (price_age_note(price, today=date(2027, 3, 1)) or "")


def test_a_users_price_is_laid_over_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api_prices.csv").write_text(
        "id,provider,usd_per_million_input,usd_per_million_output,effective,source\n"
        "curie,,3,,,mine\nours,Us,1,2,2026-11-01,contract\n"
    )
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    book = price_book()
    assert book["curie"].input_usd == pytest.approx(3e-6)
    assert book["curie"].output_usd == pytest.approx(2e-6)
    assert book["ours"].blend(0.5) == pytest.approx(1.5e-6)
