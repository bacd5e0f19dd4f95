#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make book: SPEC.md and the sources as one HTML page, each equation beside the code that computes it.

    tests/book/book.py [--out build/book.html] [--root .]

The page is made from the labels that SPEC.md defines and that code and tests cite. Exit status 1, with file and line,
and no page: a label without a definition to show, without code or without a test; a golden that golden/ does not hold;
a label that is cited and nowhere defined."""

import argparse
import os
import re
import sys

sys.dont_write_bytecode = True

import page
import spec
from entry import Entries, anchor
from goldens import Goldens
from group import Group, assign_homes, faults
from source import Tree


def published_names(blocks):
    """Names of the published hyper-parameters, which formulas show as they are written."""
    tables = [block.rows[1:] for block in blocks if block.kind == "table" and block.rows[0][0] == "key"]
    return {name for rows in tables for cells in rows for name in re.findall(r"\w+", cells[0])}


def introduction(writer, label):
    return (
        '<p class="intro">This page is SPEC.md with the sources beside it: each equation, the C text that computes it, and '
        f"the tests and golden tensors that check it. A label such as {writer.link(label)} leads to its equation wherever "
        "it stands, also in the comments of the code. <code>make book</code> makes the page from the labels, and fails "
        "where one has no code or no test.</p>"
    )


def make(root):
    """The page, the faults that speak against it, and its entries."""
    with open(os.path.join(root, "SPEC.md"), encoding="utf-8") as f:
        blocks = spec.groups(spec.parse(f.read()))
    tree, held = Tree(root), Goldens(root)
    group_of = {id(block): Group(block, tree, held) for block in blocks if block.kind == "group"}
    groups, errata = list(group_of.values()), spec.errata_of(blocks)
    home = assign_homes(groups)

    labels = [label for group in groups for label in group.labels]
    functions = {}
    for group in groups:
        for one in group.shown:
            functions.setdefault(one.name, anchor(one))
    sections = {block.anchor for block in blocks if block.kind == "heading"}
    writer = page.Writer(set(labels + errata), sections, functions, published_names(blocks))
    entries = Entries(groups, tree, writer, home)

    body = [entries.entry(group_of[id(b)]) if b.kind == "group" else writer.block(b) for b in blocks]
    head = body.pop(0) if blocks and blocks[0].kind == "heading" else ""
    body += [entries.index(), entries.errata_index(errata)]
    contents = page.contents(blocks, writer)
    html = page.document(f"{head}\n{introduction(writer, labels[0])}", contents, "\n".join(body))
    return html, faults(groups, errata, tree, writer.unknown), entries


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--root", default=os.path.join(here, "..", ".."))
    args.add_argument("--out", default="build/book.html")
    args = args.parse_args()
    try:
        html, wrong, entries = make(args.root)
    except spec.SpecError as fault:
        print(f"book: {fault}", file=sys.stderr)
        return 1
    if wrong:
        print("\n".join(wrong))
        print(f"book: {len(wrong)} faults, no page written", file=sys.stderr)
        return 1
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    with open(args.out, "w", encoding="utf-8") as f:
        f.write(html)
    typeset, words, failed = (entries.kinds[kind] for kind in ("typeset", "words", "failed"))
    n = len(typeset) + len(words) + len(failed)
    print(
        f"{args.out}: {n} equations, {len(entries.home)} definitions beside them, {len(html.encode()) // 1024} KiB"
    )
    print(
        f"  {len(typeset)} of {n} typeset; {len(words)} rules in words, without a formula: {' '.join(words)}"
    )
    if failed:
        print(
            f"  {len(failed)} with a part that is no known mathematics, shown as written: {' '.join(failed)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
