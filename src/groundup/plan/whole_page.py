"""The sections of ``plan.html``: the plan's tables, and what it would be with another choice.

The charts are drawn for the plan's own budget: loss over size at equal compute with the two sides
of the minimum, the white paper's two models of one budget, and smaller models trained for longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundup.charts import Bar, bar_chart
from groundup.plan.laws import LOSS_LAW, surface, surfaces
from groundup.plan.loss_surface import TRAINING_FLOPS
from groundup.plan.page import Section
from groundup.plan.plots import IsoFlop, equal_compute_chart, isoflop_chart, smaller_longer_chart
from groundup.plan.whole import Estimate
from groundup.tables import Table
from groundup.units import format_count

BUDGETS = (0.1, 1.0, 10.0)  # of the plan's FLOPs
WIDTH, N_POINTS = 30.0, 61  # the sizes of a curve: the optimum divided and multiplied by
PAPER_CORPUS_TOKENS = 1e12  # the paper gives shares of a corpus and not its size: an example
PAPER_CASES = ((20e9, 0.4), (200e9, 0.04))
SMALLEST, LARGEST = 0.2, 2.0  # of the plan's parameters, in "smaller, longer"


def sections(plan: Estimate, tables: Sequence[Table]) -> list[Section]:
    """The page's parts: the plan, its size, its layout and money.

    Args:
        plan: what is shown.
        tables: of `whole_report.estimate_tables`: summary, laws, layouts, memory, money, notes.
    """
    summary, laws, layouts, memory, *money, notes = tables
    memory_bars = [
        Bar(kind, size / 2**30) for kind, size in plan.layouts.ranked[0].memory_bytes.items()
    ]
    parts = plan.time.parts
    return [
        Section("The plan", tables=[summary]),
        # The layout's own words stand with the machines below.
        Section("What to know before believing it", notes=[
            text for row in notes.rows if (text := str(row[0])) != plan.layouts.explanation
        ]),
        Section(
            "How big, on how much text",
            text=[
                "At equal compute a model can be too small, and read its text when it could no "
                "longer learn much from it, or too large, and not read enough. The laws differ "
                "about where the minimum lies; the curves are those of " + LOSS_LAW + ".",
                "The chart of 20B on 40% and 200B on 4% is the white paper's own example; it names "
                f"no size of the corpus, so {format_count(PAPER_CORPUS_TOKENS)} tokens are taken.",
            ],
            charts=[_isoflops(plan), _two_models(plan), _papers_two_models(), _longer(plan)],
            tables=[laws],
        ),
        Section(
            "On which machines",
            text=[plan.layouts.explanation],
            charts=[
                bar_chart("Memory of the fullest device, GiB", memory_bars, "GiB"),
                *(
                    [bar_chart("Where a step's time goes", [Bar(k, v) for k, v in parts.items()],
                               "share of the step", form=".0%")]
                    if parts
                    else []
                ),
            ],
            tables=[layouts, memory],
        ),
        Section("For how much", tables=money),
    ]  # fmt: skip


def _isoflops(plan: Estimate) -> str:
    """Loss over size for the plan's budget, a tenth and ten times of it."""
    law = surface(LOSS_LAW)
    curves = []
    for share in BUDGETS:
        flops = plan.flops * share
        middle, _ = law.optimum(flops)
        sizes = [middle * WIDTH ** (2 * i / (N_POINTS - 1) - 1) for i in range(N_POINTS)]
        losses = [law.loss(n, flops / TRAINING_FLOPS / n) for n in sizes]
        curves.append(IsoFlop(flops, sizes, losses))
    return isoflop_chart(curves)


def _two_models(plan: Estimate) -> str:
    """The plan's model on its text, and one ten times as large on a tenth of it."""
    n = float(plan.active_params)
    cases = ((n, 1.0), (10 * n, 0.1))
    law = surface(LOSS_LAW)
    losses = [law.loss(size, plan.tokens * share) for size, share in cases]
    return equal_compute_chart(plan.tokens, cases, losses, name="This plan's budget")


def _papers_two_models() -> str:
    """20B on 40 % of a corpus, or 200B on 4 % of it."""
    law = surface(LOSS_LAW)
    losses = [law.loss(n, share * PAPER_CORPUS_TOKENS) for n, share in PAPER_CASES]
    return equal_compute_chart(
        PAPER_CORPUS_TOKENS, PAPER_CASES, losses, name="The white paper's example of one budget"
    )


def _longer(plan: Estimate) -> str:
    """Tokens that other sizes need for the loss of this plan, by every law with a surface."""
    n, ratio = float(plan.active_params), LARGEST / SMALLEST
    sizes = [n * SMALLEST * ratio ** (i / (N_POINTS - 1)) for i in range(N_POINTS)]
    curves: dict[str, list[tuple[float, float]]] = {}
    for law, of in surfaces().items():
        loss = of.loss(n, plan.tokens)
        reached = [(size, of.tokens_for_loss(size, loss)) for size in sizes]
        curves[law] = [
            (size, tokens)
            for size, tokens in reached
            if tokens is not None and tokens < 30 * plan.tokens
        ]
    return smaller_longer_chart(curves, n, plan.tokens)
