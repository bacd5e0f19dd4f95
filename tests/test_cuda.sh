#!/bin/sh
# SPDX-License-Identifier: MIT
# The operators and the goldens of the forward pass on a GPU, where there is one; and which devices were tested.
set -u
. tests/say.sh
lib=build/float/libpmet_cuda.so
missing=
[ -e "$lib" ] || missing="no $lib (make builds it where nvcc is)"
[ -z "$missing" ] && ! nvidia-smi > /dev/null 2>&1 && missing="no GPU"
for program in build/float/tests/test_ops_* build/float/tests/test_golden_forward; do
    case $program in *.*) continue ;; esac
    if [ -n "$missing" ]; then
        skip "$(basename "$program") on cuda" "$missing"
    else
        claim "$(basename "$program") on cuda" env PMET_TEST_DEVICE=cuda "$program"
    fi
done
pmet=build/float/pmet
run="$pmet generate --model golden/gptj-C/model --prompt x --max-tokens 1"
# --device cuda where there is none: one line that says so, and exit 1.
refused() {
    expect 1 $run --device cuda > "$work/out" 2> "$work/err" && [ ! -s "$work/out" ] &&
        [ "$(wc -l < "$work/err")" = 1 ] && grep '^pmet generate: cuda: ' "$work/err"
}
if [ -n "$missing" ]; then
    claim "--device cuda says what is missing, in one line" refused
else
    claim "--device cuda generates" $run --device cuda
fi
claim "--device auto works with and without a GPU" $run
echo "devices: cpu, cuda-on-cpu, cuda ${missing:+(skipped: $missing)}"
close
