#!/bin/sh
# The check that README shows, as a user runs it, on every golden model: stats, edit --trace, trace, each against the frozen files.
set -u
pmet=${1:-build/float/pmet}
. tests/say.sh

for m in gptj-A gptj-C neox-A neox-C; do
    g=golden/$m
    h=$g/hparams/PMET/pmet.json
    claim "$m: stats" "$pmet" stats -q --model $g/model --text $g/stats_text.jsonl --hparams $h --out "$work/$m-stats" \
        --trace "$work/stats.safetensors"
    claim "$m: second moments" "$pmet" diff "$work/stats.safetensors" $g/layer_stats.fp64.safetensors \
        --yardstick $g/layer_stats.fp32.safetensors
    claim "$m: edit" "$pmet" edit -q --model $g/model --facts $g/counterfact.json --hparams $h --contexts $g/contexts.json \
        --stats "$work/$m-stats" --out "$work/$m-edited" --trace "$work/t.safetensors"
    claim "$m: keys, residuals, updates" "$pmet" diff "$work/t.safetensors" $g/execute.pmet.fp64.safetensors \
        --yardstick $g/execute.pmet.fp32.safetensors
    claim "$m: deltas, targets, gradients" "$pmet" diff "$work/t.safetensors" $g/compute_z.pmet.fp64.safetensors \
        --yardstick $g/compute_z.pmet.fp32.safetensors
    claim "$m: trace" "$pmet" trace -q --model $g/model --prompts $g/forward_prompts.json --out "$work/f.safetensors"
    claim "$m: forward" "$pmet" diff "$work/f.safetensors" $g/forward.fp64.safetensors --yardstick $g/forward.fp32.safetensors
    claim "$m: the edited folder, all of it read" "$pmet" inspect "$work/$m-edited" --check
    rm -f "$work"/*.safetensors
done
g=golden/gptj-A
"$pmet" trace -q --model "$work/gptj-A-edited" --prompts $g/forward_prompts.json --out "$work/f.safetensors"
claim "an edited model's forward is another" expect 3 "$pmet" diff "$work/f.safetensors" $g/forward.fp64.safetensors \
    --yardstick $g/forward.fp32.safetensors
close
