#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The published code's way of computing, in PyTorch, beside pmet on the same model, facts and cores.

    peer_edit.py --check GOLDEN_DIR...      holds this rendition to the goldens; exit 3 beyond their rounding
    peer_edit.py --work DIR [--build build/float] [--threads N] [--pairs 3] [--peer-facts 2] [--samples 32]
                                            both sides in turn on DIR (made by peer_model.py), and the ratios

The way: transformers' own model in float32, its parameters without gradients; one fact at a time, all seven rows padded
on the right, the whole model and all logits in every pass, autograd, Adam; keys in batches of 128 sentences, a pass of
the whole model for every edited layer; second moments in padded batches, a pass for every layer that stops at its keys;
an explicit inverse in double, products left to right. What each stage computes is golden/method.py.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir)
sys.path.insert(0, os.path.join(ROOT, "golden"))
sys.dont_write_bytecode = True

try:
    import torch
    from safetensors.torch import load_file

    import compare
    import method
    import models
except ImportError as error:
    print(f"no peer: {error} (PYTHON=... names another Python)")
    sys.exit()

TEXT = os.path.join(ROOT, "golden", "data", "text", "wikitext2-raw-valid.txt")


class Stop(Exception):
    """Ends a pass after the module that was wanted."""


class Hooked:
    """A model of transformers behind the interface of golden/models.py, for method.optimise and second_moments."""

    def __init__(self, hf, dtype):
        self.hf, self.dtype = hf.requires_grad_(False), dtype
        gptj = hf.config.model_type == "gptj"
        names = models.GptJ if gptj else models.GptNeoX
        self.attn_module, self.mlp_module = names.attn_module, names.mlp_module
        self.body, self.ln_f = (hf.transformer, hf.transformer.ln_f) if gptj else (hf.gpt_neox,
                                                                                   hf.gpt_neox.final_layer_norm)
        self.lm_head = hf.lm_head if gptj else hf.embed_out
        self.n_layer, self.d_model = hf.config.num_hidden_layers, hf.config.hidden_size
        self.n_ctx = hf.config.max_position_embeddings

    def module(self, kind, l):
        return self.hf.get_submodule((self.attn_module if kind == "attn" else self.mlp_module).format(l))

    def head(self, h):
        return self.lm_head(self.ln_f(h))

    def forward(self, ids, keep, delta=None, n_layer=None):
        """The states and, with delta, the values of its layer; or, with n_layer, the keys of the last one: the pass
        stops there."""
        trace, hooks = {}, []

        def keep_state(_, args):
            trace[f"hidden.{self.n_layer}"] = args[0]

        def keep_key(_, args):
            trace[f"mlp_key.{n_layer - 1}"] = args[0]
            raise Stop

        def add(name, which):
            def hook(_, args, out):
                trace[f"{name}.{delta[0]}"] = out.detach().clone()
                out[range(len(ids)), delta[1]] += delta[which]
                return out
            return hook

        if n_layer is not None:
            hooks.append(self.module("mlp", n_layer - 1).register_forward_pre_hook(keep_key))
        else:
            hooks.append(self.ln_f.register_forward_pre_hook(keep_state))
        if delta is not None:
            hooks.append(self.module("attn", delta[0]).register_forward_hook(add("attn_out", 2)))
            hooks.append(self.module("mlp", delta[0]).register_forward_hook(add("mlp_out", 3)))
        try:
            self.body(ids, attention_mask=keep, use_cache=False)
        except Stop:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return trace


@torch.no_grad()
def at_subject(model, tok, templates, subjects, l, batch=128):
    """The FFN's input and output at layer l at the subject's last token, [n, d_ff] and [n, d]: the whole model, batch
    sentences at a time."""
    found = []
    for start in range(0, len(templates), batch):
        part = range(start, min(start + batch, len(templates)))
        ids, keep = method.pad(tok, [method.fill(templates[i], subjects[i]) for i in part])
        idx = [method.lookup_index(tok, templates[i], subjects[i]) for i in part]

        def hook(_, args, out, rows=range(len(part)), idx=idx):
            found.append((args[0][rows, idx], out[rows, idx]))
        handle = model.module("mlp", l).register_forward_hook(hook)
        model.hf(ids, attention_mask=keep, use_cache=False)
        handle.remove()
    return tuple(torch.cat(side) for side in zip(*found))


def keys(model, tok, requests, contexts, l):
    """K [d_ff, n_fact]."""
    templates, subjects = zip(*[(method.fill(c, r["prompt"]), r["subject"]) for r in requests
                                for c in method.flatten(contexts)])
    inside = at_subject(model, tok, templates, subjects, l)[0]
    per_fact = inside.split(len(method.flatten(contexts)))
    return torch.stack([method.mean_of_groups(one, contexts) for one in per_fact]).T


def outputs(model, tok, requests, l):
    """M [d, n_fact]."""
    return at_subject(model, tok, [r["prompt"] for r in requests], [r["subject"] for r in requests], l)[1].T


def solve(R, K, cov, lam):
    """The update, with the inverse as such."""
    return R.double() @ K.double().T @ torch.inverse(lam * cov.double() + K.double() @ K.double().T)


@torch.no_grad()
def spread(model, tok, requests, contexts, hp, z, moments):
    """Edits layer after layer and puts the weights back. Returns tensors as golden execute.pmet names them, seconds."""
    L, layers, out, seconds, saved = hp["layers"][-1], hp["layers"], {}, {"keys": 0, "solve": 0}, []
    for i, l in enumerate(layers):
        started, name = time.perf_counter(), model.mlp_module.format(l)
        K = keys(model, tok, requests, contexts, l)
        current = outputs(model, tok, requests, L)
        seconds["keys"] += time.perf_counter() - started
        started, weight = time.perf_counter(), model.module("mlp", l).weight
        missing = z.T - current
        upd = solve(missing.double() / math.sqrt(len(layers) - i), K, moments["mlp", l], hp["mom2_update_weight"])
        saved.append((weight, weight.clone()))
        weight += upd.to(weight.dtype)
        seconds["solve"] += time.perf_counter() - started
        out |= {f"cur_zs.{name}": current, f"layer_ks.{name}": K, f"targets.{name}": missing,
                f"upd_matrix.{name}": upd, f"edited.{name}.weight": weight.clone()}
    for weight, was in saved:
        weight.copy_(was)
    return out, seconds


def moments(model, tok, texts, hp):
    """Each layer's second moments in its own pass, and how many tokens they are of."""
    found, record = {}, None
    for l in hp["layers"]:
        part, record = method.second_moments(model, tok, texts, hp | {"layers": [l]}, kinds=("mlp",))
        found |= part
    return found, record["n_tokens"]


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def read_texts(path):
    """Documents as pmet reads them: JSON lines with "text", or what blank lines part.                   SPEC §7.1"""
    with open(path, encoding="utf-8", newline="") as f:
        whole = f.read()
    if whole.lstrip().startswith("{"):
        return [json.loads(line)["text"] for line in whole.splitlines() if line.strip()]
    parts, part = [], []
    for line in whole.split("\n") + [""]:
        if line.strip(" \t\r"):
            part.append(line)
        elif part:
            parts.append("\n".join(part).removesuffix("\r"))
            part = []
    return parts


# --- held to the goldens ---------------------------------------------------------------------------------------------

def check(folder):
    """Ours against the frozen float32 run: as near to the float64 one as the rule for runs asks.         SPEC §1.4"""
    hf, tok = models.load(f"{folder}/model")
    hp, contexts = read_json(f"{folder}/hparams/PMET/pmet.json"), read_json(f"{folder}/contexts.json")
    requests = [method.request_of(r) for r in read_json(f"{folder}/counterfact.json")]
    model, ours, passes = Hooked(hf, torch.float32), {}, []
    for i, request in enumerate(requests):
        result, record = method.optimise(model, method.Rows(tok, request, contexts), hp)
        ours |= {f"{i}.{name}": t for name, t in result.items() if not name.startswith(("steps", "kl"))}
        passes.append([record[key] for key in ("stop", "n_forward")])
    cov, _ = moments(model, tok, read_texts(f"{folder}/stats_text.jsonl"), hp)
    z = torch.stack([ours[f"{i}.target_mlp"] for i in range(len(requests))])
    ours |= spread(model, tok, requests, contexts, hp, z, cov)[0]
    # the frozen float64 moments are parts only: their rows from 0
    ours |= {f"cov_rows.{model.mlp_module.format(l)}": c[:24] for (_, l), c in cov.items()}
    single, double = ({k: v for name in ("compute_z.pmet", "execute.pmet", "layer_stats")
                       for k, v in load_file(f"{folder}/{name}.{p}.safetensors").items()} for p in ("fp32", "fp64"))
    single |= {k.replace("cov.", "cov_rows."): v[:24] for k, v in single.items() if k.startswith("cov.")}
    want = [[fact[key] for key in ("stop", "n_forward")] for fact in read_json(f"{folder}/compute_z.pmet.fp32.json")]
    bad = int(passes != want)
    print(f"{folder}: stops and passes of {len(requests)} facts {'differ' if bad else 'equal'}")
    groups = {}
    for name, t in ours.items():
        if name not in double or name not in single:  # a frozen file may hold a part
            continue
        groups.setdefault(compare.group_of(name), []).append(
            (compare.distance(t, double[name]), compare.distance(single[name], double[name])))
    for group, pairs in sorted(groups.items()):
        ratio, most = statistics.median(a / max(b, 1e-9) for a, b in pairs), max(b for _, b in pairs)
        far = sum(not a <= max(10 * b, most) for a, b in pairs)
        bad += not ratio <= 2 or far > 0
        print(f"  {group:<20} {len(pairs):>4}  worst {max(a for a, _ in pairs):.1e}  yardstick {most:.1e}  "
              f"median ratio {ratio:.2f}{'' if ratio <= 2 and not far else '  FAILED'}")
    return bad


# --- beside pmet -----------------------------------------------------------------------------------------------------

def ours(args, command, *options):
    """What `pmet COMMAND --json` reports."""
    out = f"{args.work}/{command}"
    line = [f"{args.build}/pmet", command, "--model", f"{args.work}/model", "--hparams", f"{args.work}/hparams.json",
            "--out", out, "--force", "--json", "--threads", str(args.threads), *options]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr.splitlines()[-1])
    return json.loads(done.stdout)


def bench_solve(args, d_ff, n):
    """bench_solve's last line: GFLOP/s of dgemm, then seconds and GFLOP of the solve."""
    line = [f"{args.build}/bench/bench_solve", str(d_ff), str(d_ff // 4), str(n), str(args.threads)]
    return [float(x) for x in subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout.split()[-3:]]


def clock(run, *args):
    started = time.perf_counter()
    result = run(*args)
    return time.perf_counter() - started, result


def measure(args, pair, peer, cov):
    """One turn of each side; {stage: (our seconds, peer's, our GFLOP)} a unit."""
    model, tok, requests, contexts, hp, texts = peer
    mine = ours(args, "stats", "--text", TEXT, "--samples", str(args.samples))
    theirs, (found, n_token) = clock(moments, model, tok, texts, hp)
    if n_token != mine["tokens"]:
        raise SystemExit(f"tokens of the statistics: {n_token} here, {mine['tokens']} in pmet")
    cov |= found
    turn = {"statistics, token": (mine["seconds"]["stats"] / n_token, theirs / n_token,
                                  mine["gflop"]["stats"] / n_token)}
    mine = ours(args, "edit", "--facts", f"{args.work}/facts.json", "--contexts", f"{args.work}/contexts.json",
                "--stats", f"{args.work}/stats", "--limit", str(args.facts))
    some = requests[pair % 8::max(1, len(requests) // args.peer_facts)][:args.peer_facts]
    theirs, records = clock(lambda: [method.optimise(model, method.Rows(tok, r, contexts), hp)[1] for r in some])
    if mine["steps"] != hp["v_num_grad_steps"] * mine["facts"] or any(r["stop"] != "max steps" for r in records):
        raise SystemExit("a fact stopped early")
    turn["delta, fact"] = (mine["seconds"]["delta"] / mine["facts"], theirs / len(some),
                           mine["gflop"]["delta"] / mine["facts"])
    _, seconds = spread(model, tok, requests, contexts, hp, torch.zeros(len(requests), model.d_model), cov)
    n = len(hp["layers"])
    for stage in ("keys", "solve"):
        turn[f"{stage}, layer"] = (mine["seconds"][stage] / n, seconds[stage] / n, mine["gflop"][stage] / n)
    for d_ff in (4 * model.d_model, 4096):
        draw = torch.Generator().manual_seed(1)
        far = 1 + (torch.arange(d_ff)[:, None] - torch.arange(d_ff)).abs()
        C, K, R = torch.eye(d_ff) + 1 / far ** 2, torch.randn(d_ff, 64, generator=draw), torch.randn(d_ff // 4, 64)
        mine = bench_solve(args, d_ff, 64)
        theirs, _ = clock(solve, R, K, C, 15000)
        turn[f"solve alone, d_ff {d_ff}"] = (mine[1], theirs, mine[2])
        turn["dgemm"] = mine[0]
    return turn


def bench(args):
    hf, tok = models.load(f"{args.work}/model")
    torch.set_num_threads(args.threads)
    hp = read_json(f"{args.work}/hparams.json") | {"mom2_n_samples": args.samples}
    requests = [method.request_of(r) for r in read_json(f"{args.work}/facts.json")][:args.facts]
    peer = Hooked(hf, torch.float32), tok, requests, read_json(f"{args.work}/contexts.json"), hp, read_texts(TEXT)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    turns, cov, gemm = [], {}, []
    for pair in range(args.pairs):
        turns.append(measure(args, pair, peer, cov))
        gemm.append(2 * 2048 ** 3 * 1e-9 / min(clock(torch.mm, a, b)[0] for _ in range(5)))
        print(f"pair {pair + 1} of {args.pairs}: "
              + ", ".join(f"{k} {v[1] / v[0]:.1f}" for k, v in turns[-1].items() if k != "dgemm"), file=sys.stderr)
    dgemm, sgemm = statistics.median(t.pop("dgemm") for t in turns), statistics.median(gemm)
    print(f"\nmodel    {args.work}: GPT-J, {hf.config.n_layer} layers, d_model {hf.config.n_embd}, {hf.config.vocab_size} words; "
          f"{len(requests)} facts (the peer takes {args.peer_facts} of them a turn), {args.samples} documents\n"
          f"peer     torch {torch.__version__}; {args.threads} threads each; medians of {args.pairs} turns\n"
          f"gemm     sgemm {sgemm:.0f} GFLOP/s (torch), dgemm {dgemm:.0f} GFLOP/s (OpenBLAS)\n\n"
          f"{'seconds for each':<26} {'pmet':>11} {'peer':>11} {'peer/pmet':>10} {'GFLOP':>9} {'GFLOP/s':>8} {'of gemm':>8}")
    for stage in turns[0]:
        mine, theirs, gflop = (statistics.median(t[stage][k] for t in turns) for k in range(3))
        ratio = statistics.median(t[stage][1] / t[stage][0] for t in turns)
        print(f"{stage:<26} {mine:>11.6f} {theirs:>11.6f} {ratio:>10.1f} {gflop:>9.3f} {gflop / mine:>8.1f} "
              f"{100 * gflop / mine / (dgemm if 'solve' in stage else sgemm):>6.0f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", nargs="+", metavar="GOLDEN_DIR")
    parser.add_argument("--work")
    parser.add_argument("--build", default="build/float")
    for name, value in (("threads", os.cpu_count()), ("pairs", 3), ("facts", 64), ("peer-facts", 2), ("samples", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    if args.check:
        torch.set_num_threads(1)
        return 3 if sum(check(folder) for folder in args.check) else 0
    if not args.work:
        parser.error("--check or --work")
    bench(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
