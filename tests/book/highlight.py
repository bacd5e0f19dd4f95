# SPDX-License-Identifier: MIT
"""C and CUDA text as HTML with classes: comments, strings, numbers, keywords, types, directives, names of functions."""

import re
from html import escape

KEYWORDS = set(
    "if else for while do switch case default break continue return goto sizeof static const inline extern struct enum "
    "union typedef restrict volatile template typename class __global__ __device__ __host__ __shared__ __restrict__".split()
)
TYPES = set(
    "void char short int long float double bool real size_t uint8_t uint16_t uint32_t uint64_t int8_t int16_t int32_t "
    "int64_t unsigned signed FILE dim3 json_t __half __nv_bfloat16 uintptr_t ptrdiff_t".split()
)
TOKEN = re.compile(
    r"""(?P<c>/\*.*?\*/|//[^\n]*)
  | (?P<s>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<p>^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*)
  | (?P<n>\b(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][-+]?\d+)?)[uUlLfF]*\b)
  | (?P<w>\b[A-Za-z_]\w*\b)""",
    re.X | re.S | re.M,
)


def highlight(text, link, names=()):
    """link: comment text to HTML, where labels become links. names: functions that have an anchor, name -> href."""
    out, at = [], 0
    for m in TOKEN.finditer(text):
        out.append(escape(text[at : m.start()], quote=False))
        kind, piece = m.lastgroup, m.group(0)
        if kind == "c":
            out.append(f'<span class="c">{link(piece)}</span>')
        elif kind == "w":
            call = text[m.end() : m.end() + 1] == "("
            if piece in KEYWORDS:
                out.append(f'<span class="k">{piece}</span>')
            elif piece in TYPES:
                out.append(f'<span class="t">{piece}</span>')
            elif call and piece in names:
                out.append(f'<a class="f" href="{names[piece]}">{piece}</a>')
            else:
                out.append(piece)
        else:
            out.append(f'<span class="{kind}">{escape(piece, quote=False)}</span>')
        at = m.end()
    return "".join(out) + escape(text[at:], quote=False)
