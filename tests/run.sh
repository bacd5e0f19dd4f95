#!/bin/sh
# Runs test programs, prints what each said and how long it took, and closes with the sum. Exit 1 if any failed.
set -u
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" # threads that spin take the cores from one another
log=build/test.log
: > "$log"
bad=0
for t in "$@"; do
    start=$(date +%s)
    echo "== $t"
    "$t" > build/one.log 2>&1 || bad=1
    grep -v '^ok ' build/one.log
    tail -n 1 build/one.log | grep -q ' passed, ' || { echo "$t ended early"; echo "0 passed, 1 failed, 0 skipped" >> build/one.log; bad=1; }
    tail -n 1 build/one.log >> "$log"
    echo "   ($(($(date +%s) - start)) s)"
done
awk '{ p += $1; f += $3; s += $5 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$log" || bad=1
exit $bad
