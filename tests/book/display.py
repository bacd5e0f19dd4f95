# SPDX-License-Identifier: MIT
"""The lines of an equation as HTML: formulas typeset, words as words, columns that SPEC.md lines up lined up.

What is no formula (regular expressions, tables of rules) stays as it is written, in a <pre>; it is counted.
"""

import re
from html import escape

from pieces import pieces
from symbols import math
from tokens import MathError

OPEN, CLOSE = "([{", ")]}"


def segments(text, column):
    """Parts of a line that two or more blanks keep apart, outside brackets: (column, text)."""
    balanced = all(text.count(a) == text.count(b) for a, b in zip(OPEN, CLOSE))
    out, depth, start, i = [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in OPEN) - (text[i] in CLOSE)
        gap = re.match(r" {2,}", text[i:]) if depth <= 0 or not balanced else None
        if gap:
            out.append((column + start, text[start:i]))
            i += len(gap.group(0))
            start = i
        else:
            i += 1
    return out + [(column + start, text[start:])]


FORMULA = re.compile(r"[=<>≤≥←↦∈Σ√‖⊙⊕∂·+−/^½²³¹⁻ᵀ…]|[A-Za-zͰ-Ͽ]_\w|\w\(|[₀-₉Ͱ-Ͽ]")


def typeset(text, verbatim, link, words):
    """HTML of one part, and whether it holds a formula; None if it is neither mathematics nor words."""
    formula = FORMULA.search(re.sub(r'"[^"]*"', "", text).replace("→", ""))
    try:
        parts = pieces(text, verbatim, link)
    except MathError:
        odd = re.search(r'[\\"{}|?!«»“”‘’@#$%&]', re.sub(r'"[^"]*"', "", text))
        return None if formula or odd else (words(text), False)
    html = ""
    for kind, content, spaced in parts:
        gap = " " if spaced and html else "<wbr>" if html and kind == "math" and html[-1] not in "([" else ""
        html += gap + (math(content) if kind == "math" else content)
    return html, bool(formula)


class Display:
    """What became of one equation: its rows, and how many of its parts are formulas, words, or neither."""

    def __init__(self, lines, verbatim=(), link=escape, words=escape):
        self.lines = lines
        self.parts = [segments(line.text, line.column) for line in lines]
        self.done = [[typeset(text, verbatim, link, words) for _, text in parts] for parts in self.parts]
        self.failed = [
            text for parts, done in zip(self.parts, self.done) for (_, text), d in zip(parts, done) if not d
        ]
        self.formula = any(d and d[1] for done in self.done for d in done)
        self.in_words = len(self.failed) > 1
        self.link = link

    def kind(self):
        """typeset, words (no formula in it) or failed (a part of it could not be parsed)."""
        if self.in_words or not self.formula:
            return "words"
        return "failed" if self.failed else "typeset"

    def verbatim(self):
        cut = min(line.column for line in self.lines if line.text)
        text = "\n".join(" " * (line.column - cut) + line.text if line.text else "" for line in self.lines)
        return f'<pre class="rule">{self.link(text)}</pre>'

    def stops(self):
        """Columns at which parts of two lines begin, one of them not the first of its line."""
        starts = {}
        for parts in self.parts:
            for i, (column, _) in enumerate(parts):
                starts.setdefault(column, []).append(i)
        return sorted(c for c, at in starts.items() if len(at) > 1 and any(at))

    def rows(self):
        """[(label, indent, cells)], cells [(first column, columns it spans, html)] on a grid of len(stops) + 1."""
        stops, base, out = self.stops(), min(line.column for line in self.lines if line.text), []
        for line, parts, done in zip(self.lines, self.parts, self.done):
            cells, indent = [], 0
            for i, ((column, text), result) in enumerate(zip(parts, done)):
                html = result[0] if result else f"<code>{escape(text)}</code>"
                at = stops.index(column) + 1 if column in stops else 0
                if i == 0 and text:
                    at = sum(stop <= column for stop in stops)
                    indent = column - ([base] + stops)[at]
                if i == 0 or at > cells[-1][0]:
                    cells.append([at, 1, html])
                elif html:
                    cells[-1][2] += f'<span class="gap"></span> {html}'
            for a, b in zip(cells, cells[1:] + [[len(stops) + 1]]):
                a[1] = b[0] - a[0]
            out.append((line.label, indent, cells))
        return out, len(stops) + 1

    def width(self):
        """Characters of the longest line, without the runs of blanks."""
        return max(sum(len(text) + 2 for _, text in parts) for parts in self.parts)
