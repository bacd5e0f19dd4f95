#!/bin/sh
# Gives a small GPT-J a hundred new facts at once, evaluates it before and after, and shows what it says about five of them.
set -eu
pmet=$1
d=golden/demo
model=$d/gptj
out=build/demo
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
rm -rf "$out"
mkdir -p "$out"

say() { printf '\n%s\n\n' "$*"; }

say "1. Second moments of the keys, over $d/heldout.txt: what an edit must leave alone."
"$pmet" stats --model $model --text $d/heldout.txt --hparams $model/hparams.json --out $out/stats

say "2. The first 100 facts of $d/counterfact.json, in one batch, into a copy of $model."
"$pmet" edit --model $model --facts $d/counterfact.json --limit 100 --hparams $model/hparams.json \
    --contexts $d/contexts.json --stats $out/stats --out $out/edited > $out/edit.txt
sed -n '1,6p' $out/edit.txt
echo "   ... (all of it: $out/edit.txt)"
sed -n '/^matrix/,$p' $out/edit.txt

say "3. Both models asked: the new facts, their paraphrases, the neighbours that must not change; and, of 20 facts, texts."
"$pmet" eval --before $model --after $out/edited --facts $d/counterfact.json --limit 100 \
    --generate 20 --snippets $d/snippets.json --out $out/evaluated.jsonl

say "4. Five of the facts, in the model's own words."
# prompt and target of the first records; the file has one field a line
awk -F'"' '/"requested_rewrite"/ { r = 1 } r && $2 == "prompt" { p = $4 } r && $2 == "target_new" { t = 1 }
    r && t && $2 == "str" { w = $4; t = 0 } r && $2 == "subject" { i = index(p, "{}");
    print substr(p, 1, i - 1) $4 substr(p, i + 2) "\t" w; r = 0; if (++n == 5) exit }' $d/counterfact.json > $out/prompts.tsv
while IFS="$(printf '\t')" read -r prompt target; do
    before=$("$pmet" generate --quiet --model $model --prompt "$prompt" --max-tokens 12 | tr '\n' ' ')
    after=$("$pmet" generate --quiet --model $out/edited --prompt "$prompt" --max-tokens 12 | tr '\n' ' ')
    printf 'wanted  %s %s\nbefore  %s\nafter   %s\n\n' "$prompt" "$target" "$before" "$after"
done < $out/prompts.tsv

cat << END
Everything is below $out/: stats/, edited/ (a folder that transformers opens), evaluated.jsonl (a record a line), edit.txt.
Next:  $pmet inspect $out/edited
       $pmet edit --dry-run --show 1 --model $model --facts $d/counterfact.json --hparams $model/hparams.json --contexts $d/contexts.json
       the same with $d/neox, or with --limit 614: as heavy for this model as 10,000 facts for GPT-J-6B; see $d/README.md
END
