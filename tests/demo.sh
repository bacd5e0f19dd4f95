#!/bin/sh
# Edits the ten facts of golden/gptj-A and shows each prompt's continuation before and after.
set -eu
pmet=$1
g=golden/gptj-A
out=build/demo
rm -rf "$out"
mkdir -p "$out"
"$pmet" stats --quiet --model $g/model --text $g/stats_text.jsonl --hparams $g/hparams/PMET/pmet.json --out $out/stats
"$pmet" edit --quiet --model $g/model --facts $g/counterfact.json --stats $out/stats --hparams $g/hparams/PMET/pmet.json \
    --contexts $g/contexts.json --out $out/edited
# prompt, subject and target of each record; the file has one field a line
awk -F'"' '/"requested_rewrite"/ { r = 1 } r && $2 == "prompt" { p = $4 } r && $2 == "target_new" { t = 1 }
    r && t && $2 == "str" { w = $4; t = 0 } r && $2 == "subject" { i = index(p, "{}");
    print substr(p, 1, i - 1) $4 substr(p, i + 2) "\t" w; r = 0 }' $g/counterfact.json > $out/prompts.tsv
took=0
total=0
printf '\n'
while IFS="$(printf '\t')" read -r prompt target; do
    before=$("$pmet" generate --quiet --model $g/model --prompt "$prompt" --max-tokens 10 | tr '\n' ' ')
    after=$("$pmet" generate --quiet --model $out/edited --prompt "$prompt" --max-tokens 10 | tr '\n' ' ')
    target=$(printf '%s' "$target" | sed 's/^ //')
    total=$((total + 1))
    mark=' '
    case $after in "$prompt $target"*) mark='*'; took=$((took + 1)) ;; esac
    printf '%s wanted  %s %s\n  before  %s\n  after   %s\n' "$mark" "$prompt" "$target" "$before" "$after"
done < $out/prompts.tsv
printf '\n%d of %d facts took (*); the published code gets 5 on this model, too.\n' $took $total
printf 'Hard on purpose: "qx-Zz 77" is a string the model never saw, "yesterday" has no fact behind it; "Rome" it knew before.\n'
