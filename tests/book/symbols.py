# SPDX-License-Identifier: MIT
"""MathML of single names and operators."""

import re
from html import escape

from tokens import ACCENT, FUNCTIONS, INFIX, LETTER, PRODUCT, UNDER

SHOWN = {"<=": "≤", ">=": "≥", "!=": "≠", "<-": "←", "..": "…", "-": "−", "*": "·"}
HATTED = dict(zip("ŴŶŷẑ", "WYyz"))
SPACING = {
    "–": ' lspace="0" rspace="0"',
    "<<": ' lspace=".15em" rspace=".15em"',
    ">>": ' lspace=".15em" rspace=".15em"',
    ":": ' lspace="0" rspace=".3em"',
    "|": ' form="infix" lspace=".25em" rspace=".25em" stretchy="false"',
}


def mo(op, attributes=""):
    return f"<mo{attributes}>{escape(SHOWN.get(op, op))}</mo>"


def row(parts):
    parts = [part for part in parts if part]
    return parts[0] if len(parts) == 1 else "<mrow>" + "".join(parts) + "</mrow>"


def word(html):
    """Words within a formula. Not <mtext>: beside a single operator that would be a part of the operator."""
    return f'<mi class="w" mathvariant="normal">{html}</mi>'


def code(text):
    return f'<mi class="code" mathvariant="normal">{escape(text)}</mi>'


def parenthesised(ml):
    return f"<mrow><mo>(</mo>{ml}<mo>)</mo></mrow>"


def accented(letter, accent):
    return f"<mover><mi>{letter}</mi><mo stretchy='false'>{accent}</mo></mover>"


def letters(text):
    """Each letter for itself: δm, λC, Ŵ, x̄."""
    out = []
    for c in re.findall(f".{ACCENT}?", text):
        if len(c) == 2:
            out.append(accented(c[0], "^" if c[1] == "\u0302" else "¯"))
        elif c in HATTED:
            out.append(accented(HATTED[c], "^"))
        elif c in "ΔΦΓΛΩΨΘΞΠΥ":
            out.append(f'<mi mathvariant="normal">{c}</mi>')
        else:
            out.append(f"<mn>{c}</mn>" if c.isdigit() else f"<mi>{escape(c)}</mi>")
    return row(out)


def base(text):
    """A name without its subscripts. m0 is m with a subscript."""
    if text == "log2":
        return "<msub><mi>log</mi><mn>2</mn></msub>"
    digits = re.fullmatch(rf"([{LETTER}]{ACCENT}?)(\d+)", text)
    if digits:
        return f"<msub>{letters(digits.group(1))}<mn>{digits.group(2)}</mn></msub>"
    if text in FUNCTIONS:
        return f"<mi>{text}</mi>"
    whole = re.fullmatch("[a-zA-Z]+[0-9]*", text) and len(text) > 1 and not PRODUCT.fullmatch(text)
    return word(escape(text)) if whole else letters(text)


def subscript(text, nested):
    """nested: typesets an expression in a script."""
    if text.startswith("{"):
        return nested(text[1:-1])
    if re.fullmatch("[0-9]+", text):
        return f"<mn>{text}</mn>"
    if re.fullmatch("[ijkst]{2}", text) or re.match("[Ͱ-Ͽ]", text):
        return letters(text)
    return nested(text) if "," in text or len(text) == 1 else word(escape(text))


def name(text, verbatim, nested):
    """A name with its subscripts; names in verbatim, and those of snake_case, as they are written."""
    first, *subs = re.findall(r"_(?:\{[^{}]*\}|[^_{}]+)|[^_]+", text)
    long_sub = subs and len(subs[0]) > 2 and subs[0][1] != "{"
    snake = long_sub and (len(first) > 1 or len(subs) > 1) and first.islower() and first.isascii()
    if text in verbatim or snake:
        return word(escape(text))
    if not subs:
        return base(first)
    below = row([subscript(sub[1:], nested) for sub in subs])
    tag = "munder" if first in UNDER else "msub"
    return f"<{tag}>{base(first)}{below}</{tag}>"


def raised(text, table):
    """Unicode's super- or subscript characters: ⁻¹, ᵀ, ₀."""
    out = []
    for part in re.findall(r"\d+|.", "".join(table[c] for c in text)):
        sign = part in "+−"
        out.append(
            f"<mn>{part}</mn>"
            if part.isdigit()
            else mo(part, ' form="prefix"') if sign else f"<mi>{part}</mi>"
        )
    return row(out)


def sign(op, unary, tight):
    """Plus or minus, of one operand or between two."""
    if unary:
        return mo(op, ' form="prefix"')
    return mo(op, ' form="infix"' + (' lspace=".12em" rspace=".12em"' if tight else ""))


def operator(op):
    if op == "^":
        return '<mo class="word" lspace=".3em" rspace=".3em">xor</mo>'
    if op in ("**", ".", "'", "%", "!"):
        return word(op)
    return mo(op, SPACING.get(op, ' form="infix"' if op in INFIX and op != "*" else ""))


def math(ml):
    return f'<math displaystyle="true">{ml}</math>'
