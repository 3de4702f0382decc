"""What chip-hours cost: rented by the hour, committed for a year or three, or owned.

Rented: chip-hours × the hourly price, less what was negotiated. Owned: the machine's price spread
over its life and over the hours it works, with power and space. Each comes with a low and a high
end: list and low price, or a fleet that is busy and one that stands idle. Storage, egress and
people are lines of their own. Sources of the defaults stand beside them; "Epoch" is Cottier et al.,
The rising costs of training frontier AI models (arXiv:2405.21015), with its published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundup.errors import InputError
from groundup.plan.hardware import Chip
from groundup.plan.limits import require_chip_hours, require_up_to
from groundup.plan.prices import Price, catalog_price, median_discounts

SCHEMES = ("on-demand", "1y", "3y", "owned")
HOURS_PER_YEAR = 24 * 365.25

SERVER_FACTOR = 1.64  # price of a server's share over the bare chip's: Epoch, mean of 3 generations
NETWORK_SHARE = 0.19  # of a cluster's price, for its network: Epoch
# Chips whose price in the hardware catalog is a whole server's share (H100: DGX of 2022-09 / 8).
WITH_SERVER = frozenset({"H100-SXM", "CS-2"})
SERVER_WATTS = 1.8  # rated watts of a server's share over the chip's: Epoch (H100 1.82, A100 2.03)
LOAD = 0.75  # of the rated watts, while training: Epoch (0.5 to 1)
OWN_PUE = 1.25  # data centres other than the largest clouds': Epoch
USD_PER_KWH = 0.0806  # US industry, mean of 2023: EIA, as Epoch has it
HOSTING_USD_PER_KW_MONTH = 184.06  # asking rate without power, end of 2024: CBRE H2 2024
LIFE_YEARS = 5.0  # straight line to zero: Epoch, for machines bought from 2023 on
MOST = {  # beyond these a number is a slip of the keyboard
    "usd-per-hour": 1e5, "usd-per-kwh": 1e3, "usd-per-gb": 1e6, "usd-per-gb-month": 1e6,
    "hosting-usd-per-kw-month": 1e6, "buy-usd": 1e9, "budget": 1e15, "server-factor": 100,
    "years": 100, "months": 1200, "storage-tb": 1e9, "egress-tb": 1e9, "people-months": 1e7,
    "salary": 1e9,
}  # fmt: skip
UTILISATION = (0.4, 0.7, 0.9)  # share of hours at work; an assumption: know yours
STORAGE_USD_PER_GB_MONTH = 0.023  # AWS S3 standard, us-east-1 (from memory)
EGRESS_USD_PER_GB = 0.09  # AWS to the internet, first 10 TB (from memory)


@dataclass(frozen=True)
class Line:
    """One item of a bill, US dollars, with its low and high end."""

    name: str
    usd: float
    usd_low: float
    usd_high: float
    note: str = ""


@dataclass(frozen=True)
class Cost:
    """A bill for chip-hours by one scheme, US dollars."""

    scheme: str
    chip: str
    chip_hours: float
    usd_per_chip_hour: float
    usd_low_per_chip_hour: float
    usd_high_per_chip_hour: float
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def total_usd(self) -> float:
        """The sum of the lines."""
        return sum(line.usd for line in self.lines)

    @property
    def usd_low(self) -> float:
        """The sum of the low ends."""
        return sum(line.usd_low for line in self.lines)

    @property
    def usd_high(self) -> float:
        """The sum of the high ends."""
        return sum(line.usd_high for line in self.lines)

    def chip_hours_for(self, budget_usd: float) -> float:
        """The chip-hours that a budget buys at this price, after the lines that are no chips."""
        rest = self.total_usd - self.usd_per_chip_hour * self.chip_hours
        return max(0.0, budget_usd - rest) / self.usd_per_chip_hour


@dataclass(frozen=True)
class Ownership:
    """How machines are owned; None: by the catalog, or the default for that chip."""

    buy_usd: float | None = None  # of one chip
    server_factor: float | None = None
    network_share: float = NETWORK_SHARE
    years: float = LIFE_YEARS
    residual: float = 0.0  # share of the price that selling brings back
    utilisation: float | None = None
    usd_per_kwh: float = USD_PER_KWH
    pue: float = OWN_PUE
    hosting_usd_per_kw_month: float = HOSTING_USD_PER_KW_MONTH


def rental(
    chip: Chip,
    chip_hours: float,
    *,
    scheme: str = "on-demand",
    price: Price | None = None,
    usd_per_hour: float | None = None,
    discount: float = 0.0,
    extras: Sequence[Line] = (),
) -> Cost:
    """The bill for rented chips.

    The middle and the high end are the list price, the low end the lowest price known. A committed
    price is not lowered again where the low price is already below it.

    Args:
        chip: what is rented.
        chip_hours: chips × hours.
        scheme: on-demand, 1y or 3y.
        price: list and low price; default: the newest known.
        usd_per_hour: your own price instead, for this scheme.
        discount: negotiated, a share from 0 to below 1, on top of the scheme.
        extras: further lines.

    Raises:
        InputError: no price is known, or a number is out of range.
    """
    require_chip_hours(chip_hours)
    _require_share(discount, "discount")
    if scheme not in SCHEMES[:-1]:
        raise InputError(
            f"there is no renting scheme {scheme!r}",
            where="scheme",
            fix="use on-demand, 1y or 3y; what is owned is not rented",
        )
    notes: list[str] = []
    if usd_per_hour is not None:
        usd_list = low = _require(usd_per_hour, "usd-per-hour")
        said = f"${usd_per_hour:g} an hour, as given"
    else:
        price = price or catalog_price(chip)
        if price is None:
            raise InputError(
                f"no price of {chip.id} is known",
                where="gpu",
                fix="give --usd-per-hour, or put usd_per_hour into hardware.csv in the folder of "
                "GROUNDUP_CATALOG",
            )
        share = price.share(scheme)
        usd_list = price.usd_list * share
        low = min(price.usd_low, usd_list)
        said = f"list ${usd_list:.4g} an hour, low ${low:.4g}: {price.list_source}"
        notes += price.notes
        if scheme != "on-demand":
            notes.append(f"{scheme} is {1 - share:.0%} below list: {price.commitment_source}")
            if low < usd_list:
                notes.append(
                    f"the low end of {scheme} is the lowest price known, whatever its terms"
                )
    if discount:
        said += f"; {discount:.0%} negotiated"
    paid, low = usd_list * (1 - discount), low * (1 - discount)
    chips = Line("chips", chip_hours * paid, chip_hours * low, chip_hours * paid, said)
    return Cost(
        scheme, chip.id, chip_hours, paid, low, paid, (chips, *extras), tuple(dict.fromkeys(notes))
    )


def owned(
    chip: Chip,
    chip_hours: float,
    *,
    ownership: Ownership | None = None,
    extras: Sequence[Line] = (),
) -> Cost:
    """The bill for chips that you own: amortisation, power, space, per hour that they work.

    Amortisation and space are paid for every hour of the machine's life and borne by the hours at
    work (÷ utilisation); power is paid for the hours at work. Low and high end: 90 % and 40 % at
    work, unless the utilisation is given.

    Args:
        chip: what is owned.
        chip_hours: hours at work.
        ownership: how it is owned; default: all defaults.
        extras: further lines.

    Raises:
        InputError: the price or the watts of the chip are not known, or a number is out of range.
    """
    require_chip_hours(chip_hours)
    how = ownership or Ownership()
    capital_usd, watts = _capital_usd(chip, how), _watts(chip)
    _check(how)
    share = how.utilisation
    worst, usual, best = (share, share, share) if share is not None else UTILISATION

    machine = capital_usd * (1 - how.residual) / (how.years * HOURS_PER_YEAR)
    rated_kw = watts * SERVER_WATTS / 1000
    space = rated_kw * how.hosting_usd_per_kw_month * 12 / HOURS_PER_YEAR
    power = rated_kw * LOAD * how.pue * how.usd_per_kwh

    def line(name: str, per_hour: float, note: str, idle_too: bool = True) -> Line:
        ends = (usual, best, worst) if idle_too else (1.0, 1.0, 1.0)
        middle, low, high = (chip_hours * per_hour / at_work for at_work in ends)
        return Line(name, middle, low, high, note)

    lines = (
        line(
            "machines",
            machine,
            f"${capital_usd:,.0f} a chip with server and network over {how.years:g} years, "
            f"{usual:.0%} of the hours at work",
        ),
        line("space", space, f"${how.hosting_usd_per_kw_month:g} a rated kW and month"),
        line(
            "power",
            power,
            f"{watts * SERVER_WATTS * LOAD:.0f} W × PUE {how.pue:g} × ${how.usd_per_kwh:g} a kWh",
            idle_too=False,
        ),
    )
    ends = [sum(getattr(one, end) for one in lines) for end in ("usd", "usd_low", "usd_high")]
    middle, low, high = (end / chip_hours for end in ends)
    notes = []
    if share is None:
        notes.append(
            f"owned: {usual:.0%} of the hours at work is assumed, {best:.0%} for the low end and "
            f"{worst:.0%} for the high one; give --utilisation"
        )
    return Cost("owned", chip.id, chip_hours, middle, low, high, (*lines, *extras), tuple(notes))


def compare(
    chip: Chip,
    chip_hours: float,
    *,
    price: Price | None = None,
    usd_per_hour: float | None = None,
    discount: float = 0.0,
    ownership: Ownership | None = None,
    extras: Sequence[Line] = (),
) -> tuple[list[Cost], list[str]]:
    """Every scheme that can be priced, and why the others cannot.

    With ``usd_per_hour`` that is the on-demand price, and the others follow from the commitments
    known of the chip.

    Raises:
        InputError: no scheme can be priced, or a number is out of range.
    """
    require_chip_hours(chip_hours)
    _require_share(discount, "discount")
    if usd_per_hour is not None:
        price = own_price(chip, usd_per_hour, price)
    costs, missing = [], []
    if price is None and catalog_price(chip) is None:
        missing.append(f"no hourly price of {chip.id} is known: give --usd-per-hour")
    else:
        costs = [
            rental(chip, chip_hours, scheme=scheme, price=price, discount=discount, extras=extras)
            for scheme in SCHEMES[:-1]
        ]
    try:
        costs.append(owned(chip, chip_hours, ownership=ownership, extras=extras))
    except InputError as error:
        if ownership is not None and ownership != Ownership():
            raise  # the user asked for it
        missing.append(f"owned: {error.message}; {error.fix}")
    if not costs:
        raise InputError(
            f"no price of {chip.id} is known, neither to rent nor to buy",
            where="gpu",
            fix="give --usd-per-hour or --buy-usd",
        )
    return costs, missing


def own_price(chip: Chip, usd_per_hour: float, known: Price | None = None) -> Price:
    """Your own on-demand price, with the commitment shares known of the chip.

    Raises:
        InputError: it is not positive.
    """
    _require(usd_per_hour, "usd-per-hour")
    base = known or catalog_price(chip)
    if base is None:
        median = median_discounts()
        shares = (1 - median.one_year, 1 - median.three_year)
        source = f"median discount of {median.n_offers} archived offers of other chips"
    else:
        shares = (base.one_year_share, base.three_year_share)
        source = base.commitment_source
    return Price(chip.id, usd_per_hour, usd_per_hour, *shares, "as given", "as given", source, None)


def storage(terabytes: float, months: float, usd_per_gb_month: float | None = None) -> Line:
    """Corpus and checkpoints kept: TB (1e12 bytes) × months.

    Raises:
        InputError: a number that is not positive, or absurd; so do those below.
    """
    _require(terabytes, "storage-tb")
    _require(months, "months")
    rate = usd_per_gb_month if usd_per_gb_month is not None else STORAGE_USD_PER_GB_MONTH
    _require(rate, "usd-per-gb-month")
    return _flat(
        "storage",
        terabytes * 1000 * months * rate,
        f"{terabytes:g} TB × {months:g} months × ${rate:g} a GB",
    )


def egress(terabytes: float, usd_per_gb: float | None = None) -> Line:
    """Bytes carried out of the cloud: TB (1e12 bytes)."""
    _require(terabytes, "egress-tb")
    rate = usd_per_gb if usd_per_gb is not None else EGRESS_USD_PER_GB
    _require(rate, "usd-per-gb")
    return _flat("egress", terabytes * 1000 * rate, f"{terabytes:g} TB × ${rate:g} a GB")


def people(months: float, salary_usd_per_year: float) -> Line:
    """Person-months × what a person costs in a year, with everything."""
    _require(months, "people-months")
    _require(salary_usd_per_year, "salary")
    return _flat(
        "people",
        months * salary_usd_per_year / 12,
        f"{months:g} person-months at ${salary_usd_per_year:,.0f} a year",
    )


def rate_for_budget(budget_usd: float, chip_hours: float) -> float:
    """The hourly price at which a budget buys the chip-hours: $23.1M for PaLM's needs $2.75."""
    return _require(budget_usd, "budget") / require_chip_hours(chip_hours)


def _flat(name: str, usd: float, note: str) -> Line:
    return Line(name, usd, usd, usd, note)


def _capital_usd(chip: Chip, how: Ownership) -> float:
    """Price of one chip with its share of server and network."""
    bare = how.buy_usd if how.buy_usd is not None else chip.buy_usd
    if bare is None:
        raise InputError(
            f"the purchase price of {chip.id} is not known",
            where="buy-usd",
            fix="give --buy-usd, the price of one chip",
        )
    _require(bare, "buy-usd")
    factor = how.server_factor
    if factor is None:
        factor = 1.0 if chip.id in WITH_SERVER and how.buy_usd is None else SERVER_FACTOR
    _require(factor, "server-factor")
    return bare * factor / (1 - how.network_share)


def _watts(chip: Chip) -> float:
    if not chip.watts:
        raise InputError(
            f"the power of {chip.id} is not known",
            where="gpu",
            fix="put watts into hardware.csv in the folder of GROUNDUP_CATALOG",
        )
    return chip.watts


def _check(how: Ownership) -> None:
    _require(how.years, "years")
    _require(how.usd_per_kwh, "usd-per-kwh")
    _require(how.hosting_usd_per_kw_month, "hosting-usd-per-kw-month")
    _require_share(how.residual, "residual")
    _require_share(how.network_share, "network-share")
    if how.pue < 1 or how.pue > 5:
        raise InputError(
            f"PUE is {how.pue:g}, but a building takes at least what its machines take (1 to 5)",
            where="pue",
        )
    if how.utilisation is not None and not 0 < how.utilisation <= 1:
        raise InputError(
            f"utilisation is {how.utilisation:g}, but is a share above 0, at most 1",
            where="utilisation",
        )


def _require(value: float, name: str) -> float:
    return require_up_to(value, name, MOST[name])


def _require_share(value: float, name: str) -> None:
    if not 0 <= value < 1:
        raise InputError(
            f"{name} is {value:g}, but is a share from 0 to below 1",
            where=name,
            fix="write 30% or 0.3",
        )
