# SPDX-License-Identifier: MIT
"""SPEC.md as a list of blocks: headings, paragraphs, lists, tables, verbatim text, and equations with their place.

The conventions are those of tests/spec_check.sh: an equation is defined by a line that begins with four blanks and
its label; its place is the next paragraph that begins with an arrow."""

import re
from dataclasses import dataclass, field

EQUATION = re.compile(r"^    (E[1-9][0-9]*)(\s.*)$")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$")
ITEM = re.compile(r"^( {0,6})([-*]|\d+\.)(\s+)(.*)$")
NUMBER = re.compile(r"^§?(\d+(?:\.\d+)*)(?=[\s.:]|$)")
ERRATUM = re.compile(r"^\*\*(X[1-9][0-9]*)\*\*")


class SpecError(Exception):
    """A place of SPEC.md that is not as the conventions say; the message begins with file and line."""


@dataclass
class Line:
    """One line of an equation: label (of the first line only), column of the text, text."""

    label: str
    column: int
    text: str


@dataclass
class Block:
    kind: str  # heading, text, list, table, verbatim, rule, equation, place
    line: int
    text: str = ""
    level: int = 0
    anchor: str = ""
    rows: list = field(default_factory=list)  # of a table: cells; of a list: (marker, text)
    lines: list = field(default_factory=list)  # of an equation: Line


@dataclass
class Place:
    """The arrow under a group of equations: (name, file) of what computes them, and the rest in words."""

    names: list
    golden: str


def read_place(text):
    """Names in backquotes, each group of them followed by the file that holds them."""
    head, _, rest = text.partition(" · ")
    names, held = [], []
    for name, file in re.findall(r"`([^`]*)`|\(([A-Za-z0-9_./]+)\)", head):
        if name:
            held.append(re.sub(r"^struct ", "", name))
        else:
            names += [(one, file) for one in held]
            held = []
    return Place(names, rest.strip())


def anchor_of(title, taken):
    """§3.3 Attention -> s3.3; a title without a number by its words."""
    number = NUMBER.match(title)
    base = "s" + number.group(1) if number else re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
    anchor, n = base, 2
    while anchor in taken:
        anchor, n = f"{base}-{n}", n + 1
    taken.add(anchor)
    return anchor


def split_row(line):
    """Cells of a table's row; \\| is a bar within a cell, and so is a bar within backquotes."""
    cells, cell, quoted, i = [], "", False, 0
    line = line.strip().strip("|") if not line.rstrip().endswith("\\|") else line.strip().lstrip("|")
    while i < len(line):
        c = line[i]
        if c == "\\" and line[i + 1 : i + 2] == "|":
            cell, i = cell + "|", i + 1
        elif c == "|" and not quoted:
            cells.append(cell.strip())
            cell = ""
        else:
            quoted ^= c == "`"
            cell += c
        i += 1
    return cells + [cell.strip()]


def equation_lines(lines):
    out = []
    for line in lines:
        match = EQUATION.match(line)
        text = match.group(2) if match else line
        column = (
            len(line) - len(text.lstrip()) if not match else line.index(text) + len(text) - len(text.lstrip())
        )
        out.append(Line(match.group(1) if match else "", column, text.strip()))
    return out


def read_list(lines, start):
    """A list and the index of the first line after it: items keep their marker, continuation lines are joined."""
    items, i = [], start
    while i < len(lines):
        match = ITEM.match(lines[i])
        if match:
            items.append([match.group(2), match.group(4)])
        elif (
            lines[i].strip()
            and (lines[i].startswith("  ") or lines[i - 1].strip())
            and not HEADING.match(lines[i])
        ):
            items[-1][1] += " " + lines[i].strip()
        elif not lines[i].strip() and i + 1 < len(lines) and ITEM.match(lines[i + 1]):
            pass
        else:
            break
        i += 1
    return [tuple(item) for item in items], i


def parse(text, name="SPEC.md"):
    lines, blocks, taken, i = text.split("\n"), [], set(), 0
    while i < len(lines):
        line, at = lines[i], i + 1
        heading = HEADING.match(line)
        if not line.strip():
            i += 1
        elif heading:
            title = heading.group(2)
            blocks.append(Block("heading", at, title, len(heading.group(1)), anchor_of(title, taken)))
            i += 1
        elif line.startswith("```"):
            end = next((j for j in range(i + 1, len(lines)) if lines[j].startswith("```")), None)
            if end is None:
                raise SpecError(f"{name}:{at}: a fence that is never closed")
            blocks.append(Block("verbatim", at, "\n".join(lines[i + 1 : end])))
            i = end + 1
        elif re.match(r"^(---+|\*\*\*+)\s*$", line):
            blocks.append(Block("rule", at))
            i += 1
        elif line.startswith("    "):
            end = i
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            part = lines[i:end]
            if EQUATION.match(part[0]):
                blocks.append(Block("equation", at, lines=equation_lines(part)))
            elif any(EQUATION.match(one) for one in part):
                raise SpecError(f"{name}:{at}: an equation begins in the middle of a block without a label")
            else:
                cut = min(len(one) - len(one.lstrip()) for one in part)
                blocks.append(Block("verbatim", at, "\n".join(one[cut:].rstrip() for one in part)))
            i = end
        elif line.lstrip().startswith("|"):
            block = Block("table", at)
            while i < len(lines) and lines[i].lstrip().startswith("|"):
                block.rows.append(split_row(lines[i]))
                i += 1
            blocks.append(block)
        elif ITEM.match(line):
            items, i = read_list(lines, i)
            blocks.append(Block("list", at, rows=items))
        else:
            end = i
            while (
                end < len(lines)
                and lines[end].strip()
                and not HEADING.match(lines[end])
                and not (
                    end > i
                    and (lines[end].startswith("→") or ITEM.match(lines[end]) or lines[end].startswith("|"))
                )
            ):
                end += 1
            words = " ".join(one.strip() for one in lines[i:end])
            kind = "place" if words.startswith("→") else "text"
            blocks.append(Block(kind, at, words))
            i = end
    return blocks


def groups(blocks, name="SPEC.md"):
    """Blocks with every run of equations and their place made one block "group": lines, text (the place)."""
    out, open_group = [], None
    for block in blocks:
        if block.kind == "equation":
            if open_group:
                open_group.lines.append(Line("", 0, ""))  # an empty line between two parts
                open_group.lines += block.lines
            else:
                open_group = Block("group", block.line, lines=list(block.lines))
                out.append(open_group)
        elif block.kind == "place" and open_group:
            open_group.text = block.text
            open_group = None
        elif block.kind == "heading" and open_group:
            raise SpecError(f"{name}:{open_group.line}: {open_group.lines[0].label} names no function")
        elif block.kind == "place":
            raise SpecError(f"{name}:{block.line}: a place (→) without an equation before it")
        else:
            out.append(block)
    if open_group:
        raise SpecError(f"{name}:{open_group.line}: {open_group.lines[0].label} names no function")
    return out


def labels_of(group):
    return [line.label for line in group.lines if line.label]


def errata_of(blocks):
    return [
        m.group(1)
        for b in blocks
        if b.kind == "list"
        for _, text in b.rows
        for m in [ERRATUM.match(text)]
        if m
    ]
