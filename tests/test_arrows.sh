#!/bin/sh
# Who may use whom: includes point from a folder to those on its line, and neither includes nor calls run in circles.
set -u
. tests/say.sh

cat > "$work/order" << 'END'
tensors
tokenizer  tensors
ref/ops    tensors
ref/cpu    ref/ops tensors
ref/device ref/cpu ref/ops tensors
ref/model  ref/ops tensors
ref/facts  ref/model tokenizer tensors
ref/delta  ref/facts ref/model ref/ops tensors
ref/text   tokenizer tensors
ref/eval   ref/delta ref/text ref/facts ref/model ref/ops tokenizer tensors
ref/store  tensors
ref/method ref/delta ref/store ref/facts ref/model ref/ops tokenizer tensors
ref/job    ref/method ref/eval ref/delta ref/store ref/text ref/facts ref/model ref/device ref/cpu ref/ops tokenizer tensors
cli        ref/job ref/method ref/eval ref/delta ref/text ref/facts ref/model ref/ops tokenizer tensors
kernels    ref/ops tensors/status.h
END

find cli kernels ref tensors tokenizer -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort | while IFS= read -r file; do
    sed -n "s|^#include \"\([^\"]*/[^\"]*\)\".*|$file \1|p" "$file"
done > "$work/includes"

# Headers that stand in ref/ itself are everybody's.
arrows() {
    awk 'function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
        NR == FNR { for (i = 1; i <= NF; i++) allowed[$1, $i] = 1; next }
        folder($2) == "ref" || folder($1) == "ref" && folder($2) == "tensors" { next }
        !((folder($1), folder($2)) in allowed) && !((folder($1), $2) in allowed) {
            print $1 " includes " $2 ": " folder($1) " may not use " folder($2); bad = 1 }
        END { exit bad }' "$work/order" "$work/includes"
}

# tsort names what runs in a circle.
no_circle() { tsort "$1" 2>&1 > /dev/null | sed 's/^tsort: //; s/input contains a loop:/a circle:/' > "$work/circle"; ! grep . "$work/circle"; }

# Pairs of sources of a folder, the first of which uses a symbol of the second.
calls() {
    for source in "$1"/*.c; do
        nm -P "build/float/${source%.c}.o" | awk -v source="$source" '{ print source, $1, $2 }'
    done | sort -k 3 | awk '$3 ~ /[BDRT]/ { of[$2] = $1 } $3 == "U" && ($2 in of) { print $1, of[$2] }' | sort -u
}

claim "includes go one way" arrows
claim "no include runs in a circle" no_circle "$work/includes"
for folder in $(awk '$1 != "kernels" { print $1 }' "$work/order"); do
    if [ -f build/float/tensors/status.o ]; then
        calls "$folder" > "$work/calls"
        claim "no call runs in a circle in $folder" no_circle "$work/calls"
    else
        skip "no call runs in a circle in $folder" "build/float is not there"
    fi
done
close
