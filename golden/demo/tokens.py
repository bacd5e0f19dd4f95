# SPDX-License-Identifier: MIT
"""The demo models' tokenizer: a byte-level BPE of 4,096 tokens, 0 is <|endoftext|>."""
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from world import World

END = "<|endoftext|>"


def train_tokenizer(world: World, size: int = 4096) -> Tokenizer:
    rng = random.Random(2)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    facts = [f"{rng.choice(world.wordings(f.relation)).format(f.subject)} {f.true}." for f in world.facts for _ in "12"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([s + "\n" for s in world.sentences[:6000]] + facts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, kind: str, positions: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"bos_token": END, "eos_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n")
    named = {"tokenizer_class": "GPT2Tokenizer" if kind == "gptj" else "GPTNeoXTokenizer", **specials,
             "add_prefix_space": False, "model_max_length": positions}
    (folder / "tokenizer_config.json").write_text(json.dumps(named, indent=2) + "\n")
    if kind == "gptj":
        tokenizer.model.save(str(folder))  # vocab.json, merges.txt
