/* SPDX-License-Identifier: MIT
 * The table of test_cli_refusals.c: what is wrong, what was done to the workbench (tests/cli.h),
 * the command, its line. */
#ifndef PMET_TESTS_REFUSALS_H
#define PMET_TESTS_REFUSALS_H

/* What is done to a file of the workbench before the command runs. In a .safetensors file a
 * replacement is made in the header, whose length is brought up to date. */
enum kind { NOTHING, REPLACE, WRITE, REMOVE, CUT, LENGTH, POKE };
struct damage {
    enum kind kind;
    const char *file, *from, *to;
    unsigned long long n; /* bytes that stay; header length; offset of POKE from the end */
};

struct refusal {
    const char *what, *model; /* golden model, NULL: gptj-A */
    struct damage damage[2];
    const char *command, *message; /* after "pmet COMMAND: " */
};

#define EDIT                                                                                                 \
    "edit -q --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s "        \
    "--limit 2 --out out"
#define STATS "stats -q --model m --text text.jsonl --hparams hparams.json --out out"
#define INSPECT "inspect --check m"
#define GENERATE "generate --model m --prompt Egypt --max-tokens 1"
#define TOKENIZE "tokenize --model m text.jsonl"
#define EVAL "eval -q --model m --facts facts.json --limit 1"
#define TRACE "trace --model m --prompts prompts.json --out out"

/* clang-format off */
#define WEIGHTS "m/model.safetensors"
#define INDEX "m/model.safetensors.index.json"
#define CONFIG "m/config.json"
#define TOKENIZER "m/tokenizer.json"
#define STATS_1 "s/transformer.h.1.mlp.fc_out.safetensors"
#define NAN_IN_BIAS                                                                                          \
    "m/model.safetensors: tensor \"lm_head.bias\": element 5 is NaN; expected a finite number"
#define NAN_IN_MATRIX                                                                                        \
    "m/model.safetensors: tensor \"transformer.h.0.attn.v_proj.weight\": element 976 is NaN; expected a "     \
    "finite number"
#define REPLACED(file, from, to) {REPLACE, file, from, to, 0}
#define WRITTEN(file, text) {WRITE, file, NULL, text, 0}
#define REMOVED(file) {REMOVE, file, NULL, NULL, 0}
#define CUT_TO(file, n) {CUT, file, NULL, NULL, n}
#define LENGTH_OF(file, n) {LENGTH, file, NULL, NULL, n}
#define NAN_AT(file, n) {POKE, file, NULL, NULL, n}
#define DO(...) {__VA_ARGS__}
#define INTACT DO({NOTHING, NULL, NULL, NULL, 0})

/* clang-format on */
static const struct refusal refusals[] = {
    {"header length past the file", NULL, DO(LENGTH_OF(WEIGHTS, 1099511627776ULL)), INSPECT,
     "m/model.safetensors: byte 0: header of 1099511627776 bytes; expected at most 100000000"},
    {"header length past 100 MB", NULL, DO(LENGTH_OF(WEIGHTS, 100000001)), INSPECT,
     "m/model.safetensors: byte 0: header of 100000001 bytes; expected at most 100000000"},
    {"header shorter than its JSON", NULL, DO(LENGTH_OF(WEIGHTS, 1000)), INSPECT,
     "m/model.safetensors: line 1 column 1000: not JSON: premature end of input near '\"F'"},
    {"tensors that overlap", NULL, DO(REPLACED(WEIGHTS, "[4096,266240]", "[4092,266236]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.weight\" begins at byte 4092 of the data; expected 4096, where "
     "\"lm_head.bias\" ends"},
    {"offsets past the data", NULL, DO(REPLACED(WEIGHTS, "[0,4096]", "[0,1725504]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": data_offsets [0,1725504) do not lie within the 1719296 "
     "bytes of data: is the file cut off? copy or download it again"},
    {"offsets that fall", NULL, DO(REPLACED(WEIGHTS, "[0,4096]", "[4096,0]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": data_offsets [4096,0) do not lie within the 1719296 "
     "bytes of data"},
    {"a shape that overflows", NULL,
     DO(REPLACED(WEIGHTS, "\"shape\":[1024]", "\"shape\":[4294967296,4294967296]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": shape: the product overflows"},
    {"a shape that does not fill its offsets", NULL,
     DO(REPLACED(WEIGHTS, "\"shape\":[1024]", "\"shape\":[1023]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": data_offsets [0,4096) hold 4096 bytes; its shape and "
     "dtype take 4092"},
    {"a tensor named twice", NULL, DO(REPLACED(WEIGHTS, "\"lm_head.weight\"", "\"lm_head.bias\"")), INSPECT,
     "m/model.safetensors: line 1 column 116: duplicate object key near '\"lm_head.bias\"'"},
    {"an unknown dtype", NULL, DO(REPLACED(WEIGHTS, "\"F32\"", "\"F33\"")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": found dtype \"F33\"; expected F64, F32, F16, BF16, I64, "
     "I32, U8 or BOOL"},
    {"a negative offset", NULL, DO(REPLACED(WEIGHTS, "[0,4096]", "[-1,4096]")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": data_offsets: found a negative integer; expected an "
     "integer from 0 to 2^63-1"},
    {"a truncated file", NULL, DO(CUT_TO(WEIGHTS, 1000000)), GENERATE,
     "m/model.safetensors: tensor \"transformer.h.3.mlp.fc_in.weight\": data_offsets [928512,994048) do not "
     "lie within the 993696 bytes of data: is the file cut off? copy or download it again"},
    {"an empty file", NULL, DO(CUT_TO(WEIGHTS, 0)), GENERATE,
     "m/model.safetensors: found 0 bytes; expected at least 8: copy or download it again"},
    {"a tensor without shape", NULL, DO(REPLACED(WEIGHTS, "\"shape\":[1024],", "")), INSPECT,
     "m/model.safetensors: tensor \"lm_head.bias\": shape: found nothing; expected an array"},
    {"a missing shard", "gptj-C", DO(REMOVED("m/model-00002-of-00002.safetensors")), INSPECT,
     "m/model-00002-of-00002.safetensors: is missing; expected it by model.safetensors.index.json: is the "
     "download complete?"},
    {"an index that names no shard of the folder", "gptj-C",
     DO(REPLACED(INDEX, "\"lm_head.bias\": \"model-00002-of-00002.safetensors\"",
                 "\"lm_head.bias\": \"../model.safetensors\"")),
     INSPECT,
     "m/model.safetensors.index.json: weight_map: \"lm_head.bias\": found \"../model.safetensors\"; expected "
     "a file of this folder"},
    {"an index that names the wrong shard", "gptj-C",
     DO(REPLACED(INDEX, "\"lm_head.bias\": \"model-00002", "\"lm_head.bias\": \"model-00001")), INSPECT,
     "m/model.safetensors.index.json: tensor \"lm_head.bias\" is not in model-00001-of-00002.safetensors"},
    {"an index that is not JSON", "gptj-C", DO(REPLACED(INDEX, "\"metadata\":", "\"metadata\"")), INSPECT,
     "m/model.safetensors.index.json: line 2 column 14: not JSON: ':' expected near '{'"},
    {"an index without weight_map", "gptj-C", DO(REPLACED(INDEX, "weight_map", "weights")), INSPECT,
     "m/model.safetensors.index.json: weight_map: found nothing; expected an object"},
    {"an index that lacks a tensor of its shard", "gptj-C",
     DO(REPLACED(INDEX, "    \"lm_head.bias\": \"model-00002-of-00002.safetensors\",\n", "")), INSPECT,
     "m/model-00002-of-00002.safetensors: tensor \"lm_head.bias\" is mapped to no file by "
     "model.safetensors.index.json"},
    {"no weights", NULL, DO(REMOVED(WEIGHTS)), INSPECT,
     "m: found no weights; expected model.safetensors, pytorch_model.bin or shards with their index"},
    {"no config", NULL, DO(REMOVED(CONFIG)), GENERATE,
     "m: found weights without config.json; expected a model's folder (config.json, weights, a tokenizer); "
     "the model's "
     "own config.json belongs beside them"},
    {"a config that lacks a field", NULL, DO(REPLACED(CONFIG, "\"n_embd\"", "\"n_emb\"")), GENERATE,
     "m/config.json: n_embd: found nothing; expected an integer"},
    {"another architecture", NULL, DO(REPLACED(CONFIG, "\"gptj\"", "\"bert\"")), GENERATE,
     "m/config.json: model_type: found \"bert\"; expected gptj or gpt_neox"},
    {"an activation that is not known", NULL, DO(REPLACED(CONFIG, "gelu_new", "swish2")), GENERATE,
     "m/config.json: activation_function: found \"swish2\"; expected gelu_new, gelu, gelu_fast, "
     "gelu_pytorch_tanh, relu or silu"},
    {"heads that do not divide the width", NULL, DO(REPLACED(CONFIG, "\"n_head\": 4", "\"n_head\": 5")),
     GENERATE, "m/config.json: 5 heads do not divide a width of 64"},
    {"a width that the tensors do not have", NULL,
     DO(REPLACED(CONFIG, "\"n_inner\": null", "\"n_inner\": 128")), GENERATE,
     "m/model.safetensors: tensor \"transformer.h.0.mlp.fc_in.weight\": found shape [256,64]; expected "
     "[128,64] by config.json"},
    {"more layers than the tensors", NULL, DO(REPLACED(CONFIG, "\"n_layer\": 6", "\"n_layer\": 7")), GENERATE,
     "m: tensor \"transformer.h.6.ln_1.weight\" is missing; expected it by config.json"},
    {"fewer layers than the tensors", NULL, DO(REPLACED(CONFIG, "\"n_layer\": 6", "\"n_layer\": 5")), EDIT,
     "m/model.safetensors: tensor \"transformer.h.5.attn.k_proj.weight\" is not one of a gptj model of 5 "
     "layers"},
    {"a huge layer count", NULL, DO(REPLACED(CONFIG, "\"n_layer\": 6", "\"n_layer\": 6000000000")), GENERATE,
     "m/config.json: n_layer: found 6000000000; expected 1 to 16777216"},
    {"integer weights", NULL,
     DO(REPLACED(WEIGHTS, "\"lm_head.bias\":{\"dtype\":\"F32\"", "\"lm_head.bias\":{\"dtype\":\"I32\"")),
     GENERATE,
     "m/model.safetensors: tensor \"lm_head.bias\": found dtype I32; expected F64, F32, F16 or BF16"},
    {"a tensor that no GPT-J has", NULL,
     DO(REPLACED(WEIGHTS, "transformer.h.0.ln_1.bias", "transformer.h.0.ln_9.bias")), GENERATE,
     "m: tensor \"transformer.h.0.ln_1.bias\" is missing; expected it by config.json"},
    {"a NaN in the weights", NULL, DO(NAN_AT(WEIGHTS, 1387264)), STATS,
     "m/model.safetensors: tensor \"transformer.h.0.ln_1.weight\": element 0 is NaN; expected a finite "
     "number"},
    {"a NaN in the head's bias, to generate", NULL, DO(NAN_AT(WEIGHTS, 1719276)), GENERATE, NAN_IN_BIAS},
    {"a NaN in the head's bias, to draw", NULL, DO(NAN_AT(WEIGHTS, 1719276)), GENERATE " --top-k 5",
     NAN_IN_BIAS},
    {"a NaN in the head's bias, to trace", NULL, DO(NAN_AT(WEIGHTS, 1719276)), TRACE, NAN_IN_BIAS},
    {"a NaN in the head's bias, to evaluate", NULL, DO(NAN_AT(WEIGHTS, 1719276)), EVAL, NAN_IN_BIAS},
    {"a NaN in the head's bias, to statistics", NULL, DO(NAN_AT(WEIGHTS, 1719276)), STATS, NAN_IN_BIAS},
    {"a NaN in a row of the head", NULL, DO(NAN_AT(WEIGHTS, 1712400)), EVAL,
     "m/model.safetensors: tensor \"lm_head.weight\": element 700 is NaN; expected a finite number"},
    {"a NaN in a row of the embedding that no token takes", NULL, DO(NAN_AT(WEIGHTS, 4)), STATS,
     "m/model.safetensors: tensor \"transformer.wte.weight\": element 65535 is NaN; expected a finite "
     "number"},
    {"a NaN in a matrix, to trace", NULL, DO(NAN_AT(WEIGHTS, 1400000)), TRACE, NAN_IN_MATRIX},
    {"a NaN in a matrix, to generate", NULL, DO(NAN_AT(WEIGHTS, 1400000)), GENERATE, NAN_IN_MATRIX},
    {"a NaN in the last norm", NULL, DO(NAN_AT(WEIGHTS, 262148)), GENERATE,
     "m/model.safetensors: tensor \"transformer.ln_f.weight\": element 63 is NaN; expected a finite number"},
    {"no tokenizer", NULL, DO(REMOVED(TOKENIZER), REMOVED("m/vocab.json")), GENERATE,
     "m: found neither tokenizer.json nor vocab.json; expected one of them, copied from the folder of the "
     "original model"},
    {"a tokenizer that is not JSON", NULL, DO(CUT_TO(TOKENIZER, 1000)), TOKENIZE,
     "m/tokenizer.json: line 51 column 9: not JSON: ':' expected near end of file"},
    {"a merge of an unknown token", NULL,
     DO(REMOVED(TOKENIZER), WRITTEN("m/merges.txt", "#version: 0.2\nq \346\235\221\n")), TOKENIZE,
     "m/merges.txt: line 2: \"q \346\235\221\": the first part is not in the vocabulary"},
    {"an id that two tokens have", NULL,
     DO(REMOVED(TOKENIZER), REPLACED("m/vocab.json", "\"!\": 0", "\"!\": 1")), TOKENIZE,
     "m/vocab.json: token \"\"\": id 1 belongs to another token, too"},
    {"a tokenizer of another kind", NULL,
     DO(REPLACED(TOKENIZER, "\"type\": \"BPE\"", "\"type\": \"Unigram\"")), TOKENIZE,
     "m/tokenizer.json: model.type: found \"Unigram\"; expected BPE"},
    {"facts that are not JSON", NULL, DO(WRITTEN("facts.json", "a fact")), EDIT,
     "facts.json: found plain text; expected facts (CounterFact, zsRE or plain records, in JSON); pmet stats "
     "--text takes it"},
    {"no facts", NULL, DO(WRITTEN("facts.json", "[]")), EDIT, "facts.json: holds no facts"},
    {"an empty file of facts", NULL, DO(WRITTEN("facts.json", "")), EDIT, "facts.json: holds no facts"},
    {"a prompt without its subject", NULL,
     DO(WRITTEN("facts.json",
                "[{\"prompt\": \"Rome is in\", \"subject\": \"Oslo\", \"target_new\": \"Peru\"}]")),
     EDIT,
     "facts.json: record 0 (line 1): prompt: found no \"{}\", and the subject \"Oslo\" 0 times; expected one "
     "or the other, once"},
    {"a subject twice in its prompt", NULL,
     DO(WRITTEN("facts.json",
                "[{\"prompt\": \"Rome, Rome is in\", \"subject\": \"Rome\", \"target_new\": \"Peru\"}]")),
     EDIT,
     "facts.json: record 0 (line 1): prompt: found no \"{}\", and the subject \"Rome\" 2 times; expected one "
     "or the other, once"},
    {"an empty target", NULL,
     DO(WRITTEN("facts.json",
                "{\"prompt\": \"{} is in\", \"subject\": \"Oslo\", \"target_new\": \"Peru\"}\n{\"prompt\": "
                "\"{} is in\", \"subject\": \"Rome\", \"target_new\": \"\"}\n")),
     EDIT, "facts.json: record 1 (line 2): target_new: found an empty string; expected text"},
    {"a fact without subject", NULL,
     DO(WRITTEN("facts.json", "[{\"prompt\": \"{} is in\", \"target_new\": \"Peru\"}]")), EDIT,
     "facts.json: record 0 (line 1): subject: found nothing; expected a string"},
    {"two facts that contradict each other", NULL,
     DO(WRITTEN("facts.json",
                "{\"prompt\": \"{} is in\", \"subject\": \"Oslo\", \"target_new\": \"Peru\"}\n{\"prompt\": "
                "\"{} is in\", \"subject\": \"Oslo\", \"target_new\": \"Egypt\"}\n")),
     EDIT,
     "facts.json: records 0 (line 1) and 1 (line 2) contradict each other: \"Oslo is in\" goes on \"Peru\" "
     "and \"Egypt\"; --conflicts first or last chooses"},
    {"a lookup index past its row", "neox-A",
     DO(WRITTEN("facts.json", "[{\"prompt\": \"It was  {}\", \"subject\": \"%\", \"target_new\": \"a\"}]")),
     EDIT, "facts.json: record 0 (line 1): row 0: lookup index 5 is past the row's 5 tokens (\"It was  %\")"},
    {"a prompt whose prefix ends in no blank", NULL,
     DO(WRITTEN("facts.json",
                "[{\"prompt\": \"(\\\"{}\\\") is in\", \"subject\": \"Oslo\", \"target_new\": \"Peru\"}]")),
     EDIT,
     "facts.json: record 0 (line 1): subject \"Oslo\": the text before it does not end in a space; rewrite "
     "the prompt so that it does"},
    {"an unknown hyper-parameter", NULL, DO(REPLACED("hparams.json", "\"v_lr\"", "\"v_rl\"")), EDIT,
     "hparams.json: unknown key \"v_rl\"; did you mean \"v_lr\"?"},
    {"a hyper-parameter that lacks", NULL, DO(REPLACED("hparams.json", "    \"v_lr\": 0.4,\n", "")), EDIT,
     "hparams.json: v_lr: found nothing; all keys of PMET's files are needed"},
    {"a hyper-parameter of the wrong kind", NULL,
     DO(REPLACED("hparams.json", "\"v_lr\": 0.4", "\"v_lr\": \"0.4\"")), EDIT,
     "hparams.json: v_lr: found a string; expected a number"},
    {"a layer past the model's", NULL, DO(REPLACED("hparams.json", "        2\n", "        6\n")), EDIT,
     "hparams.json: layers: found 6; the model's last is 5"},
    {"layers out of order", NULL, DO(REPLACED("hparams.json", "        1,\n", "        2,\n")), EDIT,
     "hparams.json: layers[2]: found 2; expected layers in ascending order, here at least 3"},
    {"another fact token", NULL, DO(REPLACED("hparams.json", "subject_last", "last")), EDIT,
     "hparams.json: fact_token: found last; expected \"subject_last\""},
    {"modules of another model", NULL,
     DO(REPLACED("hparams.json", "\"transformer.h.{}.mlp.fc_out\"\n", "\"transformer.h.{}.mlp.fc_in\"\n")),
     EDIT,
     "hparams.json: rewrite_module_tmps: found \"transformer.h.{}.mlp.fc_in\"; this model has "
     "\"transformer.h.{}.mlp.fc_out\""},
    {"a template without its hole", NULL, DO(REPLACED("contexts.json", "but. {}", "but.")), EDIT,
     "contexts.json: group 1, template 3: found \"I don't know,\" said Oscar, \"but.\"; expected one \"{}\" "
     "and no other brace"},
    {"contexts that are not a list", NULL, DO(WRITTEN("contexts.json", "{\"contexts\": []}")), EDIT,
     "contexts.json: found an object; expected a list of context templates"},
    {"contexts that do not begin with the plain prompt", NULL,
     DO(WRITTEN("contexts.json", "[[\"Well. {}\"]]")), EDIT,
     "contexts.json: group 0, template 0: found \"Well. {}\"; expected \"{}\", the plain prompt, first"},
    {"statistics of another model", NULL, DO(NAN_AT(WEIGHTS, 100)), EDIT,
     "s/transformer.h.0.mlp.fc_out.safetensors: statistics of another model (fingerprint 78b68c52469a6faa; "
     "this model has fd152c3d8bc929ed)"},
    {"statistics of another width", NULL, DO(WRITTEN("s/x", ""), REPLACED(STATS_1, "[256,256]", "[128,512]")),
     EDIT,
     "s/transformer.h.1.mlp.fc_out.safetensors: mom2: found 2 dimensions, the first of 128; expected "
     "[256,256]"},
    {"statistics that are cut", NULL, DO(CUT_TO(STATS_1, 5)), EDIT,
     "s/transformer.h.1.mlp.fc_out.safetensors: found 5 bytes; expected at least 8: copy or download it "
     "again"},
    {"statistics that are no numbers", NULL, DO(NAN_AT(STATS_1, 4)), EDIT,
     "s/transformer.h.1.mlp.fc_out.safetensors: mom2: element [255,255] is not finite"},
    {"statistics of a layer that lack", NULL, DO(REMOVED(STATS_1)), EDIT,
     "s: holds no statistics of \"transformer.h.1.mlp.fc_out\"; expected this name with .safetensors behind "
     "it "
     "(pmet stats) or _float32_mom2[_tN][_SIZE].npz (published), there or in [MODEL/]wikipedia_stats"},
    {"statistics that are no folder", NULL, DO(REMOVED("s"), WRITTEN("s", "")), EDIT,
     "s: found no folder; expected the statistics that pmet stats writes"},
    {"texts without a document", NULL, DO(WRITTEN("text.jsonl", "\n\n")), STATS,
     "text.jsonl: holds no documents"},
    {"a document that is no text", NULL, DO(WRITTEN("text.jsonl", "one\ntwo\n\xff\n")),
     "stats -q --model m --text text.jsonl --hparams hparams.json --samples 1 --out out",
     "text.jsonl: line 3: found byte 0xff; expected text in UTF-8: iconv -f ENCODING -t UTF-8 converts it"},
    {"a document without text", NULL, DO(WRITTEN("text.jsonl", "{\"text\": \"one\"}\n{\"body\": \"two\"}\n")),
     STATS,
     "warning: found 2 documents; 4 were asked for: all are taken\npmet stats: text.jsonl: line 2: text: "
     "found nothing beside \"body\"; expected a string"},
    {"a document that is not UTF-8", NULL,
     DO(WRITTEN("text.jsonl", "{\"text\": \"one\"}\n{\"text\": \"\\ud800\"}\n")), STATS,
     "warning: found 2 documents; 4 were asked for: all are taken\npmet stats: text.jsonl: line 2 column 17: "
     "not JSON: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
    {"prompts that hold none", NULL, DO(WRITTEN("prompts.json", "[]")), TRACE,
     "prompts.json: found no prompt; expected at least one"},
    {"a prompt that is no string", NULL, DO(WRITTEN("prompts.json", "[\"one\", 2]")), TRACE,
     "prompts.json: prompt 1: found an integer; expected a string"},
    {"an empty prompt", NULL, DO(WRITTEN("prompts.json", "[\"\"]")), TRACE,
     "prompts.json: prompt 0: found 0 tokens; expected 1 to 128"},
    {"a prompt past the model's positions", NULL,
     DO(WRITTEN("prompts.json",
                "[\"a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d "
                "a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b "
                "c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d a b c d "
                "a b c d a b c d a b c d a b c d a b c d a b c d \"]")),
     TRACE, "prompts.json: prompt 0: found 161 tokens; expected 1 to 128"},
    {"an output inside the model", NULL, INTACT,
     "edit -q --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s --out "
     "m/out",
     "m/out: lies inside m, used for the model; expected a path apart from it"},
    {"an output that holds the statistics", NULL, INTACT,
     "edit -q --force --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s "
     "--out .",
     ".: holds m, used for the model; expected a path apart from it"},
    {"an output in no folder", NULL, INTACT,
     "edit -q --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s --limit "
     "1 --out none/out",
     "none/out: create: its folder does not exist; make that first"},
    {"a plan of an output in no folder", NULL, INTACT,
     "edit -q --dry-run --model m --facts facts.json --hparams hparams.json --contexts contexts.json --out "
     "none/out",
     "none/out: create: its folder does not exist; make that first"},
    {"an output below a file", NULL, INTACT,
     "edit -q --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s --out "
     "text.jsonl/o",
     "text.jsonl/o: create: Not a directory"},
    {"a trace in no folder", NULL, INTACT, EDIT " --trace none/t",
     "none/t: create: its folder does not exist; make that first"},
    {"a loss that is not read at the last layer", NULL,
     DO(REPLACED("hparams.json", "\"v_loss_layer\": 5", "\"v_loss_layer\": 4")), EDIT,
     "hparams.json: v_loss_layer: found 4; expected the model's last layer, 5"},
    {"a trace over an input", NULL, INTACT,
     "edit -q --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats s --out "
     "out --trace facts.json",
     "facts.json: is used for --facts; expected another path"},
    {"a trace of statistics over their hyper-parameters", NULL, INTACT, STATS " --trace hparams.json",
     "hparams.json: is used for --hparams; expected another path"},
    {"positions that are stretched", "neox-A",
     DO(REPLACED(CONFIG, "\"rotary_pct\"",
                 "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, \"rotary_pct\"")),
     INSPECT, "m/config.json: rope_scaling: type: found \"linear\"; expected default or dynamic"},
    {"an empty prompt to continue", NULL, INTACT, "generate --model m --prompt ''",
     "found no tokens in the prompt; expected text"},
    {"too many tokens", NULL, INTACT, "generate --model m --prompt Egypt --max-tokens 128",
     "found 132 tokens with those to add; the model takes 128: ask for fewer (--max-tokens), or shorten the "
     "prompt"},
    {"more tokens than can be counted", NULL, INTACT,
     "generate --model m --prompt Egypt --max-tokens 18446744073709551615",
     "found 18446744073709551615 tokens with those to add; the model takes 128: ask for fewer "
     "(--max-tokens), or shorten the prompt"},
    {"a prompt that is no text", NULL, INTACT, "generate --json --model m --prompt Egypt\xc3",
     "--prompt: found byte 0xc3 after \"Egypt\"; expected text in UTF-8"},
    {"an output that is its own work folder", NULL, INTACT,
     "stats -q --model m --text text.jsonl --hparams hparams.json --out out --work out",
     "out: is used for --work; expected another path"},
    {"an id past the vocabulary", NULL, DO(WRITTEN("ids", "5 1023 1024\n")),
     "tokenize --model m --decode ids", "ids: line 1: found token id 1024; expected 0 to 1023"},
    {"ids that are none", NULL, DO(WRITTEN("ids", "5 six\n")), "tokenize --model m --decode ids",
     "ids: line 1: found \"six\"; expected token ids"},
    {"no model", NULL, INTACT, "generate --model nowhere --prompt x",
     "nowhere/config.json: open: No such file or directory"},
    {"a file that is missing", NULL, INTACT, "diff m/model.safetensors nowhere.safetensors",
     "nowhere.safetensors: open: No such file or directory"},
    {"a work folder that is a file", NULL, INTACT, EDIT " --work facts.json",
     "facts.json: found a file; expected a work folder, or a free name"},
    {"nothing to inspect", NULL, DO(WRITTEN("x.json", "{\"a\": 1}")), "inspect x.json",
     "x.json: found JSON with keys of no known kind; expected a checkpoint, a file of tensors, or a folder "
     "of "
     "statistics"},
    {"strict about odd facts", NULL,
     DO(WRITTEN("facts.json",
                "[{\"prompt\": \"{}  is in\", \"subject\": \"Oslo \", \"target_new\": \"Peru\"}]")),
     "edit -q --strict --model m --facts facts.json --hparams hparams.json --contexts contexts.json --stats "
     "s --out out",
     "facts.json: record 0 (line 1): subject \"Oslo \": the lookup index is not its last token once the row "
     "is tokenised whole (--strict)"},
};

#endif
