# SPDX-License-Identifier: MIT
"""GPT-J and GPT-NeoX, forward, in a few lines of PyTorch each.                                          SPEC §3

Everything runs in the dtype of the weights that were loaded: with float64 there is no float32 anywhere, rotary tables
included. Gradients are autograd's. Shapes: B rows, T positions, d = d_model, h heads of c = d / h features.
"""
import math

import torch


def layernorm(x, weight, bias, eps):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, over the last axis.                       SPEC §3.1"""
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps) * weight + bias


def rope_angles(n_pos, rotary_dim, base, dtype):
    """cos and sin [T, rotary_dim/2] of t * base^(-2i/rotary_dim).                                       SPEC §3.2"""
    theta = base ** (-torch.arange(0, rotary_dim, 2, dtype=dtype) / rotary_dim)
    angle = torch.arange(n_pos, dtype=dtype)[:, None] * theta
    return angle.cos(), angle.sin()


def rope_interleaved(x, cos, sin):
    """GPT-J: pairs (x[2i], x[2i+1]); features past rotary_dim pass. x [B, T, h, c].                      SPEC §3.2"""
    n = 2 * cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    even, odd = x[..., 0:n:2], x[..., 1:n:2]
    turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
    return torch.cat((turned, x[..., n:]), -1)


def rope_half(x, cos, sin):
    """GPT-NeoX: pairs (x[i], x[i + rotary_dim/2]). x [B, T, h, c].                                       SPEC §3.2"""
    n = cos.shape[-1]
    cos, sin = cos[:, None], sin[:, None]
    low, high = x[..., :n], x[..., n:2 * n]
    return torch.cat((low * cos - high * sin, high * cos + low * sin, x[..., 2 * n:]), -1)


def attention(q, k, v, keep):
    """Causal attention; keep [B, T] is false at padding, which no query sees. q, k, v [B, T, h, c].      SPEC §3.3
    Returns the merged heads [B, T, d] and the probabilities [B, h, T, T]."""
    n_pos = q.shape[1]
    scores = torch.einsum("bthc,bshc->bhts", q, k) / math.sqrt(q.shape[-1])
    seen = torch.ones(n_pos, n_pos, dtype=torch.bool).tril() & keep[:, None, None, :]
    probs = scores.masked_fill(~seen, -math.inf).softmax(-1)
    return torch.einsum("bhts,bshc->bthc", probs, v).flatten(-2), probs


ACTIVATIONS = {  # SPEC §3.4; each written in the association that the named function has
    "gelu_new": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "gelu_pytorch_tanh": lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "gelu_fast": lambda x: 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "relu": torch.relu,
    "silu": lambda x: x * torch.sigmoid(x),
}


class Model:
    """The weights, under their checkpoint names, and one forward pass. Subclasses know one family each."""

    def __init__(self, config, state, dtype):
        self.dtype, self.n_ctx = dtype, config.max_position_embeddings
        self.n_layer, self.n_head = config.num_hidden_layers, config.num_attention_heads
        self.d_model = config.hidden_size
        self.w = {name: t.to(dtype) for name, t in state.items() if t.is_floating_point()}

    def linear(self, name, x):
        """y = W x + b; b where the checkpoint has one."""
        y = x @ self.w[f"{name}.weight"].T
        bias = self.w.get(f"{name}.bias")
        return y if bias is None else y + bias

    def norm(self, name, x):
        return layernorm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.eps)

    def head(self, h):
        """Final normalisation and logits [.., n_vocab].                                                SPEC §3.6"""
        return self.linear(self.lm_head, self.norm(self.ln_f, h))

    def forward(self, ids, keep=None, delta=None, n_layer=None):
        """One pass over ids [B, T]; keep [B, T] is false at padding (on the right).

        delta = (l, idx, delta_attn, delta_mlp) adds the two vectors to a and m of layer l at position idx[b] of
        every row b (SPEC §5.1). n_layer cuts the pass after so many blocks. Returns the tensors of the pass under the
        names of the golden files, without the row: hidden.L, attn_in.L, attn_probs.L, attn_out.L, mlp_key.L,
        mlp_out.L. attn_out and mlp_out are those before a delta is added."""
        keep = torch.ones_like(ids, dtype=torch.bool) if keep is None else keep.bool()
        trace, h = {}, self.w[f"{self.embedding}.weight"][ids]
        trace["hidden.0"] = h
        for l in range(self.n_layer if n_layer is None else n_layer):
            h = self.block(l, h, keep, trace, delta)
            trace[f"hidden.{l + 1}"] = h
        return trace

    def attention_output(self, l, u, keep, trace):
        """a = projection of the attention of layer l over its normalised input u."""
        q, k, v = self.queries_keys_values(l, u)
        cos, sin = rope_angles(u.shape[1], self.rotary_dim, self.rope_base, self.dtype)
        merged, probs = attention(self.rope(q, cos, sin), self.rope(k, cos, sin), v, keep)
        a = self.linear(self.attn_module.format(l), merged)
        trace.update({f"attn_in.{l}": merged, f"attn_probs.{l}": probs, f"attn_out.{l}": a})
        return a

    def ffn_output(self, l, u, trace):
        """m = W k + b with the key k = act(W_in u + b_in)."""
        key = self.act(self.linear(self.ffn_in.format(l), u))
        m = self.linear(self.mlp_module.format(l), key)
        trace.update({f"mlp_key.{l}": key, f"mlp_out.{l}": m})
        return m


def add_at(x, delta, l, which):
    """x with delta_attn (which = 2) or delta_mlp (3) added at idx[b] of every row, if l is its layer.     SPEC §5.1"""
    if delta is None or delta[0] != l:
        return x
    at = torch.zeros(x.shape[:2], dtype=x.dtype)
    at[torch.arange(len(x)), torch.as_tensor(delta[1])] = 1
    return x + at[..., None] * delta[which]


class GptJ(Model):
    embedding, ln_f, lm_head = "transformer.wte", "transformer.ln_f", "lm_head"
    attn_module, mlp_module = "transformer.h.{}.attn.out_proj", "transformer.h.{}.mlp.fc_out"
    ffn_in, rope = "transformer.h.{}.mlp.fc_in", staticmethod(rope_interleaved)

    def __init__(self, config, state, dtype):
        super().__init__(config, state, dtype)
        self.eps, self.act = config.layer_norm_epsilon, ACTIVATIONS[config.activation_function]
        self.rotary_dim, self.rope_base = config.rotary_dim or self.d_model // self.n_head, 10000.0

    def queries_keys_values(self, l, u):
        split = (*u.shape[:2], self.n_head, -1)
        return [self.linear(f"transformer.h.{l}.attn.{p}_proj", u).reshape(split) for p in "qkv"]

    def block(self, l, h, keep, trace, delta):
        """One norm feeds both branches: h + a + m.                                                     SPEC §3.5"""
        u = self.norm(f"transformer.h.{l}.ln_1", h)
        a = add_at(self.attention_output(l, u, keep, trace), delta, l, 2)
        m = add_at(self.ffn_output(l, u, trace), delta, l, 3)
        return (a + m) + h


class GptNeoX(Model):
    embedding, ln_f, lm_head = "gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out"
    attn_module, mlp_module = "gpt_neox.layers.{}.attention.dense", "gpt_neox.layers.{}.mlp.dense_4h_to_h"
    ffn_in, rope = "gpt_neox.layers.{}.mlp.dense_h_to_4h", staticmethod(rope_half)

    def __init__(self, config, state, dtype):
        super().__init__(config, state, dtype)
        self.eps, self.act = config.layer_norm_eps, ACTIVATIONS[config.hidden_act]
        self.rotary_dim = int(self.d_model // self.n_head * config.rotary_pct)
        self.rope_base, self.parallel = float(config.rotary_emb_base), config.use_parallel_residual

    def queries_keys_values(self, l, u):
        fused = self.linear(f"gpt_neox.layers.{l}.attention.query_key_value", u)
        return fused.reshape(*u.shape[:2], self.n_head, 3, -1).unbind(3)  # rows of W: head, then q|k|v, then feature

    def block(self, l, h, keep, trace, delta):
        """Parallel residual: h + m(h) + a(h); sequential: y = h + a(h), then y + m(y).                  SPEC §3.5"""
        name = f"gpt_neox.layers.{l}"
        a = add_at(self.attention_output(l, self.norm(f"{name}.input_layernorm", h), keep, trace), delta, l, 2)
        base = h if self.parallel else a + h
        u = self.norm(f"{name}.post_attention_layernorm", base)
        m = add_at(self.ffn_output(l, u, trace), delta, l, 3)
        return (m + a) + h if self.parallel else m + base


def load(directory):
    """transformers' own model in float32 (16-bit weights widened, which is exact) and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.pad_token = tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(directory).float().eval(), tokenizer


def own(hf, dtype):
    """Our forward over the weights of a transformers model, in the dtype asked for."""
    family = {"gptj": GptJ, "gpt_neox": GptNeoX}.get(hf.config.model_type)
    if family is None:
        raise SystemExit(f"config.json: model_type \"{hf.config.model_type}\"; gptj and gpt_neox are known")
    return family(hf.config, hf.state_dict(), dtype)
