#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the tables of this folder: what the real libraries do with added tokens, with the files beside a vocabulary, and with
strings that the other goldens lack (SPEC §2).

    python3 -m venv old && old/bin/pip install transformers==4.30.2 tokenizers==0.13.3 'numpy<2'
    python3 -m venv new && new/bin/pip install transformers==5.24.0 torch
    old/bin/python golden/tokenizer-rules/make.py --newer new/bin/python --out golden/tokenizer-rules

The ids are those of the old pair, with which the published code ran. Where the new one gives others, the table has them
under "differs", and `newer` says that these count.
"""
import argparse
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
END = "<|endoftext|>"


def alphabet():
    """SPEC E4."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in plain] + [chr(0x100 + i) for i in range(256 - len(plain))]


def base_tokenizer():
    vocab = {letter: i for i, letter in enumerate(sorted(alphabet()))}
    merges = ["a b", "b c", "ab c", "Ġ a", "Ġ Ġ", "h e"]
    for merge in merges:
        vocab[merge.replace(" ", "")] = len(vocab)
    vocab[END] = len(vocab)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added(END, len(vocab) - 1, special=True)],
            "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab, "merges": merges}}


def token(text, **flags):
    return {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **flags}


def added(text, id, **flags):
    return {"id": id, **token(text), "special": False, **flags}


base = base_tokenizer()
vocab = base["model"]["vocab"]
n = len(vocab)


# ---------------------------------------------------------------- added.json: tokenizers alone
def added_cases():
    """Options one by one, then random sets of added tokens on random texts that are full of them and of blanks."""
    blanks = ["a<t>b", "a <t> b", "a  <t>  b", " <t>", "<t> ", "<t> <t>", "a\u3000<t>\u3000b", "a<t>\u001c<t>b", "a\u00a0<t>\u0085b"]
    unknown = {"<unk>": n, **{t: i for t, i in vocab.items() if t not in "0A"}}

    def model(**change):
        return {**base["model"], **change}

    def of(*tokens):
        return [base["added_tokens"][0], *tokens]

    cases = [
        dict(what="lstrip", texts=blanks, added_tokens=of(added("<t>", n, lstrip=True))),
        dict(what="rstrip", texts=blanks, added_tokens=of(added("<t>", n, rstrip=True))),
        dict(what="both", texts=blanks, added_tokens=of(added("<t>", n, lstrip=True, rstrip=True))),
        dict(what="rstrip before a token of blanks: they are given twice", texts=["a<t>     b", "<t>  ", "<t>    <t>"],
             added_tokens=of(added("<t>", n, rstrip=True), added("  ", n + 1))),
        dict(what="rstrip before a token that begins with a blank", texts=["<t> x", "<t>  x", " x x x"],
             added_tokens=of(added("<t>", n, rstrip=True), added(" x", n + 1, rstrip=True))),
        dict(what="blanks with both flags: the first takes all", texts=["x        b", "  \u3000  \tb"],
             added_tokens=of(added("  ", n, lstrip=True, rstrip=True))),
        dict(what="single_word", texts=["day", "a day b", "today", "days", "a day", "day b", "_day", "é day", "éday", "dayé", "day day",
                                        "\u24d0day", "day\u0301", "day\u200d", "day\u00be", "day1", "day\u2164", "day\u203f", "day-day"],
             added_tokens=of(added("day", n, single_word=True))),
        dict(what="normalized", texts=["né", "ne\u0301", "a<e\u0301>b", "a<é>b"], normalizer={"type": "NFC"},
             added_tokens=of(added("né", n, normalized=True), added("<e\u0301>", n + 1))),
        dict(what="the raw cut comes before NFC", texts=["<t>\u0338", "<t>\u0338<t>", "a\u0338<u>\u0338"], normalizer={"type": "NFC"},
             added_tokens=of(added("<t>", n), added("<u>", n + 1, normalized=True))),
        dict(what="the same without NFC", texts=["<t>\u0338", "<t>\u0338<t>", "a\u0338<u>\u0338"],
             added_tokens=of(added("<t>", n), added("<u>", n + 1, normalized=True))),
        dict(what="longest", texts=["xy", "xyz", "xyzw", "yxy"],
             added_tokens=of(added("xy", n), added("xyz", n + 1), added("yx", n + 2))),
        dict(what="a special token of the vocabulary", texts=["he", "hehe", "the he"], added_tokens=of(added("he", vocab["he"], special=True))),
        dict(what="a token of the vocabulary that is not special", newer=True, texts=["he", "a  he", "ab  ab"],
             added_tokens=of(added("ab", vocab["ab"], normalized=True))),
        dict(what="add_prefix_space", texts=["a", " a", "", "a<t>a", "<t>a", "\ta", "\u3000a"],
             pre_tokenizer={**base["pre_tokenizer"], "add_prefix_space": True}, added_tokens=of(added("<t>", n))),
        dict(what="no regex", texts=["a a", "abc abc", " "], pre_tokenizer={**base["pre_tokenizer"], "use_regex": False}),
        dict(what="unknown", texts=["a0b", "00", "A"], added_tokens=[], model=model(unk_token="<unk>", vocab=unknown)),
        dict(what="an empty token in the vocabulary", texts=["abc", ""], added_tokens=[], model=model(vocab={**vocab, "": n})),
        dict(what="a merge given twice", texts=["abc"], model=model(merges=["a b", "b c", "ab c", "a b"])),
        dict(what="merges as pairs", newer=True, texts=["abc abc"], model=model(merges=[m.split(" ") for m in base["model"]["merges"]])),
        dict(what="marks", texts=["o\u033d\u0301", "o\u0301\u033d", "o\u0327\u0301", "o\u0301\u0327", "\u0301o"],
             normalizer={"type": "NFC"}),
    ]
    r = random.Random(7)
    contents = ["<t>", "<t>a", "day", "a", "  ", "    ", "\n", "é", "e\u0301", "<é>", "<e\u0301>", " x", "x ", "ab", "'s", "<|end|>", "_",
                "\u0301", "t>"]
    pieces = ["<t>", "<t>a", "day", "a", "b", " ", "  ", "   ", "\n", "\t", "\u3000", "\u00a0", "\u001c", "é", "e", "e\u0301", "\u0301",
              "<é>", "<e\u0301>", "x", "<|end|>", "_", "1", "-", "\u200d", "'s", "\u0327", "\u24d0", "¾", "ª"]
    for k in range(60):
        tokens, new = [], n
        for text in r.sample(contents, r.randint(1, 4)):
            flags = {f: r.random() < p for f, p in (("single_word", .3), ("lstrip", .4), ("rstrip", .4), ("normalized", .5), ("special", .4))}
            if text in vocab:
                flags["special"] = True  # otherwise the versions differ: see above
            tokens.append(added(text, vocab.get(text, new), **flags))
            new += text not in vocab
        own = [t["content"] for t in tokens]
        texts = ["".join(r.choice(own if r.random() < .35 else pieces) for _ in range(r.randint(1, 9))) for _ in range(40)]
        cases.append(dict(what=f"random {k}", texts=texts, added_tokens=tokens, normalizer={"type": "NFC"} if r.random() < .5 else None,
                          pre_tokenizer={**base["pre_tokenizer"], "add_prefix_space": r.random() < .2}))
    return cases


def changed(case):
    return {**base, **{k: v for k, v in case.items() if k in base}}


def run_added(case):
    from tokenizers import Tokenizer
    try:
        tokenizer = Tokenizer.from_str(json.dumps(changed(case)))
    except Exception as e:
        return [f"{type(e).__name__}: {e}"[:80]] * len(case["texts"])
    ids = []
    for text in case["texts"]:
        try:
            ids.append(tokenizer.encode(text, add_special_tokens=False).ids)
        except BaseException:  # a panic: a match inside blanks that another has taken
            ids.append(None)
    return ids


# ---------------------------------------------------------------- settings.json: transformers on a folder
TEXTS = ["Hello a", " Hello", "", "a  b", "cafe\u0301", f"x{END}y", f"x {END} a", "he  hehe", "[PAD]a", " [PAD] a"]
DECODED = "Hello , you 're ' s ."
GPT2 = {"tokenizer_class": "GPT2Tokenizer", "bos_token": END, "eos_token": END, "unk_token": END}


def settings_cases():
    cases = []

    def case(what, config=None, whole=None, refused=None, newer=False, decode=None, **files):
        """A folder: the base's vocabulary in two files, or with `whole` in tokenizer.json with these parts changed."""
        out = {"config.json": {"model_type": "gptj", "vocab_size": n + 20}}
        if config is not None:
            out["tokenizer_config.json"] = config
        if whole is not None:
            out["tokenizer.json"] = whole
        out.update({k.replace("_json", ".json"): v for k, v in files.items()})
        out = {k: v for k, v in out.items() if v != "none"}
        cases.append({"what": what, "files": out, **({"refused": refused} if refused else {}), **({"newer": True} if newer else {})})

    pad = {"pad_token": "[PAD]"}
    bos = {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": END, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
           "special_tokens": {END: {"id": END, "ids": [vocab[END]], "tokens": [END]}}}
    no_token = {**bos, "single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}
    prefix = {"pre_tokenizer": {**base["pre_tokenizer"], "add_prefix_space": True}}
    any_class = {**GPT2, "tokenizer_class": "PreTrainedTokenizerFast"}
    neox = {**GPT2, "tokenizer_class": "GPTNeoXTokenizer"}
    around = "expected false: no row of the method begins or ends with an added token"
    flags = "differs from what another place says; expected the same, since versions of transformers disagree which counts"
    for form, w in (("two files", None), ("tokenizer.json", {})):
        case(f"{form}: plain", GPT2, w)
        case(f"{form}: no tokenizer_config.json", None, w)
        case(f"{form}: add_prefix_space", {**GPT2, "add_prefix_space": True}, w)
        case(f"{form}: add_prefix_space, the fast class", {**GPT2, "tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True}, w)
        case(f"{form}: add_prefix_space, class of CodeGen", {**GPT2, "tokenizer_class": "CodeGenTokenizer", "add_prefix_space": True}, w)
        case(f"{form}: add_prefix_space, no class", {"add_prefix_space": True}, w)
        case(f"{form}: another class", {**GPT2, "tokenizer_class": "LlamaTokenizer"}, w,
             refused='tokenizer_config.json: tokenizer_class: found "LlamaTokenizer"; expected GPT2Tokenizer, GPTNeoXTokenizer or '
                     'PreTrainedTokenizerFast')
        case(f"{form}: add_bos_token", {**GPT2, "add_bos_token": True}, w,
             refused=None if w is not None else f"tokenizer_config.json: add_bos_token: found true; {around}")
        case(f"{form}: add_eos_token", {**GPT2, "add_eos_token": True}, w,
             refused=None if w is not None else f"tokenizer_config.json: add_eos_token: found true; {around}")
        case(f"{form}: add_bos_token false", {**GPT2, "add_bos_token": False}, w)
        case(f"{form}: a new pad_token", {**GPT2, **pad}, w)
        case(f"{form}: a new pad_token with lstrip", {**GPT2, "pad_token": {"__type": "AddedToken", **token("[PAD]", lstrip=True)}}, w)
        case(f"{form}: pad_token of the vocabulary", {**GPT2, "pad_token": "he"}, w)
        case(f"{form}: a new pad_token in special_tokens_map.json", GPT2, w, special_tokens_map_json=pad)
        case(f"{form}: the same with lstrip", GPT2, w, special_tokens_map_json={"pad_token": token("[PAD]", lstrip=True)})
        case(f"{form}: additional_special_tokens", {**GPT2, "additional_special_tokens": ["[PAD]"]}, w)
        case(f"{form}: additional_special_tokens in special_tokens_map.json", GPT2, w,
             special_tokens_map_json={"additional_special_tokens": ["[PAD]"]})
        case(f"{form}: extra_special_tokens", {**GPT2, "extra_special_tokens": ["[PAD]"]}, w, newer=True)
        case(f"{form}: a token of the model's own", {**GPT2, "image_token": "[PAD]"}, w, newer=True)
        case(f"{form}: added_tokens.json", GPT2, w, added_tokens_json={"[PAD]": n})
        case(f"{form}: added_tokens.json with a gap", GPT2, w, added_tokens_json={"[PAD]": n + 5},
             refused=f'added_tokens.json: added token "[PAD]": found id {n + 5}; expected {n}, the next')
        case(f"{form}: added_tokens_decoder", newer=True, whole=w,
             config={**GPT2, "added_tokens_decoder": {str(n): {**token("[PAD]"), "special": True},
                                                      str(n - 1): {**token(END), "special": True}}})
        case(f"{form}: clean_up_tokenization_spaces false", {**GPT2, "clean_up_tokenization_spaces": False}, w)
        case(f"{form}: clean_up_tokenization_spaces true", {**GPT2, "clean_up_tokenization_spaces": True}, w)
        case(f"{form}: errors", {**GPT2, "errors": "strict"}, w)
        case(f"{form}: lengths and sides", {**GPT2, "model_max_length": 2, "max_length": 1, "stride": 0, "padding_side": "left",
                                            "truncation_side": "left", "truncation_strategy": "longest_first"}, w)
        case(f"{form}: do_lower_case and use_fast", {**GPT2, "do_lower_case": True, "use_fast": False}, w)
        case(f"{form}: split_special_tokens", {**GPT2, "split_special_tokens": True}, w,
             refused="tokenizer_config.json: split_special_tokens: found true; expected false")
        case(f"{form}: an unknown key", {**GPT2, "my_switch": "on"}, w,
             refused="tokenizer_config.json: my_switch: an unknown key, which might change the ids; remove it if it does not")
    case("two files: end of text with lstrip", {**GPT2, "eos_token": {"__type": "AddedToken", **token(END, lstrip=True)}}, newer=True)
    case("two files: the class of NeoX normalises", neox, newer=True)
    case("two files: the class of NeoX by the model", None, newer=True, config_json={"model_type": "gpt_neox", "vocab_size": n + 20})
    case("two files: NeoX, add_prefix_space", {**neox, "add_prefix_space": True}, newer=True)
    case("tokenizer.json: NeoX, add_prefix_space", {**neox, "add_prefix_space": True}, {"normalizer": {"type": "NFC"}})
    case("tokenizer.json: NeoX, add_bos_token", {**neox, "add_bos_token": True}, {},
         refused=f"tokenizer_config.json: add_bos_token: found true; {around}")
    case("tokenizer.json: as saved by transformers 5", whole={"post_processor": no_token},
         config={"add_prefix_space": False, "backend": "tokenizers", "bos_token": END, "clean_up_tokenization_spaces": False,
                 "eos_token": END, "errors": "replace", "is_local": True, "local_files_only": False, "model_max_length": 2048,
                 "pad_token": None, "tokenizer_class": "GPT2Tokenizer", "unk_token": END})
    case("tokenizer.json: a template with a token", GPT2, {"post_processor": bos},
         refused=f'tokenizer.json: post_processor.single: found "{END}"; expected only the text, as with null: no row of the method '
                 'begins or ends with an added token')
    case("tokenizer.json: a template without one", GPT2, {"post_processor": no_token})
    case("tokenizer.json: Bert's processor", GPT2, {"post_processor": {"type": "BertProcessing", "sep": [END, n - 1], "cls": [END, n - 1]}},
         refused='tokenizer.json: post_processor.type: found "BertProcessing"; expected null, ByteLevel or a TemplateProcessing that adds '
                 'no token')
    case("tokenizer.json: add_prefix_space there alone", GPT2, prefix)
    case("tokenizer.json: add_prefix_space there, false in the config", {**GPT2, "add_prefix_space": False}, prefix)
    case("tokenizer.json: add_prefix_space there, no tokenizer_config.json", None, prefix)
    case("tokenizer.json: add_prefix_space there, any class", any_class, prefix)
    case("tokenizer.json: add_prefix_space in the config only, any class", {**any_class, "add_prefix_space": True}, {},
         refused="tokenizer_config.json: add_prefix_space: found true, and false in tokenizer.json; expected the same, since versions of "
                 "transformers disagree which counts")
    case("tokenizer.json: NFC in a GPT-J", GPT2, {"normalizer": {"type": "NFC"}})
    case("tokenizer.json: another normalizer", GPT2, {"normalizer": {"type": "NFD"}},
         refused='tokenizer.json: normalizer.type: found "NFD"; expected null or NFC')
    case("tokenizer.json: another decoder", GPT2, {"decoder": {"type": "Metaspace", "replacement": "_", "add_prefix_space": True}},
         refused='tokenizer.json: decoder.type: found "Metaspace"; expected ByteLevel')
    case("tokenizer.json: no decoder", GPT2, {"decoder": None}, newer=True)
    case("tokenizer.json: truncation", GPT2, {"truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}})
    case("tokenizer.json: padding", GPT2, {"padding": {"strategy": {"Fixed": 6}, "direction": "Right", "pad_to_multiple_of": None,
                                                       "pad_id": 0, "pad_type_id": 0, "pad_token": END}})
    case("tokenizer.json: an added id with a gap", GPT2, {"added_tokens": [*base["added_tokens"], added("[PAD]", n + 5)]},
         refused=f'tokenizer.json: added token "[PAD]": found id {n + 5}; expected {n}, the next')
    case("tokenizer.json: an added id of another token", GPT2, {"added_tokens": [added(END, 5, special=True)]},
         refused=f'tokenizer.json: added token "{END}": found id 5; expected {n - 1}, which it has already')
    case("tokenizer.json: an added token twice", GPT2, {"added_tokens": [*base["added_tokens"], added(END, n - 1, special=True, lstrip=True)]},
         refused=f'tokenizer.json: added token "{END}": lstrip {flags}')
    case("tokenizer.json: end of text not among the added", GPT2, {"added_tokens": []})
    case("tokenizer.json: end of text with lstrip", {"tokenizer_class": "PreTrainedTokenizerFast"},
         {"added_tokens": [added(END, n - 1, special=True, lstrip=True)]})
    case("tokenizer.json: the same named as a string", GPT2, {"added_tokens": [added(END, n - 1, special=True, lstrip=True)]}, newer=True)
    case("tokenizer.json: the same named with other flags", {**GPT2, "eos_token": {"__type": "AddedToken", **token(END)}},
         {"added_tokens": [added(END, n - 1, special=True, lstrip=True)]}, refused=f'tokenizer_config.json: added token "{END}": lstrip {flags}')
    case("tokenizer.json: another version", GPT2, {"version": "2.0"}, refused='tokenizer.json: version: found "2.0"; expected 1.0')
    case("tokenizer.json: an unknown part", GPT2, {"extra": 1}, refused="tokenizer.json: extra: an unknown key, which might change the ids")
    return cases


def write_folder(folder, files):
    for name, content in files.items():
        with open(os.path.join(folder, name), "w") as f:
            json.dump({**base, **content} if name == "tokenizer.json" else content, f)
    if "tokenizer.json" not in files:
        with open(os.path.join(folder, "vocab.json"), "w") as f:
            json.dump(vocab, f)
        with open(os.path.join(folder, "merges.txt"), "w") as f:
            f.write("\n".join(["#version: 0.2", *base["model"]["merges"], ""]))


def run_settings(case):
    from transformers import AutoTokenizer
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, case["files"])
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            plain = tokenizer(DECODED, add_special_tokens=False)["input_ids"]
            return {"ids": [list(tokenizer(text)["input_ids"]) for text in TEXTS], "decoded": tokenizer.decode(plain)}
        except Exception as e:
            return f"{type(e).__name__}: {e}"[:80]


# ---------------------------------------------------------------- strings.json: what the other goldens lack
STRINGS = [
    *(f"a{chr(c)}b" for c in range(0x1C, 0x20)), *(f"a {chr(c)} b" for c in range(0x1C, 0x20)),
    *(f"x\n\n{chr(c)}y" for c in range(0x1C, 0x20)),  # two newlines are one token only where white space follows it
    "\u001c\u001d\u001e\u001f", "x\u001c\n\u001fy",
    "a\u0085b", "a\u00a0\u2028 b", "a\u180eb", "a\u200bb", "a\ufeffb", "\ufeffa",
    "it ' s", "a ' n't b", "a ' ' b", "I 'm , you 're ; he 's . we 've ?", "no ! n't ' ' x", "x ' 've", "' re 're", " 'm 'm", "a . . b ?!",
    " ' . '", "do n't 've 's 're 'm", "a ,b ?c !d .e",
    f"{END}\u0338", f"{END}\u0338{END}", f"a {END} \u0338b", f"e\u0301{END}\u0301", "<|padding|>\u0338", f"  {END}  ", f"   {END}   <|padding|>    ",
    "a          b", " " * 24 + "\u0301", " " * 25 + "x", "\t" + " " * 26 + "\n",
]
FOLDERS = {"gpt2": "GPT2Tokenizer", "gptj": "GPT2Tokenizer", "neox": "GPTNeoXTokenizer"}


def run_strings(name):
    from transformers import AutoTokenizer
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(here, "..", "data", "tokenizers", name)
        for file in os.listdir(source):
            shutil.copy(os.path.join(source, file), folder)
        with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
            json.dump({"tokenizer_class": FOLDERS[name]}, f)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        out = []
        for text in STRINGS:
            ids = tokenizer(text)["input_ids"]
            out.append({"text": text, "ids": ids, "decode": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
                        "decode_cleanup": tokenizer.decode(ids, clean_up_tokenization_spaces=True),
                        "decode_skip_special": tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)})
        return out


# ---------------------------------------------------------------- nfc.json and the table [word] of ../unicode/ranges.txt
def newer_than_9():
    """The points of that table of ../unicode/ranges.txt."""
    table = open(os.path.join(here, "..", "unicode", "ranges.txt")).read().split("[newer_than_9]\n")[1].split("[")[0]
    for line in table.split("\n"):
        if line:
            first, last = (int(x, 16) for x in line.split(","))
            yield from range(first, last + 1)


def run_nfc():
    """Each point before and after marks of classes 220 and 230, and pairs of them that newer tables compose."""
    from tokenizers.normalizers import NFC
    texts = [t for p in newer_than_9() for t in (f"e{chr(p)}\u0316", f"e\u0301{chr(p)}\u0316", f"e{chr(p)}\u0301")]
    texts.append("\U00011935\U00011930")
    return [[text, NFC().normalize_str(text)] for text in texts]


def run_word():
    """Code points that touch a word: those that keep a token with single_word from counting."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_str(json.dumps(changed({"added_tokens": [added("<t>", n, single_word=True)]})))
    points = [p for p in range(1, 0x110000) if not 0xD800 <= p < 0xE000]
    ranges = []
    for p, e in zip(points, tokenizer.encode_batch([chr(p) + "<t>" for p in points], add_special_tokens=False)):
        if n not in e.ids:
            if ranges and ranges[-1][1] == p - 1:
                ranges[-1][1] = p
            else:
                ranges.append([p, p])
    return ranges


WORK = {"added": lambda: [run_added(c) for c in added_cases()], "settings": lambda: [run_settings(c) for c in settings_cases()],
        "strings": lambda: {name: run_strings(name) for name in FOLDERS}, "nfc": run_nfc, "word": run_word}


def quiet():
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_OFFLINE"] = "1"


def save(out, name, value, rows):
    """One row a line, so that a difference can be read."""
    with open(os.path.join(out, name), "w") as f:
        f.write(json.dumps(value)[:-1] + ', "rows": [\n' + ",\n".join(json.dumps(r) for r in rows) + "\n]}\n")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--newer", help="python of the new pair")
    p.add_argument("--out", default=here)
    p.add_argument("--work", choices=sorted(WORK), help="prints one part as JSON: for the new pair")
    o = p.parse_args()
    quiet()
    if o.work:
        return print(json.dumps(WORK[o.work]()))
    import tokenizers
    import transformers
    old = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"

    def newer(part):
        return json.loads(subprocess.run([o.newer, __file__, "--work", part], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)

    rows = []
    for case, a, b in zip(added_cases(), WORK["added"](), newer("added")):
        row = {k: v for k, v in case.items() if k != "newer"}
        row["ids"] = b if case.get("newer") else a
        assert case.get("newer") or a == b, case["what"]
        keep = [i for i, ids in enumerate(row["ids"]) if ids is not None]
        row["texts"], row["ids"] = [row["texts"][i] for i in keep], [row["ids"][i] for i in keep]
        rows.append(row)
    save(o.out, "added.json", {"made with": old + "; the same with the new pair", "tokenizer": base}, rows)

    rows = []
    for case, a, b in zip(settings_cases(), WORK["settings"](), newer("settings")):
        row = {k: v for k, v in case.items() if k != "newer"}
        counts = b if case.get("newer") else a
        assert "refused" in row or not isinstance(counts, str), (case["what"], counts)
        if "refused" not in row:
            row["ids"] = counts["ids"]
            cleans = not isinstance(a, str) and a["decoded"] or None  # the new pair never cleans up
            row["decoded"] = cleans if cleans and not case.get("newer") else None
        if a != b:
            row["differs"] = {"4.30.2": a if isinstance(a, str) else a["ids"], "5.24.0": b if isinstance(b, str) else b["ids"]}
            if row["differs"]["4.30.2"] == row["differs"]["5.24.0"]:
                del row["differs"]
        rows.append(row)
    save(o.out, "settings.json", {"made with": old, "tokenizer": base, "texts": TEXTS, "decoded": DECODED}, rows)
    save(o.out, "strings.json", {"made with": old}, [{"vocabulary": k, "strings": v} for k, v in WORK["strings"]().items()])
    save(o.out, "nfc.json", {"made with": old}, WORK["nfc"]())
    print("[word]", *(f"0x{a:X}, 0x{b:X}" for a, b in WORK["word"]()), sep="\n")


if __name__ == "__main__":
    main()
