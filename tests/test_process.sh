#!/bin/sh
# What only a process of its own shows: standard files that are closed, pipes without a reader, signals that are ignored.
set -u
unset OMP_WAIT_POLICY
pmet=${1:-build/float/pmet}
. tests/say.sh

g=golden/gptj-A
"$pmet" stats -q --model $g/model --text $g/stats_text.jsonl --hparams $g/hparams/PMET/pmet.json --samples 24 --out "$work/stats" > "$log"

edit() {
    rm -rf "$work"/out* "$work/kept"
    "$pmet" edit --threads 1 --model $g/model --facts $g/counterfact.json --hparams $g/hparams/PMET/pmet.json \
        --contexts $g/contexts.json --stats "$work/stats" --out "$work/out" --limit 2 "$@"
}
only_out() { [ "$(echo "$work"/out*)" = "$work/out" ]; }
journal_is_clean() { grep -q . "$work/kept/facts.journal" && ! grep -aq 'pmet edit' "$work/kept/facts.journal"; }
without_output() { edit >&- 2> "$work/said"; }
limited() { (ulimit -f 100 && edit -q); }
without_input() { "$pmet" tokenize --model $g/model <&-; }
reading_none() { { "$@" && echo 0 > "$work/rc" || echo $? > "$work/rc"; } 2>&1 | :; expect 141 return_of; }
return_of() { return "$(cat "$work/rc")"; }
long_text() { yes "The capital of France is Paris." | head -n 200000; }
through_head() { { long_text | "$pmet" tokenize --model $g/model; echo $? > "$work/rc"; } | head -n 1 && expect 141 return_of; }
signalled() { # at work, with INT and HUP ignored by the caller
    rm -rf "$work"/out*
    trap '' INT HUP
    "$pmet" edit -q --threads 1 --model $g/model --facts $g/counterfact.json --hparams $g/hparams/PMET/pmet.json \
        --contexts $g/contexts.json --stats "$work/stats" --out "$work/out" > "$work/said" &
    trap - INT HUP
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        set -- "$work"/out*
        [ -d "$1" ] && break
        sleep 0.05
    done
    tr '\0' '\n' < "/proc/$!/environ" > "$work/environ"
    kill -INT $! && kill -HUP $!
    wait $!
}

piped() {
    gzip -c $g/stats_text.jsonl | "$pmet" stats -q --model $g/model --text "$1" --hparams $g/hparams/PMET/pmet.json --samples 24 \
        --out "$work/$2" && diff -r "$work/stats" "$work/$2"
}
silent_pipe() {
    mkfifo "$work/silent"
    sleep 60 > "$work/silent" &
    holder=$!
    "$pmet" stats -q --model $g/model --text "$work/silent" --hparams $g/hparams/PMET/pmet.json --out "$work/never" 2> "$work/said" &
    sleep 0.3
    kill -TERM $!
    wait $!
    status=$?
    kill $holder
    [ $status = 143 ] && [ ! -e "$work/never" ] && grep -q '^pmet stats: stopped by signal 15; nothing was left behind$' "$work/said"
}

claim "statistics of a pipe are those of its file" piped - piped
claim "also under a name of it" piped /dev/stdin named
claim "a signal ends the waiting for a pipe" silent_pipe
edit --verbose --work "$work/kept" > "$work/said" 2>&-
claim "no message enters a file that took standard error's number" journal_is_clean
edit > "$work/said" 2>&- <&-
claim "an edit needs neither standard error nor input" only_out
claim "a closed output is a failure" expect 1 without_output
claim "in one line" grep -q '^pmet: standard output: Bad file descriptor$' "$work/said"
claim "an edit goes on without its reader" reading_none edit --verbose
claim "and leaves one folder" only_out
claim "a reader who leaves ends the rest" through_head
claim "a limit of file sizes is a failure" expect 1 limited
claim "and nothing is left" [ "$(echo "$work"/out*)" = "$work/out*" ]
claim "a closed input is a failure" expect 1 without_input
claim "a signal that the caller ignores stops nothing" signalled
claim "and the edit is whole" only_out
claim "threads wait without spinning" grep -q '^OMP_WAIT_POLICY=passive$' "$work/environ"
OMP_WAIT_POLICY=active signalled
claim "unless they are told to spin" grep -q '^OMP_WAIT_POLICY=active$' "$work/environ"
if command -v script > /dev/null; then
    rm -rf "$work"/out*
    TERM=xterm script -qc "stty cols 40; '$pmet' edit --threads 1 --model $g/model --facts $g/counterfact.json --limit 2 \
        --hparams $g/hparams/PMET/pmet.json --contexts $g/contexts.json --stats '$work/stats' --out '$work/out'" /dev/null > "$work/said"
    tr '\r' '\n' < "$work/said" | sed 's/.\[K//' > "$work/lines"
    claim "a bar is drawn on a terminal" grep -q '^optimising \[' "$work/lines"
    claim "and keeps to its line" expect 1 grep -Eq '^optimising \[.{28}' "$work/lines"
else
    skip "a bar is drawn on a terminal" "no script command"
fi
close
