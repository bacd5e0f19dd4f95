# SPDX-License-Identifier: MIT
"""Blocks of SPEC.md as HTML, and the page around them."""

import os
import re
from html import escape

from mathml import Parser
from pieces import pieces
from symbols import math
from tokens import MathError

LABELS = re.compile(r"(?<![\w.+&#])([EX])([1-9]\d*)(?:(\s*(?:–|-|\.\.)\s*)\1([1-9]\d*))?(?![\w])")
SECTION = re.compile(r"§(\d+(?:\.\d+)*)")
INLINE = re.compile(
    r"(`+)(.+?)\1|\*\*(.+?)\*\*|(?<![\w*\\])\*(?![\s*])(.+?)(?<![\s*\\])\*(?!\w)|\[([^]\[]+)\]\(([^)\s]+)\)|\\([*_|`\\<\[\]])"
)
LETTER_SUB = re.compile(
    r"(?<![\w.])(?:([A-Za-zΑ-ω])_([A-Za-z0-9]{1,2})|(d)_(head|model)|(n)_(tok|edit|ctx|vocab|past|row))(?![\w(])"
)
FORMULA = re.compile(r"[ΔδλφᵀᵗΣ√‖≤≥·−²⁻]|^[A-Za-z] = [A-Z]+( [+] [A-Z]+)*$|^[A-Z] [a-z]$")


class Writer:
    """Turns words into HTML; knows which labels, sections and functions have an anchor."""

    def __init__(self, labels, sections, functions, verbatim):
        self.labels, self.sections, self.functions, self.verbatim = labels, sections, functions, verbatim
        self.unknown = set()

    def link(self, text):
        """Plain text: escaped, its labels and sections made links."""
        return SECTION.sub(self._section, LABELS.sub(self._label, escape(text, quote=False)))

    def _label(self, m):
        letter, first, dash, last = m.groups()
        if letter + first not in self.labels:
            if letter == "E" or int(first) < 100:
                self.unknown.add(letter + first)
            return m.group(0)
        if dash and letter + last not in self.labels:
            self.unknown.add(letter + last)
        html = f'<a class="l" href="#{letter}{first}">{letter}{first}</a>'
        return html + f'{dash}<a class="l" href="#{letter}{last}">{letter}{last}</a>' if dash else html

    def _section(self, m):
        return (
            f'<a class="l" href="#s{m.group(1)}">{m.group(0)}</a>'
            if "s" + m.group(1) in self.sections
            else m.group(0)
        )

    def words(self, text):
        """Prose without markup: links, and letters with their subscripts."""
        return LETTER_SUB.sub(self._sub, self.link(text))

    def _sub(self, m):
        letter, under = [part for part in m.groups() if part]
        return m.group(0) if m.group(0) in self.verbatim else f"<i>{letter}</i><sub>{under}</sub>"

    def inline(self, text):
        out, at = [], 0
        for m in INLINE.finditer(text):
            out.append(self.words(text[at : m.start()]))
            at = m.end()
            _, code, bold, italic, label, href, escaped = m.groups()
            if code:
                out.append(self.code(code))
            elif bold:
                out.append(f"<b>{self.inline(bold)}</b>")
            elif italic:
                out.append(f"<i>{self.inline(italic)}</i>")
            elif label:
                out.append(
                    f'<a href="{escape(href)}">{self.inline(label)}</a>'
                    if "://" in href
                    else self.inline(label)
                )
            else:
                out.append(escape(escaped))
        return "".join(out) + self.words(text[at:])

    def code(self, text):
        if FORMULA.search(text) and not re.search(r'[{}"\\`$]', text):
            try:
                parser = Parser(text, self.verbatim, self.link)
                return f"<math>{parser.whole()}</math>"
            except MathError:
                pass
        html = f"<code>{escape(text, quote=False)}</code>"
        name = text.split(" ")[-1] if text.startswith("struct ") else text
        return f'<a class="l" href="{self.functions[name]}">{html}</a>' if name in self.functions else html

    # ---- blocks ----

    def heading(self, block):
        level = min(block.level, 4)
        return f'<h{level} id="{block.anchor}">{escape(block.text, quote=False)}</h{level}>'

    def table(self, block):
        rows = [
            r for i, r in enumerate(block.rows) if not (i == 1 and all(re.fullmatch(r":?-+:?", c) for c in r))
        ]
        head = "".join(f"<th>{self.inline(c)}</th>" for c in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{self.inline(c)}</td>" for c in r) + "</tr>\n" for r in rows[1:]
        )
        return f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'

    def list(self, block):
        tag, items = ("ol" if block.rows[0][0][0].isdigit() else "ul"), []
        for _, text in block.rows:
            erratum = re.match(r"\*\*(X\d+)\*\*", text)
            items.append(
                f"<li{f' id={chr(34)}{erratum.group(1)}{chr(34)}' if erratum else ''}>{self.inline(text)}</li>"
            )
        return f"<{tag}>\n" + "\n".join(items) + f"\n</{tag}>"

    def verbatim_block(self, block):
        text = block.text
        if "\n" not in text and re.search("[≤≥=←]", text) and FORMULA.search(text):
            try:
                parts = pieces(text, self.verbatim, self.link)
                inside = " ".join(math(ml) if kind == "math" else ml for kind, ml, _ in parts)
                return f'<p class="display">{inside}</p>'
            except MathError:
                pass
        return f'<pre class="rule">{self.link(text)}</pre>'

    def block(self, block):
        kind = block.kind
        if kind == "heading":
            return self.heading(block)
        if kind == "rule":
            return ""
        if kind == "table":
            return self.table(block)
        if kind == "list":
            return self.list(block)
        return self.verbatim_block(block) if kind == "verbatim" else f"<p>{self.inline(block.text)}</p>"


def contents(blocks, writer):
    """Table of contents: sections of two levels, with the labels that each defines."""
    entries, depth = [], {2: 1, 3: 2}
    for block in blocks:
        if block.kind == "heading" and block.level in depth:
            entries.append([depth[block.level], block.anchor, block.text, []])
        elif block.kind == "group" and entries:
            entries[-1][3] += [line.label for line in block.lines if line.label]
    out, at = [], 0
    for level, anchor, text, labels in entries + [[1, "index", "Index of labels", []]]:
        while at < level:
            out.append("<ul>")
            at += 1
        while at > level:
            out.append("</ul>")
            at -= 1
        span = f"{labels[0]}–{labels[-1]}" if len(labels) > 1 else "".join(labels)
        more = f' <a class="span" href="#{labels[0]}">{span}</a>' if labels else ""
        out.append(f'<li class="d{level}"><a href="#{anchor}">{escape(text, quote=False)}</a>{more}</li>')
    return "\n".join(out + ["</ul>"] * at)


def document(head, toc, body):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "style.css"), encoding="utf-8") as f:
        style = f.read()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>pmet: the reference as a book</title>
<style>
{style}</style>
</head>
<body>
<header>
{head}
</header>
<nav id="contents" aria-label="Contents"><h2>Contents</h2>
{toc}
</nav>
<main>
{body}
</main>
<a class="up" href="#contents">Contents</a>
</body>
</html>
"""
