# SPDX-License-Identifier: MIT
"""A line of formulas and prose as parts, so that it can wrap: words stay text, long formulas are cut before their
relations and sums."""

import re
from html import escape

from mathml import Parser, emit
from tokens import ARITHMETIC, INFIX, RELATIONS


class Pieces:
    """Parts in order: ("math" or "text", MathML or HTML, whether a blank goes before it)."""

    def __init__(self):
        self.parts, self.math = [], []
        self.after_op = False  # the last part ends with an operator, which has space of its own

    def flush(self):
        if self.math:
            first, last = self.math[0], self.math[-1]
            own_space = first.is_op(RELATIONS) or first.inner == "infix"
            self.parts.append(("math", emit(self.math), first.spaced and not own_space))
            self.after_op = last.is_op(INFIX | {"|"})
            self.math = []

    def text(self, html, spaced):
        """Words, joined to those before them."""
        self.flush()
        if self.parts and self.parts[-1][0] == "text":
            _, before, gap = self.parts.pop()
            html, spaced = before + (" " if spaced else "") + html, gap
        elif self.parts:
            spaced = spaced and not self.after_op
        self.parts.append(("text", html, spaced))

    def longer_than(self, least):
        """Whether the formula so far has more than so many characters."""
        return sum(len(re.sub(r"<[^>]*>", "", one.ml)) or 1 for one in self.math) > least


def in_formula(items, i):
    """Whether a word is a name in a formula: an operator of arithmetic stands before or after it."""
    before = items[i - 1] if i else None
    after, next_but_one = (items[i + 1 : i + 3] + [None, None])[:2]
    if after and after.text in ("+", "−") and after.spaced and next_but_one and not next_but_one.spaced:
        after = None  # the sign of what follows
    return any(one and one.is_op(ARITHMETIC) for one in (before, after))


def opened(items):
    """Items with brackets around prose taken apart."""
    return [part for item in items for part in (opened(item.parts) if item.parts else [item])]


def pieces(text, verbatim=(), link=None):
    items, out = opened(Parser(text, verbatim, link).all_items()), Pieces()
    for i, item in enumerate(items):
        after = items[i + 1] if i + 1 < len(items) else None
        if item.kind == "word" and not in_formula(items, i):
            out.text(item.text, item.spaced)
        elif item.is_op(".:;,!'") and (not out.math or item.text in ";:" and (not after or after.spaced)):
            out.text(escape(item.text), item.spaced)
        elif item.is_op(",") and after and after.spaced and after.kind == "word":
            out.text(",", False)
        else:
            if item.is_op(RELATIONS) and out.longer_than(6) and after and after.kind != "op":
                out.flush()
            elif item.is_op("+−") and item.spaced and out.longer_than(16) and after and after.spaced:
                out.flush()
                item.inner = "infix"
            out.math.append(item)
    out.flush()
    return out.parts
