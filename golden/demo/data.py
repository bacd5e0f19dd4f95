# SPDX-License-Identifier: MIT
"""Makes the demo's records and texts from the source data: the same bytes each time.

    python3 data.py source .

writes counterfact.json, zsre.json, snippets.json, heldout.txt and contexts.json to the second folder.

The subjects are parted first. Most of those whose fact can be edited get a record; three of ten with each object
do not. Neighbours, subjects of attribute prompts and of snippets, and the facts of heldout.txt are all of the
latter kind, so that no edit of any batch touches them on purpose.
"""
import argparse
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

from tokens import train_tokenizer
from world import QUESTIONS, Fact, World, locality_question, read_world

RECORDS = 640  # 60 % of the larger model's d_ff is 614
ZSRE_RECORDS = 100
HELD_OUT_TOKENS = 60000
DOCUMENT_TOKENS = 120  # at most; the models read 128
PROMPTS = 10

Groups = dict[tuple[str, str], list[Fact]]


def object_ids(facts: list[Fact]) -> dict[str, str]:
    """The source has no Wikidata ids; these number the objects in order of their names."""
    names = sorted({f.true for f in facts} | {f.new for f in facts})
    return {name: f"D{i}" for i, name in enumerate(names)}


def part(world: World, rng: random.Random) -> tuple[list[Fact], Groups]:
    """Facts to edit, and the others by relation and object."""
    groups: Groups = defaultdict(list)
    for f in world.facts:
        groups[f.relation, f.true].append(f)
    to_edit = []
    others: Groups = {}
    n_facts = Counter(f.subject for f in world.facts)
    for (relation, true), group in groups.items():
        group = rng.sample(group, len(group))
        kept = -(-3 * len(group) // 10)
        others[relation, true] = group[:kept]
        for f in group[kept:]:
            # A new object that no training sentence has in this relation is not learnt by these models.
            possible = ((relation, f.new) in groups and f.new != true and n_facts[f.subject] == 1
                        and len(world.templates[relation]) > 1)
            (to_edit if possible else others[relation, true]).append(f)
    rng.shuffle(to_edit)
    for f in to_edit[RECORDS:]:
        others[f.relation, f.true].append(f)
    return to_edit[:RECORDS], others


def short_sentences(world: World, words: range) -> list[str]:
    return [s for s in world.held_out if len(s.split()) in words and s.endswith(".") and s.isascii()]


def filled(world: World, facts: list[Fact], rng: random.Random) -> list[str]:
    """Up to PROMPTS prompts about these subjects, each subject as often as any other, no prompt twice."""
    each = [rng.sample([t.format(f.subject) for t in world.templates[f.relation]], len(world.templates[f.relation]))
            for f in rng.sample(facts, len(facts))]
    rounds = [prompts[i] for i in range(PROMPTS) for prompts in each if i < len(prompts)]
    return rounds[:PROMPTS]


def counterfact(world: World, edits: list[Fact], others: Groups, ids: dict[str, str], rng: random.Random) -> list[dict]:
    before = short_sentences(world, range(6, 15))
    records = []
    for f in edits:
        wordings = [t for t in world.templates[f.relation] if t != f.prompt]
        rng.shuffle(wordings)
        records.append({
            "case_id": f.case_id,
            "requested_rewrite": {
                "prompt": f.prompt,
                "relation_id": f.relation,
                "target_new": {"str": f.new, "id": ids[f.new]},
                "target_true": {"str": f.true, "id": ids[f.true]},
                "subject": f.subject,
            },
            "paraphrase_prompts": [f"{rng.choice(before)} {wordings[i % len(wordings)].format(f.subject)}" for i in (0, 1)],
            "neighborhood_prompts": filled(world, others[f.relation, f.true], rng),
            "attribute_prompts": filled(world, others[f.relation, f.new], rng),
            "generation_prompts": [t.format(f.subject) for t in (f.prompt, *wordings[:3])] + [f.rephrase],
        })
    return records


def snippets(world: World, edits: list[Fact], others: Groups, ids: dict[str, str]) -> list[dict]:
    """What else has the new object: a text of all wordings about each of up to five such subjects."""
    wanted = sorted({(f.relation, f.new) for f in edits})
    return [{"relation_id": relation, "target_id": ids[new], "samples": [
        {"name": f.subject, "text": " ".join(f"{t.format(f.subject)} {new}." for t in world.templates[relation])}
        for f in others[relation, new][:5]]} for relation, new in wanted]


def held_out(world: World, others: Groups, rng: random.Random) -> str:
    """The mixture of the training text, of facts that no record edits and sentences that were not trained on."""
    count = train_tokenizer(world)
    facts = [f for group in others.values() for f in group]
    documents: list[list[str]] = [[]]
    size = total = 0
    while total < HELD_OUT_TOKENS:
        if rng.random() < 0.75:
            f = rng.choice(facts)
            piece = f"{rng.choice(world.wordings(f.relation)).format(f.subject)} {f.true}."
        else:
            piece = rng.choice(world.held_out)
        n = len(count.encode(" " + piece).ids)
        if size + n > DOCUMENT_TOKENS:
            documents.append([])
            size = 0
        documents[-1].append(piece)
        size += n
        total += n
    return "\n\n".join(" ".join(d) for d in documents) + "\n"


def contexts(world: World, rng: random.Random) -> list[list[str]]:
    """The published nesting: the bare prompt, and five pieces of text before it."""
    return [["{}"], [s.rstrip(".") + ". {}" for s in rng.sample(short_sentences(world, range(5, 11)), 5)]]


def zsre(world: World, source: Path, others: Groups, rng: random.Random) -> list[dict]:
    """Questions about subjects that are new to the models: those of the source's neighbourhood prompts."""
    known = {f.subject for f in world.facts}
    pool = [f for group in others.values() for f in group]
    alternatives = defaultdict(set)
    for f in world.facts:
        alternatives[f.relation].add(f.true)
    records = []
    asked = set()
    relation_of = {f.case_id: f.relation for f in world.facts}
    for r in json.loads((source / "requests-2000.json").read_text(encoding="utf-8")):
        relation = relation_of.get(r["case_id"])
        answer = r["locality_ground_truth"]
        for t in world.templates.get(relation, []):
            found = re.fullmatch(re.escape(t).replace(r"\{\}", "(.+)"), r["locality_prompt"])
            subject = found.group(1) if found else None
            if not found or subject in known or subject in asked or not subject[0].isupper():
                continue
            asked.add(subject)
            question, rephrase = QUESTIONS[relation]
            other = rng.choice(pool)
            records.append({
                "subject": subject,
                "src": question.format(subject),
                "rephrase": rephrase.format(subject),
                "answers": [answer],
                "alt": rng.choice(sorted(alternatives[relation] - {answer})),
                "loc": locality_question(QUESTIONS[other.relation][0]).format(other.subject).rstrip("?"),
                "loc_ans": other.true,
            })
            break
    return rng.sample(records, ZSRE_RECORDS)


def write_json(path: Path, value: list) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source", type=Path, help="the folder with requests-2000.json and state-of-the-union.txt")
    ap.add_argument("out", type=Path)
    args = ap.parse_args()
    world = read_world(args.source)
    ids = object_ids(world.facts)
    edits, others = part(world, random.Random(7))
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "counterfact.json", counterfact(world, edits, others, ids, random.Random(9)))
    write_json(args.out / "snippets.json", snippets(world, edits, others, ids))
    (args.out / "heldout.txt").write_text(held_out(world, others, random.Random(4)), encoding="utf-8")
    write_json(args.out / "contexts.json", contexts(world, random.Random(3)))
    write_json(args.out / "zsre.json", zsre(world, args.source, others, random.Random(6)))


if __name__ == "__main__":
    main()
