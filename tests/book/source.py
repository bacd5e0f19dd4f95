# SPDX-License-Identifier: MIT
"""The sources: where a name is defined, which files cite a label, which test that citation stands in."""

import bisect
import os
import re
from dataclasses import dataclass

CODE = ("ref", "tokenizer", "tensors", "kernels", "cli")
SUFFIXES = (".c", ".h", ".cu", ".cuh")
CITED = re.compile(r"(?<![A-Za-z0-9_.+])([EX])([1-9][0-9]*)(?:-\1([1-9][0-9]*))?(?![A-Za-z0-9_])")
PIECE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
TEST = re.compile(r"^TEST\((\w+)\)", re.M)


@dataclass
class Definition:
    """C text of one definition, its comment included, and the line it begins at."""

    file: str
    name: str
    line: int  # of the definition itself
    text: str
    first: int  # line of the text's beginning, which may be a comment's


@dataclass
class Citation:
    file: str
    line: int
    claim: str  # the TEST it stands in or above, the function in or under it, or ""


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


class Source:
    """One file: its text, and the text with comments and strings blanked, at the same offsets."""

    def __init__(self, root, path):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            self.text = f.read()
        self.path = path
        self.bare = PIECE.sub(blank, self.text)
        self.starts = [0] + [m.end() for m in re.finditer("\n", self.text)]
        self.depth_zero = self._top()

    def line_of(self, offset):
        return bisect.bisect_right(self.starts, offset)

    def _top(self):
        """The bare text with everything within braces blanked, but for the braces; extern "C" { counts for none."""
        out, depth, skipped = [], 0, 0
        for m in re.finditer(r"[{}]|[^{}]+", re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, self.bare)):
            part = m.group(0)
            if part == "{":
                if depth == 0 and re.search(r"\bextern\s*$", "".join(out[-1:]).rstrip()):
                    skipped += 1
                    out.append(" ")
                    continue
                out.append("{" if depth == 0 else " ")
                depth += 1
            elif part == "}":
                if depth == 0:
                    skipped -= 1
                    out.append(" ")
                    continue
                depth -= 1
                out.append("}" if depth == 0 else " ")
            else:
                out.append(part if depth == 0 else blank(m))
        return "".join(out)

    def _whole(self, name, at, end):
        """The definition whose name stands at `at` and which ends at `end`, from its comment on."""
        top = self.depth_zero
        begin = max(top.rfind(";", 0, at), top.rfind("}", 0, at)) + 1
        while self.bare[begin : begin + 1].isspace() and begin < at:  # past blanks, comments and directives
            begin += 1
        directive = list(re.finditer(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*\n", self.bare[begin:at]))
        if directive:
            begin += directive[-1].end()
            begin += len(self.bare[begin:at]) - len(self.bare[begin:at].lstrip())
        made = list(re.finditer(r"(?m)^[A-Z][A-Z0-9_]*\([^\n;{]*\)\n\s*", self.bare[begin:at]))
        begin += made[-1].end() if made else 0
        first = begin
        before = re.search(
            r"(?:/\*(?:(?!\*/).)*\*/[ \t]*\n|(?:[ \t]*//[^\n]*\n)+)\Z", self.text[:begin], re.S
        )
        if before and "SPDX-License-Identifier" not in before.group(0):
            first = before.start()
        return Definition(
            self.path, name, self.line_of(begin), self.text[first:end].rstrip(), self.line_of(first)
        )

    def find(self, name):
        """The definition of function, struct, enum or macro `name`; None if the file has none."""
        top, word = self.depth_zero, re.escape(name)
        for m in re.finditer(rf"\b{word}\s*\(", top):
            depth, i = 1, m.end()
            while i < len(top) and depth:
                depth += (top[i] == "(") - (top[i] == ")")
                i += 1
            rest = re.match(r"[\s\w]*\{\s*\}?", top[i:])
            if rest and ";" not in rest.group(0):
                return self._whole(name, m.start(), top.index("}", i) + 1)
        m = re.search(rf"\b(?:struct|enum|union)\s+{word}\s*\{{", top)
        if m:
            end = top.index("}", m.end())
            return self._whole(name, m.start(), top.index(";", end) + 1)
        return self._macro(name) or self._made_by_macro(name)

    def _macro(self, name):
        define = re.search(
            rf"(?m)^[ \t]*#[ \t]*define[ \t]+{re.escape(name)}\b(?:[^\n]*\\\n)*[^\n]*", self.text
        )
        if not define:
            return None
        line = self.line_of(define.start())
        return Definition(self.path, name, line, re.sub(r"(?m) +\\$", r" \\", define.group(0)), line)

    def _made_by_macro(self, name):
        """A function that a line such as DEFINE(name, double) makes: the macro, and that line."""
        use = re.search(rf"(?m)^([A-Z][A-Z0-9_]*)\({re.escape(name)}\b[^\n;{{]*\)$", self.depth_zero)
        macro = self._macro(use.group(1)) if use else None
        if not macro:
            return None
        line = self.line_of(use.start())
        text = self.text[use.start() : use.end()]
        return Definition(self.path, name, line, f"{macro.text}\n\n{text}", macro.first)

    def functions(self):
        """Names of all functions defined here, with the offsets at which their texts begin and end."""
        if not hasattr(self, "_functions"):
            self._functions = []
            for m in re.finditer(r"\b([A-Za-z_]\w*)\s*\(", self.depth_zero):
                one = (
                    self.find(m.group(1))
                    if not m.group(1).isupper() and m.group(1) not in ("__launch_bounds__", "defined")
                    else None
                )
                if (
                    one
                    and one.line <= self.line_of(m.start())
                    and m.group(1) not in [f[0] for f in self._functions]
                ):
                    begin = self.starts[one.first - 1]
                    self._functions.append((m.group(1), begin, begin + len(one.text)))
        return self._functions

    def function_at(self, offset):
        return next((name for name, begin, end in self.functions() if begin <= offset < end), "")

    def word_line(self, name):
        m = re.search(rf"\b{re.escape(name)}\b", self.text)
        return self.line_of(m.start()) if m else 0

    def citations(self):
        """(label, offset) of every citation; a range counts for each label in it."""
        plain = self.text.replace("–", "-").replace("..", "- ")
        plain = re.sub(r"(?<=\d)- (?=[EX]\d)", "-", plain) if len(plain) == len(self.text) else plain
        for m in CITED.finditer(plain):
            first, last = int(m.group(2)), int(m.group(3) or m.group(2))
            for i in range(first, min(last, first + 99) + 1):
                yield f"{m.group(1)}{i}", min(m.start(), len(self.text) - 1)


class Tree:
    """All sources of the project, read once."""

    def __init__(self, root, folders=CODE + ("tests",)):
        self.root, self.files = root, {}
        for folder in folders:
            for place, dirs, names in os.walk(os.path.join(root, folder)):
                dirs.sort()
                for name in sorted(names):
                    if name.endswith(SUFFIXES):
                        path = os.path.relpath(os.path.join(place, name), root)
                        self.files[path] = Source(root, path)
        self.cited = {}
        for path, source in self.files.items():
            for label, offset in source.citations():
                self.cited.setdefault(label, []).append((path, offset))

    def find(self, name, path):
        return self.files[path].find(name) if path in self.files else None

    def plain(self, name, path):
        """The definition to show: an operator's plain one of ref/ops/ where the place names the fast one."""
        if path.startswith("ref/cpu/"):
            for other in sorted(self.files):
                if other.startswith("ref/ops/") and other.endswith(".c"):
                    found = self.files[other].find(name)
                    if found:
                        return found
        return self.find(name, path)

    def helpers(self, definition, labels):
        """Functions of the definition's file that belong to it: those that cite a label, and in ref/ops/ all it calls."""
        source, todo, found = self.files[definition.file], [definition.name], {definition.name: None}
        spans = {name: source.text[begin:end] for name, begin, end in source.functions()}
        if definition.file.startswith("ref/ops/"):
            while todo:
                body = spans.get(todo.pop(), "")
                called = [name for name in spans if name not in found and re.search(rf"\b{name}\s*\(", body)]
                found.update((name, source.find(name)) for name in called)
                todo += called
        wanted = set(labels)
        for label, offset in source.citations():
            name = source.function_at(offset) if label in wanted else ""
            if name and name not in found:
                found[name] = source.find(name)
        return [one for one in found.values() if one]

    def citing(self, label, folders):
        """Where the label is cited in some folders, once a claim (of tests) or function."""
        out = {}
        for path, offset in self.cited.get(label, []):
            if path.startswith(tuple(folder + "/" for folder in folders)):
                source = self.files[path]
                claim = (
                    self._claim(source, offset) if path.startswith("tests/") else source.function_at(offset)
                )
                out.setdefault((path, claim), Citation(path, source.line_of(offset), claim))
        return list(out.values())

    @staticmethod
    def _claim(source, offset):
        """The TEST that a citation stands in, or that its comment stands directly above; "" for a file's own head."""
        if source.function_at(offset):
            return ""
        after = TEST.search(source.text, offset)
        if after and not re.sub(r"(?s)^.*?\*/", "", source.text[offset : after.start()], count=1).strip():
            return after.group(1)
        before = [m for m in TEST.finditer(source.text, 0, offset)]
        if before and source.depth_zero.rfind("}", 0, offset) < before[-1].start():
            return before[-1].group(1)
        return ""

    def same_name(self, name, folders):
        """Files of some folders that define a function of this name: an operator's other tables."""
        out = []
        for path, source in self.files.items():
            if path.startswith(tuple(folder + "/" for folder in folders)):
                found = source.find(name)
                if found:
                    out.append(Citation(path, found.line, name))
        return out
