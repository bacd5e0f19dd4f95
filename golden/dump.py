#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the golden files of any GPT-J or GPT-NeoX directory; says how closely it reproduces frozen ones.

    dump.py --model DIR --facts FILE --hparams FILE... --contexts FILE --text FILE --out DIR
            [--prompts FILE] [--quirk FILE] [--borders DIR] [--precision fp32|fp64] [--late-stats]
                                                                        makes OUT/*.{safetensors,json}
    dump.py --out DIR --compare GOLDEN_DIR                              compares what is in OUT with a frozen folder
    dump.py --out DIR --remake GOLDEN_DIR...                            makes OUT/<name> from each frozen folder's own
                                                                        inputs and compares: `make golden`

Without --precision both are made. README.md tells what each file holds. The folder given with --out is written, a frozen
folder only read. Exit 0; 3 if a comparison failed (fp64 beyond 1e-9, or ids, stops or flags that differ). Needs torch,
transformers and safetensors; README.md names the versions.
"""
import argparse
import json
import os
import sys

sys.dont_write_bytecode = True  # the folder of frozen data stays as it is

try:
    import torch
    from safetensors.torch import save_file

    import borders
    import compare
    import method
    import models
except ImportError as error:
    sys.exit(f"dump.py: {error}; needs torch, transformers and safetensors: golden/README.md names the versions")

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
HF_LIMIT = 1e-5  # relative L2 of our float32 logits to those of transformers


def read_json(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def read_texts(path):
    """Documents: JSON lines with "text", or plain text with blank lines between.                        SPEC §7.1"""
    with open(path, encoding="utf-8") as f:
        whole = f.read()
    if whole.lstrip().startswith("{"):
        return [json.loads(line)["text"] for line in whole.splitlines() if line.strip()]
    return [part for part in (p.strip("\n") for p in whole.split("\n\n")) if part]


class Dump:
    """One model at one precision, and the files that come of it."""

    def __init__(self, hf, tok, dtype_name, out):
        self.tok, self.precision, self.out = tok, dtype_name, out
        torch.set_default_dtype(DTYPES[dtype_name])
        self.model = models.own(hf, DTYPES[dtype_name])
        os.makedirs(out, exist_ok=True)

    def save(self, name, tensors):
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()},
                  os.path.join(self.out, f"{name}.{self.precision}.safetensors"))

    def save_json(self, name, value):
        with open(os.path.join(self.out, f"{name}.json"), "w", encoding="utf-8") as f:
            json.dump(value, f, ensure_ascii=False)
            f.write("\n")

    @torch.no_grad()
    def forward(self, prompts, hf):
        """forward.*: each prompt alone, then all as one padded batch. The float32 run is checked against hf."""
        tensors, record = {}, []
        for r, prompt in enumerate(prompts):
            ids, keep = method.pad(self.tok, [prompt])
            trace = self.model.forward(ids, keep)
            last = trace[f"hidden.{self.model.n_layer}"]
            trace.update(input_ids=ids, attention_mask=keep, ln_f=self.model.norm(self.model.ln_f, last),
                         logits=self.model.head(last))
            tensors.update({f"row{r}.{k}": v for k, v in trace.items()})
            if self.precision == "fp32":
                off = compare.distance(trace["logits"], hf(ids).logits)
                if not off <= HF_LIMIT:
                    raise SystemExit(f"row {r}: logits differ from those of transformers by {off:.1e} > {HF_LIMIT:.0e}")
            record.append({"name": f"row{r}", "prompts": [prompt], "lengths": [ids.shape[1]],
                           "argmax_last": [int(trace["logits"][0, -1].argmax())]})
        ids, keep = method.pad(self.tok, prompts)
        logits = self.model.head(self.model.forward(ids, keep)[f"hidden.{self.model.n_layer}"])
        last = logits[torch.arange(len(prompts)), keep.sum(1) - 1]
        tensors.update({"batch.input_ids": ids, "batch.attention_mask": keep, "batch.last_logits": last})
        record.append({"name": "batch", "prompts": prompts, "lengths": keep.sum(1).tolist(),
                       "argmax_last": last.argmax(-1).tolist()})
        self.save("forward", tensors)
        self.save_json("forward", record)

    def lookup(self, requests, contexts):
        """lookup.json: the index under every context, or the exception's name."""
        out = []
        for request in requests:
            rows = []
            for context in method.flatten(contexts):
                row = {"template": method.fill(context, request["prompt"])}
                for strategy in ("subject_last", "subject_first", "subject_first_after_last"):
                    try:
                        row[strategy] = method.lookup_index(self.tok, row["template"], request["subject"], strategy)
                    except AssertionError as error:
                        row[strategy] = type(error).__name__
                try:
                    row["text"] = method.fill(row["template"], request["subject"])
                    row["input_ids"] = method.encode(self.tok, row["text"])
                except IndexError:
                    pass
                rows.append(row)
            out.append({k: request[k] for k in ("case_id", "prompt", "subject")} | {"rows": rows})
        self.save_json("lookup", out)

    def keys(self, requests, contexts, hp):
        """keys.*: the FFN's keys and outputs of the first edited layer, on the unedited model."""
        name = self.model.mlp_module.format(hp["layers"][0])
        inside, outside, mean = method.keys(self.model, self.tok, requests, contexts, "mlp", hp["layers"][0])
        self.save("keys", {f"per_context_in.{name}": inside, f"per_context_out.{name}": outside, f"mean.{name}": mean})

    def layer_stats(self, texts, hp):
        """layer_stats.*: whole moments, and the parts of them which the frozen fp64 files keep."""
        moments, record = method.second_moments(self.model, self.tok, texts, hp)
        tensors, record["cond"] = {}, {}
        for (kind, l), cov in moments.items():
            name = getattr(self.model, f"{kind}_module").format(l)
            record["cond"][name] = float(torch.linalg.cond(cov.double()))
            tensors.update({f"cov.{name}": cov, f"cov_rows.{name}": cov[:24], f"cov_diag.{name}": cov.diagonal(),
                            f"cov_norm_trace.{name}": torch.stack((cov.norm(), cov.trace()))})
        self.save("layer_stats", tensors)
        self.save_json("layer_stats", record)
        return moments

    def borders(self, folder, quirks, contexts):
        """border_rows, compute_z.pmet_border, eval.border, border_texts: the cases of the folder's border_*.json."""
        requests, lookups, records, pairs = (read_json(os.path.join(folder, f"border_{name}.json"))
                                             for name in ("requests", "lookups", "counterfact", "zsre"))
        asked = [method.request_of(r) for r in requests]
        rows = [borders.whole_rows(self.tok, request, contexts)
                for request in quirks + asked + [method.request_of(r) for r in lookups]]
        self.save_json("border_rows", [row for row in rows if row])
        with borders.twin_row(self.model, method.encode(self.tok, asked[1]["target_new"])[-1]):
            self.compute_z("pmet_border", asked, contexts,
                           read_json(os.path.join(folder, "hparams", "PMET", "pmet_border.json")))
        self.save_json(f"eval.border.{self.precision}",
                       {"counterfact": [borders.counterfact(self.model, self.tok, r) for r in records],
                        "zsre": [{"post": borders.zsre(self.model, self.tok, r)} for r in pairs]})
        borders.check_told(self.model, self.tok, records, pairs)
        if self.precision == "fp64":
            self.save_json("border_texts", {"generated": borders.generated(self.tok),
                                            "drawn": borders.drawn(self.model, self.tok)})

    def compute_z(self, name, requests, contexts, hp, catch=False):
        """compute_z.*: both deltas of every request; catch keeps going past requests that raise."""
        tensors, record, errors, targets = {}, [], [], {"attn": [], "mlp": []}
        for request in requests:
            try:
                rows = method.Rows(self.tok, request, contexts)
            except (AssertionError, IndexError) as error:
                if not catch:
                    raise SystemExit(f"case {request['case_id']}: {type(error).__name__} {error}")
                errors.append({k: request[k] for k in ("case_id", "prompt", "subject")}
                              | {"error": type(error).__name__, "message": str(error)})
                continue
            result, steps = method.optimise(self.model, rows, hp)
            tensors.update({f"{len(record)}.{k}": v for k, v in result.items()})
            for kind in targets:
                targets[kind].append(result[f"target_{kind}"])
            L = hp["layers"][-1]
            record.append(request | {
                "layer": L, "loss_layer": max(hp["v_loss_layer"], L), "target_ids": rows.target_ids,
                "target_decoded_prefix": rows.decoded_prefix, "rewriting_prompts": rows.rewriting,
                "kl_prompts": [method.KL_PROMPT], "filled_prompts": rows.filled, "input_ids": rows.ids.tolist(),
                "attention_mask": rows.keep.tolist(), "rewriting_targets": rows.labels.tolist(),
                "lookup_idxs": rows.lookup_idx} | steps)
        self.save(f"compute_z.{name}", tensors)
        self.save_json(f"compute_z.{name}.{self.precision}",
                       {"requests": record, "errors": errors} if catch else record)
        return {kind: torch.stack(z) for kind, z in targets.items() if z}


def z_settings(hp):
    """What the deltas depend on; hparams that agree here share them."""
    return {k: v for k, v in hp.items() if not k.startswith(("mom2", "rewrite"))}


def make(args, precision, hf, tok):
    """All files of one model at one precision."""
    records, contexts = read_json(args.facts), read_json(args.contexts)
    requests = [method.request_of(r) for r in records]
    quirks = [method.request_of(r) for r in read_json(args.quirk)] if args.quirk else []
    hparams = [read_json(path) for path in args.hparams]
    dump = Dump(hf, tok, precision, args.out)
    prompts = read_json(args.prompts) if args.prompts else [r["prompt"].format(r["subject"]) for r in requests[:4]]
    dump.forward(prompts, hf)
    dump.lookup(requests + quirks, contexts)
    dump.keys(requests, contexts, hparams[0])
    moments, done = dump.layer_stats(read_texts(args.text), hparams[0]), []
    for path, hp in zip(args.hparams, hparams):
        stem = os.path.splitext(os.path.basename(path))[0]
        name = stem if stem.startswith("pmet") else "pmet"
        two = len(hp["rewrite_module_tmps"]) == 2
        targets = next((z for settings, z in done if settings == z_settings(hp)), None)
        if targets is None:
            targets = dump.compute_z(name.removesuffix("_2mod"), requests, contexts, hp)
            done.append((z_settings(hp), targets))
        if hp["layers"] != hparams[0]["layers"]:
            moments = method.second_moments(dump.model, tok, read_texts(args.text), hp)[0]
        late = two and args.late_stats  # SPEC X14
        cov = ((lambda kind, l: method.second_moments(dump.model, tok, read_texts(args.text), hp)[0][kind, l]) if late
               else lambda kind, l: moments[kind, l])
        edited = method.execute(dump.model, tok, requests, contexts, hp, targets, cov)
        dump.save(f"execute.{name.removesuffix('_2mod')}{'_2mod' if two else ''}", edited)
    if quirks:
        dump.compute_z("pmet_quirk", quirks, contexts, hparams[0], catch=True)
    if args.borders:
        dump.borders(args.borders, quirks, contexts)


def make_all(args, precisions):
    hf, tok = models.load(args.model)
    for precision in precisions:
        print(f"{args.model}: {precision}", file=sys.stderr)
        make(args, precision, hf, tok)


def inputs_of(frozen, out):
    """The inputs that a frozen folder brings along."""
    at = lambda *parts: os.path.join(frozen, *parts)
    # The frozen two-module edits of GPT-J met no statistics of their layers and took them as they went (README.md).
    late = read_json(at("model", "config.json"))["model_type"] == "gptj"
    return argparse.Namespace(
        late_stats=late,
        model=at("model"), facts=at("counterfact.json"), contexts=at("contexts.json"), text=at("stats_text.jsonl"),
        prompts=at("forward_prompts.json"), quirk=at("quirk_requests.json"), borders=frozen, out=out,
        hparams=[at("hparams", "PMET", f"{name}.json") for name in ("pmet", "pmet_2mod", "pmet_alt")])


def conclude(report):
    print(report.table())
    bad = report.verdict()
    for line in bad[:40] + [f"not compared, not made: {path}" for path in report.missing]:
        print(line)
    print(f"\n{report.n_equal} discrete fields compared, {len(report.unequal)} differ; "
          f"{'FAILED' if bad else 'all within the limits'}")
    return 3 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "facts", "contexts", "text", "prompts", "quirk", "borders", "compare"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--hparams", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--late-stats", action="store_true",
                        help="with two modules, take second moments on the model as edited so far")
    parser.add_argument("--precision", choices=sorted(DTYPES))
    parser.add_argument("--remake", nargs="+", metavar="GOLDEN_DIR")
    args = parser.parse_args()
    precisions = [args.precision] if args.precision else ["fp32", "fp64"]
    torch.set_num_threads(1)
    report = compare.Report()
    if args.remake:
        for frozen in args.remake:
            out = os.path.join(args.out, os.path.basename(os.path.normpath(frozen)))
            make_all(inputs_of(frozen, out), precisions)
            report.compare_folders(out, frozen, precisions)
        return conclude(report)
    if args.model:
        missing = [n for n in ("facts", "hparams", "contexts", "text") if not getattr(args, n)]
        if missing:
            parser.error("also needed: " + ", ".join(f"--{n}" for n in missing))
        make_all(args, precisions)
    elif not args.compare:
        parser.error("--model, --compare or --remake")
    if args.compare:
        report.compare_folders(args.out, args.compare, precisions)
        return conclude(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
