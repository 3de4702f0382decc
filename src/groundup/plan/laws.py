"""Scaling laws: how large a model, on how much text, for a given amount of compute.

N is parameters, D training tokens, C = 6ND training FLOPs. Two forms cover what is published:

    power laws      N = k C^a and D = C / 6N   (or D given and N = C / 6D, or both given)
    loss surfaces   L(N, D) = E + A / N^alpha + B / D^beta   (Hoffmann et al. 2022, approach 3)

The optimum of such a surface at fixed 6ND is itself a power law, so every law here is a pair of
power laws in C and is solved exactly from N, from C or from D. Coefficients, their sources and what
is wrong with each law stand in ``catalog/laws.csv``; no law is the truth, so look at all of them.

Repeated text: Muennighoff et al. (2023, arXiv:2305.16264), `effective_tokens` and
`data_constrained_loss`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from groundup.errors import ConfigError, InputError
from groundup.plan import catalogs
from groundup.plan.limits import (
    require_flops,
    require_parameters,
    require_planned,
    require_positive,
    require_tokens,
)
from groundup.plan.loss_surface import KaplanSurface, PowerLaw, with_other
from groundup.plan.loss_surface import LossSurface as LossSurface  # part of this module's interface
from groundup.units import format_ratio

DEFAULT_LAW = "chinchilla-1"
LOSS_LAW = "besiroglu"
WHY_DEFAULT = (
    "chinchilla-1 is the default: it is the table the white paper prints (its nine rows come back "
    "within 1 %, but for 67B, whose parameters and tokens are printed rounded: at its 5.76e23 "
    "FLOPs they are 67.8B and 1.42T) and it lies in the middle of the laws. Losses are predicted "
    "by besiroglu, because the surface that was published misses its own table."
)

GOPHER_FLOPS = 5.76e23  # budget of Gopher and of Chinchilla, the unit of Hoffmann et al. 2022

REPETITION_SCALE = 15.387756  # R*_D of Muennighoff et al. 2023, appendix A: repeats of text
EXCESS_SCALE = 5.309743  # R*_N of the same: parameters beyond what the text can use


@dataclass(frozen=True)
class Point:
    """What one law says: the compute-optimal size, text and budget, and the loss there."""

    law: str
    params: float
    tokens: float
    flops: float
    loss: float | None  # nats per token of the law's own text and tokenizer
    default: bool = False
    note: str = ""

    @property
    def tokens_per_param(self) -> float:
        """D/N."""
        return self.tokens / self.params


def frontier(
    *,
    params: float | None = None,
    flops: float | None = None,
    tokens: float | None = None,
    law: str | None = None,
) -> list[Point]:
    """The compute-optimal point for one given number, by every listed law or by ``law``.

    Args:
        params: model size.
        flops: training budget.
        tokens: training text.
        law: an id of `laws`; None: all that are listed, the superseded ones among them, but for
            those that answer with something absurd.

    Raises:
        ConfigError: not exactly one of the three is given, or no such law.
        InputError: a number that is not positive, or absurd; so are the answers of all laws asked.
    """
    given = {"params": params, "flops": flops, "tokens": tokens}
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise ConfigError(
            f"give exactly one of params, flops and tokens ({len(named)} were given)",
            fix="give one: it decides the other two",
        )
    ((name, value),) = named.items()
    check = {"params": require_parameters, "flops": require_flops, "tokens": require_tokens}[name]
    value = check(value)
    if law is not None:
        return [_planned(find_law(law).point(**{name: value}))]
    points: list[Point] = []
    absurd: list[InputError] = []
    for each in laws().values():
        if each.listed:
            try:
                points.append(_planned(each.point(**{name: value})))
            except InputError as error:
                absurd.append(error)
    if not points:
        raise absurd[0]
    return points


def loss_by_law(params: float, tokens: float) -> dict[str, float]:
    """The loss of ``params`` trained on ``tokens``, by every listed law with an additive surface.

    Each in nats per token of its own text: compare two models under one law, not two laws on one
    model. Kaplan's surface, of another form, is in `Law.loss`; it ranks Gopher before Chinchilla.

    Raises:
        InputError: a number that is not positive, or absurd.
    """
    n, d = require_parameters(params), require_tokens(tokens)
    return {law: surface.loss(n, d) for law, surface in surfaces().items()}


def multipliers(flops_ratio: float, law: str = DEFAULT_LAW) -> tuple[float, float]:
    """The growth of the optimal parameters and tokens when the budget grows ``flops_ratio`` fold.

    Raises:
        ConfigError: no such law.
        InputError: a ratio that is not positive.
    """
    found = find_law(law)
    require_positive(flops_ratio, "flops_ratio")
    return flops_ratio**found.params.exponent, flops_ratio**found.tokens.exponent


def effective_tokens(tokens: float, unique_tokens: float) -> float:
    """What ``tokens`` drawn from ``unique_tokens`` are worth in fresh ones.

    D' = U (1 + R* (1 - exp(-R / R*))) with R = D/U - 1 repetitions (Muennighoff et al. 2023,
    equation 5): four epochs are nearly as good as fresh text, forty add next to nothing.

    Raises:
        InputError: a number that is not positive.
    """
    require_positive(tokens, "tokens")
    require_positive(unique_tokens, "unique_tokens")
    if tokens <= unique_tokens:
        return tokens
    repetitions = tokens / unique_tokens - 1
    worth = REPETITION_SCALE * -math.expm1(-repetitions / REPETITION_SCALE)
    return unique_tokens * (1 + worth)


def data_constrained_loss(params: float, tokens: float, unique_tokens: float) -> float:
    """The loss of ``params`` trained on ``tokens`` of which ``unique_tokens`` differ.

    Repeated tokens lose their worth, and so do parameters beyond the optimum for the unique tokens
    (Muennighoff et al. 2023, equation 6, with the coefficients of their repository). With more
    unique tokens than are trained on, nothing is repeated.

    Raises:
        InputError: a number that is not positive, or absurd.
    """
    n, d = require_parameters(params), require_tokens(tokens)
    unique = min(require_tokens(unique_tokens, "unique_tokens"), d)
    law = surface("muennighoff")
    base = min(n, law.optimal_params(unique))
    excess = n / base - 1
    n_effective = base * (1 + EXCESS_SCALE * -math.expm1(-excess / EXCESS_SCALE))
    return law.loss(n_effective, effective_tokens(d, unique))


def surface(law: str) -> LossSurface:
    """The additive loss surface of ``law``.

    Raises:
        ConfigError: no such law, or one without such a surface.
    """
    found = find_law(law).loss_surface
    if not isinstance(found, LossSurface):
        having = [each.id for each in laws().values() if isinstance(each.loss_surface, LossSurface)]
        raise ConfigError(
            f"the law {law} has no loss surface E + A/N^alpha + B/D^beta",
            where="law",
            fix=f"choose one of {', '.join(having)}",
        )
    return found


def name_of_optimum(law: str) -> str:
    """The law whose sizes are the optimum of ``law``'s own surface.

    chinchilla-3 has the sizes of the paper's table, and the surface of chinchilla-3-unrounded.

    Raises:
        ConfigError: no such law, or one without such a surface.
    """
    of = surface(law)
    own = of.power_laws()[0]
    same = [each.id for each in laws().values() if each.loss_surface == of and each.params == own]
    return law if law in same or not same else same[0]


def surfaces() -> dict[str, LossSurface]:
    """The additive surfaces of the listed laws."""
    return {
        law.id: law.loss_surface
        for law in laws().values()
        if law.listed and isinstance(law.loss_surface, LossSurface)
    }


@dataclass(frozen=True)
class Law:
    """A published law: its optimal sizes as power laws of compute, and its loss if it has one."""

    id: str
    title: str
    status: str  # listed; superseded: listed, but not in a band; extra: only by its name
    params: PowerLaw
    tokens: PowerLaw
    loss_surface: LossSurface | KaplanSurface | None
    fitted_flops: float | None  # largest run behind the fit
    source: str
    verification: str
    note: str

    @property
    def listed(self) -> bool:
        """Whether `frontier` shows it unasked."""
        return self.status != "extra"

    @property
    def in_band(self) -> bool:
        """Whether it counts where a range over laws is given."""
        return self.status == "listed"

    def loss(self, params: float, tokens: float) -> float | None:
        """Nats per token, or None for a law of sizes only."""
        return self.loss_surface.loss(params, tokens) if self.loss_surface else None

    def point(
        self,
        *,
        params: float | None = None,
        flops: float | None = None,
        tokens: float | None = None,
    ) -> Point:
        """The optimum for the one number that is given; that number comes back as it was."""
        if params is not None:
            flops = self.params.inverse(params)
        elif tokens is not None:
            flops = self.tokens.inverse(tokens)
        assert flops is not None  # the caller gives one of the three
        n = self.params.at(flops) if params is None else params
        d = self.tokens.at(flops) if tokens is None else tokens
        default = self.id == DEFAULT_LAW
        return Point(self.id, n, d, flops, self.loss(n, d), default, self._note(flops))

    def _note(self, flops: float) -> str:
        """The catalog's note, and how far beyond its runs the law is asked."""
        if self.fitted_flops is None or flops <= 10 * self.fitted_flops:
            return self.note
        far = flops / self.fitted_flops
        times = format_ratio(far)
        return f"{self.note} Extrapolated: {times} times the compute of its largest run."


def _planned(point: Point) -> Point:
    """The point, if all of it is of this world."""
    require_planned(point.params, "params", point.law)
    require_planned(point.tokens, "tokens", point.law)
    require_planned(point.flops, "flops", point.law)
    return point


def find_law(name: str) -> Law:
    """The law called ``name``; capitals and underscores do not matter.

    Raises:
        ConfigError: there is none; the nearest ids are named.
    """
    known = laws()
    for spelling in (name, name.strip().lower().replace("_", "-")):
        if spelling in known:
            return known[spelling]
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(
        f"there is no law {name!r}", where="law", fix=f"{hint}known are {', '.join(known)}"
    )


@catalogs.cached
def laws() -> Mapping[str, Law]:
    """Every law of the catalog by its id, in the catalog's order.

    Raises:
        InputError: the user's own catalog has a row that is no law.
    """
    return {row.text("law"): _law(row) for row in catalogs.read_catalog("laws", "law")}


def _law(row: catalogs.Row) -> Law:
    found = _surface(row)
    unit = row.number("flops_unit") or 1.0
    to_params, to_tokens = (_power_law(row, name, unit) for name in ("params", "tokens"))
    if to_params and to_tokens is None:
        to_params, to_tokens = with_other(to_params)
    elif to_tokens and to_params is None:
        to_tokens, to_params = with_other(to_tokens)
    elif isinstance(found, LossSurface) and to_params is None:
        to_params, to_tokens = found.power_laws()
    if to_params is None or to_tokens is None:
        raise InputError("a law needs sizes, tokens or a loss surface", where=row.where)
    return Law(
        row.text("law"),
        row.text("title"),
        row.text("status"),
        to_params,
        to_tokens,
        found,
        row.number("fitted_flops"),
        row.text("source"),
        row.text("verification"),
        row.text("note"),
    )


def _surface(row: catalogs.Row) -> LossSurface | KaplanSurface | None:
    form = row.text("loss_form")
    if not form:
        return None
    a, alpha, b, beta = (_above_zero(row, name) for name in ("a", "alpha", "b", "beta"))
    if form == "kaplan":
        return KaplanSurface(a, alpha, b, beta)
    return LossSurface(row.needed("irreducible"), a, alpha, b, beta)


def _power_law(row: catalogs.Row, name: str, unit: float) -> PowerLaw | None:
    """The columns of ``name``, with C in FLOPs whatever unit the paper has."""
    if row.number(f"{name}_coefficient") is None:
        return None
    exponent = _above_zero(row, f"{name}_exponent")
    return PowerLaw(_above_zero(row, f"{name}_coefficient") / unit**exponent, exponent)


def _above_zero(row: catalogs.Row, name: str) -> float:
    value = row.needed(name)
    if not value > 0:
        raise InputError(f"{name} is {value:g}, but must be greater than zero", where=row.where)
    return value
