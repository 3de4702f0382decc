"""The peers of train_vs_peers.py, each in its own virtual environment: a GPT-2 for some seconds.

    PEER/bin/python benchmarks/train_peers.py trainer '{"tokens": "FILE", "layers": 6, …}'

Imports nothing of groundup. Last line: {"tokens", "seconds", "cpu", "loss", "versions"}.
"""

import importlib.metadata
import json
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

WARMUP_STEPS = 2
LEARNING_RATE, BETAS, CLIP = 1e-3, (0.9, 0.95), 1.0


class Clock:
    """Begins after the warm-up; over when its seconds are."""

    def __init__(self, seconds: float) -> None:
        self.limit, self.steps = seconds, 0
        self.seconds = self.cpu = 0.0

    def step(self) -> bool:
        """A step is done: whether it was the last."""
        self.steps += 1
        if self.steps == WARMUP_STEPS:
            self.began, self.cpu_began = time.perf_counter(), time.process_time()
        if self.steps <= WARMUP_STEPS:
            return False
        self.seconds = time.perf_counter() - self.began
        self.cpu = time.process_time() - self.cpu_began
        return self.seconds >= self.limit


class Windows(torch.utils.data.Dataset):
    """Windows of the file; inputs and labels are the same tokens (transformers shifts them)."""

    def __init__(self, path: str, length: int) -> None:
        self.tokens, self.length = np.memmap(path, dtype="<u2", mode="r"), length

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        row = self.tokens[number * self.length : (number + 1) * self.length].astype(np.int64)
        return {"input_ids": torch.from_numpy(row), "labels": torch.from_numpy(row)}


def gpt2(size: dict[str, Any]) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=size["vocab"], n_positions=size["ctx"], n_embd=size["dim"],
            n_layer=size["layers"], n_head=size["heads"], bos_token_id=0, eos_token_id=0,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        )
    )  # fmt: skip


def trainer(size: dict[str, Any], clock: Clock, **given: Any) -> float:
    """transformers' Trainer; ``given`` are its arguments beside those that any run must set."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    losses: list[torch.Tensor] = []

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = clock.step()

    class Watched(Trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            losses[:] = [super().training_step(*args, **kwargs)]
            return losses[0]

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=10**6, save_strategy="no", report_to="none",
            use_cpu=True, disable_tqdm=True, **given,
        )  # fmt: skip
        Watched(
            gpt2(size), arguments, train_dataset=Windows(size["tokens"], size["ctx"]),
            callbacks=[Stop()],
        ).train()  # fmt: skip
    return float(losses[0])


def trainer_as_ours(size: dict[str, Any], clock: Clock) -> float:
    """Trainer with the batch, precision and AdamW of the comparison."""
    return trainer(
        size, clock, per_device_train_batch_size=size["batch"], bf16=size["dtype"] == "bf16",
        learning_rate=LEARNING_RATE, adam_beta1=BETAS[0], adam_beta2=BETAS[1],
        max_grad_norm=CLIP, lr_scheduler_type="constant", warmup_steps=10,
    )  # fmt: skip


def trainer_as_it_comes(size: dict[str, Any], clock: Clock) -> float:
    """Trainer with its own defaults: batch 8, and float32 on a CPU."""
    size["batch"] = 8
    return trainer(size, clock)


def plain_loop(size: dict[str, Any], clock: Clock, model: Any, loss_of: Any) -> float:
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, BETAS, weight_decay=0.0, fused=True
    )
    tokens = np.memmap(size["tokens"], dtype="<u2", mode="r")
    random = np.random.default_rng(0)
    while True:
        starts = random.integers(0, len(tokens) - size["ctx"] - 1, size["batch"])
        rows = np.stack([tokens[start : start + size["ctx"] + 1] for start in starts])
        batch = torch.from_numpy(rows.astype(np.int64))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=size["dtype"] == "bf16"):
            loss = loss_of(batch[:, :-1], batch[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        told = loss.item()
        if clock.step():
            return told


def hf_loop(size: dict[str, Any], clock: Clock) -> float:
    """transformers' model in a plain loop with a fused AdamW."""
    model = gpt2(size)

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = model(inputs).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    return plain_loop(size, clock, model, loss_of)


def litgpt_loop(size: dict[str, Any], clock: Clock) -> float:
    """litgpt's model and loss in a plain loop with a fused AdamW; it has rotary positions."""
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    torch.manual_seed(0)
    model = GPT(
        Config(
            block_size=size["ctx"], vocab_size=size["vocab"], padded_vocab_size=size["vocab"],
            n_layer=size["layers"], n_head=size["heads"], n_embd=size["dim"], bias=True,
            parallel_residual=False, norm_class_name="LayerNorm", mlp_class_name="GptNeoxMLP",
            gelu_approximate="tanh", rotary_percentage=1.0,
        )
    )  # fmt: skip
    model.apply(model._init_weights)
    model.lm_head.weight = model.transformer.wte.weight

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return chunked_cross_entropy(model(inputs), targets, chunk_size=0)

    return plain_loop(size, clock, model, loss_of)


PEERS = {
    "trainer": trainer_as_ours,
    "trainer-defaults": trainer_as_it_comes,
    "hf-loop": hf_loop,
    "litgpt-loop": litgpt_loop,
}
PACKAGES = ("torch", "transformers", "accelerate", "litgpt")


def main() -> None:
    name, size = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(size["threads"])
    clock = Clock(size["seconds"])
    loss = PEERS[name](size, clock)
    found: dict[str, Any] = {
        "tokens": (clock.steps - WARMUP_STEPS) * size["batch"] * size["ctx"],
        "seconds": clock.seconds,
        "cpu": clock.cpu,
        "loss": loss,
        "versions": {"python": sys.version.split()[0]},
    }
    for package in PACKAGES:
        try:
            found["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    print(json.dumps(found))


if __name__ == "__main__":
    main()
