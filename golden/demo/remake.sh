#!/bin/sh
# Makes the demo's data and trains both models anew, below a folder; goes on where it was stopped. About an hour of one core.
set -eu
out=$1
here=$(dirname "$0")
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" "$here/data.py" "$here/source" "$out"
for f in counterfact.json zsre.json snippets.json heldout.txt contexts.json; do
    cmp "$here/$f" "$out/$f" && echo "$f is the same"
done
train() { # KIND STEPS
    resume=
    [ ! -f "$out/work-$1/checkpoint.pt" ] || resume=--resume
    "$python" "$here/train.py" --source "$here/source" --kind "$1" --steps "$2" --out "$out/$1" --work "$out/work-$1" $resume
}
train gptj 3000
train neox 3000
