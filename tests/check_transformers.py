#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Does a checkpoint mean to transformers what it means to pmet?

    check_transformers.py MODEL_DIR PROMPTS.json TRACE.safetensors [LIMIT]

TRACE is what `pmet trace --model MODEL_DIR --prompts PROMPTS.json` wrote. The directory is loaded with transformers, its
weights widened to float32, and each prompt run alone; token ids must be equal and the logits of all positions within LIMIT
(1e-5) in relative L2 error. Exit 0 if they are, 3 if not, 77 where transformers is not installed.
"""
import json
import sys

try:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
except ImportError as error:
    print(f"skipped: no transformers ({error})")
    sys.exit(77)


def relative(a, b):
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm())


def main():
    if len(sys.argv) not in (4, 5):
        print("usage: check_transformers.py MODEL_DIR PROMPTS.json TRACE.safetensors [LIMIT]", file=sys.stderr)
        return 2
    directory, prompts_path, trace_path = sys.argv[1:4]
    limit = float(sys.argv[4]) if len(sys.argv) == 5 else 1e-5
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory).float().eval()
    trace = load_file(trace_path)
    with open(prompts_path, encoding="utf-8") as f:
        prompts = json.load(f)
    bad = 0 if prompts else 1
    for r, prompt in enumerate(prompts):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        names = f"row{r}.input_ids", f"row{r}.logits"
        if any(name not in trace for name in names):
            verdict, ok = f"no tensor {' or '.join(n for n in names if n not in trace)} in {trace_path}", False
        elif trace[names[0]].flatten().tolist() != ids[0].tolist():
            verdict, ok = f"ids {trace[names[0]].flatten().tolist()}, transformers has {ids[0].tolist()}", False
        else:
            with torch.no_grad():
                want = model(ids).logits[0]
            got = trace[names[1]].reshape(want.shape)
            every, last = relative(got, want), relative(got[-1], want[-1])
            ok = every <= limit and last <= limit  # false for NaN
            verdict = f"{ids.shape[1]:3d} tokens, relative L2 error {every:.1e}, last position {last:.1e}, limit {limit:.0e}"
        print(f"{'ok  ' if ok else 'FAIL'} row{r}: {verdict}")
        bad += not ok
    return 3 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
