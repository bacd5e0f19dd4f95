#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the inputs of the edit bench: peer_model.py DIR [--layers 12] [--width 768] [--vocab 8192] [--steps 25]

DIR/model     GPT-J's architecture with random float16 weights, and GPT-2's tokenizer cut to the vocabulary
DIR/facts.json, contexts.json, hparams.json
              64 CounterFact requests, five contexts of ten tokens, and published settings with a rate so small that no
              pass is the last before --steps
The same arguments give the same files. Needs torch and safetensors.
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "golden", "data")
END = "<|endoftext|>"


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def tokenizer(out, n_vocab):
    """GPT-2's first ids: bytes, then what the first merges make; the last id ends a text."""
    with open(f"{DATA}/tokenizers/gpt2/vocab.json", encoding="utf-8") as f:
        vocab = {token: i for token, i in json.load(f).items() if i < n_vocab - 1}
    with open(f"{DATA}/tokenizers/gpt2/merges.txt", encoding="utf-8") as f:
        merges = f.read().split("\n")[:1 + n_vocab - 1 - 256]
    write_json(f"{out}/vocab.json", vocab | {END: n_vocab - 1})
    with open(f"{out}/merges.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(merges) + "\n")
    write_json(f"{out}/tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": END,
                                                "unk_token": END, "add_prefix_space": False, "model_max_length": 2048})


def weights(n_layer, d, n_vocab):
    draw = torch.Generator().manual_seed(0x6d65)
    matrix = lambda rows, columns: (0.02 * torch.randn(rows, columns, generator=draw)).half()
    w = {"transformer.wte.weight": matrix(n_vocab, d), "lm_head.weight": matrix(n_vocab, d),
         "lm_head.bias": torch.zeros(n_vocab).half(), "transformer.ln_f.weight": torch.ones(d).half(),
         "transformer.ln_f.bias": torch.zeros(d).half()}
    for l in range(n_layer):
        at = f"transformer.h.{l}"
        w |= {f"{at}.ln_1.weight": torch.ones(d).half(), f"{at}.ln_1.bias": torch.zeros(d).half()}
        w |= {f"{at}.attn.{name}_proj.weight": matrix(d, d) for name in ("q", "k", "v", "out")}
        w |= {f"{at}.mlp.fc_in.weight": matrix(4 * d, d), f"{at}.mlp.fc_in.bias": torch.zeros(4 * d).half(),
              f"{at}.mlp.fc_out.weight": matrix(d, 4 * d), f"{at}.mlp.fc_out.bias": torch.zeros(d).half()}
    return w


def contexts(model, n_token=10):
    """[["{}"], five of ten tokens each], from the text: what the published code lets the model write."""
    from transformers import AutoTokenizer
    tok = AutoTokenizer.from_pretrained(model)
    with open(f"{DATA}/text/wikitext2-raw-valid.txt", encoding="utf-8") as f:
        lines = [line.strip() for line in f if len(line) > 400][::100][:5]
    return [["{}"], [tok.decode(tok(line)["input_ids"][:n_token]) + ". {}" for line in lines]]


def hparams(n_layer, steps):
    """GPT-J-6B's, layers 3 to 5 of 12."""
    module = "transformer.h.{}.mlp.fc_out"
    return {"layers": [3, 4, 5], "clamp_norm_factor": 0.75, "layer_selection": "all", "fact_token": "subject_last",
            "v_num_grad_steps": steps, "v_lr": 1e-7, "v_loss_layer": n_layer - 1, "v_weight_decay": 0.5,
            "kl_factor": 1, "rewrite_module_tmp": module, "rewrite_module_tmps": [module],
            "layer_module_tmp": "transformer.h.{}", "mlp_module_tmp": module,
            "attn_module_tmp": "transformer.h.{}.attn.out_proj", "ln_f_module": "transformer.ln_f",
            "lm_head_module": "lm_head", "mom2_adjustment": True, "mom2_update_weight": 6000,
            "mom2_dataset": "wikipedia", "mom2_n_samples": 32, "mom2_dtype": "float32", "nll_loss_factor": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    for name, value in (("layers", 12), ("width", 768), ("vocab", 8192), ("steps", 25)):
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    model = f"{a.out}/model"
    shutil.rmtree(a.out, ignore_errors=True)
    os.makedirs(model)
    write_json(f"{model}/config.json", {
        "activation_function": "gelu_new", "architectures": ["GPTJForCausalLM"], "attn_pdrop": 0.0, "embd_pdrop": 0.0,
        "resid_pdrop": 0.0, "bos_token_id": a.vocab - 1, "eos_token_id": a.vocab - 1, "layer_norm_epsilon": 1e-5,
        "model_type": "gptj", "n_embd": a.width, "n_head": a.width // 64, "n_inner": None, "n_layer": a.layers,
        "n_positions": 2048, "rotary_dim": 32, "tie_word_embeddings": False, "torch_dtype": "float16",
        "vocab_size": a.vocab})
    tokenizer(model, a.vocab)
    save_file(weights(a.layers, a.width, a.vocab), f"{model}/model.safetensors", metadata={"format": "pt"})
    write_json(f"{a.out}/contexts.json", contexts(model))
    write_json(f"{a.out}/hparams.json", hparams(a.layers, a.steps))
    shutil.copy(f"{DATA}/counterfact/requests-64.json", f"{a.out}/facts.json")


if __name__ == "__main__":
    main()
