#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the tables of numbers in SPEC.md: activations (transformers' own, in float64) and the generator's first values.

    python golden/tables.py             the rows
    python golden/tables.py SPEC.md     says which rows SPEC.md lacks; exit status 3
"""
import sys

sys.dont_write_bytecode = True

try:
    import torch
    from transformers.activations import ACT2FN

    import borders
except ImportError as error:
    sys.exit(f"tables.py: {error}; needs torch and transformers: golden/README.md names the versions")


def activations():
    """Values of each activation at each x: nothing shorter reads back as the same double."""
    for x in (-3.0, -0.5, 1.0, 2.5):
        at = torch.tensor(x, dtype=torch.float64)
        yield f"| {x:g} | " + " | ".join(repr(ACT2FN[name](at).item()) for name in ("gelu_new", "gelu_fast", "gelu", "silu")) + " |"


def generator():
    """Seed, state s_0 … s_3, and the first number drawn from it."""
    for seed in (0, 1, 42, 2 ** 64 - 1):
        rng = borders.Generator(seed)
        yield f"| {seed} | " + " | ".join(f"{s:016x}" for s in rng.s) + f" | {rng.uniform()!r} |"


def main():
    rows = [*activations(), *generator()]
    if len(sys.argv) == 1:
        print("\n".join(rows))
        return 0
    with open(sys.argv[1], encoding="utf-8") as f:
        lines = f.read().splitlines()
    missing = [row for row in rows if row not in lines]
    print("\n".join(f"{sys.argv[1]} lacks: {row}" for row in missing) or f"{len(rows)} rows, all there")
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
