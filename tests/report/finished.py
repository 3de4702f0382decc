"""A finished project as the stages leave it: the figures of a five-minute run on two cores."""

import json
import math
import random
from pathlib import Path

from groundup.artifacts import Artifact, Store
from groundup.track.run import Run

STEPS, TOKENS_PER_STEP = 925, 16 * 256
FINAL_HASH = "c0ffee" * 10 + "c0de"
HOSTILE = "<script>alert(1)</script>\x1b[31mred\x00\u202egnp.exe</pre></script>"

PREDICTED = {
    "duration_seconds": 284.0,
    "tokens_per_second": 13_900.0,
    "peak_memory_bytes": 1_180_000_000,
    "loss": 3.02,
    "bits_per_byte": 1.151,
    "cost_usd": 0.0067,
    "energy_kwh": 0.00061,
}
MEASURED = {
    "duration_seconds": 301.0,
    "tokens_per_second": 12_650.0,
    "peak_memory_bytes": 1_196_000_000,
    "loss": 3.081,
    "bits_per_byte": 1.173,
    "cost_usd": 0.0071,
    "energy_kwh": 0.00064,
}
BAND = {"loss": [2.86, 3.19], "bits_per_byte": [1.09, 1.21], "cost_usd": [0.0031, 0.0067]}

CHOICE = {
    "n_layers": 4, "d_model": 256, "parameters": 5_243_648, "steps": STEPS,
    "tokens": STEPS * TOKENS_PER_STEP, "batch_size": 16, "precision": "bf16", "attention": "bmm",
    "float32_matmul_precision": "medium", "n_threads": 2, "device": "cpu", "evaluate_every": 93,
    "checkpoint_every": 95, "sample_every": 190,
}  # fmt: skip

SIZES = [(2, 64), (2, 128), (3, 192), (4, 256), (6, 256), (6, 384), (8, 512), (12, 512)]


def finished_project(folder: Path, sample: str = "") -> dict:
    """The arguments of `write_report` for a project with every stage in ``folder``.

    Args:
        sample: put into every place where a model, a file or a config speaks.
    """
    store = Store(folder / "artifacts")
    made: dict[str, Artifact] = {}
    for stage, (kind, files, inputs) in records(sample).items():
        hashes = {name: made[name].content_hash for name in inputs if name in made}

        def write(into: Path, files: dict = files) -> dict:
            for name, content in files.items():
                text = content if isinstance(content, str) else json.dumps(content)
                (into / name).write_text(text, encoding="utf-8")
            return {}

        run = {"pretrain": FINAL_HASH}
        outside = {"data": {"files": "5e" * 32}, "evaluate": run, "export": run}.get(stage, {})
        made[stage], _ = store.build(
            kind,
            "first-llm",
            version=1,
            config={"note": f"defaults {sample}"},
            inputs={**hashes, **outside},
            make=write,
        )
    return {
        "title": f"first-llm{sample}",
        "run": write_run(folder / "runs" / "first-llm-0f3a91c2be77", sample),
        "artifacts": made,
    }


def write_run(folder: Path, sample: str = "") -> Path:
    run = Run(
        folder,
        {
            "config": {"optimizer": "muon", "learning_rate": 0.02, "prompt": f"def {sample}"},
            "predicted": PREDICTED,
            "environment": {
                "groundup": "0.1.0",
                "python": "3.11.7",
                "platform": "Linux-6.1-x86_64",
                "processor": f"AMD EPYC{sample}",
                "cores": 2,
                "packages": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
            },
        },
    )
    noise = random.Random(0)
    for step in range(1, STEPS + 1):
        done = step / STEPS
        rate = 0.02 * min(1, step / 10, (1 - done) / 0.4 + 1e-3)
        speed = 12_650 * (1 + noise.gauss(0, 0.03)) * (0.7 if noise.random() < 0.01 else 1)
        run.log(
            step,
            {
                "loss": 2.95 + 5.3 * math.exp(-step / 45) + 0.9 * (1 - done) + noise.gauss(0, 0.12),
                "grad_norm": 0.35 + 2 * math.exp(-step / 30) + abs(noise.gauss(0, 0.08)),
                "learning_rate": rate,
                "tokens": step * TOKENS_PER_STEP,
                "tokens_per_second": speed,
                "mfu": speed * 33e6 / 1.0e12,
            },
        )
        if step % 93 == 0 or step == STEPS:
            loss = 3.05 + 5.3 * math.exp(-step / 45) + 0.9 * (1 - done)
            run.event(step, "evaluation", loss=loss, bits_per_byte=loss * 0.381)
        if step % 190 == 0 or step == STEPS:
            text = (
                f'def read_file(path, encoding="utf-8"):\n    """Return the text."""\n    {sample}'
            )
            run.event(step, "sample", text=f"{text}\n    return self._parse(path)\n")
        if step % 95 == 0:
            run.event(step, "checkpoint")
        if step == 380:
            run.event(step, "resumed")
    run.finish("finished", measured=MEASURED, final_hash=FINAL_HASH)
    return folder


def add_events(run: Path, sample: str = "") -> None:
    """Everything that can happen to a run, written as the loop writes it."""
    why = f"the loss 7.12 is 14.3 robust standard deviations above the median 3.4{sample}"
    back = {
        "cursor": 7_200,
        "details": {"learning_rate_factor": 0.5},
        "checkpoint": "step-00000420",
    }
    skip = {"why": why, "details": {}, "samples": 16}
    corruption = {
        "check": "replicas", "kind": "weight", "tensor": f"blocks.2.feed_forward.up.weight{sample}",
        "ranks": [3], "hosts": ["node-17"], "rank": 3,
        "why": "weight blocks.2.feed_forward.up.weight on rank 3 (node-17) is not what the other "
        "replicas hold",
    }  # fmt: skip
    changes = {"learning_rate": 0.01, "activation": f"swiglu{sample}"}
    allowed = {"key": "settings.beta2", "before": 0.95, "after": 0.98, "key_kind": "allowed"}
    events = [
        (120, "skipped", {"cursor": 1_920, **skip}),
        (121, "skipped", {"cursor": 1_952, **skip}),
        (300, "alarm", {"cursor": 4_832, "why": why, "details": {}}),
        (420, "rewound", {**back, "why": why, "from_step": 450, "to_step": 420}),
        (500, "corruption", corruption),
        (420, "rewound", {**back, "why": corruption["why"], "from_step": 500, "to_step": 420,
                          "details": {"learning_rate_factor": 1.0}}),
        (600, "changed", {"changes": changes, "over": 100}),
        (700, "changed", allowed),
        (700, "resumed", {"checkpoint": "step-00000700", "changed": ["numerics.torch"]}),
        (760, "checkpoint_failed", {"error": f"the disk is full; 12 bytes are free{sample}"}),
        (800, "accepted", {"number": 3}),
        (900, "gave_up", {"cursor": 14_400, "why": why, "details": {}}),
    ]  # fmt: skip
    with (run / "events.jsonl").open("a") as file:
        for step, kind, details in events:
            file.write(json.dumps({"step": step, "event": kind, "at": "now", **details}) + "\n")
    with (run / "abandoned.jsonl").open("a") as file:
        for number, last in ((1, 450), (2, 500)):
            for step in range(421, last + 1):
                loss = 3.4 + (step - 420) / 20 * number
                tokens = step * TOKENS_PER_STEP
                line = {"rewind": number, "step": step, "loss": loss, "tokens": tokens}
                file.write(json.dumps(line) + "\n")


def records(sample: str) -> dict:
    """stage → (kind, its files, the stages it is made from)."""
    return {
        "data": ("corpus", {"report.json": data_report(sample)}, []),
        "tokenizer": (
            "tokenizer",
            {
                "summary.json": {
                    "vocab_size": 4096, "hash": "ab" * 32, "n_documents": 560, "n_bytes": 9_100_000,
                },
                "tokenizer.json": "{}",
            },
            ["data"],
        ),
        "tokens": ("tokens", {"index.json": index()}, ["data", "tokenizer"]),
        "machine": ("machine", {"machine.json": machine(sample)}, ["tokenizer"]),
        "plan": ("plan", {"plan.json": plan(sample)}, ["tokens"]),
        "evaluate": ("evaluation", {"evaluation.json": evaluation(sample)}, ["tokens"]),
        "export": ("model", {"config.json": "{}"}, ["tokenizer"]),
    }  # fmt: skip


def data_report(sample: str) -> dict:
    return {
        "read": 655, "kept": 601, "dropped": {"too_short": 14, "near_copy": 37},
        "quarantined": {"not_utf8": 3}, "bytes_in": 12_400_000, "bytes_out": 9_880_000,
        "warnings": [f"stdlib/lib/odd{sample}.py: documents in it were repaired"],
        "sources": [
            {
                "source": f"stdlib{sample}", "files": 655, "read": 655, "bytes": 12_400_000,
                "quarantined": 3, "dropped": 51, "copies": 37,
                "kept_documents": 601, "kept_bytes": 9_880_000,
            }
        ],
        "stages": [
            {
                "stage": stage, "documents_in": n, "bytes_in": n * 16_000,
                "documents_out": left, "bytes_out": left * 16_000,
            }
            for stage, n, left in [
                ("read", 655, 652), ("clean", 652, 652), ("rules", 652, 640),
                ("exact copies", 640, 638), ("near copies", 638, 601),
            ]
        ],
        "reasons": [
            {
                "reason": "not_utf8", "meaning": "bytes that are not UTF-8", "documents": 3,
                "bytes": 4_100, "examples": [f"stdlib/lib/bad{sample}.py at byte 17"],
            },
            {
                "reason": "near_copy",
                "meaning": "at least near_duplicate_threshold similar to a kept document",
                "documents": 37, "bytes": 410_000,
                "examples": ["stdlib/lib2to3/fixes/fix_map.py",
                             "stdlib/lib2to3/fixes/fix_filter.py"],
            },
        ],
        "repairs": {"utf8_repaired": 1},
        "edits": [
            {
                "reason": "clean.trailing_space", "documents": 120, "edits": 950,
                "examples": [
                    {
                        "document": f"stdlib/lib/odd{sample}.py", "before": f"def f(x):{sample}",
                        "matched": "  ", "replacement": "", "after": " return x",
                    }
                ],
            }
        ],
        "clusters": [
            {
                "kept": "stdlib/lib2to3/fixes/fix_urllib.py", "copies": 21,
                "least_similarity": 0.83, "suspicious": False,
                "examples": [f"library/fix_raise{sample}.py"],
            }
        ],
        "n_clusters": 17, "cluster_sizes": {"2": 16, "22": 1}, "suspicious_clusters": 0,
        "buckets": {"n_cut_buckets": 0, "largest_bucket": 22},
        "corrections": [{"wrong": f"recieve{sample}", "right": "receive", "times": 4}],
        "toxicity": {
            "drop_above": 0.02, "with_words": 1, "above": [],
            "below": [
                {
                    "document": f"stdlib/lib/odd{sample}.py", "score": 0.01, "words": {"m****": 1},
                    "before": sample, "matched": "m****", "after": sample,
                }
            ],
        },
        "gender": {
            "rewrite": "half", "documents": 90, "swapped": 41, "twins": 0,
            "before": {"female": 10, "male": 90, "female_share": 0.1},
            "after": {"female": 48, "male": 52, "female_share": 0.48},
        },
        "twins": {"documents": 0, "bytes": 0},
        "splits": {
            "train": {"documents": 553, "bytes": 9_100_000},
            "validation": {"documents": 24, "bytes": 390_000},
            "test": {"documents": 24, "bytes": 390_000},
        },
        "overlap": {"words": 16, "splits": {"test": {"share": 0.0123, "examples": []}}},
        "benchmarks": [],
    }  # fmt: skip


def index() -> dict:
    return {
        "dtype": "uint16",
        "vocab_size": 4096,
        "tokenizer_hash": "ab" * 32,
        "splits": {
            "train": {"n_tokens": 2_400_000, "n_documents": 553, "n_bytes": 9_100_000},
            "validation": {"n_tokens": 102_900, "n_documents": 24, "n_bytes": 390_000},
            "test": {"n_tokens": 102_900, "n_documents": 24, "n_bytes": 390_000},
        },
    }


def machine(sample: str) -> dict:
    return {
        "device": "cpu", "device_name": f"AMD EPYC 9B45{sample}", "n_threads": 2,
        "precision": "bf16", "float32_matmul_precision": "medium", "attention": "bmm",
        "matmul_flops_per_second": 1.006e12, "memory_bytes": 8 * 2**30,
        "base_memory_bytes": 420_000_000,
        "steps": [{"n_layers": n, "d_model": d} for n, d in SIZES[1:6]],
    }  # fmt: skip


def plan(sample: str) -> dict:
    candidates = [
        {
            "n_layers": n, "d_model": d, "parameters": 2 * 4096 * d + 12 * n * d * d,
            "step_measured": (n, d) in SIZES[1:6], "seconds_per_step": 0.02 * n * (d / 64) ** 1.3,
            "steps": 900, "tokens": 3_686_400, "epochs": 1.54, "duration_seconds": 284.0,
            "peak_memory_bytes": 900_000_000 + 1_000 * n * d * d,
            "bits_per_byte": 1.15 + abs(d - 256) / 800, "chosen": (n, d) == (4, 256),
            "why": "least bits per byte" if (n, d) == (4, 256)
            else f"{abs(d - 256) / 8:+.1f}% bits per byte{sample}",
        }
        for n, d in SIZES
    ]  # fmt: skip
    return {
        "choice": CHOICE, "predicted": PREDICTED, "band": BAND,
        "memory": {"base": 420e6, "weights": 21e6, "gradients": 21e6, "optimizer": 38e6,
                   "activations": 520e6, "logits": 160e6},
        "candidates": candidates,
        "law": {},
        "machine": "first-llm-0123456789ab",
        "notes": [f"energy is an estimate: full power × building overhead × time{sample}"],
    }  # fmt: skip


def evaluation(sample: str) -> dict:
    bits = {
        "model": 1.198, "untrained": 3.171, "ngram": 1.742, "xz": 1.858, "byte_unigram": 4.63,
        "uniform": 8.0,
    }  # fmt: skip
    prompt = f'def parse_date(text):\n    """Read a date{sample}."""'
    good = "\n    year, month, day = text.split('-')\n    return date(int(year), int(month))\n"
    bad = "\n    return self.parse(text, encoding=encoding, encoding)\n"

    def item(number: int) -> dict:
        parsed = number % 2 == 0
        text = (good if parsed else bad) + f"    # {number}{sample}\n"
        return {
            "row": number, "function": "parse_date", "prompt": prompt,
            "reference": f"\n    return datetime.strptime(text){sample}\n",
            "completions": {
                "model": {
                    "text": text, "outcome": "accepted" if parsed else "syntax error",
                    "parsed": parsed,
                }
            },
        }  # fmt: skip

    def rate(accepted: int, low: float, high: float) -> dict:
        outcomes = {"accepted": accepted, "does not close": 40 - accepted, "syntax error": 20}
        return {
            "rate": accepted / 60, "interval": [low, high], "accepted": accepted, "n": 60,
            "outcomes": outcomes,
        }  # fmt: skip

    def copied(distinct: float, copy: float, longest: int) -> dict:
        return {
            "distinct": {"1": distinct / 3, "2": distinct / 1.5, "3": distinct, "4": distinct},
            "distinct_tokens": 4_100,
            "copy_rate": {"8": copy, "16": copy / 4},
            "longest_copy": longest,
            "longest_copy_text": f"raise NotImplementedError{sample}",
        }

    return {
        "split": "test",
        "device": "cpu",
        "precision": "bf16",
        "measured_on": {
            "n_documents": 24, "of_documents": 30, "n_bytes": 390_000, "of_bytes": 480_000,
        },
        "model_minus_ngram": {"bits_per_byte": -0.544, "interval": [-0.561, -0.524]},
        "bits_per_byte": bits,
        "likelihood": {
            name: {
                "bits_per_byte": bits[name], "interval": [bits[name] - 0.04, bits[name] + 0.05],
                "nats_per_token": bits[name] * 2.62, "n_tokens": 102_876, "n_bytes": 390_000,
                "n_documents": 24,
            }
            for name in ("model", "untrained", "ngram")
        },
        "ngram": {"order": 5, "n_tokens": 2_400_000, "of_tokens": 3_100_000},
        "completions": {
            "applicable": True,
            "reason": None,
            "functions": {
                "found": 200, "qualified": 90, "most_prompt_tokens": 146, "most_body_tokens": 109,
                "most_body_lines": 30,
            },
            "sampling": {
                "max_new_tokens": 110, "temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.0,
            },
            "parse_rate": {
                "model": rate(32, 0.409, 0.654), "untrained": rate(0, 0.0, 0.06),
                "ngram": rate(9, 0.081, 0.261),
            },
            "items": [item(number) for number in range(60)],
        },
        "memorisation": {
            "model": copied(0.93, 0.21, 24), "untrained": copied(0.99, 0.0, 0),
            "ngram": copied(0.97, 0.34, 31), "reference": copied(0.95, 0.18, 22),
        },
    }  # fmt: skip
