#!/bin/sh
# What make install leaves is enough for a program of one's own, in C and in C++.
set -u
. tests/say.sh

prefix=$work/usr
claim "installs" make -s install PREFIX="$prefix"
claim "installs below DESTDIR" make -s install DESTDIR="$work/stage" PREFIX=/usr
claim "staged as installed" test -x "$work/stage/usr/bin/pmet" -a -f "$work/stage/usr/lib/pkgconfig/pmet.pc"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
flags=$(pkg-config --cflags --libs pmet)
# shellcheck disable=SC2086
claim "the example compiles" ${CC:-cc} -std=c11 -Wall -Wextra -Werror tests/example.c $flags -o "$work/example"
g=golden/gptj-A
claim "the example edits" "$work/example" $g/model $g/stats_text.jsonl $g/counterfact.json $g/hparams/PMET/pmet.json \
    $g/contexts.json "In Warsaw, the capital is" "$work/edited"
"$work/example" $g/model $g/stats_text.jsonl $g/counterfact.json $g/hparams/PMET/pmet.json $g/contexts.json "x" "$work/edited" \
    2> "$work/message"
claim "a failure is one line" grep -q "edited-stats: exists; give --force to replace it$" "$work/message"
h=$g/hparams/PMET/pmet.json
claim "the command edits" "$prefix/bin/pmet" edit -q --model $g/model --facts $g/counterfact.json --hparams $h \
    --contexts $g/contexts.json --stats "$work/edited-stats" --out "$work/again" --seed 0
claim "both write the same bytes" diff -r "$work/edited" "$work/again"
if command -v ${CXX:-c++} > /dev/null; then
    printf '#include <pmet.h>\nint main() { pmet_session_close(nullptr); return PMET_VERSION[0] == 0; }\n' > "$work/a.cc"
    # shellcheck disable=SC2086
    claim "C++ takes the header" ${CXX:-c++} -Wall -Wextra -Werror "$work/a.cc" $flags -o "$work/a"
    claim "and links" "$work/a"
else
    skip "C++ takes the header" "no C++ compiler"
fi
close
