#!/bin/sh
# Runs test programs, PROGRAM, PROGRAM@DEVICE (tests/device.h) or PROGRAM@DEVICE:CLAIM, prints what each said and how long it took, and closes with the tables of the goldens and the sum.
# Exit 1 if any failed.
set -u
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" # threads that spin take the cores from one another
log=build/test.log
tables=build/tables.log
devices=
: > "$log"
: > "$tables"
bad=0
for t in "$@"; do
    start=$(date +%s)
    echo "== $t"
    case $t in
    *@*:*) device=${t#*@} && PMET_TEST_DEVICE=${device%:*} "${t%@*}" "${t##*:}" > build/one.log 2>&1 || bad=1 ;;
    *@*) PMET_TEST_DEVICE=${t#*@} "${t%@*}" > build/one.log 2>&1 || bad=1 ;;
    *) "$t" > build/one.log 2>&1 || bad=1 ;;
    esac
    awk -v program="$t" -v tables="$tables" '
        /^tensor group/ { inside = 1; printf "\n%s\n", program >> tables }
        /^(ok|FAIL|skip) |^[0-9]+ passed/ { inside = 0 }
        /^devices: / { next }
        inside { if (NF) print >> tables; next }
        NF && !/^ok / { print }' build/one.log
    tail -n 1 build/one.log | grep -q ' passed, ' || { echo "$t ended early"; echo "0 passed, 1 failed, 0 skipped" >> build/one.log; bad=1; }
    tail -n 1 build/one.log >> "$log"
    devices=$devices$(grep '^devices: ' build/one.log)
    echo "   ($(($(date +%s) - start)) s)"
done
cat "$tables"
[ -z "$devices" ] || echo "$devices"
awk '{ p += $1; f += $3; s += $5 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$log" || bad=1
exit $bad
