#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/data/tokenizer_options.json with tokenizers 0.13.3: small tokenizers, each with an option that the tokenizers
of the goldens do not use, texts, and the ids that the library gives them."""
import copy
import json
import os

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

here = os.path.dirname(os.path.abspath(__file__))
vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
for token in ("ab", "bc", "abc", "Ġa"):
    vocab[token] = len(vocab)
base = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab, "merges": ["a b", "b c", "ab c", "Ġ a"]},
}


def added(text, id, **flags):
    return {"id": id, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False,
            "content": text, **flags}


def case(what, texts, **change):
    t = copy.deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(t[key], dict):
            t[key].update(value)
        else:
            t[key] = value
    tokenizer = Tokenizer.from_str(json.dumps(t))
    return {"what": what, "tokenizer": t, "texts": texts,
            "ids": [tokenizer.encode(s, add_special_tokens=False).ids for s in texts]}


n = len(vocab)
blanks = ["a<t>b", "a <t> b", "a  <t>  b", " <t>", "<t> ", "<t> <t>", "a\u3000<t>\u3000b"]
unknown = {"<unk>": n, **{token: id for token, id in vocab.items() if token not in "0A"}}
cases = [
    case("lstrip", blanks, added_tokens=[added("<t>", n, lstrip=True)]),
    case("rstrip", blanks, added_tokens=[added("<t>", n, rstrip=True)]),
    case("both", blanks, added_tokens=[added("<t>", n, lstrip=True, rstrip=True)]),
    case("single_word", ["day", "a day b", "today", "days", "a day", "day b", "_day", "é day", "éday", "dayé", "day day"],
         added_tokens=[added("day", n, single_word=True)]),
    case("normalized", ["né", "ne\u0301", "a<e\u0301>b", "a<é>b"], normalizer={"type": "NFC"},
         added_tokens=[added("né", n, normalized=True), added("<e\u0301>", n + 1)]),
    case("longest", ["xy", "xyz", "xyzw", "yxy"],
         added_tokens=[added("xy", n), added("xyz", n + 1), added("yx", n + 2)]),
    case("add_prefix_space", ["a", " a", "", "a<t>a", "<t>a"], pre_tokenizer={"add_prefix_space": True},
         added_tokens=[added("<t>", n)]),
    case("no regex", ["a a", "abc abc", " "], pre_tokenizer={"use_regex": False}),
    case("unknown", ["a0b", "00", "A"], model={"unk_token": "<unk>", "vocab": unknown}),
    case("a merge given twice", ["abc"], model={"merges": ["a b", "b c", "ab c", "a b"]}),
    case("marks", ["o\u033d\u0301", "o\u0301\u033d", "o\u0327\u0301", "o\u0301\u0327", "\u0301o"], normalizer={"type": "NFC"}),
]
with open(os.path.join(here, "tokenizer_options.json"), "w") as f:
    json.dump(cases, f, ensure_ascii=True, separators=(",", ":"))
    f.write("\n")
