import csv
from datetime import date
from pathlib import Path

import pytest

from groundup.architecture.presets import PRESETS
from groundup.errors import InputError
from groundup.plan.hardware import find_chip
from groundup.plan.landscape import ASSUMED_MFU, landscape, own_plan, reprice
from groundup.plan.milestones import find_milestones, milestones
from groundup.plan.prices import price_on
from groundup.plan.time import GOODPUT

SHARED = Path(__file__).parents[3] / "shared" / "planner"
DAY = date(2022, 10, 1)


def test_thirty_milestones_each_with_its_source():
    models = milestones()
    assert len(models) >= 30
    assert len({model.id for model in models}) == len(models)
    for model in models:
        assert model.source, model.id
        assert bool(model.cost_usd) == bool(model.cost_source) == bool(model.cost_kind), model.id


@pytest.mark.parametrize(
    ("model", "millions"),
    [  # Epoch AI's cloud estimates, as published
        ("palm-540b", 13.9),
        ("gpt3-175b", 4.3),
        ("gopher-280b", 3.5),
        ("opt-175b", 1.5),
        ("llama-65b", 1.5),
        ("bloom-176b", 2.0),
        ("llama3.1-405b", 170),
    ],
)
def test_published_cost_estimates(model, millions):
    (found,) = find_milestones([model])
    assert found.cost_usd / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_papers_models_are_there_with_its_figures():
    path = SHARED / "paper_models.csv"
    if not path.is_file():
        pytest.skip("the paper's models are not beside the checkout")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == "appendix"]
    ours = {(model.parameters, model.tokens) for model in milestones() if model.on_map}
    for row in rows:
        assert (float(row["params"]), float(row["training_tokens"])) in ours, row["model"]


def test_flops_are_six_times_size_times_text_where_none_are_published():
    (palm,) = find_milestones(["PaLM 540B"])
    assert palm.flops == pytest.approx(2.53e24, rel=0.002)  # Heim; Epoch 2.5272e24
    (mixture,) = find_milestones(["deepseek-v3"])
    assert mixture.flops == pytest.approx(6 * 37e9 * 14.8e12)  # of the active parameters


def test_a_run_on_its_own_chip_costs_its_hours_at_the_price_of_the_day():
    (palm,) = find_milestones(["palm-540b"])
    chip = find_chip("tpu-v4")
    again = reprice(palm, chip, price_on(chip, DAY), DAY)
    assert again.usd_list == pytest.approx(27.06e6, rel=1e-3)  # S5-14
    assert again.chip_hours == 8_404_992
    assert again.mfu is None


def test_a_run_on_another_chip_takes_its_hours_scaled_by_the_peaks():
    (palm,) = find_milestones(["palm-540b"])
    chip = find_chip("h100")
    price = price_on(chip, date(2025, 3, 17))
    again = reprice(palm, chip, price, DAY)
    assert again.chip_hours == pytest.approx(8_404_992 * 275 / 989.4)  # 2.34M
    assert again.utilisation == pytest.approx(0.304, abs=1e-3)  # lost time included; MFU 46.2 %
    assert again.usd_list == pytest.approx(again.chip_hours * price.usd_list)
    assert "end to end" in again.how


def test_on_every_chip_a_run_has_the_same_utilisation():
    for model in milestones():
        found = [
            reprice(model, find_chip(name), price_on(name, date(2025, 3, 17)), DAY)
            for name in ("h100", "a100-40gb", "tpu-v4")
        ]
        work = {round(one.chip_hours * find_chip(one.chip).peak("bf16") / 1e12, 3) for one in found}
        assert max(work) == pytest.approx(min(work), rel=1e-6), model.id
        assert all(one.utilisation is None or 0 < one.utilisation < 0.7 for one in found), model.id


def test_without_hours_a_run_takes_its_mfu_and_the_usual_goodput():
    chip = find_chip("a100-80gb")
    price = price_on(chip, DAY)
    (gpt3, jurassic) = find_milestones(["gpt3-175b", "jurassic-1"])
    stated = reprice(gpt3, chip, price, DAY, mfu=0.5)
    assert stated.chip_hours == pytest.approx(3.14e23 / (312e12 * 0.5 * GOODPUT) / 3600)
    assert not stated.mfu_assumed
    assumed = reprice(jurassic, chip, price, DAY)
    assert assumed.mfu_assumed
    assert assumed.mfu == ASSUMED_MFU
    assert "assumed" in assumed.how
    assert "goodput" in assumed.how


@pytest.mark.parametrize(
    ("preset", "model"),
    [
        ("lamda-137b", "lamda"),
        ("jurassic-178b", "jurassic-1"),
        ("gpt2-1.5b", "gpt2-xl"),
        ("gpt3", "gpt3-175b"),
        ("palm", "palm-540b"),
        ("PaLM", "palm-540b"),
        ("llama-2-70b", "llama2-70b"),
        ("Llama_2 70B", "llama2-70b"),
        ("mt_nlg", "mt-nlg-530b"),
    ],
)
def test_a_model_is_found_by_the_names_of_presets(preset, model):
    assert [one.id for one in find_milestones([preset])] == [model]


def test_every_preset_of_a_milestones_name_finds_it():
    ids = {model.id for model in milestones()}
    for preset in PRESETS.values():
        if preset.name in ids:
            assert find_milestones([preset.name])[0].id == preset.name
    with pytest.raises(InputError):  # another run than Llama 3 8B's, of the same network
        find_milestones(["llama3.1-8b"])


def test_aliases_are_of_one_model():
    names = [name for model in milestones() for name in (model.id, *model.aliases)]
    assert len(names) == len(set(names))


def test_what_nobody_published_is_marked():
    marked = {model.id for model in milestones() if model.speculative}
    assert marked == {"gpt-3.5", "gpt-4", "palm-2", "gemini-ultra", "grok-3"}
    assert all("speculative" in model.note for model in milestones() if model.speculative)


def test_your_plan_stands_among_them_in_its_place():
    plan = own_plan("mine", date(2022, 6, 1), parameters=7e9, tokens=140e9, cost_usd=1e5)
    entries, price = landscape(milestones(), plan=plan)
    assert price is None
    days = [entry.day for entry in entries]
    assert days == sorted(days)
    (ours,) = [entry for entry in entries if entry.ours]
    assert ours.flops == pytest.approx(5.88e21)
    entries, _ = landscape([], plan=plan, price_on_chip="h100", day=date(2025, 4, 1))
    assert entries[0].repriced.chip_hours == pytest.approx(
        5.88e21 / (989.4e12 * 0.4 * GOODPUT) / 3600
    )


@pytest.mark.parametrize(
    "numbers",
    [{}, {"parameters": 1e9}, {"parameters": -1, "tokens": 1e9}, {"flops": 1e60}, {"cost_usd": 0}],
)
def test_a_plan_without_sense_is_refused(numbers):
    with pytest.raises(InputError):
        own_plan("mine", DAY, **numbers)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="palm-541b") as caught:
        find_milestones(["palm-541b"])
    assert "palm-540b" in caught.value.fix
    with pytest.raises(InputError, match="mfu"):
        landscape(milestones(), price_on_chip="h100", mfu=40)
