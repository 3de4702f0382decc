"""The published runs of the catalog, as jobs with the MFU they reached.

`catalog/throughput.csv` is llm-foundry's table (MPT models under FSDP with flash attention);
`catalog/training_runs.csv` holds the runs of papers, with tensor and pipeline parallelism. Both are
restated here in one convention: model FLOPs are 6·N + 12·l·w·s a token.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.architecture.config import ModelConfig
from groundup.architecture.families import build
from groundup.architecture.presets import find_model
from groundup.errors import InputError
from groundup.plan.catalogs import SHIPPED, Row, read_catalog, read_rows
from groundup.plan.efficiency_terms import Job, recomputed_flops
from groundup.plan.hardware import Chip, shipped_chips
from groundup.plan.megatron import megatron_flops
from groundup.plan.parallelism import Layout, Recompute

SHORT_NAMES = {"mt-nlg": "mtnlg-2240", "mtnlg": "mtnlg-2240", "gpt3": "gpt3-175b"}
MPT_VOCABULARY = 50_368  # with it every parameter count of the table comes out exactly
MPT_HEAD_DIM = {
    768: 64,
    1024: 64,
}  # the others' heads are of 128 (llm-foundry's yamls, from memory)


@dataclass(frozen=True)
class Published:
    """One measured run."""

    id: str
    table: str  # throughput or training_runs
    model: str
    job: Job
    layout: Layout
    mfu: float  # share of the peak, 6·N + 12·l·w·s

    @property
    def hfu(self) -> float:
        """Share of the peak with what is computed again."""
        flops = self.job.model_flops
        done = recomputed_flops(flops, self.job.attention_flops, self.layout.recompute)
        return self.mfu * float(done) / flops


def published_runs() -> list[Published]:
    """Every row of both tables whose layout and efficiency are known, as groundup ships them."""
    chips = shipped_chips()
    fsdp = [
        _fsdp_row(row, chips[row.text("chip")]) for row in read_rows(SHIPPED / "throughput.csv")
    ]
    rows = [row for row in read_rows(SHIPPED / "training_runs.csv") if _is_usable(row)]
    return fsdp + [_run_row(row, chips[row.text("chip")]) for row in rows]


def training_run(run_id: str) -> Row:
    """The row of `training_runs.csv` of that id, the user's rows included; a beginning will do.

    Raises:
        InputError: none, or more than one, begins so; they are named.
    """
    rows = {row.text("id"): row for row in read_catalog("training_runs", "id")}
    if run_id in rows:
        return rows[run_id]
    wanted = run_id.lower()
    found = [name for name in rows if wanted and name.lower().startswith(wanted)]
    found = found or [name for name in rows if wanted and wanted in name.lower()]
    if wanted in SHORT_NAMES:
        return rows[SHORT_NAMES[wanted]]
    if len(found) == 1:
        return rows[found[0]]
    raise InputError(
        f"{len(found) or 'no'} published runs begin with {run_id!r}",
        where="like",
        fix="use one of " + ", ".join(found or rows),
    )


def model_of(row: Row) -> ModelConfig | float:
    """The preset the row names; else a GPT of its shape; else its number of parameters."""
    if row.text("preset"):
        return find_model(row.text("preset"))
    layers, width, heads = (row.number(cell) for cell in ("layers", "d_model", "heads"))
    if not (layers and width and heads):
        return row.needed("params_B") * 1e9
    is_gated = bool(row.number("kv_heads"))
    return build(
        "llama" if is_gated else "gpt2",
        vocab_size=int(row.number("vocab") or 50_257),
        n_layers=int(layers),
        d_model=int(width),
        context_length=int(row.number("seq_len") or 2048),
        n_heads=int(heads),
        n_kv_heads=int(row.number("kv_heads") or heads),
        d_ff=int(row.number("d_ff") or 4 * width),
    )


def megatron_hardware_flops(job: Job) -> float:
    """FLOPs a token as Megatron's papers count them with full recomputation."""
    config = job.config
    return megatron_flops(
        config.n_layers, config.d_model, job.context_length, config.vocab_size, 1, "full"
    )


def _is_usable(row: Row) -> bool:
    """Whether a run says its layout and what it reached.

    Left out: rows that repeat others (eq4), whole runs without a steady rate, and Llama 3's third
    stage, whose 131,072 tokens of context make the (unsaid) attention convention half the FLOPs.
    """
    has = all(row.text(cell) for cell in ("layers", "heads", "dp", "batch_tokens", "chip"))
    reached = row.text("published_tflops_per_chip") or row.text("published_mfu_pct")
    return has and bool(reached) and row.text("id") != "llama3-405b-t4-3"


def _fsdp_row(row: Row, chip: Chip) -> Published:
    """MPT as llm-foundry measured it: by its parameter counts a GPT-2 with all biases."""
    width, context = int(row.needed("d_model")), int(row.needed("seq_len"))
    config = build(
        "gpt2",
        vocab_size=MPT_VOCABULARY,
        n_layers=int(row.needed("n_layers")),
        d_model=width,
        context_length=context,
        n_heads=width // MPT_HEAD_DIM.get(width, 128),
    )
    layout = Layout(
        dp=int(row.needed("n_chips")),
        zero=3 if row.text("fsdp_strategy") == "FULL_SHARD" else 2,
        micro_batch_size=int(row.needed("micro_batch")),
        recompute=_recompute(row),
    )
    job = Job(config, chip, context, row.needed("global_batch"), row.text("precision"))
    mfu = row.needed("tokens_per_second_per_chip") * job.model_flops / chip.peak(job.precision)
    return Published(row.where, "throughput", row.text("model"), job, layout, mfu)


def layout_of(row: Row) -> Layout | None:
    """How a run of `training_runs.csv` was spread; None where its paper does not say."""
    if not all(row.text(cell) for cell in ("dp", "seq_len", "batch_tokens")):
        return None
    dp, stages = int(row.needed("dp")), int(row.number("pp") or 1)
    batch = row.needed("batch_tokens") / row.needed("seq_len")
    return Layout(
        dp=dp,
        tp=int(row.number("tp") or 1),
        pp=stages,
        cp=int(row.number("cp") or 1),
        virtual_stages=int(row.number("interleave") or 1) if stages > 1 else 1,
        zero=int(row.number("zero") or 0),
        micro_batch_size=max(1, round(row.number("micro_batch") or batch / dp)),
        recompute=_recompute(row),
        sequence_parallel=row.text("sequence_parallel") == "yes",
    )


def _run_row(row: Row, chip: Chip) -> Published:
    config, context, layout = model_of(row), int(row.needed("seq_len")), layout_of(row)
    assert isinstance(config, ModelConfig)  # rows with a layout have a shape
    assert layout is not None
    batch = row.needed("batch_tokens") / context
    flash_attention = row.text("flash_attention") == "yes"
    job = Job(config, chip, context, batch, row.text("precision"), flash_attention)
    mfu = _mfu_of(row, job)
    return Published(row.text("id"), "training_runs", row.text("model"), job, layout, mfu)


def _recompute(row: Row) -> Recompute:
    kinds: dict[str, Recompute] = {"full": "full", "selective": "selective"}
    return kinds.get(row.text("recompute"), "none")


def _mfu_of(row: Row, job: Job) -> float:
    """What a paper printed, in our convention."""
    printed, rate = row.number("published_mfu_pct"), row.number("published_tflops_per_chip")
    if rate is None:
        return row.needed("published_mfu_pct") / 100
    share = rate * 1e12 / job.chip.peak(job.precision)
    if row.text("tflops_kind") == "model":  # Llama 3: taken as causal attention, half of ours
        causal = job.model_flops - job.attention_flops / 2
        return share * job.model_flops / causal
    if printed is not None:
        return printed / 100
    return share * job.model_flops / megatron_hardware_flops(job)
