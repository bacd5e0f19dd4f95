# SPDX-License-Identifier: MIT
"""Golden names that SPEC.md gives in backquotes, `file: tensor, tensor`, and whether golden/ holds them.

`file` is golden/<folder>/<file>[.fp32|.fp64].{safetensors,json,npy}. {a,b} are alternatives; {i}, {module} and other
single words in braces are any text. Of a JSON file the last part of a name must be a key somewhere in it."""

import itertools
import json
import os
import re
import struct

SUFFIX = r"(?:\.fp(?:32|64))?\.(?:safetensors|json|npy)"


def alternatives(text):
    """a{b,c} -> ab, ac; braces without a comma are kept."""
    parts = re.split(r"\{([^{}]*,[^{}]*)\}", text)
    choices = [[p] if i % 2 == 0 else [q.strip() for q in p.split(",")] for i, p in enumerate(parts)]
    return ["".join(one) for one in itertools.product(*choices)]


def pattern(name):
    return ".*?".join(re.escape(part) for part in re.split(r"\{\w+\}|\*", name))


def outer_commas(text):
    return [part.strip() for part in re.split(r",(?![^{]*\})", text) if part.strip()]


class Goldens:
    def __init__(self, root):
        self.root, self.files, self.held = os.path.join(root, "golden"), {}, {}
        for folder in sorted(os.listdir(self.root)):
            place = os.path.join(self.root, folder)
            if os.path.isdir(place) and folder not in ("data", "demo", "__pycache__"):
                for name in sorted(os.listdir(place)):
                    self.files.setdefault(name, []).append(os.path.join(folder, name))
                    self.files.setdefault(f"{folder}/{name}", []).append(os.path.join(folder, name))

    def matching(self, file):
        if re.search(r"\.(json|safetensors|npy)$", file):
            exact = re.sub(r"\.json$", "", file) if file.endswith(".json") else ""
            rule = re.compile(re.escape(file) + (f"|{pattern(exact)}{SUFFIX}" if exact else ""))
        else:
            rule = re.compile(pattern(file) + SUFFIX)
        return sorted({path for name, paths in self.files.items() if rule.fullmatch(name) for path in paths})

    def names(self, path):
        """Tensors of a safetensors file; keys of a JSON file, at any depth."""
        if path not in self.held:
            whole, found = os.path.join(self.root, path), set()
            if path.endswith(".safetensors"):
                with open(whole, "rb") as f:
                    found = set(json.loads(f.read(struct.unpack("<Q", f.read(8))[0])))
            elif path.endswith(".json"):
                with open(whole, encoding="utf-8") as f:
                    todo = [json.load(f)]
                while todo:
                    one = todo.pop()
                    found.update(one if isinstance(one, dict) else ())
                    todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            self.held[path] = found
        return self.held[path]

    def check(self, text):
        """Of every `file: names` in text: (what was written, files that hold it, what is missing)."""
        out, last = [], ""
        for quoted in re.findall(r"`([^`]+)`", text):
            file, colon, names = quoted.partition(": ")
            if not colon and not self.matching(
                file
            ):  # further tensors of the file named before, or a test's name
                file, names = last, quoted
                if not file or "." not in quoted and "{" not in quoted:
                    continue
            files = [
                path
                for part in outer_commas(file)
                for one in alternatives(part)
                for path in self.matching(one)
            ]
            if not files:
                out.append((quoted, [], f"no file golden/*/{file}.*"))
                continue
            last = file
            wanted = list(itertools.chain.from_iterable(alternatives(n) for n in outer_commas(names)))
            holding = [path for path in files if not wanted or any(self.holds(path, one) for one in wanted)]
            missing = [one for one in wanted if not any(self.holds(path, one) for path in holding)]
            out.append((quoted, holding, f"golden {file} holds no {missing[0]}" if missing else ""))
        return out

    def holds(self, path, name):
        """Whether a file holds a tensor of this name, or a JSON file the last key of it."""
        if not path.endswith(".safetensors"):
            name = re.sub(r"\[[^]]*\]", "", name).split(".")[-1]
            if not pattern(name).strip(".*?"):
                return False
        rule = re.compile(pattern(name))
        return any(rule.fullmatch(held) for held in self.names(path))
