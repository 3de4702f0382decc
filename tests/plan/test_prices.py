import csv
import statistics
from datetime import date
from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.plan.hardware import chips, find_chip
from groundup.plan.prices import (
    age_warning,
    catalog_price,
    median_discounts,
    offers,
    price_on,
    priced_chips,
)

ARCHIVE = Path(__file__).parents[3] / "shared" / "planner" / "chip_price_history.csv"


def test_median_discounts_of_committing_are_36_and_55_percent():  # S4-08
    found = median_discounts()
    assert found.n_offers == 70
    assert found.one_year == pytest.approx(0.36, abs=0.02)
    assert found.three_year == pytest.approx(0.55, abs=0.02)


def test_every_archived_offer_is_in_the_catalog():
    if not ARCHIVE.is_file():
        pytest.skip("the archive is not beside the checkout")
    with ARCHIVE.open() as file:
        rows = list(csv.DictReader(file))
    ours = sorted(
        (one.name, one.day.isoformat(), one.vendor, one.on_demand_usd) for one in offers()
    )
    theirs = sorted(
        (row["chip"], row["date"], row["vendor"], float(row["on_demand_usd_h"])) for row in rows
    )
    assert ours == theirs
    shares = [
        1 - float(row["cud_1y_usd_h"]) / float(row["on_demand_usd_h"])
        for row in rows
        if row["cud_1y_usd_h"]
    ]
    assert median_discounts().one_year == statistics.median(shares)


@pytest.mark.parametrize(
    ("chip", "day", "listed", "low"),
    [  # read off the archive by hand
        ("tpu-v4", date(2022, 10, 1), 3.22, 3.22),
        ("a100-40gb", date(2023, 1, 15), 4.10, 1.10),  # AWS; Lambda 2023-01-10
        ("h100", date(2025, 3, 17), 12.29, 2.45),  # AWS; Cudo Compute 2025-03-03
        ("v100", date(2019, 9, 1), 3.90, 3.06),  # AWS 2019-08-05; Azure 2019-08-06
        ("A100-PCIe", date(2024, 8, 1), 3.67, 1.29),  # Azure 2023-11-21; Lambda 2024-07-11
    ],
)
def test_list_and_low_price_in_force_on_a_day(chip, day, listed, low):
    price = price_on(chip, day)
    assert (price.list_usd, price.low_usd) == (listed, low)
    assert price.notes == ()


def test_one_vendor_only():
    assert price_on("h100", date(2025, 3, 17), "oracle").list_usd == 10.00


def test_a_day_without_offers_takes_the_nearest_and_says_so():
    later = price_on("tpu-v4", date(2026, 11, 21))
    assert later.list_usd == 3.22
    assert "2025-03-03" in later.notes[0]
    earlier = price_on("h100", date(2020, 1, 1))
    assert earlier.list_usd == 1.99  # Lambda, the first that is archived
    assert "before 2023-06-20" in earlier.notes[0]


def test_commitment_is_the_chips_own_where_it_is_printed():
    price = catalog_price(find_chip("tpu-v4"))
    assert price.list_usd * price.share("1y") == pytest.approx(2.03)
    assert price.list_usd * price.share("3y") == pytest.approx(1.45)
    unknown = catalog_price(find_chip("l40s"))
    assert unknown.share("1y") == 1 - median_discounts().one_year
    assert "median" in unknown.commitment_source


def test_commitment_of_the_catalogs_own_price_is_that_of_its_day():
    price = catalog_price(find_chip("a100-80gb"))  # Azure 4.10 of 2022-04: 2.62 and 1.80
    assert price.list_usd * price.one_year_share == pytest.approx(2.62)


def test_low_is_never_above_list():
    for chip in chips().values():
        price = catalog_price(chip)
        assert price is None or 0 < price.low_usd <= price.list_usd
    for name in priced_chips():
        price = price_on(name, date(2025, 3, 17))
        assert 0 < price.low_usd <= price.list_usd


def test_a_price_older_than_a_year_is_warned_of():
    price = catalog_price(find_chip("tpu-v4"))
    assert age_warning(price, date(2025, 6, 1)) is None
    assert "years ago" in age_warning(price, date(2026, 11, 21))


def test_chips_without_offers_and_unknown_chips_are_refused():
    with pytest.raises(InputError, match="no price of MI300X"):
        price_on("mi300x", date(2025, 1, 1))
    with pytest.raises(InputError, match="H900"):
        price_on("H900", date(2025, 1, 1))
    with pytest.raises(InputError, match="by 'nobody'"):
        price_on("h100", date(2025, 1, 1), "nobody")


def test_a_chip_without_an_archive_has_the_catalogs_price(tmp_path, monkeypatch):
    (tmp_path / "hardware.csv").write_text("id,usd_per_hour,price_date\nMI300X,1.99,2026-10\n")
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    price = price_on("mi300x", date(2026, 11, 21))
    assert price.list_usd == 1.99
    assert "stands in" in price.notes[-1]


def test_a_user_adds_todays_offer(tmp_path, monkeypatch):
    (tmp_path / "chip_prices.csv").write_text(
        "offer,chip,date,vendor,on_demand_usd_per_hour\nmine,H100-SXM,2026-11-01,Mine,2.10\n"
    )
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    price = price_on("h100", date(2026, 11, 21))
    assert (price.list_usd, price.low_usd, price.notes) == (2.10, 2.10, ())
    assert median_discounts().n_offers == 70  # of the archive as shipped
