#!/bin/sh
# tests/fuzz/run.sh DIR SECONDS TARGET...: each target of DIR for so long, one after the other. What it has learned stays in
# DIR/corpus/, an input that ends the process in DIR/crashes/. Exit status 1 if there was one.
set -u
dir=$1 seconds=$2 bad=0
shift 2
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/fuzz.XXXXXX") || exit 1
export TMPDIR OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$dir/crashes"
for target; do
    corpus=$dir/corpus/$target log=$dir/$target.log
    [ -d "$corpus" ] || tests/fuzz/seeds.sh "$target" "$corpus" || exit 1
    "$dir/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1500 -print_final_stats=1 -close_fd_mask=1 \
        -artifact_prefix="$dir/crashes/$target-" "$corpus" > "$log" 2>&1
    status=$?
    printf '%-12s %9d inputs in %4d s, %5d kept' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)" \
        "$seconds" "$(ls "$corpus" | wc -l)"
    if [ $status = 0 ]; then echo; else
        bad=1
        echo "  FAIL, see $log"
        grep -E '^(==[0-9]+==.*ERROR|SUMMARY|.*runtime error|status )' "$log" | head -3
    fi
done
exit $bad
