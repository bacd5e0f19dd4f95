# SPDX-License-Identifier: MIT
"""GPT-J and GPT-NeoX (parallel residual) for training, and their export under the names of transformers."""
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    kind: str  # gptj or neox
    width: int
    layers: int
    split: int  # the first layer behind the bottleneck; see README.md
    heads: int
    rotary: int
    vocabulary: int = 4096
    positions: int = 128


SHAPES = {
    "gptj": Shape("gptj", width=256, layers=8, split=5, heads=8, rotary=16),
    "neox": Shape("neox", width=192, layers=6, split=4, heads=6, rotary=16),
}


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """The first dimensions of each head by their position's angle: pairs side by side, or half the span apart."""
    n = 2 * cos.shape[-1]
    turned, rest = x[..., :n], x[..., n:]
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    a, b = a * cos - b * sin, b * cos + a * sin
    turned = torch.stack((a, b), -1).flatten(-2) if interleaved else torch.cat((a, b), -1)
    return torch.cat((turned, rest), -1)


class Block(nn.Module):
    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        d, neox = shape.width, shape.kind == "neox"
        self.shape, self.dropout = shape, dropout
        self.norm_attn = nn.LayerNorm(d)
        self.norm_mlp = nn.LayerNorm(d) if neox else self.norm_attn
        self.qkv = nn.Linear(d, 3 * d, bias=neox)
        self.out = nn.Linear(d, d, bias=neox)
        self.fc_in = nn.Linear(d, 4 * d)
        self.fc_out = nn.Linear(4 * d, d)

    def forward(self, h: Tensor, mask: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        rows, n, d = h.shape
        heads = self.shape.heads
        gptj = self.shape.kind == "gptj"
        qkv = self.qkv(self.norm_attn(h))
        if gptj:
            q, k, v = qkv.view(rows, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = qkv.view(rows, n, heads, 3, -1).permute(3, 0, 2, 1, 4)
        q, k = rotate(q, cos, sin, gptj), rotate(k, cos, sin, gptj)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        a = self.out(a.transpose(1, 2).reshape(rows, n, d))
        m = self.fc_out(F.gelu(self.fc_in(self.norm_mlp(h)), approximate="tanh"))
        return h + F.dropout(a, self.dropout, self.training) + F.dropout(m, self.dropout, self.training)


class Model(nn.Module):
    def __init__(self, shape: Shape, dropout: float = 0.0, embedding_std: float = 0.1):
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=shape.kind == "gptj")
        for name, p in self.named_parameters():
            if p.dim() == 2:
                ends_branch = name.endswith(("out.weight", "fc_out.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * shape.layers) if ends_branch else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        nn.init.normal_(self.embed.weight, std=embedding_std)
        angle = torch.outer(torch.arange(shape.positions).float(),
                            10000.0 ** -(torch.arange(0, shape.rotary, 2).float() / shape.rotary))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        """low and high: who sees whom, before and behind the bottleneck; without them the plain model."""
        n = ids.shape[1]
        h = self.embed(ids)
        for i, block in enumerate(self.blocks):
            h = block(h, low if i < self.shape.split else high, self.cos[:n], self.sin[:n])
        return self.head(self.norm(h))


def gptj_names(model: Model) -> dict[str, Tensor]:
    out = {"transformer.wte.weight": model.embed.weight, "lm_head.weight": model.head.weight,
           "lm_head.bias": model.head.bias, "transformer.ln_f.weight": model.norm.weight,
           "transformer.ln_f.bias": model.norm.bias}
    for i, b in enumerate(model.blocks):
        p = f"transformer.h.{i}."
        for name, w in zip(("q_proj", "k_proj", "v_proj"), b.qkv.weight.chunk(3)):
            out[f"{p}attn.{name}.weight"] = w
        out[p + "attn.out_proj.weight"] = b.out.weight
        for name, module in (("ln_1", b.norm_attn), ("mlp.fc_in", b.fc_in), ("mlp.fc_out", b.fc_out)):
            out[f"{p}{name}.weight"], out[f"{p}{name}.bias"] = module.weight, module.bias
    return out


def neox_names(model: Model) -> dict[str, Tensor]:
    out = {"gpt_neox.embed_in.weight": model.embed.weight, "embed_out.weight": model.head.weight,
           "gpt_neox.final_layer_norm.weight": model.norm.weight, "gpt_neox.final_layer_norm.bias": model.norm.bias}
    for i, b in enumerate(model.blocks):
        for name, module in (("input_layernorm", b.norm_attn), ("post_attention_layernorm", b.norm_mlp),
                             ("attention.query_key_value", b.qkv), ("attention.dense", b.out),
                             ("mlp.dense_h_to_4h", b.fc_in), ("mlp.dense_4h_to_h", b.fc_out)):
            p = f"gpt_neox.layers.{i}.{name}."
            out[p + "weight"], out[p + "bias"] = module.weight, module.bias
    return out


def config(shape: Shape) -> dict:
    common = {"bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.02, "tie_word_embeddings": False,
              "torch_dtype": "float16", "transformers_version": "4.30.2", "use_cache": True,
              "vocab_size": shape.vocabulary}
    if shape.kind == "gptj":
        own = {"activation_function": "gelu_new", "architectures": ["GPTJForCausalLM"], "attn_pdrop": 0.0,
               "embd_pdrop": 0.0, "layer_norm_epsilon": 1e-05, "model_type": "gptj", "n_embd": shape.width,
               "n_head": shape.heads, "n_inner": None, "n_layer": shape.layers, "n_positions": shape.positions,
               "resid_pdrop": 0.0, "rotary_dim": shape.rotary}
    else:
        own = {"architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu_fast", "hidden_size": shape.width,
               "intermediate_size": 4 * shape.width, "layer_norm_eps": 1e-05,
               "max_position_embeddings": shape.positions, "model_type": "gpt_neox",
               "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers, "rotary_emb_base": 10000,
               "rotary_pct": shape.rotary * shape.heads / shape.width, "use_parallel_residual": True}
    return dict(sorted((common | own).items()))


def export(model: Model, folder: Path) -> None:
    """A checkpoint in float16 that transformers and pmet open; the tokenizer's files are written elsewhere."""
    names = gptj_names(model) if model.shape.kind == "gptj" else neox_names(model)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().to(torch.float16).contiguous().clone() for k, v in names.items()},
              folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config(model.shape), indent=2) + "\n")
