#!/bin/sh
# SPDX-License-Identifier: MIT
# The operators and the goldens of the forward pass on a GPU, where there is one; and which devices were tested.
set -u
. tests/say.sh
lib=build/float/libpmet_cuda.so
missing=
[ -e "$lib" ] || missing="no nvcc, so no $lib"
[ -z "$missing" ] && ! nvidia-smi > /dev/null 2>&1 && missing="no GPU"
for program in build/float/tests/test_ops_* build/float/tests/test_golden_forward; do
    case $program in *.*) continue ;; esac
    if [ -n "$missing" ]; then
        skip "$(basename "$program") on cuda" "$missing"
    else
        claim "$(basename "$program") on cuda" env PMET_TEST_DEVICE=cuda "$program"
    fi
done
echo "devices: cpu, cuda-on-cpu, cuda ${missing:+(skipped: $missing)}"
close
