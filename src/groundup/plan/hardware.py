"""The chips: dense peaks, memory, links, measured matmul rates and dated prices, by name.

Rows are in `catalog/hardware.csv`, each with its source; a user's rows are laid over them (see
`catalogs`). A chip that is not there has no peak: the nearest names are listed and nothing is
assumed. Peaks are dense. Data sheets print 2:4 sparse figures as well, twice as high, which no
training reaches: `peak_warnings` finds them. What training can reach at most is the matmul rate
that was measured (Bekman's maximum achievable matmul FLOPS), 51 % to 87 % of the peak.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from datetime import date

from groundup.errors import InputError
from groundup.plan.catalogs import SHIPPED, Row, read_catalog, read_rows
from groundup.plan.limits import require_positive

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")

# Share of the peak that matmuls reach on a chip without a measurement: that of the H100, the middle
# of the four that were measured (A100 .869, H100 .803, B200 .776, MI300X .511).
UNMEASURED_SHARE = 0.80
# Links where the catalog says none; `Chip.assumed` names them.
PCIE_BYTES_PER_SECOND = 32e9  # PCIe 4 x16, one direction
ETHERNET_BYTES_PER_SECOND = 12.5e9  # 100 Gbit/s
# Exponentials per byte of memory bandwidth: 1.19 on the A100, 1.16 on the H100.
SPECIAL_FUNCTIONS_PER_BYTE = 1.17


@dataclass(frozen=True)
class Chip:
    """One accelerator (or processor); rates are per chip, links count one direction."""

    id: str
    vendor: str
    peak_flops: dict[str, float]  # FLOP/s by precision, dense
    measured_matmul_flops: float | None  # FLOP/s at 16 bits
    memory_bytes: float | None
    memory_bandwidth: float | None  # bytes/s
    link_bytes_per_second: float  # to the chips of its node
    node_size: int  # chips that those links join
    network_bytes_per_second: float  # to other nodes
    watts: float | None  # thermal design power
    usd_per_hour: float | None
    low_usd_per_hour: float | None
    price_source: str
    price_date: date | None
    buy_usd: float | None
    note: str
    source: str
    assumed: tuple[str, ...] = ()  # what the catalog does not say
    special_functions_per_second: float | None = None  # exponentials and the like
    sparsity: bool = False  # has 2:4 sparse figures on its data sheet

    def peak(self, precision: str) -> float:
        """Dense peak in FLOP/s.

        Raises:
            InputError: the chip has none in this precision; those it has are named.
        """
        if precision not in self.peak_flops:
            has = ", ".join(self.peak_flops)
            raise InputError(
                f"no peak is known of {self.id} in {precision!r}",
                where="precision",
                fix=f"use one of {has}, or add it to a hardware.csv of yours (GROUNDUP_CATALOG)",
            )
        return self.peak_flops[precision]

    @property
    def training_precision(self) -> str:
        """What this chip trains in: bf16 where it has it, else fp16, else fp32."""
        return next((name for name in ("bf16", "fp16") if name in self.peak_flops), "fp32")

    @property
    def attainable_share(self) -> float:
        """Measured matmul rate over the 16-bit peak; `UNMEASURED_SHARE` where nobody measured."""
        if self.measured_matmul_flops is None:
            return UNMEASURED_SHARE
        return self.measured_matmul_flops / self.peak(self.training_precision)

    @property
    def special_function_rate(self) -> float:
        """Exponentials per second, which bound attention; from the bandwidth where not known."""
        bandwidth = self.memory_bandwidth or 0.0
        return self.special_functions_per_second or SPECIAL_FUNCTIONS_PER_BYTE * bandwidth

    def attainable(self, precision: str) -> float:
        """The most that matmuls reach, FLOP/s: the peak × `attainable_share`."""
        return self.peak(precision) * self.attainable_share


@dataclass(frozen=True)
class Match:
    """The chip a name stands for, and what had to be chosen to say so."""

    chip: Chip
    note: str | None


def chips() -> dict[str, Chip]:
    """Every chip of the catalog, the user's rows laid over ours.

    Raises:
        InputError: a cell that is no number.
    """
    return {row.text("id"): _chip(row) for row in read_catalog("hardware", "id")}


def shipped_chips() -> dict[str, Chip]:
    """The chips as groundup ships them: what published runs are measured against."""
    return {row.text("id"): _chip(row) for row in read_rows(SHIPPED / "hardware.csv")}


def find_chip(name: str) -> Chip:
    """The chip of that id or alias (``a100-80gb``, ``NVIDIA H100 80GB HBM3``, ``tpu v4``).

    Raises:
        InputError: no such chip; the nearest are named. A peak is never assumed.
    """
    return match_chip(name).chip


def match_chip(name: str) -> Match:
    """As `find_chip`, with a note where the name stands for more than one chip (``a100``).

    Raises:
        InputError: no such chip.
    """
    rows = read_catalog("hardware", "id")
    wanted = _plain(name)
    names: dict[str, Row] = {}
    loose: dict[str, Row] = {}
    for row in rows:
        for alias in (row.text("id"), *row.text("aliases").split("|")):
            names.setdefault(_plain(alias), row)
        for alias in row.text("ambiguous_aliases").split("|"):
            loose.setdefault(_plain(alias), row)
    for table in (names, loose):
        table.pop("", None)
    if wanted in names:
        return Match(_chip(names[wanted]), None)
    if wanted in loose:
        chip = _chip(loose[wanted])
        others = [row.text("id") for row in rows if _plain(row.text("id")).startswith(wanted[:4])]
        rest = ", ".join(other for other in others if other != chip.id)
        return Match(
            chip, f"{name} is taken as {chip.id}" + (f"; there is also {rest}" * bool(rest))
        )
    known = {**names, **loose}
    nearest = difflib.get_close_matches(wanted, known, n=5, cutoff=0.5)
    ids = list(dict.fromkeys(known[alias].text("id") for alias in nearest))
    listed = ids or [row.text("id") for row in rows]
    raise InputError(
        f"there is no chip {name!r} in the catalog, and no peak is assumed",
        where="chip",
        fix=("the nearest are " if ids else "known are ") + ", ".join(listed) + "; add yours to "
        "hardware.csv in the folder of GROUNDUP_CATALOG",
    )


def with_peak(chip: Chip, flops: float, precision: str) -> Chip:
    """The chip with another peak in one precision, FLOP/s (a user's own figure).

    Raises:
        InputError: it is not a positive number.
    """
    require_positive(flops, "peak")
    return dataclasses.replace(chip, peak_flops={**chip.peak_flops, precision: flops})


def peak_warnings(chip: Chip) -> list[str]:
    """What is wrong with the peaks of a chip: sparse figures, and rates below the measured one.

    A peak is suspected where it is twice the dense one we ship for the same chip, or for any chip
    whose data sheet has sparse figures (624 is twice the A100's 312, 1979 twice the H100's 989.4).
    """
    shipped = shipped_chips()
    same = [shipped[chip.id]] if chip.id in shipped else []
    others = [] if same else [known for known in shipped.values() if known.sparsity]
    found = []
    for precision, peak in chip.peak_flops.items():
        for known in same or others:
            dense = known.peak_flops.get(precision)
            if known.sparsity and dense and abs(peak / (2 * dense) - 1) < 0.02:
                found.append(
                    f"{chip.id}: {peak / 1e12:.4g} TFLOP/s in {precision} is a 2:4 sparsity "
                    f"number, twice the dense {dense / 1e12:.4g} of {known.id}; training is dense"
                )
                break
    measured, precision = chip.measured_matmul_flops, chip.training_precision
    if measured and precision in chip.peak_flops and measured > chip.peak_flops[precision]:
        found.append(
            f"{chip.id}: the measured matmul rate of {measured / 1e12:.4g} TFLOP/s is above the "
            f"peak of {chip.peak_flops[precision] / 1e12:.4g} in {precision}"
        )
    return found


def peak_from_clock(clock_hz: float, multiply_adds_per_clock: float, n_units: int) -> float:
    """Peak FLOP/s from the silicon: clock × multiply-adds per clock and unit × 2 × units.

    The A100: 1410 MHz × 256 × 2 × 432 tensor cores = 311.9 TFLOP/s (Bekman, ml-engineering).

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(clock_hz, "clock_hz")
    require_positive(multiply_adds_per_clock, "multiply_adds_per_clock")
    require_positive(n_units, "n_units")
    return clock_hz * multiply_adds_per_clock * 2 * n_units


def _chip(row: Row) -> Chip:
    def scaled(column: str, unit: float) -> float | None:
        value = row.number(column)
        if value is not None and value < 0:
            raise InputError(f"{column} is {value:g}, below zero", where=row.where)
        return None if value is None else value * unit

    peaks = {name: scaled(f"{name}_tflops", 1e12) for name in PRECISIONS}
    link = scaled("link_gb_per_second_both_directions", 1e9 / 2)
    network = scaled("network_gbit_per_second", 1e9 / 8)
    usd, usd_low = scaled("usd_per_hour", 1), scaled("low_usd_per_hour", 1)
    if usd is not None and usd_low is not None:
        usd_low = min(usd, usd_low)  # a user's row may have only the first of them
    assumed = []
    if link is None:
        assumed.append(f"link: {PCIE_BYTES_PER_SECOND / 1e9:g} GB/s (PCIe 4 x16)")
    if network is None:
        assumed.append(f"network: {ETHERNET_BYTES_PER_SECOND / 1e9:g} GB/s (100 Gbit/s)")
    if row.number("measured_bf16_tflops") is None:
        assumed.append(f"matmuls reach {UNMEASURED_SHARE:.0%} of the peak (not measured)")
    return Chip(
        id=row.text("id"),
        vendor=row.text("vendor"),
        peak_flops={name: peak for name, peak in peaks.items() if peak},
        measured_matmul_flops=scaled("measured_bf16_tflops", 1e12),
        memory_bytes=scaled("memory_gb", 2**30),  # "80 GB" of HBM are 81,920 MiB on the device
        memory_bandwidth=scaled("memory_bandwidth_gb_per_second", 1e9),
        link_bytes_per_second=link or PCIE_BYTES_PER_SECOND,
        node_size=int(row.number("node_chips") or 1),
        network_bytes_per_second=network or ETHERNET_BYTES_PER_SECOND,
        watts=scaled("watts", 1),
        usd_per_hour=usd,
        low_usd_per_hour=usd_low,
        price_source=row.text("price_source"),
        price_date=row.day("price_date"),
        buy_usd=scaled("buy_usd", 1),
        note=row.text("note"),
        source=row.text("source"),
        assumed=tuple(assumed),
        special_functions_per_second=scaled("special_function_tera_per_second", 1e12),
        sparsity=row.text("has_2_4_sparsity") == "yes",
    )


def _plain(name: str) -> str:
    """A name for comparing: no case, no punctuation, no maker."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    makers = {"nvidia", "amd", "google", "cerebras", "tesla", "geforce", "instinct", "gpu"}
    return "".join(word for word in words if word not in makers)
