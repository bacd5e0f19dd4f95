#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes nfkd.txt: points that Python 3.11's Unicode 14.0 had not assigned and a newer Unicode decomposes or reorders.

    python3.11 -m venv venv && venv/bin/pip install unicodedata2==18.0.0 && venv/bin/python golden/unicode/nfkd.py > golden/unicode/nfkd.txt
"""
import sys
import unicodedata as reference

import unicodedata2 as newer

if reference.unidata_version != "14.0.0":
    sys.exit(f"nfkd.py: Unicode {reference.unidata_version}; 14.0.0 is needed, which Python 3.11 has")
points = [c for c in map(chr, range(0x110000)) if not "\ud800" <= c <= "\udfff"]
changed = [c for c in points if newer.combining(c) or newer.decomposition(c)]
assigned = [c for c in points if reference.category(c) != "Cn"]
assert all(reference.normalize("NFKD", c) == newer.normalize("NFKD", c) and
           reference.combining(c) == newer.combining(c) for c in assigned)
ranges = []
for c in sorted(set(changed) - set(assigned)):
    if ranges and ord(c) == ranges[-1][1] + 1:
        ranges[-1][1] = ord(c)
    else:
        ranges.append([ord(c), ord(c)])
print(f"""# SPDX-License-Identifier: MIT
# Points with a combining class or a decomposition in Unicode {newer.unidata_version} that Unicode 14.0 had not assigned: the
# reference's NFKD leaves them alone. Made by nfkd.py from the Unicode Character Database.
[nfkd_newer]""")
for first, last in ranges:
    print(f"0x{first:X}, 0x{last:X}")
