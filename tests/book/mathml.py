# SPDX-License-Identifier: MIT
"""SPEC's plain-text mathematics to presentation MathML.

    (x_i − μ)/√(σ² + ε)   Σ_{s ≤ t} p[t,s] v[s]   Kᵀ (λC + K Kᵀ)⁻¹   ‖δm‖/‖m0‖²   2^−b

Blanks have a meaning, as in SPEC.md: what stands together without one is one factor; a/b divides the factors beside
the slash, and the numerator of a·b / c is the whole product. Words may stand anywhere."""

import re
from html import escape

from symbols import code, mo, name, operator, parenthesised, raised, row, sign, word
from tokens import CLOSER, CLOSERS, END, SUB, SUP, MathError, is_word, tokenise


class Item:
    """A factor, an operator or a word; whether a blank stood before it; of (a + b) and a lone (a/b) the inside; of
    brackets around prose the parts, so that a line can wrap within."""

    def __init__(self, kind, ml, spaced, text="", inner=None, parts=()):
        self.kind, self.ml, self.spaced, self.text, self.inner, self.parts = (
            kind,
            ml,
            spaced,
            text,
            inner,
            parts,
        )

    def is_op(self, ops):
        return self.kind == "op" and self.text in ops


class Parser:
    def __init__(self, text, verbatim=(), link=None):
        """verbatim: names that are set as they are written; link: words to HTML, for labels."""
        self.verbatim, self.link = verbatim, link or escape
        self.tokens, self.at = tokenise(text), 0
        self.script = 0  # depth of scripts, where fractions stay on the line
        self.bars = ()  # norms that are open

    def peek(self, ahead=0):
        i = self.at + ahead
        return self.tokens[i] if i < len(self.tokens) else END

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def nested(self, text):
        inner = Parser(text, self.verbatim, self.link)
        inner.script = self.script + 1
        return inner.whole()

    def whole(self):
        return emit(self.all_items())

    def all_items(self):
        items = self.items()
        if self.at < len(self.tokens):
            raise MathError(f"{self.peek()[1]!r} is one too many")
        return items

    # ---- factors ----

    def factor(self):
        """The next factor with its scripts and arguments; None at an operator or the end."""
        kind, text, spaced = self.peek()
        if kind in ("number", "string", "label", "section", "name") or text in (
            "½",
            "√",
            "∂",
            "Σ",
            "…",
            "..",
            "∞",
        ):
            self.at += 1
        if kind == "number":
            return self.scripts(Item("number", f"<mn>{escape(text)}</mn>", spaced))
        if kind == "string":
            return self.scripts(Item("string", code(text[1:-1] if text[0] == "`" else text), spaced))
        if kind in ("label", "section"):
            return self.scripts(Item("word", word(self.link(text)), spaced, self.link(text)))
        if kind == "name":
            return self.scripts(self.named(text, spaced))
        if text == "½":
            return self.scripts(Item("number", "<mfrac><mn>1</mn><mn>2</mn></mfrac>", spaced))
        if text in ("√", "∂"):
            return self.prefixed(text, spaced)
        if text == "Σ":
            return self.sum(spaced)
        if text in ("…", "..", "∞"):
            return Item("dots", "<mi>∞</mi>" if text == "∞" else mo("…"), spaced)
        if text in CLOSER:
            return self.scripts(self.bracket(spaced))
        if text in ("|", "‖") and not (self.bars and self.bars[-1] == text) and not self.given(text, spaced):
            return self.scripts(self.norm(text, spaced))
        return None

    def given(self, text, spaced):
        """Whether a bar is that of p(a | b): an operand before it, blanks on both sides."""
        before = self.tokens[self.at - 1] if self.at else ("op", "(")
        return text == "|" and spaced and self.peek(1)[2] and (before[0] != "op" or before[1] in CLOSERS)

    def named(self, text, spaced):
        kind, after, gap = self.peek()
        before = self.tokens[self.at - 2] if self.at > 1 else END
        if after == "'" and before[0] == "name" and self.peek(1)[0] == "name" and self.peek(1)[2]:
            self.at += 1  # a plural's apostrophe
            return Item("word", word(escape(text) + "'"), spaced, escape(text) + "'")
        if is_word(text) and kind not in ("sup", "sub") and (gap or not after or after not in "(['′″^*_"):
            return Item("word", word(escape(text)), spaced, escape(text))
        return Item("atom", name(text, self.verbatim, self.nested), spaced, text)

    def prefixed(self, text, spaced):
        under = self.factor()
        if not under:
            raise MathError(f"nothing follows {text}")
        ml = f"<msqrt>{under.inner or under.ml}</msqrt>" if text == "√" else row([mo("∂"), under.ml])
        return Item("atom", ml, spaced)

    def sum(self, spaced):
        ml, (kind, text, gap) = mo("∑", ' largeop="true" movablelimits="false"'), self.peek()
        if kind == "name" and gap and is_word(text):  # the letter itself: no sum is over words
            return Item("word", word("Σ"), spaced, "Σ")
        if text == "_" and not gap:
            self.at += 1
            ml = f"<munder>{ml}{self.under()}</munder>"
        return Item("sum", ml, spaced)

    def under(self):
        """What stands below a sum, or after an underscore on its own: {...}, a name, a number."""
        kind, text, _ = self.take() if self.at < len(self.tokens) else END
        if text != "{":
            if kind not in ("name", "number"):
                raise MathError(f"{text!r} below the line")
            return self.nested(text)
        depth, start = 1, self.at
        while depth:
            if self.peek() is END:
                raise MathError("{ without }")
            text = self.take()[1]
            depth += (text == "{") - (text == "}")
        inner = Parser("", self.verbatim, self.link)
        inner.tokens, inner.script = self.tokens[start : self.at - 1], self.script + 1
        return inner.whole()

    def inside(self, closers, bar=""):
        """Items up to one of the closers, which is taken too."""
        opened, before = self.take()[1], self.bars
        self.bars = (*before, bar) if bar else ("",)
        items = self.items(closers)
        self.bars = before
        closed = self.peek()[1]
        if closed not in closers or bar and closed != bar:
            raise MathError(f"{opened} without its end")
        self.at += 1
        return opened, items, closed

    def bracket(self, spaced):
        opened, items, closed = self.inside(CLOSERS)
        inner = emit(items)
        flat = "" if "<mfrac" in inner or "<munder" in inner else ' stretchy="false"'
        ml = f"<mrow>{mo(opened, flat)}{inner}{mo(closed, flat)}</mrow>"
        if opened == "(" and len(items) == 1 and items[0].kind == "fraction":
            return Item("group", inner, spaced, "lone", inner)
        parts = around(opened, items, closed, spaced) if is_prose(items) else ()
        return Item("group", ml, spaced, "", inner if opened + closed == "()" else None, parts)

    def norm(self, bar, spaced):
        _, items, _ = self.inside(CLOSERS | {bar}, bar)
        inner = emit(items)
        flat = "" if "<mfrac" in inner else ' stretchy="false"'
        left, right = mo(bar, flat + ' form="prefix"'), mo(bar, flat + ' form="postfix"')
        return Item("group", f"<mrow>{left}{inner}{right}</mrow>", spaced)

    def scripts(self, item):
        """Sub- and superscripts, primes, stars, arguments in brackets, as they follow without a blank."""
        under, over, ml, kind, inner, parts = [], [], item.ml, item.kind, item.inner, item.parts
        if item.text == "lone" and self.peek()[0] in ("sup", "sub") and not self.peek()[2]:
            ml = parenthesised(ml)
        while not self.peek()[2]:
            token, text, _ = self.peek()
            after = self.peek(1)
            if token in ("sup", "sub"):
                self.at += 1
                (over if token == "sup" else under).append(raised(text, SUP if token == "sup" else SUB))
            elif text == "_" and not after[2]:
                self.at += 1
                under.append(self.under())
            elif text == "^" and not after[2] and after[1] not in ("=", ""):
                self.at += 1
                over.append(self.exponent())
            elif text in ("'", "′", "″"):
                self.at += 1
                prime = "″" if text == "″" else "′"
                ml, under, over = (
                    row([scripted(ml, under, over), f'<mi mathvariant="normal">{prime}</mi>']),
                    [],
                    [],
                )
            elif (
                text == "*"
                and item.kind == "atom"
                and (after[2] or after[0] != "name")
                and after[1] not in ("*", "(")
            ):
                self.at += 1
                over.append("<mo>∗</mo>")
            elif text in ("(", "[") and item.kind == "atom":
                group = self.bracket(False)
                function, under, over, kind = scripted(ml, under, over), [], [], "call"
                argument = parenthesised(group.ml) if group.text == "lone" else group.ml
                ml = row([function, "<mo>&#x2061;</mo>" if text == "(" else "", argument])
                parts = [Item("call", function, item.spaced), *group.parts] if group.parts else ()
                inner = None
                continue
            else:
                break
            inner, parts = None, ()
        return Item(kind, scripted(ml, under, over), item.spaced, item.text, inner, parts)

    def exponent(self):
        self.script += 1
        first = mo(self.take()[1], ' form="prefix"') if self.peek()[1] in ("−", "-", "+") else ""
        factor = self.factor()
        self.script -= 1
        if not factor:
            raise MathError("nothing follows ^")
        return row([first, factor.inner or factor.ml])

    # ---- rows ----

    def items(self, closers=()):
        out = []
        while self.at < len(self.tokens) and self.peek()[1] not in closers:
            factor = self.factor()
            if factor:
                if factor.text == "lone" and out and out[-1].kind not in ("op", "sum", "word"):
                    factor.ml = parenthesised(factor.ml)
                out.append(factor)
                continue
            _, text, spaced = self.take()
            if text == "/":
                self.fraction(out, spaced)
            elif text in CLOSERS:
                raise MathError(f"{text} without its beginning")
            else:
                out.append(Item("op", "", spaced, text))
        for i, item in enumerate(out):
            if item.kind == "atom" and item.text in ("a", "A", "I") and is_article(out, i):
                out[i] = Item("word", word(item.text), item.spaced, item.text)
        return out

    def fraction(self, out, spaced):
        """The last factor of out over the next; before a slash with blanks a product by a dot is one factor."""
        start = len(out)
        while start and out[start - 1].kind not in ("op", "word", "sum", "dots"):
            start -= 1
            if out[start].spaced:
                break
            if spaced and start and out[start - 1].is_op("·") and not out[start - 1].spaced:
                start -= 1
        self.script += 1  # a fraction below a fraction stays on the line
        bottom = self.factor()
        self.script -= 1
        if start == len(out) or not bottom or bottom.kind == "word":
            if not bottom or not out or out[-1].kind != "word":
                raise MathError("a fraction without its parts")
            out += [Item("op", "", False, "/"), bottom]  # words with a slash between them
            return
        top = out[start:]
        del out[start:]
        if self.script:
            ml = row([emit(top), '<mo lspace="0" rspace="0">/</mo>', bottom.ml])
        else:
            above = top[0].inner if len(top) == 1 and top[0].inner else emit(top)
            ml = f"<mfrac>{above}{bottom.inner or bottom.ml}</mfrac>"
        out.append(Item("fraction", ml, top[0].spaced))


def is_prose(items):
    """Whether two words stand side by side."""
    return any(a.kind == b.kind == "word" for a, b in zip(items, items[1:]))


def around(opened, items, closed, spaced):
    items[0].spaced = False
    left, right = Item("word", word(opened), spaced, opened), Item("word", word(closed), False, closed)
    return [left, *items, right]


def scripted(ml, under, over):
    """An element with scripts; a superscript joins the subscript that the element has already."""
    if under and over:
        return f"<msubsup>{ml}{row(under)}{row(over)}</msubsup>"
    inside = (
        children(ml[len("<msub>") : -len("</msub>")]) if over and re.fullmatch("<msub>.*</msub>", ml) else []
    )
    if len(inside) == 2:
        return f"<msubsup>{inside[0]}{inside[1]}{row(over)}</msubsup>"
    tag = "msub" if under else "msup"
    return f"<{tag}>{ml}{row(under or over)}</{tag}>" if under or over else ml


def children(ml):
    """The elements that a piece of MathML consists of, as strings."""
    out, depth, start = [], 0, 0
    for m in re.finditer(r"<(/?)[a-z]+[^>]*?(/?)>", ml):
        depth += -1 if m.group(1) else 0 if m.group(2) else 1
        if depth == 0:
            out.append(ml[start : m.end()])
            start = m.end()
    return out


def emit(items):
    """MathML of a row: operators by their place, a thin space between factors that a blank keeps apart."""
    out = []
    for i, item in enumerate(items):
        before, after = items[i - 1] if i else None, items[i + 1] if i + 1 < len(items) else None
        texts = item.kind in ("word", "string")
        if item.is_op("+−-"):
            out.append(
                sign(
                    item.text,
                    is_unary(item, before, after),
                    before and not item.spaced and after and not after.spaced,
                )
            )
        elif item.kind == "op":
            out.append(operator(item.text))
        elif before and item.spaced and before.kind != "op":
            wide = texts or before.kind in ("word", "string")
            out.append(f'<mspace width="{".3em" if wide else ".18em"}"/>')
        elif before and item.spaced and texts and before.text in ",;:.":
            out.append('<mspace width=".15em"/>')
        out.append(item.ml)
    return row(out) if out else "<mrow></mrow>"


def is_unary(item, before, after):
    """Whether a plus or minus is a sign: nothing or an operator before it, or a blank before it and none after."""
    if not before:
        return item.inner != "infix"
    return before.kind == "op" or item.spaced and not (after and after.spaced)


def is_article(items, i):
    """Whether a lone "a" is the article: a word follows, and no formula leads up to it."""
    before, after = items[i - 1] if i else None, items[i + 1] if i + 1 < len(items) else None
    leads = before and before.kind not in ("word", "op") and 'class="w"' not in before.ml
    return bool(after and after.kind == "word" and after.spaced and not leads)
