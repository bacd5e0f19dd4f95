# SPDX-License-Identifier: MIT
"""Border cases, which the published goldens lack: rows whose pieces join, labels before the lookup index, equal logits,
probabilities and single tokens where prompt and target share a token, generated text that needs cleaning, drawn texts.

Written from the equations of SPEC.md, like method.py. Where one reading of an equation could be taken for another, `told`
asks that the golden tells them apart.
"""
import contextlib
import unicodedata

import numpy as np
import torch

import method


# --- rows and what is odd about them, SPEC §4.4 ----------------------------------------------------------------------

def whole_rows(tok, request, contexts):
    """The rows of a request as they are, without padding, and the two flags of E44; None where the published code
    raises."""
    encode, lookup, target = lambda text: method.encode(tok, text), False, False
    try:
        rows = method.Rows(tok, request, contexts)
    except (AssertionError, IndexError):
        return None
    templates = rows.rewriting + [method.KL_PROMPT]
    ids = [encode(text) for text in rows.filled]
    for template, row, idx in zip(templates, ids, rows.lookup_idx):
        before = template[:template.index("{}")]
        lookup |= row[:idx + 1] != encode(before + request["subject"])
    for template, row in zip(rows.rewriting, ids):
        plain = template[:len(template) - len(rows.decoded_prefix)]
        target |= row != encode(method.fill(plain, request["subject"])) + rows.target_ids[:-1]
    return request | {"target_ids": rows.target_ids, "filled_prompts": rows.filled, "input_ids": ids,
                      "lookup_idxs": rows.lookup_idx, "first_labels": [len(row) - len(rows.target_ids) for row in ids[:-1]],
                      "odd_lookup": lookup, "odd_target": target}


TWIN = 5  # a row of the head, below those of all targets


@contextlib.contextmanager
def twin_row(model, v):
    """Row TWIN of the head, and its bias, become those of token v, whose logits then have an equal of lower id: the
    argmax is no longer v, while the largest log-probability is still v's.                             SPEC E52, X5"""
    names = [name for name in (f"{model.lm_head}.weight", f"{model.lm_head}.bias") if name in model.w]
    kept = {name: model.w[name] for name in names}
    for name in names:
        model.w[name] = kept[name].clone()  # others may hold the same memory
        model.w[name][TWIN] = kept[name][v]
    yield
    model.w.update(kept)


# --- the published evaluation, SPEC §11.1 to §11.3 -------------------------------------------------------------------

@torch.no_grad()
def log_probs(model, ids):
    """[T, n_vocab]: of the token after each position of one row."""
    return model.head(model.forward(torch.tensor([ids]))[f"hidden.{model.n_layer}"])[0].log_softmax(-1)


def answer(model, tok, prompt, target, joined=True):
    """E80, E81: (NLL in a float32 cell, whether each target token is the most probable one).
    joined=False is the other reading: rows made of the two id lists."""
    tgt, n_prompt = method.encode(tok, " " + target), len(method.encode(tok, prompt))
    row = method.encode(tok, f"{prompt} {target}") if joined else method.encode(tok, prompt) + tgt
    lp, cell, correct = log_probs(model, row), np.float32(0), True
    for i, v in enumerate(tgt):
        at = lp[n_prompt + i - 1]
        cell = np.float32(float(cell) - at[v].item())
        correct &= at.argmax().item() == v
    return float(np.float32(float(cell) / len(tgt))), correct


def single_tokens(model, tok, prompt, target, clean=True, by_text=True, joined=True):
    """E82: a flag per target token. The three arguments choose the other readings."""
    tgt, flags = method.encode(tok, " " + target), []
    text = lambda ids: tok.decode(ids, clean_up_tokenization_spaces=clean)
    for i, v in enumerate(tgt):
        row = method.encode(tok, prompt + text(tgt[:i])) if joined else method.encode(tok, prompt) + tgt[:i]
        expected = method.encode(tok, text([v]))[0] if by_text else v
        flags.append(log_probs(model, row)[-1].argmax().item() == expected)
    return flags


LISTS = ("rewrite_prompts", "paraphrase_prompts", "neighborhood_prompts")


def counterfact(model, tok, record):
    """`post` of a CounterFact record without texts.                                                     E78, E80, E81"""
    r = record["requested_rewrite"]
    new, true = r["target_new"]["str"], r["target_true"]["str"]
    prompts = [[r["prompt"].format(r["subject"])], record["paraphrase_prompts"], record["neighborhood_prompts"]]
    post = {}
    for name, some, right in zip(LISTS, prompts, (0, 0, 1)):
        both = [[answer(model, tok, p, t) for t in (new, true)] for p in some]
        post[f"{name}_probs"] = [{"target_new": a[0], "target_true": b[0]} for a, b in both]
        post[f"{name}_correct"] = [pair[right][1] for pair in both]
    return {"case_id": record["case_id"], "post": post}


def zsre(model, tok, record, **reading):
    """`post` of a zsRE record: flags of rewrite, paraphrase, and the neighbour's.                              E78, E82"""
    target = record["answers"][0]
    asked = ((record["src"], target), (record["rephrase"], target),
             (record["loc"] + "?", record["loc_ans"]))
    return {f"{name}_correct": single_tokens(model, tok, prompt, t, **reading) for name, (prompt, t) in zip(LISTS, asked)}


# --- generated text and drawn tokens, SPEC §4.2, §9.7, §11.4 ---------------------------------------------------------

def generated_text(tok, ids):
    """E40, up to the text."""
    text = unicodedata.normalize("NFKD", method.decode(tok, ids))
    return text.replace("\n\n", " ").replace("<|endoftext|>", "")


TEXTS = [  # SPEC E40: clean-up, NFKD, "\n\n", the end-of-text mark, and in which order
    "The end .\n\nAgain , it 's \n\n\n so .",
    "one\n<|endoftext|>\ntwo<|endoftext|>three",  # no "\n\n" while the mark is there, one is left behind
    "x \u2026 y \uff0e \ufe52 \uff1f",            # compatibility marks appear after the clean-up
    "\uff1c\uff5cendoftext\uff5c\uff1e \uff1c|endoftext|>",   # so does the mark, which is then deleted
    "ﬁne Ⅷ ½ ㎏ Å é ̣́ ｶﾞ 한국 ﷺ",
    "\n\n. \n\n , .\n\n.",                      # the blank that takes the place of "\n\n" is not cleaned up
    "\U0001e030\U0001e06d \U000107bb",             # assigned after Unicode 14.0: no decomposition
    "a ' b isn 't they 've n't",
]
SEEDS = ((0, 0, 0), (1, 0, 1), (42, 3, 2))  # seed, record, text


MASK, INC = 2 ** 64 - 1, 0x9e3779b97f4a7c15


def mix(x):
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & MASK
    x = (x ^ x >> 27) * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def stream(seed, i, j):
    """The seed of text j of record i.                                                                           E85"""
    return mix(mix(seed + INC & MASK) + i + INC & MASK) + j & MASK


class Generator:
    """xoshiro256**, seeded by splitmix64.                                                                       E77"""

    def __init__(self, seed):
        self.s = [mix(seed + (i + 1) * INC & MASK) for i in range(4)]

    def draw(self):
        s, rotl = self.s, lambda x, k: (x << k | x >> 64 - k) & MASK
        out, old = rotl(5 * s[1] & MASK, 7) * 9 & MASK, s[1]
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= old << 17 & MASK
        s[3] = rotl(s[3], 45)
        return out

    def uniform(self):
        return (self.draw() >> 11) * 2.0 ** -53


@torch.no_grad()
def continue_row(model, ids, n_total, top_k, generator):
    """ids continued to n_total tokens.                                                                          E39"""
    ids = list(ids)
    while len(ids) < n_total:
        logits = model.head(model.forward(torch.tensor([ids]))[f"hidden.{model.n_layer}"][:, -1:])[0, 0].tolist()
        best = sorted(range(len(logits)), key=lambda v: (-logits[v], v))[:top_k]
        share = torch.tensor([logits[v] for v in best], dtype=torch.float64).softmax(0).cumsum(0).tolist()
        u = generator.uniform()
        ids.append(next((v for v, p in zip(best, share) if p > u), best[-1]))
    return ids


def generated(tok):
    """E40 of texts, by the ids of a tokenizer."""
    ids = [method.encode(tok, text) for text in TEXTS] + [method.encode(tok, TEXTS[4])[:k] for k in range(1, 12)]
    return [{"ids": row, "text": generated_text(tok, row)} for row in ids]


def drawn(model, tok, prompt="The capital of", n_total=40, top_k=5):
    """Texts as SPEC E85 draws them, one a seed."""
    out = []
    for seed, record, text in SEEDS:
        ids = continue_row(model, method.encode(tok, prompt), n_total, top_k, Generator(stream(seed, record, text)))
        out.append({"seed": seed, "record": record, "text_of_record": text, "prompt": prompt, "top_k": top_k,
                    "ids": ids, "text": generated_text(tok, ids)})
    return out


def check_told(model, tok, records, pairs):
    """Ends the program unless the other readings of E80 and E82 give other values. (by_text is told by the border cases
    of three models: gptj-A predicts no part of a character where its text would be asked for.)"""
    def differ(**reading):
        return any(zsre(model, tok, r, **reading) != zsre(model, tok, r) for r in pairs)

    prompt, targets = records[0]["requested_rewrite"]["prompt"], records[0]["requested_rewrite"]["target_new"]
    prompt = prompt.format(records[0]["requested_rewrite"]["subject"])
    if not (differ(clean=False) and differ(joined=False) and
            answer(model, tok, prompt, targets["str"]) != answer(model, tok, prompt, targets["str"], joined=False)):
        raise SystemExit("border cases: another reading of E80 or E82 gives the same values")
