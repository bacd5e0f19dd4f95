#!/bin/sh
# tests/fuzz/seeds.sh TARGET DIR: what the fuzzer begins with, made of files of golden/ and tests/data/, cut where they are long.
set -eu
g=golden/gptj-A
out=$2
mkdir -p "$out"
put() { head -c "${3:-6000}" "$1" > "$out/$2"; }
joined() { # NAME FILE...: with a byte 0xff between
    name=$1 first=1
    shift
    : > "$out/$name"
    for f; do
        [ $first = 1 ] || printf '\377' >> "$out/$name"
        first=0
        cat "$f" >> "$out/$name"
    done
}
# NAME JSON: a safetensors file whose data is a count, 4, and the rows 1 0, 0 1.
tensors() {
    len=${#2}
    { printf "\\$(printf %o $((len % 256)))\\$(printf %o $((len / 256)))\0\0\0\0\0\0%s" "$2"
      printf '\4\0\0\0\0\0\0\0\0\0\200\77\0\0\0\0\0\0\0\0\0\0\200\77'; } > "$out/$1"
}
case $1 in
safetensors | kind | commands | store | stats)
    hex=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    two='"count":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"mom2":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}'
    tensors count "{\"__metadata__\":{\"fingerprint\":\"$hex\",\"module\":\"transformer.h.0.mlp.fc_out\",\"key\":\"$hex\"},$two"
    tensors plain "{$two"
    put tests/data/layout.safetensors layout ;;
esac
case $1 in
kind | commands)
    for f in $g/counterfact.json $g/contexts.json $g/hparams/PMET/pmet.json $g/forward_prompts.json $g/attribute_snippets.json \
        $g/idf.npy $g/model/config.json tests/data/stats.npz tests/data/kinds.bin; do put $f "$(basename $f)" 3000; done
    echo "464 262 286" > "$out/ids" ;;
npy) put $g/idf.npy idf.npy
    for t in "'<f4', 'fortran_order': True, 'shape': (2, 2)" "'<f2', 'fortran_order': False, 'shape': (8,)" "'<i8', 'fortran_order': False, 'shape': ()"; do
        i=$((${i:-0} + 1))
        printf "\223NUMPY\1\0v\0%-117s\n0123456789abcdef" "{'descr': $t, }" > "$out/$i"
    done ;;
npz | zip | stats) for f in tests/data/*.npz; do put $f "$(basename $f)"; done
    [ $1 != zip ] || put tests/data/kinds.bin kinds.bin ;;
torch_bin) for f in tests/data/*.bin; do put $f "$(basename $f)"; done ;;
pickle) printf '\200\2ccollections\nOrderedDict\nq\0)Rq\1(X\1\0\0\0aK\1X\1\0\0\0b(K\2K\3tu.' > "$out/dict"
    printf '\200\4\225\0\0\0\0\0\0\0\0]\224(\214\1a\224G\0\0\0\0\0\0\0\0\214\13collections\214\13OrderedDict\223)Rh\1e.' > "$out/list"
    for f in tests/data/*legacy*.bin; do put $f "$(basename $f)"; done ;; # begins with pickles
tokenizer) for m in gptj-A neox-A; do joined $m golden/$m/model/tokenizer.json golden/$m/model/tokenizer_config.json; done
    printf '%s' '{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<|endoftext|>":3},"merges":["a b"]},"added_tokens":[{"id":3,"content":"<|endoftext|>","special":true,"normalized":false,"single_word":false,"lstrip":false,"rstrip":true}],"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},"post_processor":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"}}' > "$out/small" ;;
vocab) m=golden/gptj-C/model
    joined gptj-C $m/vocab.json $m/merges.txt $m/added_tokens.json
    printf '{"a":0,"b":1,"ab":2}\377#version: 0.2\na b\n\377{"<|endoftext|>":3}\377{"add_prefix_space":true}' > "$out/small"
    printf '{"a":0,"b":1,"ab":2}\377a b\n\377{"x":3}\377{"tokenizer_class":"GPTNeoXTokenizer","added_tokens_decoder":{"3":{"content":"x","special":true,"lstrip":true}},"pad_token":"p","clean_up_tokenization_spaces":false}\377{"eos_token":{"content":"  ","rstrip":true},"additional_special_tokens":["s","is"]}\377{"model_type":"gpt_neox","vocab_size":10}' > "$out/beside" ;;
config | model) for m in gptj-A gptj-C neox-A neox-C; do
        [ $1 = config ] && put golden/$m/model/config.json $m
    done || [ $1 != config ]
    [ $1 = config ] || joined gptj-C golden/gptj-C/model/config.json golden/gptj-C/model/model.safetensors.index.json ;;
facts | records) put $g/counterfact.json counterfact.json 9000
    put $g/zsre_mend_eval.json zsre.json
    put golden/demo/zsre.json more.json 2000
    for f in $g/border_*.json; do put $f "$(basename $f)"; done
    printf '%s\n' '{"prompt": "The capital of {} is", "subject": "France", "target_new": "Lima"}' \
        '{"id": "7", "prompt": "{} is", "subject": "A", "target": {"str": "b"}}' > "$out/plain.jsonl" ;;
hparams) for f in golden/*/hparams/*/*.json; do put $f "$(echo $f | tr / -)"; done
    printf '%s\n' 'alg_name: "PMET"' 'model_name: "./hugging_cache/gpt-j-6B"' 'device: 0' 'layers: [3, 4, 5]' 'v_lr: 2e-1' \
        'mom2_adjustment: true' 'rewrite_module_tmps:' '- "transformer.h.{}.mlp.fc_out"' 'batch_size: 1 # one' > "$out/yaml" ;;
contexts) put $g/contexts.json contexts.json
    echo '["{}", "The {}", "A. {}"]' > "$out/flat" ;;
docs | stream)
    put $g/stats_text.jsonl lines 1500
    put golden/demo/heldout.txt plain 1500
    printf '[{"text": "one"},\r\n {"text": "t\\u00efwo"}]' > "$out/records"
    printf '["one", "t\\"wo"]\n' > "$out/strings"
    printf '"one"\n"two"\n' > "$out/string-lines"
    printf '{\n "text": "one"\n}\n' > "$out/object"
    printf '<doc id="1">\nA\n\nOne.\n</doc>\n' > "$out/wikiextractor"
    printf ' \n = A = \n \n One . \n = = B = = \n' > "$out/wikitext"
    printf '\357\273\277one\r\rtwo\n' > "$out/mark"
    for f in plain strings; do
        gzip -nc "$out/$f" > "$out/$f.gz"
        if command -v zstd > /dev/null; then zstd -qc "$out/$f" > "$out/$f.zst"; fi
    done
    cat "$out/strings.gz" "$out/strings.gz" > "$out/members.gz" ;;
journal) printf '{"version": 1, "model": "m"}\none\ntwo\n' > "$out/records" ;;
evaluated) printf '%s' '{"case_id": 0, "post": {"rewrite_prompts_probs": [{"target_new": 3.03, "target_true": 0.02}], "neighborhood_prompts_probs": [], "rewrite_prompts_correct": [false], "paraphrase_prompts_correct": [true, false], "rewrite_prompts_greedy": [true], "ngram_entropy": 5.1, "essence_score": 2}}' > "$out/line" ;;
record) printf '%s' '{"version": "0.2.0", "fingerprint": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "base": {"fingerprint": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "ancestors": []}}' > "$out/record" ;;
snippets) put $g/attribute_snippets.json snippets.json 13000 ;;
tfidf) printf '{"a": 0, "the": 1}\377\223NUMPY\1\0v\0%-117s\n0123456789abcdef' "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }" > "$out/two"
    joined golden $g/tfidf_vocab.json $g/idf.npy ;;
prompts) put $g/forward_prompts.json prompts.json
    printf 'One\r\nThe two\n' > "$out/lines" ;;
esac
