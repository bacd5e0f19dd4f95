#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Terms of texts as scikit-learn's TfidfVectorizer finds them (its token_pattern and lower case), with the Unicode 14.0 of
Python 3.11, and how many code points each class of SPEC §11.7 has:

    python3.11 golden/unicode/terms.py > golden/unicode/terms.json
"""
import json
import re
import sys
import unicodedata

TEXTS = [
    "a ab abc 12 _x a_b x-y don't",               # two characters and more
    "cafe\u0301 café ni\u0303o x\u0301y",         # a mark ends a term (NFKD texts are full of them)
    "का नमस्ते कि",                               # so does a vowel sign, which is a mark
    "①② ⅷⅸ ½¼ ²³ ٣٤ 万七 x²",                     # every number is in \\w, whatever its category
    "ǅungla İstanbul ΟΔΟΣ ΣΑΣ ẞẞ ȺȾ",             # lower case: one point may become two; final sigma
    "a\u200db a\u00adb a\u2019b a\u00b7b ªº ʰʲ",  # no joiner, hyphen, apostrophe; letters that are not Lu, Ll
    "𞀰𞀱 𐻂𐻃 Ᲊᲊ",                                # assigned after 14.0: none
    "\u1fffab\u0378cd\ue000ef",                   # unassigned, private
]


def count(test):
    return sum(test(chr(c)) for c in range(0x110000) if not 0xd800 <= c < 0xe000)


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"terms.py: Unicode {unicodedata.unidata_version}; 14.0.0 is needed, which Python 3.11 has")
    terms = [{"text": text, "terms": re.findall(r"(?u)\b\w\w+\b", text.lower())} for text in TEXTS]
    w, s, d = (re.compile(p).match for p in (r"\w", r"\s", r"\d"))
    counts = {"\\w": count(lambda c: bool(w(c))), "\\s": count(lambda c: bool(s(c))), "\\d": count(lambda c: bool(d(c))),
              "capital": count(str.isupper), "small": count(str.islower),
              "lower differs": count(lambda c: c.lower() != c)}
    assert not count(lambda c: bool(w(c)) != (unicodedata.category(c)[0] in "LN" or c == "_"))
    json.dump({"texts": terms, "counts": counts}, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
