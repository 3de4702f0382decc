"""How well the small-scale law predicts runs that it has not seen: each left out in turn.

python benchmarks/law.py
"""

import json
import math

from groundup.plan.local.fit import fit_law
from groundup.plan.local.law import read_runs
from groundup.units import format_count


def main() -> None:
    runs = read_runs(family="nanochat")
    law = fit_law(runs)
    c = law.coefficients
    print(
        f"L = {c.irreducible:.4f} + {c.a:.4g} / N^{c.alpha:.4f} "
        f"+ {c.b:.4g} / (D + {c.offset_tokens:.0f})^{c.beta:.4f}, spread {law.noise:.2%}"
    )
    errors, inside = [], 0
    print("| N | D | measured | predicted without it | error | inside the 90 % band |")
    print("| --- | --- | --- | --- | --- | --- |")
    for left_out in runs:
        others = fit_law([run for run in runs if run != left_out])
        tokens = left_out.effective_tokens
        predicted = others.predict(left_out.parameters, tokens)
        low, high = others.band(left_out.parameters, tokens)
        errors.append(math.log(predicted / left_out.loss))
        inside += low <= left_out.loss <= high
        print(
            f"| {format_count(left_out.parameters)} | {format_count(left_out.tokens)} "
            f"| {left_out.loss:.3f} | {predicted:.3f} | {errors[-1]:+.1%} "
            f"| {'yes' if low <= left_out.loss <= high else 'no'} |"
        )
    root = math.sqrt(sum(error**2 for error in errors) / len(errors))
    print(json.dumps({"runs": len(runs), "rms_error": root, "inside": inside}))


if __name__ == "__main__":
    main()
