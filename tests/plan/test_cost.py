import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundup.errors import InputError
from groundup.plan.cost import (
    SCHEMES,
    Ownership,
    compare,
    egress,
    owned,
    people,
    rate_for_budget,
    rental,
    storage,
)
from groundup.plan.hardware import find_chip

PALM_HOURS = 8_404_992  # arXiv:2204.02311, appendix B
TPU = find_chip("tpu-v4")
A100 = find_chip("a100-40gb")


@pytest.mark.parametrize(
    ("scheme", "rate", "total"),
    [("on-demand", 3.22, 27.06e6), ("1y", 2.03, 17.06e6), ("3y", 1.45, 12.19e6)],
    ids=["S5-14 on demand", "S5-14 one year", "S5-14 three years"],
)
def test_palm_at_the_prices_of_its_chip(scheme, rate, total):
    by_scheme = rental(TPU, PALM_HOURS, scheme=scheme)
    assert by_scheme.usd_per_chip_hour == pytest.approx(rate, rel=1e-9)
    assert by_scheme.total_usd == pytest.approx(total, rel=1e-3)
    given_rate = rental(TPU, PALM_HOURS, usd_per_hour=rate)
    assert given_rate.total_usd == pytest.approx(total, rel=1e-3)


def test_the_rate_that_a_budget_needs():  # S5-14: the white paper's $23M is 2.75 an hour
    assert rate_for_budget(23.1e6, PALM_HOURS) == pytest.approx(2.75, rel=1e-3)
    bill = rental(TPU, PALM_HOURS)
    assert bill.chip_hours_for(bill.total_usd) == pytest.approx(PALM_HOURS)
    with_storage = rental(TPU, PALM_HOURS, extras=[storage(100, 3)])
    assert with_storage.chip_hours_for(with_storage.total_usd) == pytest.approx(PALM_HOURS)
    assert with_storage.chip_hours_for(1) == 0


@given(st.floats(1, 1e9), st.floats(0.01, 50), st.floats(0, 0.99))
def test_a_rented_bill_is_linear(hours, rate, discount):
    bill = rental(TPU, hours, usd_per_hour=rate, discount=discount)
    assert bill.total_usd == pytest.approx(hours * rate * (1 - discount))
    assert bill.usd_low == bill.total_usd == bill.usd_high


def test_low_and_list_are_both_given():
    bill = rental(find_chip("h100"), 1000)
    assert (bill.usd_low, bill.total_usd) == (
        2450,
        12290,
    )  # the archive, 2025-03: Cudo Compute, AWS


def test_owned_machines_by_hand():
    how = Ownership(
        buy_usd=10_000,
        server_factor=1.5,
        network_share=0.25,
        years=4,
        residual=0.1,
        utilisation=0.5,
        usd_per_kwh=0.1,
        pue=1.2,
        hosting_usd_per_kw_month=100,
    )
    machine = 10_000 * 1.5 / 0.75 * 0.9 / (4 * 8766) / 0.5
    kw = 0.400 * 1.8
    space = kw * 100 * 12 / 8766 / 0.5
    power = kw * 0.75 * 1.2 * 0.1
    bill = owned(A100, 2000, ownership=how)
    assert bill.usd_per_chip_hour == pytest.approx(machine + space + power)
    assert bill.total_usd == pytest.approx(2000 * (machine + space + power))
    assert bill.usd_low == bill.usd_high == bill.total_usd  # the utilisation is known


def test_an_idle_fleet_is_the_dear_end():
    bill = owned(A100, 1000)
    assert bill.usd_low < bill.total_usd < bill.usd_high
    assert "assumed" in bill.notes[0]


def test_the_price_of_a_whole_servers_share_is_not_raised_again():
    bill = owned(find_chip("h100"), 1000)  # DGX H100 of 2022: 44,490 a chip
    assert f"${44_490 / 0.81:,.0f} a chip" in bill.lines[0].note


def test_optional_lines():
    lines = (storage(2, 3), egress(1), people(6, 120_000))
    assert [round(line.usd, 2) for line in lines] == [138.0, 90.0, 60_000.0]
    plain, full = rental(TPU, 100), rental(TPU, 100, extras=lines)
    assert full.total_usd - plain.total_usd == pytest.approx(60_228)


def test_all_schemes_side_by_side():
    costs, missing = compare(A100, 1000)
    assert [cost.scheme for cost in costs] == list(SCHEMES)
    assert missing == []
    costs, missing = compare(TPU, 1000)
    assert [cost.scheme for cost in costs] == ["on-demand", "1y", "3y"]
    assert "--buy-usd" in missing[0]


def test_your_own_price_is_the_on_demand_one():
    costs, _ = compare(A100, 1000, usd_per_hour=2.0)
    assert costs[0].usd_per_chip_hour == 2.0
    assert costs[1].usd_per_chip_hour == pytest.approx(2.0 * 2.40 / 4.10)  # AWS p4d, one year


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: rental(TPU, 0), "chip-hours"),
        (lambda: rental(TPU, float("nan")), "chip-hours"),
        (lambda: rental(TPU, 1e30), "chip-hours"),
        (lambda: rental(TPU, 1, usd_per_hour=1e30), "usd-per-hour"),
        (lambda: storage(1e30, 1), "storage-tb"),
        (lambda: owned(A100, 1, ownership=Ownership(years=1e9)), "years"),
        (lambda: rental(TPU, 1, usd_per_hour=-1), "usd-per-hour"),
        (lambda: rental(TPU, 1, discount=1), "discount"),
        (lambda: rental(TPU, 1, discount=-0.1), "discount"),
        (lambda: rental(TPU, 1, scheme="owned"), "scheme"),
        (lambda: rental(find_chip("mi300x"), 1), "gpu"),
        (lambda: owned(TPU, 1), "buy-usd"),
        (lambda: owned(A100, 1, ownership=Ownership(buy_usd=0)), "buy-usd"),
        (lambda: owned(A100, 1, ownership=Ownership(utilisation=0)), "utilisation"),
        (lambda: owned(A100, 1, ownership=Ownership(utilisation=1.1)), "utilisation"),
        (lambda: owned(A100, 1, ownership=Ownership(pue=0.9)), "pue"),
        (lambda: owned(A100, 1, ownership=Ownership(years=0)), "years"),
        (lambda: owned(A100, 1, ownership=Ownership(residual=1)), "residual"),
        (lambda: storage(-1, 1), "storage-tb"),
        (lambda: people(1, 0), "salary"),
        (lambda: rate_for_budget(0, 1), "budget"),
    ],
)
def test_impossible_numbers_are_named(call, where):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.where == where
