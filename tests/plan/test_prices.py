import csv
import statistics
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from groundup.errors import InputError
from groundup.plan.hardware import chips, find_chip
from groundup.plan.prices import (
    age_warning,
    catalog_price,
    match_priced,
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
    assert (price.usd_list, price.usd_low) == (listed, low)
    assert price.notes == ()


def test_every_archived_row_comes_back_for_its_chip_day_vendor_and_place():
    places = Counter((one.name, one.day, one.vendor, one.location) for one in offers())
    alone = 0
    for one in offers():
        price = price_on(one.name, one.day, one.vendor, one.location)
        assert one in price.offers, one
        assert price.chip == one.chip
        if places[one.name, one.day, one.vendor, one.location] > 1:
            assert price.usd_low <= one.on_demand_usd <= price.usd_list
            continue
        alone += 1
        assert (price.usd_list, price.usd_low, price.day) == (
            one.on_demand_usd,
            one.on_demand_usd,
            one.day,
        )
        for scheme, committed in (("1y", one.one_year_usd), ("3y", one.three_year_usd)):
            if committed is not None:
                assert price.usd_list * price.share(scheme) == pytest.approx(committed), one
    assert alone == 165  # of 179: six places ask several prices on one day


@pytest.mark.parametrize(
    ("chip", "day", "on_demand", "one_year", "three_year"),
    [  # a vendor's newer page replaces its older one, wherever that was for
        ("TPU-v3", date(2019, 7, 1), 2.00, 1.26, 0.90),
        ("A100-SXM-40", date(2022, 12, 12), 2.93, 1.85, 1.03),
    ],
)
def test_a_newer_page_of_a_vendor_replaces_the_older(chip, day, on_demand, one_year, three_year):
    price = price_on(chip, day, "Google")
    found = [price.usd_list * price.share(scheme) for scheme in ("on-demand", "1y", "3y")]
    assert found == pytest.approx([on_demand, one_year, three_year])
    assert price.usd_low == price.usd_list


def test_one_vendor_or_place_only():
    assert price_on("h100", date(2025, 3, 17), "oracle").usd_list == 10.00
    assert price_on("tpu-v5e", date(2025, 4, 1), location="belgium").usd_list == 1.32
    assert price_on("tpu-v5e", vendor="google", location="iowa").usd_list == 1.20
    with pytest.raises(InputError, match="'mars'") as caught:
        price_on("tpu-v5e", vendor="google", location="mars")
    assert "Belgium" in caught.value.fix


def test_the_list_price_is_that_of_the_large_clouds():
    before = price_on("h100", date(2025, 3, 2))  # two weeks before the page of AWS
    assert (before.usd_list, before.usd_low) == (12.29, 3.29)  # AWS; Lambda 2025-02-28
    assert "2025-03-17" in before.notes[0]
    none = price_on("rtx-4090", date(2025, 3, 17))
    assert none.usd_list == 0.69
    assert "no large cloud" in none.notes[0]
    far = price_on("A100-PCIe", date(2025, 3, 3))  # Azure was last seen 2023-11-21
    assert far.usd_list == 1.64
    assert "2023-11-21" in far.notes[0]


def test_the_list_price_of_the_h100_does_not_jump_with_gaps_of_the_archive():
    days = [date(2023, 6, 20) + timedelta(days) for days in range(0, 700, 21)]
    assert {price_on("h100", day).usd_list for day in days} == {10.00, 12.29}  # Oracle, AWS


def test_a_name_of_the_archive_is_taken():
    for one in {one.name: one for one in offers()}.values():
        assert match_priced(one.name).chip.id == one.chip
        assert all(offer.name == one.name for offer in price_on(one.name, one.day).offers)
    assert "16 GB" in match_priced("NVIDIA Tesla V100 DGXS 16 GB").note
    assert match_priced("a100").chip.id == "A100-SXM-80"


def test_the_hardware_catalog_has_the_newest_prices_of_the_archive():
    for chip in chips().values():
        if chip.id not in priced_chips():
            continue
        price = catalog_price(chip)
        assert (chip.usd_per_hour, chip.low_usd_per_hour) == (price.usd_list, price.usd_low)
        assert f"{chip.price_source}, {chip.price_date}" == price.list_source
        assert chip.price_date == price.day
        assert price_on(chip.id, max(one.day for one in offers(chip.id))) == price
    assert set(priced_chips()) <= set(chips())


def test_the_list_prices_that_plans_rest_on():
    for name, usd in (("a100-40gb", 4.10), ("h100", 12.29), ("a100-80gb", 5.12)):
        assert catalog_price(find_chip(name)).usd_list == usd


def test_a_day_without_offers_takes_the_nearest_and_says_so():
    later = price_on("tpu-v4", date(2026, 11, 21))
    assert later.usd_list == 3.22
    assert "2025-03-03" in later.notes[0]
    earlier = price_on("h100", date(2022, 10, 1))
    assert earlier.usd_low == 1.99  # Lambda, the first that is archived
    assert "before 2023-06-20" in earlier.notes[0]


def test_a_day_long_before_the_first_price_is_refused():
    with pytest.raises(InputError, match="1990-01-01 is over a year before") as caught:
        price_on("h100", date(1990, 1, 1))
    assert "2023-06-20" in caught.value.fix


def test_commitment_is_the_chips_own_where_it_is_printed():
    price = catalog_price(find_chip("tpu-v4"))
    assert price.usd_list * price.share("1y") == pytest.approx(2.03)
    assert price.usd_list * price.share("3y") == pytest.approx(1.45)
    unknown = catalog_price(find_chip("l40s"))
    assert unknown.share("1y") == 1 - median_discounts().one_year
    assert "median" in unknown.commitment_source


def test_commitment_of_the_newest_price_is_that_of_its_own_row():
    price = catalog_price(find_chip("a100-80gb"))  # AWS 5.12 of 2025-03-02: 3.00 and 1.81
    assert price.usd_list * price.one_year_share == pytest.approx(3.00)
    assert price.usd_list * price.three_year_share == pytest.approx(1.81)


def test_low_is_never_above_list():
    for chip in chips().values():
        price = catalog_price(chip)
        assert price is None or 0 < price.usd_low <= price.usd_list
    for name in priced_chips():
        price = price_on(name, date(2025, 3, 17))
        assert 0 < price.usd_low <= price.usd_list


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
    assert price.usd_list == 1.99
    assert "stands in" in price.notes[-1]


def test_a_user_adds_todays_offer(tmp_path, monkeypatch):
    (tmp_path / "chip_prices.csv").write_text(
        "offer,chip,date,vendor,on_demand_usd_per_hour\nmine,H100-SXM,2026-11-01,Mine,2.10\n"
    )
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    price = price_on("h100", date(2026, 11, 21))
    assert (price.usd_list, price.usd_low) == (2.10, 2.10)
    assert "no large cloud's offer" in price.notes[0]
    assert catalog_price(find_chip("h100")).usd_list == 2.10
    assert median_discounts().n_offers == 70  # of the archive as shipped


def test_a_users_own_price_goes_before_the_archive(tmp_path, monkeypatch):
    (tmp_path / "hardware.csv").write_text(
        "id,usd_per_hour,low_usd_per_hour,price_source,price_date\n"
        "H100-SXM,2.50,2.10,my contract,2026-10\n"
    )
    monkeypatch.setenv("GROUNDUP_CATALOG", str(tmp_path))
    for price in (catalog_price("h100"), price_on("h100")):
        assert (price.usd_list, price.usd_low, price.list_source) == (2.50, 2.10, "my contract")
    assert price_on("h100", date(2025, 3, 17)).usd_list == 12.29
