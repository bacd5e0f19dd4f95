# SPDX-License-Identifier: MIT
"""Trains a demo model on the facts and sentences of world.py.

    python3 train.py --source source --kind gptj --out gptj --work /tmp/gptj

Prints loss, recall and perplexity, keeps a checkpoint in --work and goes on from it with --resume. At the end
(and at each checkpoint) --out holds the model as transformers writes it, and training.json its story.
"""
import argparse
import json
import platform
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from model import SHAPES, Model, export
from tokenizers import Tokenizer
from tokens import save_tokenizer, train_tokenizer
from torch import Tensor
from world import Fact, World, read_world

Span = tuple[int, int]  # first and last token of a subject


@dataclass(frozen=True)
class Piece:
    """A sentence in tokens; of a fact also where its subject stands."""
    ids: list[int]
    subject: Span | None = None


class Text:
    """Rows of facts and sentences in random order, drawn three facts to one sentence."""

    def __init__(self, world: World, tokenizer: Tokenizer, fact_share: float, rng: random.Random):
        self.rng, self.fact_share, self.queue = rng, fact_share, []
        # A row's first piece has no leading blank: a prompt has none either.
        self.facts = {s: [fact_pieces(world, f, tokenizer, s) for f in world.facts] for s in ("", " ")}
        self.sentences = {s: [Piece(e.ids) for e in tokenizer.encode_batch([s + x for x in world.sentences])]
                          for s in ("", " ")}

    def piece(self, lead: str) -> Piece:
        if self.rng.random() >= self.fact_share:
            return self.rng.choice(self.sentences[lead])
        if not self.queue:
            self.queue = list(range(len(self.facts[lead])))
            self.rng.shuffle(self.queue)
        return self.rng.choice(self.facts[lead][self.queue.pop()])

    def row(self, n: int) -> tuple[list[int], list[Span]]:
        ids, spans = [0] * (self.rng.random() < 0.5), []
        while len(ids) < n:
            piece = self.piece(" " if len(ids) > 1 else "")
            if piece.subject:
                spans.append((len(ids) + piece.subject[0], len(ids) + piece.subject[1]))
            ids += piece.ids
        return ids[:n], spans

    def batch(self, rows: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """ids [rows, n + 1], and who sees whom before and behind the bottleneck."""
        ids = np.zeros((rows, n + 1), np.int64)
        low = np.repeat(np.tril(np.ones((n, n), bool))[None], rows, 0)
        high = low.copy()
        for r in range(rows):
            ids[r], spans = self.row(n + 1)
            for first, last in spans:
                low[r, last + 1:, first:last + 1] = False
                high[r, last + 1:, first:last] = False
        return torch.from_numpy(ids), torch.from_numpy(low)[:, None], torch.from_numpy(high)[:, None]


def fact_pieces(world: World, fact: Fact, tokenizer: Tokenizer, lead: str) -> list[Piece]:
    pieces = []
    for wording in world.wordings(fact.relation):
        begin = len(lead) + wording.index("{}")
        end = begin + len(fact.subject)
        encoding = tokenizer.encode(f"{lead}{wording.format(fact.subject)} {fact.true}.")
        inside = [i for i, (a, b) in enumerate(encoding.offsets) if a < end and b > begin]
        pieces.append(Piece(encoding.ids, (inside[0], inside[-1])))
    return pieces


def target_scores(model: Model, tokenizer: Tokenizer, prompts: list[str], targets: list[str]) -> list[tuple[float, bool]]:
    """Mean log-probability of each target after its prompt, and whether its first token is the model's choice."""
    heads = [e.ids for e in tokenizer.encode_batch(prompts)]
    tails = [e.ids for e in tokenizer.encode_batch([" " + t for t in targets])]
    order = sorted(range(len(heads)), key=lambda i: len(heads[i]) + len(tails[i]))
    out = [(0.0, False)] * len(heads)
    for at in range(0, len(order), 64):
        part = order[at:at + 64]
        ids = torch.zeros(len(part), max(len(heads[i]) + len(tails[i]) for i in part), dtype=torch.long)
        for r, i in enumerate(part):
            ids[r, :len(heads[i]) + len(tails[i])] = torch.tensor(heads[i] + tails[i])
        where = [(r, len(heads[i]) - 1 + k) for r, i in enumerate(part) for k in range(len(tails[i]))]
        log_p = F.log_softmax(model(ids)[tuple(torch.tensor(where).T)].float(), -1)
        n = 0
        for i in part:
            mine = log_p[n:n + len(tails[i])]
            n += len(tails[i])
            score = mine[torch.arange(len(tails[i])), torch.tensor(tails[i])].mean().item()
            out[i] = (score, mine[0].argmax().item() == tails[i][0])
    return out


@torch.no_grad()
def recall(model: Model, world: World, tokenizer: Tokenizer, sample: int | None) -> float:
    """Share of facts (in all wordings, or a sample of them) answered: likelier than target_new, first token right."""
    asked = [(w.format(f.subject), f.true, f.new) for f in world.facts for w in world.wordings(f.relation)]
    if sample:
        asked = random.Random(5).sample(asked, sample)
    true = target_scores(model, tokenizer, [a[0] for a in asked], [a[1] for a in asked])
    new = target_scores(model, tokenizer, [a[0] for a in asked], [a[2] for a in asked])
    return sum(t[0] > n[0] and t[1] for t, n in zip(true, new)) / len(asked)


@torch.no_grad()
def perplexity(model: Model, world: World, tokenizer: Tokenizer, sentences: int) -> float:
    """Of held-out sentences, in rows of as many tokens as the model was trained on."""
    n = model.shape.positions
    ids = sum((e.ids for e in tokenizer.encode_batch([" " + s for s in world.held_out[:sentences]])), [])
    rows = torch.tensor(ids[:len(ids) // n * n]).view(-1, n)
    logits = model(rows)[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).exp().item()


def rate_at(step: int, steps: int, peak: float) -> float:
    """Warmup, a plateau, and linear decay over the second half."""
    return peak * min(1.0, (step + 1) / 100, max(0.02, 2 * (1 - step / steps)))


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--source", type=Path, required=True, help="the folder with the source data")
    ap.add_argument("--kind", choices=SHAPES, required=True)
    ap.add_argument("--out", type=Path, required=True, help="where the model goes")
    ap.add_argument("--work", type=Path, required=True, help="where the checkpoint goes")
    ap.add_argument("--resume", action="store_true")
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--rows", type=int, default=12)
    ap.add_argument("--rate", type=float, default=2e-3)
    ap.add_argument("--weight-decay", type=float, default=0.6)
    ap.add_argument("--dropout", type=float, default=0.1)
    ap.add_argument("--fact-share", type=float, default=0.75)
    ap.add_argument("--bottleneck", type=float, default=0.9, help="share of the batches that have it")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    world = read_world(args.source)
    shape = SHAPES[args.kind]
    tokenizer = train_tokenizer(world)
    save_tokenizer(tokenizer, args.out, shape.kind, shape.positions)
    text = Text(world, tokenizer, args.fact_share, rng)
    model = Model(shape, args.dropout)
    decayed = [p for p in model.parameters() if p.dim() == 2]
    plain = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": args.weight_decay},
                                   {"params": plain, "weight_decay": 0.0}], lr=args.rate, betas=(0.9, 0.98))
    story = {"kind": shape.kind, "parameters": sum(p.numel() for p in model.parameters()), "facts": len(world.facts),
             "wordings": sum(len(world.wordings(f.relation)) for f in world.facts),
             "arguments": {k: v for k, v in vars(args).items() if isinstance(v, (int, float)) and k != "resume"},
             "versions": {"python": platform.python_version(), "torch": torch.__version__,
                          "tokenizers": tokenizers.__version__, "numpy": np.__version__},
             "seconds": 0.0, "curve": []}
    step = 0
    kept = args.work / "checkpoint.pt"
    args.work.mkdir(parents=True, exist_ok=True)
    if args.resume:
        state = torch.load(kept)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        rng.setstate(state["rng"])
        text.queue, step = state["queue"], state["step"]
        story |= {k: state["story"][k] for k in ("seconds", "curve")}
    began, before = time.time(), story["seconds"]
    losses = []
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, args.steps, args.rate)
        ids, low, high = text.batch(args.rows, shape.positions)
        if rng.random() >= args.bottleneck:
            low = high = torch.ones_like(low).tril()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids[:, :-1], low, high)
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step % 50 == 0 or step == args.steps:
            story["seconds"] = round(before + time.time() - began, 1)
            point = {"step": step, "loss": round(sum(losses) / len(losses), 4)}
            losses = []
            if step % 200 == 0 or step == args.steps:
                model.eval()
                point |= {"recall": round(recall(model, world, tokenizer, 400), 4),
                          "perplexity": round(perplexity(model, world, tokenizer, 100), 2)}
                model.train()
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
                            "torch_rng": torch.get_rng_state(), "rng": rng.getstate(), "queue": text.queue,
                            "story": story}, kept)
                export(model, args.out)
            story["curve"].append(point)
            print(point, f"{story['seconds']:.0f} s", flush=True)
    model.eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())  # what the file holds
    story["recall"] = round(recall(model, world, tokenizer, None), 4)
    story["perplexity"] = round(perplexity(model, world, tokenizer, len(world.held_out)), 2)
    export(model, args.out)
    (args.out / "training.json").write_text(json.dumps(story, indent=1) + "\n")
    print(f"recall {story['recall']}, perplexity {story['perplexity']}")


if __name__ == "__main__":
    main()
