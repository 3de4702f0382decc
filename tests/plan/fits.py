"""Runs that follow a known law, for the tests of fits."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

from groundup.plan.loss_surface import LossSurface
from groundup.plan.run_table import Run

# 245 digitised points of Hoffmann et al. 2022 (Besiroglu et al. 2024). They state no licence and so
# are not in this repository: what needs them runs where they lie beside it.
POINTS = Path(__file__).parents[3] / "shared" / "planner" / "chinchilla_points_epoch.csv"
# Besiroglu et al. 2024 (arXiv:2404.10102), table 1: coefficients and standard errors.
BESIROGLU = LossSurface(1.8172, 482.01, 0.3478, 2085.43, 0.3658)
STANDARD_ERRORS = {"E": 0.03, "A": 124.58, "B": 1293.23, "alpha": 0.02, "beta": 0.02}
A_OF_BESIROGLU = 0.3658 / (0.3478 + 0.3658)


def scattered(noise: float, n: int = 240, seed: int = 0) -> list[Run]:
    """As many and as large runs as Hoffmann et al. have, of the law of Besiroglu et al."""
    random = Random(seed)
    runs = []
    for _ in range(n):
        params, ratio = 10 ** random.uniform(7.6, 10.2), 10 ** random.uniform(0, 2.5)
        loss = BESIROGLU.loss(params, params * ratio) * math.exp(random.gauss(0, noise))
        runs.append(Run(params, params * ratio, loss))
    return runs


def grid(noise: float = 0.0, seed: int = 0) -> list[Run]:
    """Eight sizes at three lengths each."""
    random = Random(seed)
    sizes = [10 ** (7.5 + 0.35 * place) for place in range(8)]
    return [
        Run(n, n * ratio, BESIROGLU.loss(n, n * ratio) * math.exp(random.gauss(0, noise)))
        for n in sizes
        for ratio in (3, 20, 90)
    ]


def isoflop_runs(law: LossSurface, noise: float = 0.0, seed: int = 0) -> list[Run]:
    """Ten sizes at each of nine budgets, around the optimum of ``law``."""
    random = Random(seed)
    runs = []
    for flops in (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21):
        best, _ = law.optimum(flops)
        for place in range(-4, 6):
            params = best * 1.5 ** (place + 0.3)
            tokens = flops / 6 / params
            loss = law.loss(params, tokens) * math.exp(random.gauss(0, noise))
            runs.append(Run(params, tokens, loss))
    return runs


def training_curves(law: LossSurface, noise: float = 0.0, seed: int = 0) -> list[Run]:
    """Twenty sizes with sixty points along the training of each."""
    random = Random(seed)
    return [
        Run(
            (params := 1e8 * 1.35**size),
            (tokens := params / 2 * 1.12**step),
            law.loss(params, tokens) * math.exp(random.gauss(0, noise)),
        )
        for size in range(20)
        for step in range(60)
    ]
