"""The job as a Slurm batch script.

The script keeps watch like `supervise`: the doctor on all nodes before every start, the nodes it
names left out, a budget of failures that a new checkpoint renews. Slurm's warning before the time
limit makes the ranks save; then the job is queued again. With fewer nodes left than it needs the
job is submitted anew without the bad ones.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from groundup.errors import InputError
from groundup.train.doctor.exclude import FOLDER, LIST
from groundup.train.launch.job import PORT, Job

OPTION = re.compile(r"[a-z][a-z0-9-]*")
VALUE = re.compile(r"[^\s\"'\\]+")  # one word: sbatch reads its own lines by rules of its own
OURS = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "signal", "exclude"}

SCRIPT = r"""
# Written by `groundup launch slurm`.
set -u
python={python}
project={project}
script={script}
list="$project"/{list}
plan=({plan})
pretrain=({pretrain})
min_nodes={min_nodes} processes={processes} max_restarts={max_restarts} port={port}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={grace}
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-1}}" # srun does not inherit it since Slurm 22.05

child='' stopping='' failures=0 attempt=0 code=0
trap 'stopping=yes; [ -z "$child" ] || kill -TERM "$child"' TERM

run() {{ # in the background, so that the trap is served at once; srun hands SIGTERM on
  "$@" &
  child=$!
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
  done
  child=''
  return "$code"
}}

good_nodes() {{
  scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF -f <(cat "$list" 2>/dev/null)
}}

submit_again() {{ # a job cannot trade its nodes for others
  submissions=$((${{GROUNDUP_SUBMISSIONS:-0}} + 1))
  if [ "$submissions" -gt "$max_restarts" ]; then
    echo "error: fewer than $min_nodes good nodes, $submissions times" >&2
    exit 1
  fi
  exec sbatch --exclude="$(paste -sd, "$list")" \
    --export=ALL,GROUNDUP_SUBMISSIONS="$submissions" "$script"
}}

while [ -z "$stopping" ]; do
  mapfile -t nodes < <(good_nodes)
  n=${{#nodes[@]}}
  [ "$n" -ge "$min_nodes" ] || submit_again
  names=$(IFS=,; echo "${{nodes[*]}}")
  on_all=(srun --nodes="$n" --ntasks="$n" --ntasks-per-node=1 --nodelist="$names")

  export MASTER_ADDR="${{nodes[0]}}" MASTER_PORT="$port"
  run "${{on_all[@]}}" bash -c \
    'export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" GROUNDUP_HOST="$SLURMD_NODENAME"
     exec "$@"' doctor "$python" -m groundup doctor "$project" --hosts "$names"
  if [ "$code" -ne 0 ]; then
    [ -z "$stopping" ] || break
    mapfile -t left < <(good_nodes)
    [ "${{#left[@]}}" -lt "$n" ] && continue
    echo "error: the doctor ended with code $code and named no node" >&2
    exit "$code"
  fi
  unset MASTER_ADDR MASTER_PORT

  run srun --nodes=1 --ntasks=1 --nodelist="${{nodes[0]}}" "$python" "${{plan[@]}}" >/dev/null
  [ -z "$stopping" ] || break
  [ "$code" -eq 0 ] || exit "$code"

  started="${{TMPDIR:-/tmp}}/groundup-$SLURM_JOB_ID"
  touch "$started"
  attempt=$((attempt + 1))
  run "${{on_all[@]}}" --kill-on-bad-exit=1 "$python" -m groundup.train.launch.agent \
    --nnodes="$n" --nproc-per-node="$processes" --max-restarts=0 --rdzv-backend=c10d \
    --rdzv-endpoint="${{nodes[0]}}:$port" --rdzv-id="$SLURM_JOB_ID-$attempt" "${{pretrain[@]}}"
  [ -z "$stopping" ] || break
  if [ "$code" -eq 0 ] || [ "$code" -eq 2 ] || [ "$code" -eq 130 ]; then
    exit "$code"
  fi
  if [ -n "$(find "$project/runs" -path '*/checkpoints/step-*' -newer "$started" -print -quit \
    2>/dev/null)" ]; then
    failures=0
  fi
  failures=$((failures + 1))
  if [ "$failures" -gt "$max_restarts" ]; then
    echo "error: training failed $failures times without a new checkpoint (code $code)" >&2
    exit 1
  fi
  echo "training ended with code $code; restart $failures of $max_restarts" >&2
  sleep "${{GROUNDUP_PAUSE:-$((2 ** failures))}}"
done
echo "the time is up: what was done is saved, and the job is queued again" >&2
scontrol requeue "$SLURM_JOB_ID"
"""


def script(
    job: Job, path: Path, python: str, exclude: Sequence[str], options: Mapping[str, str]
) -> str:
    """The batch script, as text.

    Args:
        path: where it will be written: it submits itself again from there.
        python: the interpreter, at the same place on every node.
        exclude: hosts to leave out from the start; later ones it reads from the list itself.
        options: more for sbatch, ``{"partition": "gpu", "time": "24:00:00"}``.

    Raises:
        InputError: an option that is none, or one of ours.
    """
    lines = {
        "job-name": job.name,
        "nodes": str(job.max_nodes)
        if job.min_nodes == job.max_nodes
        else f"{job.min_nodes}-{job.max_nodes}",
        "ntasks-per-node": "1",
        **({"gpus-per-node": str(job.gpus)} if job.gpus else {}),
        "signal": f"B:TERM@{job.grace_seconds}",
        "open-mode": "append",
        **checked(options),
        **({"exclude": ",".join(exclude)} if exclude else {}),
    }
    head = [f"#SBATCH --{name}={value}" for name, value in lines.items()]
    body = SCRIPT.format(
        python=shlex.quote(python),
        project=shlex.quote(str(job.folder)),
        script=shlex.quote(str(path)),
        list=f"{FOLDER}/{LIST}",
        plan=shlex.join(job.groundup("plan")),
        pretrain=shlex.join(job.groundup("pretrain")),
        min_nodes=job.min_nodes,
        processes=job.processes,
        max_restarts=job.max_restarts,
        port=PORT,
        grace=job.grace_seconds,
    )
    return "\n".join(["#!/bin/bash", *head, "#SBATCH --requeue", body.lstrip("\n")])


def checked(options: Mapping[str, str]) -> Mapping[str, str]:
    """Options for sbatch that are one word each and not set by us."""
    for name, value in options.items():
        if not OPTION.fullmatch(name) or name in OURS or not VALUE.fullmatch(value):
            raise InputError(
                f"{name}={value} is no option for sbatch that can be passed on",
                where="--option",
                fix="write NAME=VALUE, one word each; nodes, GPUs, name and signal are set already",
            )
    return options
