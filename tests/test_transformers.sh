#!/bin/sh
# Edited directories and bf16 copies mean to transformers what they mean to pmet. PYTHON: an interpreter that has it.
set -u
pmet=${1:-build/float/pmet}
python=${PYTHON:-python3}
. tests/say.sh

same_logits() { # MODEL PROMPTS LIMIT
    "$pmet" trace -q --model "$1" --prompts "$2" --out "$work/trace.safetensors" &&
        "$python" tests/check_transformers.py "$1" "$2" "$work/trace.safetensors" "$3"
}

why=$("$python" tests/check_transformers.py . . . 2>&1)
status=$?
if [ $status = 77 ] || [ $status = 127 ]; then
    why=${why#skipped: }
    for m in gptj-A gptj-C neox-A neox-C; do skip "$m, edited" "$why"; done
    for m in "" ", edited"; do skip "gptj-C from pytorch_model.bin$m" "$why"; done
    for m in gptj-A neox-A; do skip "$m in bf16" "$why"; done
    close
    exit
fi
for m in gptj-A gptj-C neox-A neox-C; do
    g=golden/$m
    h=$g/hparams/PMET/pmet.json
    "$pmet" stats -q --model $g/model --text $g/stats_text.jsonl --hparams $h --out "$work/$m-stats" &&
        "$pmet" edit -q --model $g/model --facts $g/counterfact.json --hparams $h --contexts $g/contexts.json \
            --stats "$work/$m-stats" --out "$work/$m-edited" > /dev/null
    claim "$m, edited" same_logits "$work/$m-edited" $g/forward_prompts.json 1e-5
done
g=golden/gptj-C
mkdir "$work/bin"
cp $g/model/*.json $g/model/merges.txt $g/model/pytorch_model.bin "$work/bin"
rm "$work/bin/model.safetensors.index.json"
"$pmet" edit -q --model "$work/bin" --facts $g/counterfact.json --hparams $g/hparams/PMET/pmet.json --contexts $g/contexts.json \
    --stats "$work/gptj-C-stats" --out "$work/bin-edited" > /dev/null
claim "gptj-C from pytorch_model.bin" same_logits "$work/bin" $g/forward_prompts.json 1e-5
claim "gptj-C from pytorch_model.bin, edited" same_logits "$work/bin-edited" $g/forward_prompts.json 1e-5
for m in gptj-A neox-A; do
    g=golden/$m
    "$python" tests/make_bf16.py $g/model "$work/$m-bf16"
    claim "$m in bf16" same_logits "$work/$m-bf16" $g/forward_prompts.json 1e-5
    "$pmet" stats -q --model "$work/$m-bf16" --text $g/stats_text.jsonl --hparams $g/hparams/PMET/pmet.json --out "$work/$m-stats16" &&
        "$pmet" edit -q --model "$work/$m-bf16" --facts $g/counterfact.json --hparams $g/hparams/PMET/pmet.json \
            --contexts $g/contexts.json --stats "$work/$m-stats16" --out "$work/$m-edited16" > /dev/null
    claim "$m in bf16, edited" same_logits "$work/$m-edited16" $g/forward_prompts.json 1e-5
done
close
