# SPDX-License-Identifier: MIT
"""Looks for hyper-parameters of a demo model with the pmet command: on the first half of the records.

    python3 sweep.py tune --pmet ../../build/float/pmet --model gptj --work /tmp/sweep --layers 1,2,3,4 2,3,4 --clamp 3 6
    python3 sweep.py report --pmet ../../build/float/pmet --model gptj --work /tmp/sweep --facts 100 614

tune edits with each combination of what is given and prints a row of a table each; report edits records of the
other half with the model's hparams.json. More facts than a half has are taken from both.
"""
import argparse
import itertools
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SHAPES = {"gptj": (8, "transformer.h.{}", ".mlp.fc_out", ".attn.out_proj", "transformer.ln_f", "lm_head"),
          "neox": (6, "gpt_neox.layers.{}", ".mlp.dense_4h_to_h", ".attention.dense", "gpt_neox.final_layer_norm", "embed_out")}


def hparams(model: str, layers: list[int], clamp: float, kl: float, decay: float, rate: float, steps: int,
            weight: float) -> dict:
    n_layers, layer, mlp, attn, norm, head = SHAPES[model]
    return {"layers": layers, "clamp_norm_factor": clamp, "layer_selection": "all", "fact_token": "subject_last",
            "v_num_grad_steps": steps, "v_lr": rate, "v_loss_layer": n_layers - 1, "v_weight_decay": decay,
            "kl_factor": kl, "rewrite_module_tmp": layer + mlp, "rewrite_module_tmps": [layer + mlp],
            "layer_module_tmp": layer, "mlp_module_tmp": layer + mlp, "attn_module_tmp": layer + attn,
            "ln_f_module": norm, "lm_head_module": head, "mom2_adjustment": True, "mom2_update_weight": weight,
            "mom2_dataset": "heldout.txt", "mom2_n_samples": HELD_OUT_DOCUMENTS, "mom2_dtype": "float32",
            "nll_loss_factor": 1}


HELD_OUT_DOCUMENTS = (HERE / "heldout.txt").read_text(encoding="utf-8").count("\n\n") + 1
SCORES = ("rewrite_success", "paraphrase_success", "neighborhood_success", "score")
COLUMNS = ("efficacy", "paraphrase", "neighbourhood", "score", "greedy", "passes", "dW/W", "% rounded off")
D_FF = {"gptj": 1024, "neox": 768}


class Bench:
    def __init__(self, pmet: str, model: Path, work: Path, dtype: str, threads: int):
        self.pmet, self.model, self.work, self.dtype, self.threads = pmet, model, work, dtype, str(threads)
        work.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments) -> str:
        command = [self.pmet, *map(str, arguments), "--quiet", "--threads", self.threads]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def statistics(self, layers: range) -> Path:
        out = self.work / "stats"
        if not out.exists():
            self.run("stats", "--model", self.model, "--text", HERE / "heldout.txt",
                     "--layers", ",".join(map(str, layers)), "--out", out)
        return out

    def edit(self, records: list[dict], values: dict) -> dict:
        """Edits, evaluates, and returns the scores with what the edit said."""
        facts, hp, out = self.work / "facts.json", self.work / "hparams.json", self.work / "edited"
        facts.write_text(json.dumps(records))
        hp.write_text(json.dumps(values))
        report = json.loads(self.run(
            "edit", "--model", self.model, "--facts", facts, "--hparams", hp, "--contexts", HERE / "contexts.json",
            "--stats", self.statistics(range(SHAPES[self.model.name][0])), "--out", out, "--force", "--json",
            "--out-dtype", self.dtype))
        judged = json.loads(self.run("eval", "--model", out, "--facts", facts, "--out", self.work / "judged.jsonl",
                                     "--force", "--json"))["metrics"]
        return {k: judged[f"post_{k}"][0] for k in SCORES} | {"report": report}


def row(*cells) -> None:
    print("| " + " | ".join(f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def show(scores: dict, *first) -> None:
    report = scores["report"]
    lost = max(layer["rounding_lost"] for layer in report["layers"])
    share = max(layer["update_norm"] / layer["weight_norm"] for layer in report["layers"])
    row(*first, *(scores[k] for k in SCORES), report["greedy"], report["steps"] / report["facts"], share, 100 * lost)


def tune(bench: Bench, records: list[dict], args: argparse.Namespace) -> None:
    row("layers", "clamp", "kl", "decay", "lr, steps", "lambda", *COLUMNS)
    row(*["---"] * (6 + len(COLUMNS)))
    layers = [[int(n) for n in text.split(",")] for text in args.layers]
    for values in itertools.product(layers, args.clamp, args.kl, args.decay, args.rate, args.steps, getattr(args, "lambda")):
        scores = bench.edit(records, hparams(bench.model.name, *values))
        names, clamp, kl, decay, rate, steps, weight = values
        show(scores, *map(str, (names, clamp, kl, decay, f"{rate}, {steps}", weight)))


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=("tune", "report"))
    ap.add_argument("--pmet", default="pmet", help="the command")
    ap.add_argument("--model", type=Path, required=True, help="gptj or neox, a folder")
    ap.add_argument("--work", type=Path, required=True, help="for what is written")
    ap.add_argument("--facts", type=int, nargs="+", default=[100])
    ap.add_argument("--layers", nargs="+", default=["1,2,3,4"])
    ap.add_argument("--clamp", type=float, nargs="+", default=[3.0])
    ap.add_argument("--kl", type=float, nargs="+", default=[0.06])
    ap.add_argument("--decay", type=float, nargs="+", default=[0.02])
    ap.add_argument("--rate", type=float, nargs="+", default=[0.5])
    ap.add_argument("--steps", type=int, nargs="+", default=[30])
    ap.add_argument("--lambda", type=float, nargs="+", default=[100.0])
    ap.add_argument("--dtype", default="file", help="of the edited matrices")
    ap.add_argument("--threads", type=int, default=1)
    args = ap.parse_args()
    records = json.loads((HERE / "counterfact.json").read_text(encoding="utf-8"))
    half = len(records) // 2
    bench = Bench(args.pmet, args.model, args.work, args.dtype, args.threads)
    if args.what == "tune":
        for n in args.facts:
            tune(bench, records[:half][:n], args)
        return
    row("facts", "of d_ff", *COLUMNS)
    row(*["---"] * (2 + len(COLUMNS)))
    values = json.loads((args.model / "hparams.json").read_text())
    for n in args.facts:
        show(bench.edit((records[half:] + records[:half])[:n], values), n, f"{100 * n / D_FF[args.model.name]:.0f} %")


if __name__ == "__main__":
    main()
