#!/bin/sh
# SPDX-License-Identifier: MIT
# make spec-check: every equation of SPEC.md is cited by the code that computes it and by a test that checks it.
#
# An equation is defined by a line of SPEC.md that begins with four blanks and its label. Its place is the next line
# that begins with an arrow: names in backquotes followed by the file they stand in. Reported, with exit status 1:
#   labels defined twice, or without a place; files that do not exist, names that their file does not hold;
#   labels that no source file cites, that no test cites; labels cited that SPEC.md does not define.
# Ranges count for each label in them: E15-E17, E15..E17.
set -u
cd "$(dirname "$0")/.." || exit 1
spec=${1:-SPEC.md}
[ -r "$spec" ] || { echo "$spec: cannot be read" >&2; exit 1; }
tmp=$(mktemp -d "${TMPDIR:-/tmp}/spec.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# Labels in the comments of the files of some folders, one a line. A label is a word: 0xE14 and 1E9 are none.
cited() {
    for folder; do
        [ -d "$folder" ] && find "$folder" -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print
    done | sort | while IFS= read -r file; do
        LC_ALL=C sed 's/\xe2\x80\x93/-/g' "$file"
    done | LC_ALL=C awk '{
        gsub(/\.\./, "-")
        while (match($0, /(^|[^A-Za-z0-9_.+])E[1-9][0-9]*(-E[1-9][0-9]*)?([^A-Za-z0-9_]|$)/)) {
            label = substr($0, RSTART, RLENGTH)
            $0 = substr($0, RSTART + RLENGTH - 1)
            gsub(/[^E0-9-]/, "", label)
            n = split(label, end, "E")
            first = last = end[2] + 0
            if (n > 2)
                last = end[3] + 0
            for (i = first; i <= last && i < first + 100; i++)
                print "E" i
        }
    }' | sort -u
}

sed -n 's/^    \(E[1-9][0-9]*\) .*/\1/p' "$spec" >"$tmp/all"
sort -u "$tmp/all" >"$tmp/defined"
sort "$tmp/all" | uniq -d | sed 's/$/ is defined twice/' >"$tmp/report"

# "label file name" for each name of a place; "label - -" for a label without one
awk '
    /^    E[1-9][0-9]* / { open[++n] = $1; next }
    /^→/ {
        place = $0
        sub(/ · .*/, "", place)
        while (match(place, /`[^`]*`|\([A-Za-z0-9_.\/]+\)/)) {
            part = substr(place, RSTART + 1, RLENGTH - 2)
            name = substr(place, RSTART, 1) == "`"
            place = substr(place, RSTART + RLENGTH)
            if (name) {
                sub(/^struct /, "", part)
                held[++m] = part
                continue
            }
            for (i = 1; i <= n; i++)
                for (j = 1; j <= m; j++)
                    print open[i], part, held[j]
            found = 1
            m = 0
        }
        if (found)
            n = 0
        m = found = 0
        next
    }
    /^#/ { for (i = 1; i <= n; i++) print open[i], "-", "-"; n = 0 }
' "$spec" >"$tmp/places"
while read -r label file name; do
    if [ "$file" = - ]; then
        echo "$label names no function"
    elif [ ! -e "$file" ]; then
        echo "$label names $file, which does not exist"
    elif ! grep -rqwF -- "${name%% *}" "$file"; then
        echo "$label names $name, which $file does not hold"
    fi
done <"$tmp/places" >>"$tmp/report"

cited ref tokenizer tensors kernels cli >"$tmp/code"
cited tests >"$tmp/tests"
comm -23 "$tmp/defined" "$tmp/code" | sed 's/$/ is cited by no source file/' >>"$tmp/report"
comm -23 "$tmp/defined" "$tmp/tests" | sed 's/$/ is cited by no test/' >>"$tmp/report"
sort -u "$tmp/code" "$tmp/tests" | comm -13 "$tmp/defined" - | sed "s/\$/ is cited, but $spec does not define it/" >>"$tmp/report"

n=$(wc -l <"$tmp/defined")
if [ -s "$tmp/report" ]; then
    sort -t E -k 2n "$tmp/report"
    echo "spec-check: $(wc -l <"$tmp/report") faults in $((n)) equations" >&2
    exit 1
fi
echo "spec-check: $((n)) equations, each with its code and its test"
