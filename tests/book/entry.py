# SPDX-License-Identifier: MIT
"""A group of equations as HTML: formulas, what there is of them, the code beside them; the index of labels."""

import re
from html import escape

from display import Display
from group import LIBRARY
from highlight import highlight

TALL, WIDE = 7, 46  # lines; characters that fit beside the code


def identifier(file, name):
    return "c-" + re.sub(r"[^\w.]", "-", f"{file}-{name}")


def anchor(one):
    return "#" + identifier(one.file, one.name)


def cited(one):
    """file:line and the test or function; of a test file's head the file alone."""
    test = one.file.startswith("tests/")
    line = f":{one.line}" if one.claim or not test else ""
    claim = one.claim.replace("_", " ") if test else one.claim
    return f'<span class="at">{escape(one.file)}{line}</span>' + (
        f' <span class="claim">{escape(claim)}</span>' if claim else ""
    )


def table_rows(rows, columns):
    """Rows of a Display, with its label in a column of its own."""
    out = []
    for label, indent, cells in rows:
        mark = f'<th id="{label}"><a href="#{label}">{label}</a></th>' if label else "<th></th>"
        tds, at = "", 0
        for i, (first, span, html) in enumerate(cells):
            if first > at:
                tds += f'<td colspan="{first - at}"></td>' if first - at > 1 else "<td></td>"
            wide = f' colspan="{span}"' if span > 1 else ""
            pad = f' style="padding-left:{min(indent * 0.45, 4):.2f}em"' if indent and i == 0 else ""
            step = ' class="step"' if len(re.sub("<.*?>", "", html)) <= 2 else ""  # a number, before its step
            tds += f"<td{step}{wide}><div{pad}>{html}</div></td>"
            at = first + span
        out.append(f"<tr>{mark}{tds}</tr>")
    return f'<table class="eq">{"".join(out)}</table>'


class Entries:
    """writer: words to HTML; home: where each definition's text stands; kinds: labels by what became of them."""

    def __init__(self, groups, tree, writer, home):
        self.groups, self.tree, self.writer, self.home = groups, tree, writer, home
        self.kinds = {"typeset": [], "words": [], "failed": []}
        self.computes = {}
        for group in groups:
            for one in group.named:
                self.computes.setdefault((one.file, one.name), []).extend(group.labels)

    def display(self, lines):
        return Display(lines, self.writer.verbatim, self.writer.link, self.writer.inline)

    def formulas(self, group):
        """All equations of a group, and the characters of their longest line. One table, so that columns which the
        lines of several equations share are lined up, unless one of them is no formula."""
        parts = []
        for line in group.block.lines:
            if line.label:
                parts.append([])
            parts[-1].append(line)
        shown = [self.display(part) for part in parts]
        for part, one in zip(parts, shown):
            self.kinds[one.kind()].append(part[0].label)
        if len(parts) > 1 and not any(one.in_words for one in shown):
            shown = [self.display(group.block.lines)]
        tables, width = [], 0
        for one in shown:
            if one.in_words:
                tables.append(table_rows([(one.lines[0].label, 0, [[0, 1, one.verbatim()]])], 1))
                width = max(width, 100)
            else:
                tables.append(table_rows(*one.rows()))
                width = max(width, one.width())
        return "\n".join(tables), width

    def definition(self, one):
        linked = (one.file, one.name) in self.home
        name = f"<code>{escape(one.name)}</code>"
        name = f'<a href="{anchor(one)}">{name}</a>' if linked else name
        return f'{name} <span class="at">{escape(one.file)}:{one.line}</span>'

    def references(self, group):
        code = []
        for one in group.named:
            beside = self.writer.link(self.home[one.file, one.name])
            code.append(
                self.definition(one)
                + ("" if one in group.shown else f' <span class="note">beside {beside}</span>')
            )
        for name, path in group.mentioned:
            line = self.tree.files[path].word_line(name) if path in self.tree.files else 0
            code.append(
                f'<code>{escape(name)}</code> <span class="at">{escape(path)}{f":{line}" if line else ""}</span>'
            )
        held = [
            f'<span class="at">{escape(name)}</span> <span class="note">of {", ".join(where)}</span>'
            for name, where in group.golden_files().items()
        ]
        rows = (
            ("computed by", code),
            ("made fast", [cited(one) for one in group.fast]),
            ("kernel", [cited(one) for one in group.kernels]),
            ("also cited", [cited(one) for one in group.also]),
            ("checked by", [self.writer.inline(group.place.golden)] if group.place.golden else []),
            ("golden files", held),
            ("tests", [cited(one) for one in group.tests]),
        )
        items = "".join(f"<dt>{title}</dt><dd>{'<br>'.join(lines)}</dd>" for title, lines in rows if lines)
        return f'<dl class="refs">{items}</dl>'

    def labels_of(self, one):
        """Labels whose arrow names the definition, or which it cites itself."""
        source = self.tree.files[one.file]
        own = [label for label, offset in source.citations() if source.function_at(offset) == one.name]
        every = {
            label
            for label in own + self.computes.get((one.file, one.name), [])
            if label in self.writer.labels
        }
        return sorted(every, key=lambda label: (label[0], int(label[1:])))

    def figure(self, one):
        """The definition's text. Names lead to their definitions: within the file, or outside the operators' tables."""
        tables = ("ref/cpu/", "ref/ops/", "kernels/")
        names = {n: "#" + identifier(f, n) for f, n in self.home if f == one.file or not f.startswith(tables)}
        names.pop(one.name, None)
        labels = " ".join(self.writer.link(label) for label in self.labels_of(one))
        return (
            f'<figure id="{identifier(one.file, one.name)}"><figcaption><span class="at">{escape(one.file)}:{one.line}</span>'
            f' <b>{escape(one.name)}</b> <span class="labels">{labels}</span></figcaption>'
            f'<pre class="code"><code>{highlight(one.text, self.writer.link, names)}</code></pre></figure>'
        )

    def entry(self, group):
        formulas, width = self.formulas(group)
        size = ""
        if width > WIDE:
            size = " tall" if len(group.block.lines) > TALL and width < 90 else " wide"
        figures = "\n".join(self.figure(one) for one in group.shown)
        return (
            f'<section class="group{size}{"" if figures else " bare"}"><div class="formulas">{formulas}</div>\n'
            f'<div class="about">{self.references(group)}</div>\n<div class="sources">{figures}</div></section>'
        )

    def index(self):
        rows = []
        for group in self.groups:
            code = [self.definition(one) for one in group.named]
            code += [
                f'<code>{escape(n)}</code> <span class="at">{escape(p)}</span>' for n, p in group.mentioned
            ]
            cells = (
                ("code", code),
                ("fast, kernel", [cited(one) for one in group.fast + group.kernels]),
                ("tests", [cited(one) for one in group.tests]),
                ("golden", [f"<code>{escape(quoted)}</code>" for quoted, _, _ in group.goldens]),
            )
            tds = "".join(f'<td data-is="{title}">{"<br>".join(lines) or "—"}</td>' for title, lines in cells)
            rows.append(
                f"<tr><th>{' '.join(self.writer.link(label) for label in group.labels)}</th>{tds}</tr>"
            )
        heads = "".join(
            f"<th>{t}</th>" for t in ("label", "code", "made fast, kernel", "tests", "golden tensors")
        )
        return (
            f'<h2 id="index">Index of labels</h2>\n<table class="index"><thead><tr>{heads}</tr></thead>\n'
            f"<tbody>{chr(10).join(rows)}</tbody></table>"
        )

    def errata_index(self, errata):
        """Which code and tests cite an erratum."""
        items = []
        for label in errata:
            places = ", ".join(cited(one) for one in self.tree.citing(label, (*LIBRARY, "tests")))
            if places:
                items.append(f"<li>{self.writer.link(label)} {places}</li>")
        return (
            f'<h3 id="errata-cited">Errata that code and tests cite</h3>\n<ul>{"".join(items)}</ul>'
            if items
            else ""
        )
