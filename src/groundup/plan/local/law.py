"""Loss as a function of parameters N and training tokens D.

    L(N, D) = E + A / N^alpha + B / (D + D0)^beta

The form is that of Hoffmann et al. (2022, arXiv:2203.15556, approach 3) with one addition, D0: near
D = 0 a pure power is infinite, where a real run starts at the uniform distribution's finite loss.
Published coefficients are nats of another tokenizer at a thousand times our size, so `fit.py` fits
our own from `catalog/small_scale_runs.csv`; the loss is then in bits per byte, and N leaves out the
embeddings (as Kaplan et al. 2020 do), which at small size would be half of all parameters.

The band joins the spread of the runs around the law with the jackknife variance of the law itself
(Tukey 1958): it widens where leaving out one run changes the prediction, as when extrapolating.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from groundup.errors import InputError
from groundup.plan.laws import effective_tokens
from groundup.plan.loss_surface import LossSurface

SMALL_SCALE_RUNS = Path(__file__).parents[1] / "catalog" / "small_scale_runs.csv"


@dataclass(frozen=True)
class Run:
    """One finished training run."""

    parameters: float  # without embeddings, in our own runs
    tokens: float
    loss: float  # bits per byte, in our own runs
    unique_tokens: float | None = None  # None: no text was seen twice
    corpus: str = ""

    @property
    def effective_tokens(self) -> float:
        """Tokens, repeated ones at their worth."""
        return effective_tokens(self.tokens, self.unique_tokens or self.tokens)


@dataclass(frozen=True)
class Coefficients:
    """E, A, alpha, B, beta and D0 of the formula above."""

    irreducible: float
    a: float
    alpha: float
    b: float
    beta: float
    offset_tokens: float = 0.0

    def loss(self, parameters: float, tokens: float) -> float:
        """Loss at N = ``parameters`` and D = ``tokens`` (effective ones, where text repeats)."""
        fresh = LossSurface(self.irreducible, self.a, self.alpha, self.b, self.beta)
        return fresh.loss(parameters, tokens + self.offset_tokens)


@dataclass(frozen=True)
class Law:
    """Fitted coefficients, how far runs lie from them, and what they would be without each run."""

    coefficients: Coefficients
    refits: tuple[Coefficients, ...]  # one per left-out size and length
    noise: float  # standard deviation of a run's log loss around the law
    degrees_of_freedom: int
    parameters_range: tuple[float, float]
    tokens_range: tuple[float, float]
    corpora: tuple[str, ...]

    def predict(self, parameters: float, tokens: float) -> float:
        """Bits per byte."""
        return self.coefficients.loss(parameters, tokens)

    def band(self, parameters: float, tokens: float) -> tuple[float, float]:
        """90 % interval of one run's bits per byte: its own noise, and the jackknife of the fit."""
        logs = [math.log(refit.loss(parameters, tokens)) for refit in self.refits]
        n, mean = len(logs), sum(logs) / len(logs)
        fit_variance = (n - 1) / n * sum((value - mean) ** 2 for value in logs)
        width = t_quantile_95(self.degrees_of_freedom) * math.sqrt(self.noise**2 + fit_variance)
        middle = self.predict(parameters, tokens)
        return middle * math.exp(-width), middle * math.exp(width)


def t_quantile_95(degrees_of_freedom: int) -> float:
    """Student's t at 95 %, by the Cornish–Fisher expansion (Abramowitz & Stegun 26.7.5)."""
    z, v = 1.6448536269514722, degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def read_runs(path: Path = SMALL_SCALE_RUNS, family: str | None = None) -> list[Run]:
    """The runs of a CSV file.

    Columns used: corpus, family, non_embedding_parameters, tokens, bits_per_byte, and, where text
    was repeated, unique_tokens (how many the corpus held).

    Args:
        path: the file; by default the runs that groundup ships.
        family: keep this family's runs, if there are enough of them for a law; else keep all.

    Raises:
        InputError: no such file, a missing column or a value that is not a number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        runs = [
            Run(
                float(row["non_embedding_parameters"]),
                float(row["tokens"]),
                float(row["bits_per_byte"]),
                float(row["unique_tokens"]) if row.get("unique_tokens") else None,
                row["corpus"],
            )
            for row in rows
        ]
        own = [run for run, row in zip(runs, rows, strict=True) if row["family"] == family]
        if not runs:
            raise ValueError("it has no rows")
    except FileNotFoundError as error:
        raise InputError(
            "the runs behind the scaling law are not there", where=str(path)
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"not a table of runs: {error!r}", where=str(path)) from error
    return own if len({(run.parameters, run.tokens) for run in own}) >= 8 else runs
