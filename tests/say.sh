# Claims in shell: claim NAME COMMAND..., expect STATUS COMMAND..., skip NAME REASON, and the line that closes a test program.
passed=0
failed=0
skipped=0
log=$(mktemp)
work=$(mktemp -d)
trap 'rm -rf "$work" "$log"' EXIT

claim() {
    what=$1
    shift
    if "$@" > "$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $what"
    else
        failed=$((failed + 1))
        echo "FAIL $what: $*"
        cat "$log"
    fi
}

expect() {
    want=$1
    shift
    got=0
    "$@" || got=$?
    [ "$got" = "$want" ] || { echo "exit $got, expected $want"; return 1; }
}

skip() {
    skipped=$((skipped + 1))
    echo "skip $1: $2"
}

close() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
