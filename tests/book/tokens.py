# SPDX-License-Identifier: MIT
"""Tokens of SPEC's plain-text mathematics: numbers, names with their subscripts, scripts, operators, quoted text."""

import re


class MathError(Exception):
    """The text is no mathematics that is known here."""


LETTER = "A-Za-zͰ-΢Τ-ϿµŴŷŶẑİ"  # Σ is an operator
ACCENT = "[\u0302\u0304]"
SUP = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱᵀ", "0123456789+−niT"))
SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙₐₑᵢⱼ", "0123456789+−naeij"))
TOKEN = re.compile(
    rf"""(?P<space>\s+)
  | (?P<string>"[^"]*"|`[^`]*`|\\[A-Za-z]\w*|--[a-z][a-z0-9-]*|U\+[0-9A-F]{{4,}})
  | (?P<label>\b[EX][1-9]\d*(?:–[EX][1-9]\d*)?(?:'s)?(?![\w])|(?:\d+|\b[a-z])-[a-z]{{3,}})
  | (?P<section>§\d+(?:\.\d+)*)
  | (?P<number>0x[0-9a-fA-F]+|\d+(?:,\d\d\d)*(?:\.\d+)?(?:e[-−]?\d+)?)
  | (?P<name>(?:[{LETTER}]{ACCENT}?)
      (?:[{LETTER}0-9]{ACCENT}?|(?<=[A-Za-z][A-Za-z])-(?=[A-Za-z0-9]))*(?:'s\b)?
      (?:_(?:\{{[^{{}}]*\}}|[{LETTER}0-9]+(?:,[a-z](?![{LETTER}]))?))*)
  | (?P<sup>[{"".join(SUP)}]+) | (?P<sub>[{"".join(SUB)}]+)
  | (?P<op>\*\*|\+=|-=|\^=|<<|>>|<=|>=|==|!=|<-|\.\.|:=
      |[-+−·×/^=≠≤≥<>≈←→↦↔∈∉⊙⊕⊗∂√Σ…,;:'′″*|‖()\[\]{{}}⌊⌋⌈⌉½.%!?–_∞])""",
    re.X,
)
RELATIONS = set("= ≠ ≤ ≥ < > ≈ ← → ↦ ↔ ∈ ∉ += -= ^= <= >= == != <- :=".split())
ARITHMETIC = set("+ − · / ^ ⊙ ⊕ >> <<".split())
INFIX = RELATIONS | set("+ − · × ⊙ ⊕ ⊗ << >> ^ -".split())
CLOSER = {"(": ")", "[": "]", "{": "}", "⌊": "⌋", "⌈": "⌉"}
CLOSERS = set(CLOSER.values())
UNDER = {"max", "min", "argmax", "argmin", "softmax", "lim"}  # subscripts stand below these
FUNCTIONS = UNDER | set("exp log ln tanh erf cos sin sqrt mean diag tr".split())
PRODUCT = re.compile("A[A-Z]|WK|[ABCKLMRVW][a-z]")  # two letters that are a product: AX, Ap
WORD = re.compile(
    r"[A-Za-z][A-Za-z-]+[0-9]{3,}|[A-Z]+-[0-9]+|[A-Za-z][A-Za-z-]+(?:'s)?|h[12]'s|B?F[136][246]"
)
END = ("end", "", True)


def is_word(text):
    """Whether a name without scripts and arguments is a word of prose, or a name written out."""
    return WORD.fullmatch(text) and text not in FUNCTIONS and not PRODUCT.fullmatch(text)


def tokenise(text):
    """[(kind, text, whether a blank stood before it)]"""
    out, at, spaced = [], 0, False
    while at < len(text):
        m = TOKEN.match(text, at)
        if not m:
            raise MathError(f"{text[at]!r} is no mathematics")
        if m.lastgroup == "space":
            spaced = True
        else:
            out.append((m.lastgroup, m.group(0), spaced))
            spaced = False
        at = m.end()
    return out
