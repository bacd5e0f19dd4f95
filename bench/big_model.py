#!/usr/bin/env python3
"""Writes a GPT-J or GPT-NeoX of real size with random weights, and statistics in the published .npz form, so that an edit can be
planned and run at the size that users have. Needs numpy. 12 GB and 1 GB for GPT-J-6B's dimensions:

    python3 bench/big_model.py --tokenizer DIR --out big/model --stats big/stats
    python3 bench/big_model.py --tokenizer DIR --out big/neox --family gpt_neox --layers 44 --width 6144 --heads 64 \\
        --vocab 50432 --sparse

--sparse leaves the weights as a hole in the file: enough for a plan or an inspection. DIR holds vocab.json and
merges.txt (GPT-2's); with fewer entries than --vocab, the others are never met."""
import argparse
import json
import os
import shutil

import numpy as np


def gptj(d, f, vocab, layers):
    """Names and shapes of a GPT-J."""
    yield "transformer.wte.weight", (vocab, d)
    for n in range(layers):
        h = f"transformer.h.{n}."
        yield from ((h + f"ln_1.{p}", (d,)) for p in ("weight", "bias"))
        yield from ((h + f"attn.{p}_proj.weight", (d, d)) for p in ("q", "k", "v", "out"))
        yield from ((h + "mlp.fc_in.weight", (f, d)), (h + "mlp.fc_in.bias", (f,)))
        yield from ((h + "mlp.fc_out.weight", (d, f)), (h + "mlp.fc_out.bias", (d,)))
    yield from ((f"transformer.ln_f.{p}", (d,)) for p in ("weight", "bias"))
    yield from (("lm_head.weight", (vocab, d)), ("lm_head.bias", (vocab,)))


def neox(d, f, vocab, layers):
    """Names and shapes of a GPT-NeoX."""
    yield from ((f"{p}.weight", (vocab, d)) for p in ("gpt_neox.embed_in", "embed_out"))
    for n in range(layers):
        h = f"gpt_neox.layers.{n}."
        norms = ("input_layernorm", "post_attention_layernorm")
        yield from ((h + f"{norm}.{p}", (d,)) for norm in norms for p in ("weight", "bias"))
        for name, out, into in (("attention.query_key_value", 3 * d, d), ("attention.dense", d, d),
                                ("mlp.dense_h_to_4h", f, d), ("mlp.dense_4h_to_h", d, f)):
            yield from ((h + name + ".weight", (out, into)), (h + name + ".bias", (out,)))
    yield from ((f"gpt_neox.final_layer_norm.{p}", (d,)) for p in ("weight", "bias"))


def shapes(a):
    return (gptj if a.family == "gptj" else neox)(a.width, 4 * a.width, a.vocab, a.layers)


def config(a):
    if a.family == "gptj":
        return {"model_type": "gptj", "n_layer": a.layers, "n_embd": a.width, "n_head": a.heads, "n_inner": None,
                "n_positions": 2048, "rotary_dim": 64, "vocab_size": a.vocab, "layer_norm_epsilon": 1e-5,
                "activation_function": "gelu_new", "tie_word_embeddings": False, "torch_dtype": "float16"}
    return {"model_type": "gpt_neox", "num_hidden_layers": a.layers, "hidden_size": a.width,
            "num_attention_heads": a.heads, "intermediate_size": 4 * a.width, "max_position_embeddings": 2048,
            "rotary_pct": 0.25, "rotary_emb_base": 10000, "vocab_size": a.vocab, "layer_norm_eps": 1e-5,
            "hidden_act": "gelu_fast", "use_parallel_residual": True, "tie_word_embeddings": False,
            "torch_dtype": "float16"}


def write_weights(a, path):
    entries = sorted(shapes(a))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in entries:
        end = at + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal(1 << 24) * 0.02).astype(np.float16)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        if a.sparse:
            out.truncate(8 + len(text) + at)
            return
        for name, shape in entries:
            n = int(np.prod(shape))
            if len(shape) == 1:
                out.write(np.full(n, name.endswith("weight"), np.float16).tobytes())
                continue
            while n > 0:  # runs of the noise that begin anywhere
                first = int(rng.integers(0, len(noise) - 1))
                run = noise[first : first + n]
                out.write(run.tobytes())
                n -= len(run)


def write_stats(a, folder, layers):
    """One matrix for all layers: 1/10 I + B B^T / 64, as a sum over 1000 tokens."""
    f, count = 4 * a.width, 1000
    b = np.random.default_rng(1).standard_normal((f, 64)).astype(np.float32)
    mom2 = b @ b.T * (count / 64)
    mom2[np.arange(f), np.arange(f)] += count / 10
    os.makedirs(folder, exist_ok=True)
    names = [os.path.join(folder, f"transformer.h.{n}.mlp.fc_out_float32_mom2_100000.npz") for n in layers]
    np.savez(names[0], **{"mom2.constructor": "SecondMoment", "mom2.count": count, "mom2.mom2": mom2, "sample_size": 100000})
    for name in names[1:]:
        os.link(names[0], name)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True)
    p.add_argument("--tokenizer", required=True, help="folder with vocab.json and merges.txt")
    p.add_argument("--stats", help="folder for statistics of layers 3 to 8")
    p.add_argument("--family", choices=("gptj", "gpt_neox"), default="gptj")
    p.add_argument("--layers", type=int, default=28)
    p.add_argument("--width", type=int, default=4096)
    p.add_argument("--heads", type=int, default=16)
    p.add_argument("--vocab", type=int, default=50400)
    p.add_argument("--sparse", action="store_true")
    a = p.parse_args()
    os.makedirs(a.out)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(os.path.join(a.tokenizer, name), a.out)
    with open(os.path.join(a.out, "config.json"), "w") as out:
        json.dump(config(a), out, indent=1)
    write_weights(a, os.path.join(a.out, "model.safetensors"))
    if a.stats:
        write_stats(a, a.stats, range(3, 9))


if __name__ == "__main__":
    main()
