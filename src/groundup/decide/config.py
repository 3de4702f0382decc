"""The ``decide`` section: the answers about a project. All may be left open.

The names are those of the criteria (`catalog/criteria.csv`, column ``field``) and of what the costs
need besides. An answer of null fires no rule and is listed as not known. ``yes`` and ``no`` may be
written as such; amounts as ``$20M``, ``2T``, or roughly as low, medium, high.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from groundup.section import Section
from groundup.units import Count, Money

Level = Literal["low", "medium", "high"]
LEVELS = ("low", "medium", "high")
Skill = Literal["none", "low", "medium", "expert"]
SKILLS = ("none", "low", "medium", "expert")
UNKNOWN = ("", "?", "unknown", "don't know", "dont know", "do not know")

# What is of this world; beyond it a number is a slip of the keyboard (as in `plan.limits`).
MOST_TOKENS = 10**20
MOST_EXAMPLES = 10**12
MOST_CHIPS = 10**7
MOST_USD = 1e15  # some ten times what the world earns in a year
MOST_USD_A_PERSON = 1e8  # a month


def _without_percent(value: Any, whole: float) -> Any:
    """``30%`` as a part of ``whole``; anything else as it is."""
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip().removesuffix("%")) * whole / 100
        except ValueError:
            raise ValueError(f"{value!r} is no share; write it like 0.3 or 30%") from None
    return value


Tokens = Annotated[Count, Field(le=MOST_TOKENS)]
Usd = Annotated[Money, Field(le=MOST_USD)]
Share = Annotated[float, BeforeValidator(lambda value: _without_percent(value, 1))]
Percent = Annotated[float, BeforeValidator(lambda value: _without_percent(value, 100))]


class DecideConfig(Section):
    """What is asked before anything is bought or trained; null is "don't know"."""

    task_is_narrow: bool | None = None
    """Is it one narrow task, say one classification, that needs neither generality nor free
    text?"""
    needs_chat: bool | None = None
    """Must it converse or write free text?"""
    needs_full_generality: bool | None = None
    """Must it answer whatever anybody asks?"""
    needs_frontier_quality: bool | None = None
    """Must the answers be as good as those of the best models there are?"""
    stage: Literal["prototype", "product"] | None = None
    """Is it a prototype or a product?"""
    prompting_ceiling_measured: bool | None = None
    """Was it measured on your own test how far prompting gets, and is that too little?"""
    peft_ceiling_measured: bool | None = None
    """Was it measured how far PEFT gets, and is that too little?"""
    full_tuning_ceiling_measured: bool | None = None
    """Was it measured how far full fine-tuning gets, and is that too little?"""

    tokens_per_month: Tokens | Level | None = None
    """Tokens read and written a month (`500M`), or low, medium, high."""
    output_share: Share | None = Field(None, ge=0, le=1)
    """Share of those tokens that the model writes (`30%`); null: a third, as in the slides."""
    growth_per_month: Share | None = Field(None, gt=-1, le=1)
    """Growth of the volume from month to month: `5%` or 0.05."""
    horizon_months: int | None = Field(None, ge=1, le=600)
    """Months over which costs are added up; null: 12."""
    latency_seconds: float | None = Field(None, gt=0, le=1e6)
    """Longest time a user may wait for one written token, in seconds."""

    data_may_leave_org: bool | None = None
    """May your data go to a provider outside the organisation?"""
    regulated_or_edge: bool | None = None
    """Is the data regulated or sensitive, or is the place or latency of the model fixed?"""
    edge_or_offline: bool | None = None
    """Must it run at the edge or without a network?"""
    unique_tokens: Tokens | None = None
    """Different tokens of text there are to train on, yours and public."""
    proprietary_tokens: Tokens | Level | None = None
    """Tokens of text that nobody else has (`2T`), or low, medium, high."""
    data_grows: bool | None = None
    """Does use bring back data that makes the model better?"""
    labelled_examples: Count | None = Field(None, le=MOST_EXAMPLES)
    """Labelled examples of the task."""
    must_control_training_data: bool | None = None
    """Must you answer for every training text (quality, bias, toxicity)?"""

    change_architecture_or_tokenizer: bool | None = None
    """Must architecture, tokenizer or vocabulary be others than an existing model's?"""
    needs_full_control: bool | None = None
    """Do you need full control of what the model becomes?"""
    needs_version_control: bool | None = None
    """Must you decide when the model changes?"""
    needs_rlhf: bool | None = None
    """Must it be aligned with people's preferences (RLHF)?"""
    params: Count | None = None
    """Size of the model you have in mind, in parameters (`70B`); null: 7B."""
    tokens: Count | None = None
    """Tokens a model from scratch is to be trained on; null: what the law gives for its size."""
    option_wanted: Literal["buy", "adapt", "train"] | None = None
    """The option somebody already wants."""

    llm_is_core_moat: bool | None = None
    """Is the language model itself the advantage that you sell?"""
    external_product_core: bool | None = None
    """Would the core of your product depend on someone else's model?"""
    team_llm_skill: Skill | None = None
    """How well the team knows how to train language models: none, low, medium, expert."""
    upfront_budget: Usd | Level | None = None
    """US dollars before the first user (`$50k`), or low, medium, high."""
    budget: Usd | Level | None = None
    """US dollars in all (`$20M`), or low, medium, high."""
    deadline_months: float | None = Field(None, ge=0, le=1200)
    """Months until it must be in use."""
    discount_pct: Percent | None = Field(None, ge=0, lt=100)
    """Discount on list prices that you have, in percent; null: none."""
    people_usd_per_month: Money | None = Field(None, le=MOST_USD_A_PERSON)
    """US dollars a month for one person with overhead; null: see `catalog/assumptions.csv`."""
    hardware_owned: Count | None = Field(None, le=MOST_CHIPS)
    """Chips of the kind `chip` that you own: their hours are not rented."""
    chip: str = "H100-SXM"
    """The chip to train and serve on (`groundup plan hardware` lists them)."""
    api_model: str = "gpt-6-sol"
    """The row of the price book that stands for buying (`groundup decide prices`)."""
    commercial_use: bool | None = None
    """Will it be used commercially? Models under research licences then drop out."""

    @model_validator(mode="before")
    @classmethod
    def _unknown_is_null(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            key: None if isinstance(value, str) and value.strip().lower() in UNKNOWN else value
            for key, value in values.items()
            if not (value is None and key in ("chip", "api_model"))  # null keeps their default
        }


def question(name: str) -> str:
    """What is asked for an answer, on one line."""
    return " ".join((DecideConfig.model_fields[name].description or "").split())
