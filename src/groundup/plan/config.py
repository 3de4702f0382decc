"""The ``plan`` section: what may be spent, and what an hour of this machine costs and draws."""

from __future__ import annotations

from pydantic import Field

from groundup.errors import ConfigError
from groundup.section import Section
from groundup.units import Duration, Money


class PlanConfig(Section):
    """The budget from which size and steps are chosen, and the prices of the prediction."""

    budget: Duration | None = None
    """Wall-clock time of pre-training, evaluations and checkpoints included (`4m`, `1h30m`); null:
    model size and steps are written in the file and only predicted."""
    price_per_hour: Money | None = None
    """US dollars per hour of the whole machine; null: a cloud machine of the same kind, from the
    dated list in `plan/catalog/machines.csv`."""
    watts: float | None = Field(None, gt=0)
    """Electrical power of the whole machine under load; null: from the same list."""
    power_usage_effectiveness: float = Field(1.1, ge=1)
    """Power of the building over power of its machines: 1.1 as in LLaMA (Touvron et al. 2023,
    table 15); 1 for a machine at home."""

    def require_budget(self, *, n_layers: int | None, steps: int | None) -> None:
        """Refuse to plan where nothing says how much: known before anything is read or measured.

        Raises:
            ConfigError: size or steps are open and there is no budget.
        """
        if self.budget is None and (n_layers is None or steps is None):
            raise ConfigError(
                "without a budget the plan can choose neither size nor steps",
                where="plan.budget",
                fix="set plan.budget (say 4m), or model.n_layers, model.d_model and pretrain.steps",
            )
