# SPDX-License-Identifier: MIT
"""Equations that share one arrow in SPEC.md: the definitions that compute them, other tables, tests, goldens."""

import spec

LIBRARY = ("ref", "tokenizer", "tensors", "kernels", "cli")
OPERATORS = ("ref/ops/", "ref/cpu/")


class Group:
    """named: definitions that the arrow names; helpers: others of their files that belong to the equations;
    mentioned: (name, file) that are no definition; shown: definitions whose text stands here, the rest at another
    group; fast, kernels: the same operators in other tables; also: other code that cites a label."""

    def __init__(self, block, tree, held):
        self.block, self.tree = block, tree
        self.labels, self.place = spec.labels_of(block), spec.read_place(block.text)
        self.named, self.mentioned, self.helpers, self.shown = [], [], [], []
        for name, path in self.place.names:
            found = tree.plain(name.split()[0], path)
            if not found:
                self.mentioned.append((name, path))
            elif found not in self.named:
                self.named.append(found)
        for one in self.named:
            self.helpers += [h for h in tree.helpers(one, self.labels) if h not in self.named + self.helpers]
        self.goldens = held.check(self.place.golden)
        self.tests = self._tests()
        self.fast, self.kernels = self._table("ref/cpu"), self._table("kernels")
        self.also = self._also()

    def _cited(self, folders):
        return [one for label in self.labels for one in self.tree.citing(label, folders)]

    def _tests(self):
        """By file: the tests that cite a label, or the file itself where only its head does."""
        files = {}
        for one in self._cited(("tests",)):
            files.setdefault(one.file, {}).setdefault(one.claim, one)
        out = []
        for path in sorted(files):
            claims = [one for claim, one in files[path].items() if claim]
            out += sorted(claims, key=lambda one: one.line) or list(files[path].values())
        return out

    def _table(self, folder):
        """Of each file of another table: the function of an operator's name, else the first citation of a label."""
        found, shown = {}, {one.file for one in self.named}
        for one in self.named:
            if one.file.startswith(OPERATORS):
                for other in self.tree.same_name(one.name, (folder,)):
                    found.setdefault(other.file, other)
        for other in self._cited((folder,)):
            found.setdefault(other.file, other)
        return [found[path] for path in sorted(found) if path not in shown]

    def _also(self):
        known = {one.file for one in self.named + self.fast + self.kernels} | {
            path for _, path in self.mentioned
        }
        found = {}
        for one in self._cited(LIBRARY):
            if one.file not in known:
                found.setdefault(one.file, one)
        return [found[path] for path in sorted(found)]

    def golden_files(self):
        """{file name: folders of golden/ that hold it}, the two precisions as one."""
        folders = {}
        for _, files, _ in self.goldens:
            for path in files:
                folder, name = path.split("/", 1)
                for precision in (".fp32.", ".fp64."):
                    name = name.replace(precision, ".{p}.")
                folders.setdefault(name, {})[folder] = True
        return {name: list(where) for name, where in folders.items()}


def assign_homes(groups):
    """Each definition's text stands once: at the first group that names it, else at the first it belongs to.
    Returns {(file, name): label of that group}."""
    home = {}
    for wanted in ("named", "helpers"):
        for group in groups:
            for one in getattr(group, wanted):
                if (one.file, one.name) not in home:
                    home[one.file, one.name] = group.labels[0]
                    group.shown.append(one)
    for group in groups:
        files = [one.file for one in group.named]
        group.shown.sort(key=lambda one: (files.index(one.file), one.line))
    return home


def where(name, path, tree):
    """What to say of a name that its file does not define."""
    others = [one.file for one in tree.same_name(name, LIBRARY)]
    return f"{path} does not define {name}" + (f", but {' and '.join(others)} does" if others else "")


def faults(groups, errata, tree, unknown):
    """What keeps the page from being made: (a line each) labels and goldens that are not what SPEC.md says.
    unknown: labels that words cite and nobody defines."""
    out, known = [], set(errata)
    for group in groups:
        at = f"SPEC.md:{group.block.line}: "
        for label in group.labels:
            if label in known:
                out.append(f"{at}{label} is defined twice")
            known.add(label)
            if not tree.citing(label, LIBRARY):
                out.append(f"{at}{label} is cited by no source file")
            if not tree.citing(label, ("tests",)):
                out.append(f"{at}{label} is cited by no test")
        if not group.named:
            places = "; ".join(where(name, path, tree) for name, path in group.place.names)
            out.append(
                f"{at}{group.labels[0]} has no code to show: {places or 'its arrow names no function'}"
            )
        out += [f"{at}{group.labels[0]}: {missing}" for _, _, missing in group.goldens if missing]
    for label in sorted(set(tree.cited) - known):
        if label[0] == "E" or int(label[1:]) < 100:
            path, offset = tree.cited[label][0]
            line = tree.files[path].line_of(offset)
            out.append(f"{path}:{line}: {label} is cited, but SPEC.md does not define it")
    return out + [
        f"SPEC.md: {label} is cited, but not defined" for label in sorted(unknown - set(tree.cited))
    ]
