from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from groundup.architecture.families import TRAINABLE, build
from groundup.errors import InputError
from groundup.model.generate import KeyValueCache, generate, generate_batch
from groundup.model.transformer import Transformer

CONTEXT = 32
GREEDY: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1}


def random_model(family: str, **sizes: Any) -> Transformer:
    config = build(
        family, vocab_size=60, n_layers=2, d_model=32, context_length=CONTEXT, n_heads=4, **sizes
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


MODELS = {family: random_model(family) for family in TRAINABLE}
MODELS["llama, shared heads"] = random_model("llama", n_kv_heads=2)
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [7], [2, 7, 1], list(range(20))]


@pytest.mark.parametrize("name", MODELS)
def test_cached_logits_equal_the_full_forward_pass(name: str) -> None:
    model = MODELS[name]
    ids = torch.randint(0, 60, (3, CONTEXT), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        full = model(ids)
    cache = KeyValueCache(model, torch.zeros(3, dtype=torch.int64))
    for start, end in ((0, 10), (10, 11), (11, 15), *((i, i + 1) for i in range(15, CONTEXT))):
        logits = cache.extend(ids[:, start:end])
        torch.testing.assert_close(logits, full[:, end - 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_greedy_text_is_the_argmax_of_full_forward_passes(name: str) -> None:
    model, ids = MODELS[name], list(PROMPTS[0])
    with torch.no_grad():
        for _ in range(CONTEXT - len(PROMPTS[0])):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    found = list(generate(model, PROMPTS[0], max_new_tokens=len(ids) - 8, **GREEDY))
    assert found == ids[8:]


@pytest.mark.parametrize("sampling", [GREEDY, {"temperature": 1.0, "top_p": 0.9}])
@pytest.mark.parametrize("name", MODELS)
def test_a_batch_gives_what_each_prompt_gives_alone(name: str, sampling: dict[str, Any]) -> None:
    model = MODELS[name]

    def stop(new_ids: list[int]) -> bool:  # sequences end at different times
        return len(new_ids) > 25 and new_ids[-1] % 7 == 0

    together = generate_batch(
        model, PROMPTS, max_new_tokens=70, stop_ids=[5], stop=stop, seed=4, **sampling
    )
    alone = [
        list(
            generate(
                model, prompt, max_new_tokens=70, stop_ids=[5], stop=stop, seed=4 + i, **sampling
            )
        )
        for i, prompt in enumerate(PROMPTS)
    ]
    assert together == alone
    assert len({len(ids) for ids in alone}) > 1 or sampling is GREEDY


def test_a_full_window_slides_to_the_last_half_of_the_context() -> None:
    model = MODELS["nanochat"]
    prompt = PROMPTS[3]
    ids, window = list(prompt), list(prompt)
    with torch.no_grad():
        for _ in range(60):
            token = int(model(torch.tensor([window]))[0, -1].argmax())
            ids.append(token)
            window.append(token)
            if len(window) > CONTEXT:
                window = window[-CONTEXT // 2 :]
    assert list(generate(model, prompt, max_new_tokens=60, **GREEDY)) == ids[20:]


def test_a_short_sequence_goes_on_after_a_longer_one_has_left_the_batch() -> None:
    model = MODELS["llama"]
    long, short = list(range(CONTEXT - 2)), [1]
    found = generate_batch(
        model, [long, short], max_new_tokens=25, stop=lambda new: len(new) == 1, **GREEDY
    )
    assert [len(ids) for ids in found] == [1, 1]

    first_new = found[0][0]
    together = generate_batch(
        model, [long, short], max_new_tokens=25, stop=lambda new: new == [first_new], **GREEDY
    )
    assert together[1] == list(generate(model, short, max_new_tokens=25, **GREEDY))


def test_a_prompt_longer_than_the_context_is_cut_to_its_end() -> None:
    model, prompt = MODELS["gpt2"], [i % 60 for i in range(100)]
    whole = list(generate(model, prompt, max_new_tokens=5, **GREEDY))
    assert whole == list(generate(model, prompt[-CONTEXT // 2 :], max_new_tokens=5, **GREEDY))


def test_samples_follow_the_probabilities_of_the_nucleus() -> None:
    model = MODELS["nanochat"]
    with torch.no_grad():
        probabilities = (model(torch.tensor([[7, 8]]))[0, -1].double() / 0.7).softmax(-1)
    order = probabilities.argsort(descending=True).tolist()
    nucleus: dict[int, float] = {}
    for token in order:
        nucleus[token] = float(probabilities[token])
        if sum(nucleus.values()) >= 0.8:
            break
    n = 2000
    drawn = generate_batch(
        model,
        [[7, 8]] * n,
        max_new_tokens=1,
        temperature=0.7,
        top_p=0.8,
        repetition_penalty=1,
        seed=1,
    )
    counts = torch.bincount(torch.tensor(drawn)[:, 0], minlength=60)
    assert set(counts.nonzero()[:, 0].tolist()) <= set(nucleus)
    for token, p in nucleus.items():
        p /= sum(nucleus.values())
        assert abs(int(counts[token]) / n - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_the_seed_decides_the_text() -> None:
    model = MODELS["llama"]
    texts = [
        list(generate(model, [4], max_new_tokens=20, temperature=1.0, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_penalty_weighs_on_the_last_ids_only() -> None:
    model, ids = MODELS["gpt2"], [4, 8]
    with torch.no_grad():
        for _ in range(25):
            logits = model(torch.tensor([ids]))[0, -1]
            for token in set(ids[-5:]):  # arXiv:1909.05858, for either sign of the logit
                logits[token] *= 3.0 if logits[token] < 0 else 1 / 3.0
            ids.append(int(logits.argmax()))
    options = {"temperature": 0, "repetition_penalty": 3.0, "repetition_window": 5}
    assert list(generate(model, [4, 8], max_new_tokens=25, **options)) == ids[2:]


def test_stop_ids_end_the_text_and_are_not_part_of_it() -> None:
    model = MODELS["nanochat"]
    free = list(generate(model, [9], max_new_tokens=20, **GREEDY))
    end = free[10]
    found = list(generate(model, [9], max_new_tokens=20, stop_ids=[end], **GREEDY))
    assert found == free[: free.index(end)]


def test_tokens_are_streamed() -> None:
    stream = generate(MODELS["nanochat"], [9], max_new_tokens=10**9)
    assert 0 <= next(stream) < 60
    stream.close()


def test_no_prompts_and_no_tokens_give_nothing() -> None:
    assert generate_batch(MODELS["gpt2"], [], max_new_tokens=5) == []
    assert generate_batch(MODELS["gpt2"], [[1]], max_new_tokens=0) == [[]]


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "the prompt is empty"),
        ([1, 60], {}, "token id 60 is outside the model's vocabulary of 60"),
        ([-1], {}, "token id -1 is outside"),
        ([1], {"temperature": -1}, "temperature is -1"),
        ([1], {"temperature": math.nan}, "temperature is nan"),
        ([1], {"top_p": 0}, "top_p is 0"),
        ([1], {"repetition_penalty": 0}, "repetition_penalty is 0"),
        ([1], {"repetition_window": 0}, "repetition_window is 0"),
    ],
)
def test_bad_input_is_refused(prompt: list[int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(generate(MODELS["nanochat"], prompt, max_new_tokens=3, **options))
