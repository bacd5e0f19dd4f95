#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The published summary (experiments/summarize.py of xpq-tech/PMET) of frozen evaluations: for each metric its mean and
population standard deviation over the records that have it, in hundredths, rounded to two decimals (essence_score as it
is), and the harmonic mean of the three rounded successes.                                          SPEC E86, E87

    python3 summarize.py [--check] GOLDEN_DIR...     writes GOLDEN_DIR/summary.json, or compares with it
"""
import collections
import json
import os
import sys

import numpy as np

LISTS = ("rewrite", "paraphrase", "neighborhood")


def values_of(post):
    """One record's value of each metric."""
    for name in LISTS:
        probs = post.get(f"{name}_prompts_probs")
        if probs:
            right, wrong = ("target_true", "target_new") if name == "neighborhood" else ("target_new", "target_true")
            yield f"{name}_success", np.mean([x[right] < x[wrong] for x in probs])
            yield f"{name}_diff", np.mean([np.exp(-x[right]) - np.exp(-x[wrong]) for x in probs])
        if post.get(f"{name}_prompts_correct"):
            yield f"{name}_acc", np.mean(post[f"{name}_prompts_correct"])
    for name in ("ngram_entropy", "reference_score", "essence_score"):
        if name in post:
            yield name, post[name]


def summary_of(records):
    found, summary = collections.defaultdict(list), {}
    for record in records:
        for name, value in values_of(record["post"]):
            found[name].append(value)
    for name, values in found.items():
        pair = [np.mean(values), np.std(values)]
        if name != "essence_score":
            pair = [np.around(x * 100, 2) for x in pair]
        summary[name] = {"records": len(values), "mean": float(pair[0]), "std": float(pair[1])}
    successes = [summary[f"{name}_success"]["mean"] for name in LISTS if f"{name}_success" in summary]
    if len(successes) == 3:
        summary["score"] = 0.0 if 0 in successes else 3 / sum(1 / x for x in successes)
    return summary


def summarize(folder):
    summary = {}
    for run in ("base", "pmet"):
        with open(os.path.join(folder, f"eval.{run}.fp64.json"), encoding="utf-8") as f:
            evaluation = json.load(f)
        summary[run] = {kind: summary_of(evaluation[kind]) for kind in ("counterfact", "zsre")}
    return summary


def main(folders, check):
    differ = []
    for folder in folders:
        path, made = os.path.join(folder, "summary.json"), summarize(folder)
        if not check:
            with open(path, "w", encoding="utf-8") as f:
                json.dump(made, f, indent=1)
                f.write("\n")
        else:
            with open(path, encoding="utf-8") as f:
                if json.load(f) != made:
                    differ.append(path)
    for path in differ:
        print(f"{path}: differs from what is made now")
    return 1 if differ else 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main([w for w in words if w != "--check"], "--check" in words))
