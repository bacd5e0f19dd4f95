# SPDX-License-Identifier: MIT
"""PMET in PyTorch: facts to rows, the two deltas, keys, second moments, the edit.                  SPEC §4 to §8

Written from the equations, for reading beside SPEC.md and for making goldens of other models. Slow on purpose: every pass
runs the whole model on padded rows, one fact at a time, and autograd differentiates. `p` is the dtype of the run.
"""
import math
import random

import torch

KL_PROMPT = "{} is a"


# --- facts to rows, SPEC §4 ------------------------------------------------------------------------------------------

def request_of(record):
    """A CounterFact record, or its requested_rewrite, as the method wants it: target with a leading blank."""
    rewrite = record.get("requested_rewrite", record)
    target = rewrite["target_new"]["str"]
    return {"case_id": record.get("case_id"), "prompt": rewrite["prompt"], "subject": rewrite["subject"],
            "target_new": target if target.startswith(" ") else " " + target}


def fill(template, *values):
    return template.format(*values)


def encode(tok, text):
    return tok(text)["input_ids"]


def decode(tok, ids):
    """Text of ids, blanks before punctuation cleaned up as the published prompts have it.                SPEC §2.2"""
    return tok.decode(ids, clean_up_tokenization_spaces=True)


def pad(tok, texts):
    """Texts as one batch, padded on the right: ids [B, T], keep [B, T].                                   SPEC §4.3"""
    rows = [encode(tok, text) for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [tok.pad_token_id] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def lookup_index(tok, template, subject, strategy="subject_last"):
    """Position of the subject in the filled template, counted on its pieces tokenised apart.              SPEC §4.4"""
    if template.count("{}") != 1:
        raise AssertionError
    prefix, suffix = template.split("{}")
    word = subject
    if prefix:
        if not prefix.endswith(" "):
            raise AssertionError
        prefix, word = prefix[:-1], " " + subject.strip()
    n_prefix, n_word, n_suffix = (len(encode(tok, part)) for part in (prefix, word, suffix))
    return {"subject_last": n_prefix + n_word - 1, "subject_first": n_prefix,
            "subject_first_after_last": n_prefix + n_word - (n_suffix == 0)}[strategy]


def flatten(contexts):
    return [context for group in contexts for context in group]


class Rows:
    """The rows over which delta is optimised for one request: a row a context, the KL row last.           SPEC §4.3"""

    def __init__(self, tok, request, contexts):
        prompt, subject = request["prompt"], request["subject"]
        self.target_ids = encode(tok, request["target_new"])
        self.decoded_prefix = decode(tok, self.target_ids[:-1])
        self.rewriting = [fill(context, prompt) + self.decoded_prefix for context in flatten(contexts)]
        templates = self.rewriting + [KL_PROMPT]
        self.filled = [fill(template, subject) for template in templates]
        self.ids, self.keep = pad(tok, self.filled)
        self.lookup_idx = [lookup_index(tok, template, subject) for template in templates]
        self.labels = torch.full_like(self.ids[:-1], -100)  # SPEC §4.4: the last n_t real positions of a row
        for b, n in enumerate(self.keep[:-1].sum(1).tolist()):
            self.labels[b, n - len(self.target_ids):n] = torch.tensor(self.target_ids)


# --- the two deltas, SPEC §5 -----------------------------------------------------------------------------------------

def clamp_(delta, radius):
    """Projects delta onto the ball of that radius; true if it moved.                                     SPEC §5.5"""
    norm = delta.norm()
    if norm > radius:
        delta.mul_(radius / norm)
        return True
    return False


def target_terms(logits, labels, n_target):
    """Per row: mean NLL [R] and mean best log-probability [R]; per target: log-probability, argmax [R, n].
    SPEC §5.2"""
    lp = logits.log_softmax(-1)
    at = labels != -100
    best, argmax = lp.max(-1)
    each = lp.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    nll = -(each * at).sum(-1) / n_target
    shape = (len(labels), n_target)
    return nll, (best * at).sum(-1) / n_target, each[at].reshape(shape), argmax[at].reshape(shape)


def optimise(model, rows, hp):
    """delta_attn and delta_mlp of one request; returns (tensors, record of the steps).                    SPEC §5"""
    L = hp["layers"][-1]
    loss_layer = max(hp["v_loss_layer"], L)
    delta_attn, delta_mlp = (torch.zeros(model.d_model, dtype=model.dtype, requires_grad=True) for _ in range(2))
    adam = torch.optim.Adam([delta_attn, delta_mlp], lr=hp["v_lr"])  # betas 0.9, 0.999, eps 1e-8     SPEC §5.4
    factor, n_target = hp["nll_loss_factor"], len(rows.target_ids)
    idx, kl_row = rows.lookup_idx, len(rows.lookup_idx) - 1
    steps, history, stop = [], {k: [] for k in ("delta_attn", "delta_mlp", "grad_delta_attn", "grad_delta_mlp")}, None
    for it in range(hp["v_num_grad_steps"]):
        trace = model.forward(rows.ids, rows.keep, (L, idx, delta_attn, delta_mlp))
        if it == 0:  # the values at the lookup index of the plain prompt                                  SPEC §5.1
            a0, m0 = (trace[f"{name}.{L}"][0, idx[0]].detach().clone() for name in ("attn_out", "mlp_out"))
        logits = model.head(trace[f"hidden.{loss_layer + 1}"])
        nll, best, each, argmax = target_terms(logits[:kl_row], rows.labels, n_target)
        kl_lp = model.head(trace[f"hidden.{model.n_layer}"][kl_row, idx[kl_row]])[None].log_softmax(-1)
        if it == 0:
            kl_lp0 = kl_lp.detach().clone()
        nll_loss = factor * nll.mean()
        kl_loss = hp["kl_factor"] * (kl_lp.exp() * (kl_lp - kl_lp0)).sum()  # KL(edited || original)
        decay = hp["v_weight_decay"] * (delta_mlp.norm() / m0.norm() ** 2 + delta_attn.norm() / a0.norm() ** 2)
        loss = nll_loss + kl_loss + decay
        prob, max_prob = nll.neg().exp().mean().item(), best.exp().mean().item()
        step = {"it": it, "nll_loss": nll_loss.item(), "kl_loss": kl_loss.item(), "weight_decay": decay.item(),
                "loss": loss.item(), "prob": prob, "max_prob": max_prob, "nll_loss_factor": factor,
                "nll_loss_each": nll.tolist(), "target_logprobs": each.tolist(), "argmax": argmax.tolist()}
        steps.append(step)
        # SPEC §5.3, in this order; a changed factor acts in the next pass
        known = max_prob == prob
        if step["loss"] < 5e-2:
            stop = "loss<5e-2"
        else:
            factor = (0.1 if known else 1.0) * hp["nll_loss_factor"]
            if known and step["kl_loss"] <= 0.01:
                stop = "target is argmax and kl_loss<=0.01"
            elif it == hp["v_num_grad_steps"] - 1:
                stop = "max steps"
        if stop:
            break
        adam.zero_grad()
        loss.backward()
        history["grad_delta_attn"].append(delta_attn.grad.clone())
        history["grad_delta_mlp"].append(delta_mlp.grad.clone())
        adam.step()
        with torch.no_grad():
            for name, delta, start in (("delta_attn", delta_attn, a0), ("delta_mlp", delta_mlp, m0)):
                step[f"clamped_{name}"] = clamp_(delta, hp["clamp_norm_factor"] * start.norm())
                history[name].append(delta.detach().clone())
    delta_attn, delta_mlp = delta_attn.detach(), delta_mlp.detach()
    tensors = {"delta_attn": delta_attn, "delta_mlp": delta_mlp, "target_init_attn": a0, "target_init_mlp": m0,
               "target_attn": a0 + delta_attn, "target_mlp": m0 + delta_mlp,
               "kl_distr_init": kl_lp0, "kl_log_probs_last": kl_lp.detach()}
    if len(steps) > 1:
        tensors.update({f"steps.{k}": torch.stack(v if k.startswith("delta") else v[:3]) for k, v in history.items()})
    return tensors, {"stop": stop, "n_forward": len(steps), "n_updates": len(history["delta_mlp"]), "steps": steps}


# --- keys, SPEC §6 ---------------------------------------------------------------------------------------------------

MODULES = {"attn": ("attn_in", "attn_out"), "mlp": ("mlp_key", "mlp_out")}  # where a module's input and output are


def kind_of(model, module_tmp):
    for kind, name in (("attn", model.attn_module), ("mlp", model.mlp_module)):
        if module_tmp == name:
            return kind
    raise SystemExit(f"hparams: module \"{module_tmp}\"; {model.attn_module} and {model.mlp_module} can be edited")


@torch.no_grad()
def module_at_subject(model, tok, templates, subject, kind, l):
    """Input and output of a module of layer l at the subject's last token, a row a template: [n, d_in], [n, d]."""
    ids, keep = pad(tok, [fill(template, subject) for template in templates])
    idx = torch.tensor([lookup_index(tok, template, subject) for template in templates])
    trace, rows = model.forward(ids, keep, n_layer=l + 1), torch.arange(len(templates))
    return tuple(trace[f"{name}.{l}"][rows, idx] for name in MODULES[kind])


def mean_of_groups(values, contexts):
    """Mean over each group of contexts, then the mean of those means: [n_context, d_in] -> [d_in].        SPEC §6"""
    return torch.stack([part.mean(0) for part in values.split([len(group) for group in contexts])]).mean(0)


def keys(model, tok, requests, contexts, kind, l):
    """Keys and outputs per context [n, n_context, ..] and the averaged keys [n, d_in].                   SPEC §6"""
    found = [module_at_subject(model, tok, [fill(c, r["prompt"]) for c in flatten(contexts)], r["subject"], kind, l)
             for r in requests]
    inside, outside = (torch.stack(part) for part in zip(*found))
    return inside, outside, torch.stack([mean_of_groups(one, contexts) for one in inside])


# --- second moments, SPEC §7 -----------------------------------------------------------------------------------------

def sample_order(n_docs, n_samples):
    """Which documents, in which order: CPython's shuffle seeded with 1.                                  SPEC §7.1"""
    order = list(range(n_docs))
    random.Random(1).shuffle(order)
    return order[:n_samples]


def batches(lengths, batch_tokens, loader_size=100):
    """Positions in the sample, by hundreds, longest first, cut where padding would pass batch_tokens.     SPEC §7.1"""
    for start in range(0, len(lengths), loader_size):
        chunk = [i for i in range(start, min(start + loader_size, len(lengths))) if lengths[i]]
        chunk.sort(key=lambda i: -lengths[i])
        part = []
        for i in chunk:
            if part and lengths[part[0]] * (len(part) + 1) > batch_tokens:
                yield part
                part = []
            part.append(i)
        if part:
            yield part


@torch.no_grad()
def second_moments(model, tok, texts, hp, kinds=("mlp", "attn")):
    """E[k k^T] of the modules of every edited layer, one pass on the unedited model.                     SPEC §7
    Returns ({(kind, l): [d_in, d_in]}, record)."""
    order = sample_order(len(texts), hp["mom2_n_samples"])
    full = [encode(tok, texts[i]) for i in order]
    docs, batch_tokens = [ids[:model.n_ctx] for ids in full], 3 * model.n_ctx
    names = [(kind, l) for l in hp["layers"] for kind in kinds]
    total, count, shapes = dict.fromkeys(names, 0), 0, []
    for part in batches([len(ids) for ids in docs], batch_tokens):
        width = len(docs[part[0]])
        ids = torch.tensor([docs[i] + [0] * (width - len(docs[i])) for i in part])
        keep = torch.tensor([[1] * len(docs[i]) + [0] * (width - len(docs[i])) for i in part])
        trace = model.forward(ids, keep, n_layer=hp["layers"][-1] + 1)
        for kind, l in names:
            x = trace[f"{MODULES[kind][0]}.{l}"][keep.bool()]
            total[kind, l] = total[kind, l] + x.T @ x  # SPEC §7.2
        count += int(keep.sum())
        shapes.append([len(part), width])
    moments = {name: total[name] / count for name in names}
    return moments, {"count": count, "n_docs": len(texts), "mom2_n_samples": hp["mom2_n_samples"],
                     "sampled_order": order, "token_lengths": [len(ids) for ids in docs], "maxlen": model.n_ctx,
                     "n_truncated": sum(map(lambda ids: len(ids) > model.n_ctx, full)), "n_tokens": count,
                     "batch_tokens": batch_tokens, "loader_batch_size": 100, "batch_shapes": shapes}


# --- spread and solve, SPEC §8 ---------------------------------------------------------------------------------------

@torch.no_grad()
def update(R, K, cov, lam):
    """W_upd = R K^T (lam C + K K^T)^-1, in float64, by Cholesky: the matrix is symmetric.                SPEC §8.2"""
    A = lam * cov.double() + K @ K.T
    return torch.cholesky_solve(K @ R.T, torch.linalg.cholesky(A)).T


@torch.no_grad()
def execute(model, tok, requests, contexts, hp, targets, moments):
    """Edits every layer and module in turn; puts the weights back at the end.                             SPEC §8
    targets {kind: z [n, d]}; moments(kind, l) gives C. Returns the tensors of the execute golden."""
    L, layers, saved, out = hp["layers"][-1], hp["layers"], {}, {}
    for i, l in enumerate(layers):
        for module_tmp in hp["rewrite_module_tmps"]:
            kind, name = kind_of(model, module_tmp), module_tmp.format(l)
            # SPEC X27: "attn" in the module's name chooses the target, and GPT-NeoX's attention.dense lacks it
            z = targets["attn" if "attn" in module_tmp else "mlp"]
            K = keys(model, tok, requests, contexts, kind, l)[2].T.double()  # on the model as edited so far
            current = torch.stack([module_at_subject(model, tok, [r["prompt"]], r["subject"], kind, L)[1][0]
                                   for r in requests]).T
            missing = (z.T - current).double()
            upd = update(missing / math.sqrt(len(layers) - i), K, moments(kind, l), hp["mom2_update_weight"])
            weight = f"{name}.weight"
            saved[weight] = model.w[weight]
            model.w[weight] = saved[weight] + upd.to(model.dtype)  # SPEC §8.4
            out.update({f"cur_zs.{name}": current, f"targets.{name}": missing, f"layer_ks.{name}": K,
                        f"upd_matrix.{name}": upd, f"edited.{weight}": model.w[weight]})
    model.w.update(saved)
    return out
