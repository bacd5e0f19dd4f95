# SPDX-License-Identifier: MIT
"""Rate of the published tokenizers package on the lines of a file, one thread: peer_tokenizer.py DIR FILE"""
import os
import statistics
import sys
import time

try:
    import tokenizers
except ImportError:
    print("no peer: this Python has no package tokenizers (PYTHON=... names another)")
    sys.exit()

folder, path = sys.argv[1:]
if os.path.exists(f"{folder}/tokenizer.json"):
    tk = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
else:
    tk = tokenizers.ByteLevelBPETokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")
data = open(path, "rb").read()
lines = data.decode().split("\n")
seconds = []
for _ in range(4):
    start = time.perf_counter()
    tk.encode_batch(lines)
    seconds.append(time.perf_counter() - start)
rate = len(data) * 1e-6 / statistics.median(seconds[1:])
print(f"tokenizers {tokenizers.__version__}, line by line, median MB/s: {rate:.2f}")
