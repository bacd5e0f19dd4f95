#!/bin/sh
# SPDX-License-Identifier: MIT
# --device cuda: the program on the layer of tests/cuda_on_cpu/, always; operators and goldens on a GPU where there is one,
# there with PMET_LONG=1 under compute-sanitizer, too.
set -u
. tests/say.sh
export OMP_NUM_THREADS=1
pmet=build/float/pmet
layer=build/float/cuda_on_cpu
lib=build/float/libpmet_cuda.so
golden=golden/gptj-C

# ---- on the layer ----

head -n 2 $golden/stats_text.jsonl > "$work/text"
sed 's/"v_num_grad_steps": *[0-9]*/"v_num_grad_steps": 2/' $golden/hparams/PMET/pmet.json > "$work/h.json"

generate() {
    LD_LIBRARY_PATH=$layer $pmet generate --device cuda --model $golden/model --prompt x --max-tokens 2
}
stats() {
    LD_LIBRARY_PATH=$layer $pmet stats --device cuda --model $golden/model --text "$work/text" --hparams "$work/h.json" \
        --samples 2 --max-length 16 --factor -q --out "$work/$1"
}
edit() {
    LD_LIBRARY_PATH=$layer $pmet edit --device cuda --model $golden/model --facts $golden/counterfact.json --limit 1 -q \
        --hparams "$work/h.json" --contexts $golden/contexts.json --ridge 1 --stats "$work/stats" --out "$work/$1" $2
}
# refused LINE COMMAND...: exit 1, nothing on standard output, and one line that matches.
refused() {
    line=$1
    shift
    expect 1 "$@" > "$work/out" 2> "$work/err" && [ ! -s "$work/out" ] && [ "$(wc -l < "$work/err")" = 1 ] &&
        grep -E "$line" "$work/err" || { cat "$work/out" "$work/err"; return 1; }
}
same_text() {
    [ "$(generate)" = "$($pmet generate --model $golden/model --prompt x --max-tokens 2)" ]
}
no_room() {
    CUDA_ON_CPU_MEMORY=800000 refused '/model: needs 1 MiB of the device.s memory, .* MiB free$' generate
}
old_driver() {
    CUDA_ON_CPU_FAIL=0,35 refused 'cuda: no device can be used: CUDA driver version is insufficient' generate
}
no_device() {
    CUDA_ON_CPU_FAIL=0,100 refused 'cuda: no device can be used: no CUDA-capable device' generate
}
planned() {
    edit plan --dry-run | grep 'device    weights .*, at once at most .* beside them; it has 1.0 GiB, .* free now$'
}
too_small() {
    CUDA_ON_CPU_MEMORY=9000000 refused '^pmet edit: the edit: needs .* MiB of the device.s memory, .* MiB free$' edit none ""
}
no_statistics() {
    CUDA_ON_CPU_MEMORY=3000000 refused 'statistics of 2 layers at a time .*: needs 7 MiB of .* found 2 of 3 MiB free$' stats none
}
# A device that holds weights, edited matrices and keys, and not the solve: the host does that.
on_host() {
    edit here "" && CUDA_ON_CPU_MEMORY=10600000 edit there "" 2> "$work/err" &&
        grep 'warning: the solve needs .* MiB of the device.s memory, .*: it runs on cpu' "$work/err" &&
        $pmet diff "$work"/here/model-00001* "$work"/there/model-00001* --rtol 1e-5 --atol 1e-6
}
# The k-th call of the runtime fails, k ever farther until the command outlives it: one line, and nothing is left.
sweep() { # sweep OUT ERROR COMMAND...
    out=$1
    error=$2
    shift 2
    k=0
    rm -rf "${work:?}/$out"
    while ! CUDA_ON_CPU_FAIL=$k,$error "$@" > "$work/sweep.out" 2> "$work/sweep.err"; do
        [ "$k" -lt 1000000 ] && [ "$(wc -l < "$work/sweep.err")" = 1 ] && grep -q '^pmet [a-z]*: .*cuda: ' "$work/sweep.err" &&
            [ -z "$(find "$work" -name "*$out*")" ] || { echo "call $k:"; cat "$work/sweep.err"; ls -a "$work"; return 1; }
        k=$((k + 1 + k / far))
    done
    echo "$k calls" && [ "$k" -gt 150 ]
}
far=${PMET_LONG:+16} # a step is this part of the calls before
far=${far:-1}
out_of_memory=2
lost=214
small_bench() {
    LD_LIBRARY_PATH=$layer build/float/bench/bench_cuda --layers 2 --width 32 --head 16 --vocab 1024 --facts 1 --tokens 24 \
        --documents 2 --records 1 > "$work/bench" && [ "$(grep -c ' [1-9][0-9.]* facts/s\| tokens/s\| records/s\| TFLOP/s\| GB/s' "$work/bench")" -gt 35 ]
}
claim "on the layer the program writes the text of the CPU" same_text
claim "a model that does not fit is refused with what is needed and what is free" no_room
claim "a driver older than the runtime is named" old_driver
claim "a machine without a device is named" no_device
claim "statistics on a device" stats stats
claim "statistics that do not fit are refused before they begin" no_statistics
claim "a plan counts the device's memory, too" planned
claim "an edit that does not fit is refused before it begins" too_small
claim "a solve that does not fit runs on the host" on_host
for error in $out_of_memory $lost; do
    claim "statistics, a call failing with error $error" sweep moments $error stats moments
    claim "an edit, a call failing with error $error" sweep edited $error edit edited ""
done
claim "the bench of a GPU runs on the layer" small_bench

# auto: which device a command names. It asks for a driver first; the layer is its own.
ln -s "$PWD/$layer/libpmet_cuda.so" "$work/libcuda.so.1"
auto_takes() { # auto_takes DEVICE [NAME=VALUE]
    device=$1
    shift
    env LD_LIBRARY_PATH="$layer:$work" "$@" $pmet generate -v --model $golden/model --prompt x --max-tokens 1 2>&1 > "$work/out" |
        grep "^pmet generate: $golden/model: .* on $device (" && [ -s "$work/out" ]
}
claim "auto takes a device that is there" auto_takes cuda
claim "auto is the CPU without a device" auto_takes cpu CUDA_ON_CPU_FAIL=0,100
claim "auto is the CPU where a device fails its trial" auto_takes cpu CUDA_ON_CPU_FAIL=60,214
claim "auto is the CPU where the model does not fit the device" auto_takes cpu CUDA_ON_CPU_MEMORY=1500000

# What the precisions say and refuse, on the layer: gptj-C is F32, neox-C is F16.
short=golden/neox-C
nothing_to_do() {
    refused "$3" env LD_LIBRARY_PATH=$layer $pmet generate --device cuda --model "golden/$2/model" --prompt x "$1"
}
named() {
    LD_LIBRARY_PATH=$layer $pmet generate --device cuda --model "golden/$2/model" --prompt x --max-tokens 1 "$1" 2>&1 > "$work/out" |
        grep "^pmet generate: golden/$2/model: .* on cuda (cuda-on-cpu, $3)$" && [ -s "$work/out" ]
}
short_edit() {
    LD_LIBRARY_PATH=$layer $pmet edit -q --device cuda --model $short/model --facts $short/counterfact.json --limit 1 \
        --hparams "$work/h2.json" --contexts $short/contexts.json --ridge 1 --stats "$work/stats2" --work "$work/w" \
        --out "$work/short" "$@"
}
kept() {
    $pmet stats -q --model $short/model --text "$work/text" --hparams "$work/h2.json" --out "$work/stats2" &&
        short_edit --half-activations && grep '"device": "cuda, half activations"' "$work/short/pmet_edit.json" &&
        refused 'begun with other device: found "cuda, half activations"; this edit has "cuda"' short_edit --force
}
sed 's/"v_num_grad_steps": *[0-9]*/"v_num_grad_steps": 2/' $short/hparams/PMET/pmet.json > "$work/h2.json"
claim "half activations are named" named --half-activations neox-C "half activations"
claim "TF32 is named" named --tf32 gptj-C TF32
claim "half activations without 16-bit matrices are refused" nothing_to_do --half-activations gptj-C "no matrix is F16 or BF16"
claim "TF32 without F32 matrices is refused" nothing_to_do --tf32 neox-C "no matrix is F32 or F64"
claim "an edit keeps to the precision it was begun with" kept

# ---- what nvcc made ----

exports_one() {
    [ "$(nm -D --defined-only "$lib" | awk '$2 ~ /[TDBW]/ { print $3 }')" = pmet_ops_cuda ]
}
missing=
[ -e "$lib" ] || missing="no $lib (make builds it where nvcc is)"
if [ -n "$missing" ]; then
    skip "the library exports its entry alone" "$missing"
else
    claim "the library exports its entry alone" exports_one
fi

# ---- on a GPU ----

[ -z "$missing" ] && ! nvidia-smi > /dev/null 2>&1 && missing="no GPU"
sanitizer=$missing
[ -z "$sanitizer" ] && [ -z "${PMET_LONG:-}" ] && sanitizer="only in test-long"
[ -z "$sanitizer" ] && ! command -v compute-sanitizer > /dev/null && sanitizer="no compute-sanitizer"
for program in build/float/tests/test_ops_* build/float/tests/test_cuda_precision build/float/tests/test_golden_forward build/float/tests/test_golden_edit; do
    case $program in *.*) continue ;; esac
    name=$(basename "$program")
    if [ -n "$missing" ]; then
        skip "$name on cuda" "$missing"
    else
        claim "$name on cuda" env PMET_TEST_DEVICE=cuda "$program"
    fi
    case $sanitizer$name in test_ops_*) ;; *) continue ;; esac
    for tool in memcheck racecheck synccheck; do
        claim "$name on cuda under $tool" env PMET_TEST_DEVICE=cuda compute-sanitizer --tool $tool --error-exitcode 9 "$program"
    done
done
[ -z "$sanitizer" ] || skip "operators on cuda under compute-sanitizer" "$sanitizer"
run="$pmet generate --model $golden/model --prompt x --max-tokens 1"
if [ -n "$missing" ]; then
    claim "--device cuda says what is missing, in one line" refused '^pmet generate: cuda: ' $run --device cuda
else
    claim "--device cuda generates" $run --device cuda
fi
claim "--device auto works with and without a GPU" $run
echo "devices: cpu, cuda-on-cpu, cuda${missing:+ (skipped: $missing)}"
close
