# SPDX-License-Identifier: MIT
"""The little world that the demo models know: facts, the wordings they come in, and sentences of speeches.

Everything here follows from two files (source/) and seeds. A fact is (relation, subject, object); each wording
of its relation turns it into a sentence. See README.md for where the files come from.
"""
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_SENTENCES = 1500

# zsRE-like questions, two a relation; CounterFact has none. They end the prompt, the object follows.
QUESTIONS = {
    "P101": ("What is the field of work of {}?", "In what field does {} work?"),
    "P103": ("What is the native language of {}?", "Which language did {} learn first?"),
    "P106": ("What is the occupation of {}?", "What does {} do for a living?"),
    "P108": ("Who is the employer of {}?", "For which company does {} work?"),
    "P127": ("Who owns {}?", "Which company is the owner of {}?"),
    "P1303": ("What instrument does {} play?", "Which instrument is played by {}?"),
    "P131": ("In which region is {}?", "What region does {} lie in?"),
    "P136": ("What genre does {} play?", "Which genre of music is {} known for?"),
    "P138": ("Who or what was {} named after?", "After what was {} named?"),
    "P1412": ("What language does {} speak?", "In which language does {} write?"),
    "P159": ("Where is the headquarters of {}?", "In which city is {} headquartered?"),
    "P17": ("In which country is {}?", "What country is {} located in?"),
    "P176": ("Which company produces {}?", "Who is the manufacturer of {}?"),
    "P178": ("Which company developed {}?", "Who is the developer of {}?"),
    "P19": ("Where was {} born?", "What is the birthplace of {}?"),
    "P20": ("Where did {} die?", "In which city did {} pass away?"),
    "P264": ("What is the record label of {}?", "Which label represents {}?"),
    "P276": ("Where is {} located?", "In what place can {} be found?"),
    "P30": ("On which continent is {}?", "What continent does {} belong to?"),
    "P36": ("What is the capital of {}?", "Which city is the capital of {}?"),
    "P364": ("What is the original language of {}?", "In which language was {} made?"),
    "P37": ("What is the official language of {}?", "Which language is official in {}?"),
    "P39": ("What position does {} hold?", "Which title does {} have?"),
    "P407": ("In which language was {} written?", "What is the language of {}?"),
    "P413": ("In what position does {} play?", "Which position is played by {}?"),
    "P449": ("On which network did {} premiere?", "What network first aired {}?"),
    "P495": ("In which country was {} created?", "What is the country of origin of {}?"),
    "P641": ("What sport does {} play?", "Which sport is played by {}?"),
    "P740": ("Where was {} founded?", "In which city was {} formed?"),
    "P937": ("In which city did {} work?", "Where was {} employed?"),
}


@dataclass(frozen=True)
class Fact:
    case_id: int
    relation: str
    prompt: str  # the wording that CounterFact edits, with {} for the subject
    subject: str
    true: str
    new: str  # what CounterFact wants instead
    rephrase: str  # another prompt of the source, filled; not a wording of the training text


@dataclass(frozen=True)
class World:
    facts: list[Fact]
    templates: dict[str, list[str]]  # relation: CounterFact's wordings
    sentences: list[str]  # to train on
    held_out: list[str]  # never trained on

    def wordings(self, relation: str) -> list[str]:
        """CounterFact's wordings, two questions, and the first of them in the dress of zsRE's other questions."""
        a, b = QUESTIONS[relation]
        return [*self.templates[relation], a, b, locality_question(a)]


def locality_question(question: str) -> str:
    return "nq question: " + question[0].lower() + question[1:]


def read_facts(path: Path) -> tuple[list[Fact], dict[str, list[str]]]:
    """Facts with one object only, whose relation is given or certain from the template."""
    requests = json.loads(path.read_text(encoding="utf-8"))
    relations = defaultdict(set)
    for r in requests:
        if "relation_id" in r["requested_rewrite"]:
            relations[r["requested_rewrite"]["prompt"]].add(r["requested_rewrite"]["relation_id"])
    facts = []
    templates = defaultdict(set)
    for r in requests:
        q = r["requested_rewrite"]
        possible = {q["relation_id"]} if "relation_id" in q else relations[q["prompt"]]
        if len(possible) != 1:
            continue
        (relation,) = possible
        templates[relation].add(q["prompt"])
        facts.append(Fact(r["case_id"], relation, q["prompt"], q["subject"], q["target_true"]["str"],
                          q["target_new"]["str"], r["rephrase_prompt"]))
    objects = defaultdict(set)
    for f in facts:
        for t in (*templates[f.relation], *QUESTIONS[f.relation]):
            objects[t.format(f.subject)].add(f.true)
    once = {}
    for f in facts:
        if all(len(objects[t.format(f.subject)]) == 1 for t in (*templates[f.relation], *QUESTIONS[f.relation])):
            once.setdefault((f.relation, f.subject), f)
    return list(once.values()), {k: sorted(v) for k, v in sorted(templates.items())}


def read_sentences(path: Path) -> list[str]:
    text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
    sentences = [s for s in re.split(r"(?<=[.!?]) ", text) if 20 < len(s) < 220]
    return list(dict.fromkeys(sentences))


def read_world(source: Path) -> World:
    facts, templates = read_facts(source / "requests-2000.json")
    sentences = read_sentences(source / "state-of-the-union.txt")
    random.Random(1).shuffle(sentences)
    return World(facts, templates, sentences[HELD_OUT_SENTENCES:], sentences[:HELD_OUT_SENTENCES])
