#!/bin/sh
# SPEC.md, its code and its tests name each other.
set -u
. tests/say.sh

claim "every equation has its code and its test" tests/spec_check.sh
claim "no file of the library prints or exits" sh -c \
    '! grep -nE "\b(f?printf|puts|putchar|exit|abort|assert)\(" -r tensors tokenizer ref --include=*.c --include=*.h | grep -vE "snprintf|\* "'
claim "no source file is longer than 600 lines" sh -c \
    '! git ls-files "*.c" "*.h" "*.sh" "*.py" 2>/dev/null | xargs wc -l | awk "\$2 != \"total\" && \$1 > 600" | grep .'
claim "frozen files are those of their sums" sh -c 'cd golden && sha256sum -c --quiet SHA256SUMS'
cut -c67- golden/SHA256SUMS | LC_ALL=C sort > "$work/summed"
claim "every frozen file has its sum" sh -c \
    '! git ls-files golden 2>/dev/null | sed "s,golden/,," | grep -vE "\.(py|sh)$|README.md$|^SHA256SUMS$" | LC_ALL=C sort | comm -23 - "$0" | grep .' \
    "$work/summed"
close
