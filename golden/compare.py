# SPDX-License-Identifier: MIT
"""How closely a folder of goldens reproduces a frozen one, group by group.                            SPEC §1.4

A group is a file and a tensor name without its fact, row and layer. The distance of a tensor is |a - b|_2 / |b|_2 with b
the frozen one; a group's is that of its worst tensor. Numbers of a json file are taken together, a field at a time, over
all facts. Ids, indices, labels, stops, counts and flags must be equal.
"""
import json
import os
import re

import torch
from safetensors.torch import load_file

FP64_LIMIT = 1e-9  # SPEC §1.4: what proves the mathematics
SCALARS = ("nll_loss", "kl_loss", "weight_decay", "loss", "prob", "max_prob", "nll_loss_each", "target_logprobs")
EQUAL_STEP = ("it", "argmax", "clamped_delta_attn", "clamped_delta_mlp")
EQUAL_FACT = ("case_id", "prompt", "subject", "target_new", "layer", "loss_layer", "target_ids", "target_decoded_prefix",
              "rewriting_prompts", "kl_prompts", "filled_prompts", "input_ids", "attention_mask", "rewriting_targets",
              "lookup_idxs", "stop", "n_forward", "n_updates")
EQUAL_STATS = ("count", "n_docs", "mom2_n_samples", "sampled_order", "token_lengths", "n_tokens", "maxlen",
               "n_truncated", "batch_tokens", "loader_batch_size", "batch_shapes")


def distance(a, b):
    a, b = a.double(), b.double()
    off, size = float((a - b).norm()), float(b.norm())
    return off / size if size else (0.0 if off == 0 else float("inf"))


def group_of(name):
    name = re.sub(r"^(row)?\d+\.|^batch\.", "", name)
    name = re.sub(r"\.(transformer\.h|gpt_neox\.layers)\.\d+\.", ".", name)
    for path, kind in (("attn.out_proj", "attn"), ("attention.dense", "attn"), ("mlp.fc_out", "mlp"),
                       ("mlp.dense_4h_to_h", "mlp")):
        name = name.replace(path, kind)
    return re.sub(r"\.\d+$", "", name)


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def flat(value):
    return [x for part in value for x in flat(part)] if isinstance(value, list) else [float(value)]


class Report:
    """Worst distance per (file, group) and column; columns: ours against frozen, per precision, and the frozen fp32
    run against the frozen fp64 run, which is the published code's own rounding error."""

    def __init__(self):
        self.rows, self.unequal, self.missing, self.n_equal = {}, [], [], 0

    def add(self, file, group, column, value):
        row = self.rows.setdefault((file, group), {})
        row["n", column] = row.get(("n", column), 0) + 1
        # a NaN is worse than every number
        row[column] = value if value != value else max(row.get(column, 0.0), value)

    def equal(self, where, ours, frozen):
        self.n_equal += 1
        if ours != frozen:
            self.unequal.append(f"{where}: {str(ours)[:60]}; frozen: {str(frozen)[:60]}")

    def compare_tensors(self, file, column, ours, frozen):
        for name in sorted(frozen):
            if name not in ours:
                self.unequal.append(f"{file}: no tensor {name}")
            elif ours[name].shape != frozen[name].shape:
                self.equal(f"{file}: shape of {name}", list(ours[name].shape), list(frozen[name].shape))
            elif not frozen[name].is_floating_point():
                self.equal(f"{file}: {name}", ours[name].tolist(), frozen[name].tolist())
            else:
                self.add(file, group_of(name), column, distance(ours[name], frozen[name]))

    def compare_z(self, file, column, ours, frozen, where):
        """Two json files of an optimisation; `where` None compares numbers only."""
        pick = lambda value: value["requests"] if isinstance(value, dict) else value
        if where and isinstance(frozen, dict):
            self.equal(f"{where}: errors", ours["errors"], frozen["errors"])
        pairs = list(zip(pick(ours), pick(frozen)))
        if where:
            self.equal(f"{where}: requests", len(pick(ours)), len(pick(frozen)))
            for a, b in pairs:
                for key in EQUAL_FACT:
                    if key in b:
                        self.equal(f"{where}: case {b['case_id']}: {key}", a.get(key), b[key])
                for s, t in zip(a["steps"], b["steps"]):
                    for key in EQUAL_STEP:
                        if key in t:
                            self.equal(f"{where}: case {b['case_id']}: step {t['it']}: {key}", s.get(key), t[key])
        for key in SCALARS:
            got, want = [], []
            for a, b in pairs:
                for s, t in zip(a["steps"], b["steps"]):
                    if key in t and key in s:
                        got += flat(s[key])
                        want += flat(t[key])
            if want and len(got) == len(want):
                self.add(file, f"{key} (json)", column, distance(torch.tensor(got, dtype=torch.float64),
                                                                 torch.tensor(want, dtype=torch.float64)))

    def compare_eval(self, file, column, ours, frozen, where):
        """Two json files of an evaluation; `where` None compares numbers only."""
        got, want = [], []
        for part in ("counterfact", "zsre"):
            for i, (a, b) in enumerate(zip(ours[part], frozen[part])):
                for key in b["post"]:
                    if key.endswith("_probs"):
                        got += flat([list(x.values()) for x in a["post"][key]])
                        want += flat([list(x.values()) for x in b["post"][key]])
                    elif where and key.endswith("_correct"):
                        self.equal(f"{where}: {part} {i}: {key}", a["post"][key], b["post"][key])
        self.add(file, "probs (json)", column, distance(torch.tensor(got, dtype=torch.float64),
                                                        torch.tensor(want, dtype=torch.float64)))

    def compare_folders(self, ours, frozen, precisions):
        name = os.path.basename(os.path.normpath(frozen))
        self.missing += [f"{name}/{file}" for file in sorted(os.listdir(frozen))
                         if re.match(r"(forward|keys|layer_stats|compute_z|execute|eval\.border)\.|lookup|border_(rows|texts)", file)
                         and not os.path.isfile(os.path.join(ours, file))
                         and not ({"fp32", "fp64"} - set(precisions)) & set(file.split("."))]
        for file in sorted(os.listdir(ours)):
            a, b = os.path.join(ours, file), os.path.join(frozen, file)
            stem, precision = re.match(r"(.*?)(?:\.(fp32|fp64))?\.(?:json|safetensors)$", file).groups()
            if not os.path.isfile(b) or (precision and precision not in precisions):
                continue
            if file.endswith(".safetensors"):
                self.compare_tensors(stem, precision, load_file(a), load_file(b))
            elif stem.startswith("compute_z"):
                self.compare_z(stem, precision, read_json(a), read_json(b), f"{name}/{file}")
            elif stem.startswith("eval"):
                self.compare_eval(stem, precision, read_json(a), read_json(b), f"{name}/{file}")
            elif stem in ("lookup", "border_rows", "border_texts"):
                self.equal(f"{name}/{file}", read_json(a), read_json(b))
            elif stem == "layer_stats":
                for key in EQUAL_STATS:
                    self.equal(f"{name}/{file}: {key}", read_json(a)[key], read_json(b)[key])
            elif stem == "forward":
                keep = ("name", "prompts", "lengths", "argmax_last")
                self.equal(f"{name}/{file}", *([{k: row[k] for k in keep} for row in read_json(x)] for x in (a, b)))
        self.add_yardstick(frozen)

    def add_yardstick(self, frozen):
        for file in sorted(os.listdir(frozen)):
            match = re.match(r"(.*)\.fp32\.(json|safetensors)$", file)
            other = os.path.join(frozen, file.replace(".fp32.", ".fp64."))
            if not match or match[1].startswith("generate") or not os.path.isfile(other):
                continue
            if match[2] == "safetensors":
                a, b = load_file(os.path.join(frozen, file)), load_file(other)
                for name in a.keys() & b.keys():
                    if b[name].is_floating_point():
                        self.add(match[1], group_of(name), "yardstick", distance(a[name], b[name]))
            else:
                compare = self.compare_eval if match[1].startswith("eval") else self.compare_z
                compare(match[1], "yardstick", read_json(os.path.join(frozen, file)), read_json(other), None)

    def table(self):
        """The report in Markdown."""
        cell = lambda row, column: f"{row[column]:.0e}" if column in row else "–"
        lines = ["| file | tensor or field | n | fp64 | fp32 | frozen fp32 to fp64 |", "|---|---|---|---|---|---|"]
        for (file, group), row in sorted(self.rows.items()):
            if "fp64" in row or "fp32" in row:
                n = max(row.get(("n", column), 0) for column in ("fp64", "fp32"))
                lines.append(f"| {file} | `{group}` | {n} | {cell(row, 'fp64')} | {cell(row, 'fp32')} "
                             f"| {cell(row, 'yardstick')} |")
        return "\n".join(lines)

    def verdict(self):
        """Lines that say what does not hold; none if all does."""
        bad = [f"fp64: {file}: {group}: {row['fp64']:.1e} > {FP64_LIMIT:.0e}" for (file, group), row in
               sorted(self.rows.items()) if "fp64" in row and not row["fp64"] <= FP64_LIMIT]
        return bad + [f"not equal: {line}" for line in self.unequal]
