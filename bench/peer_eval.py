#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The published way of evaluating, in PyTorch, beside pmet eval on the same model, records and cores.

    peer_eval.py --model DIR --facts FILE [--build build/float] [--threads N] [--records 40] [--pairs 3]

The way: transformers' own model in float32; one record at a time; all its prompts with both targets in one batch padded on
the right, all logits of all tokens; then its generation prompts in one padded batch with cached keys and values, a token a
pass, drawn from the five likeliest, to 100 tokens. Both sides in turn, with and without texts; texts are only written, not
evaluated. Exit status 3 if the two sides' probabilities differ by more than 1e-3. On a machine that others use, too, the CPU
times of --threads 1 say more than the rates; with more threads they count those that wait.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print(f"no peer: {error} (PYTHON=... names another Python)")
    sys.exit()

LENGTH, TOP_K = 100, 5


def evaluate(model, tok, record):
    """Mean negative log-likelihoods [(new, true)] of rewrite, paraphrase and neighbourhood prompts, and right answers."""
    r = record["requested_rewrite"]
    prompts = [r["prompt"].format(r["subject"])] + record["paraphrase_prompts"] + record["neighborhood_prompts"]
    targets = [r["target_new"]["str"], r["target_true"]["str"]]
    lengths = [len(ids) for ids in tok(prompts)["input_ids"]]
    batch = tok([f"{p} {t}" for p in prompts for t in targets], padding=True, return_tensors="pt")
    labels = [tok(f" {t}")["input_ids"] for t in targets]
    logits = model(**batch).logits
    values, right = [], []
    for i in range(len(prompts) * 2):
        ids, first, total, same = labels[i % 2], lengths[i // 2] - 1, 0.0, True
        for j, label in enumerate(ids):
            total -= torch.log_softmax(logits[i, first + j], dim=0)[label].item()
            same = same and logits[i, first + j].argmax().item() == label
        values.append(total / len(ids))
        right.append(same)
    return list(zip(values[::2], values[1::2])), right


def write(model, tok, prompts):
    """Every prompt to LENGTH tokens; rows longer than the shortest feed their own tokens first."""
    batch = tok(prompts, padding=True, return_tensors="pt")
    ids, mask, past, begin = batch["input_ids"], batch["attention_mask"], None, 0
    end = int(mask.sum(1).min())
    if ids.shape[1] >= LENGTH:
        return prompts
    while ids.shape[1] < LENGTH or end < LENGTH:
        out = model(input_ids=ids[:, begin:end], attention_mask=mask[:, :end], past_key_values=past, use_cache=True)
        past = out.past_key_values
        share, index = torch.softmax(out.logits[:, -1], dim=1).topk(TOP_K, dim=1)
        drawn = index.gather(1, torch.multinomial(share / share.sum(1, keepdim=True), 1))[:, 0]
        if end == ids.shape[1]:
            ids = torch.cat([ids, torch.full((len(ids), 1), tok.pad_token_id)], 1)
            mask = torch.cat([mask, torch.zeros(len(ids), 1, dtype=mask.dtype)], 1)
        fresh = mask[:, end] == 0
        ids[fresh, end], mask[fresh, end] = drawn[fresh], 1
        begin, end = end, end + 1
    return [tok.decode(row) for row in ids]


def peer(model, tok, records, texts):
    """(seconds, CPU seconds), and what evaluate gives of each record."""
    started, used = time.perf_counter(), time.process_time()
    results = []
    with torch.no_grad():
        for record in records:
            results.append(evaluate(model, tok, record)[0])
            if texts:
                write(model, tok, record["generation_prompts"])
    return (time.perf_counter() - started, time.process_time() - used), results


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(args, texts, work):
    out = os.path.join(work, "results.jsonl")
    line = [os.path.join(args.build, "pmet"), "eval", "-q", "--json", "--force", "--model", args.model, "--facts", args.facts,
            "--limit", str(args.records), "--generate", str(args.records if texts else 0), "--threads", str(args.threads),
            "--out", out]
    used = cpu_of_children()
    seconds = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)["seconds"]
    used = cpu_of_children() - used
    with open(out, encoding="utf-8") as f:
        lines = [json.loads(text) for text in f][1:]
    lists = [f"{name}_prompts_probs" for name in ("rewrite", "paraphrase", "neighborhood")]
    return (seconds, used), [[(p["target_new"], p["target_true"]) for name in lists for p in line["post"][name]] for line in lines]


def largest_difference(a, b):
    return max(abs(x - y) for p, q in zip(a, b, strict=True) for r, s in zip(p, q, strict=True) for x, y in zip(r, s))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--facts", required=True)
    parser.add_argument("--build", default="build/float")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--pairs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(args.model, torch_dtype=torch.float32).eval()
    tok = AutoTokenizer.from_pretrained(args.model)
    tok.pad_token, tok.padding_side = tok.eos_token, "right"
    with open(args.facts, encoding="utf-8") as f:
        records = json.load(f)[:args.records]
    args.records, worst = len(records), 0.0
    print(f"{args.model}: {args.records} records, {args.threads} threads; records/s, the median of {args.pairs} runs of each "
          f"side in turn; pmet's time includes opening the model and checking the records")
    print(f"{'':20}{'published way':>15}{'pmet eval':>12}{'ratio':>8}{'range':>14}{'CPU s':>12}{'CPU s':>8}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as work:
        for texts in (False, True):
            rates = []
            for _ in range(args.pairs):
                theirs, expected = peer(model, tok, records, texts)
                own, got = ours(args, texts, work)
                worst = max(worst, largest_difference(got, expected))
                rates.append((args.records / theirs[0], args.records / own[0], theirs[0] / own[0], theirs[1], own[1],
                              theirs[1] / own[1]))
            a, b, ratio, *cpu = (statistics.median(column) for column in zip(*rates))
            low, high = min(r[2] for r in rates), max(r[2] for r in rates)
            print(f"{'with texts' if texts else 'probabilities':20}{a:15.2f}{b:12.2f}{ratio:8.1f}{low:9.1f}-{high:<4.1f}"
                  f"{cpu[0]:12.2f}{cpu[1]:8.2f}{cpu[2]:8.1f}")
    print(f"largest difference of a mean negative log-likelihood: {worst:.1e}")
    return 3 if worst > 1e-3 else 0


if __name__ == "__main__":
    sys.exit(main())
