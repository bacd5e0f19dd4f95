/* SPDX-License-Identifier: MIT
 * Files of every kind: pmet inspect says what each is, and a command that is given the wrong one says
 * so before it works. */
#include <unistd.h>
#include "tensors/safetensors.h"
#include "tests/cli.h"

#define EDIT_BUT                                                                                             \
    "edit -q --threads 1 --model m --stats s --contexts contexts.json --hparams hparams.json --out out "

/* The first of a line of facts for a file far larger than what is read. */
static void write_long(const char *path, const char *head, const char *each, size_t n, const char *tail)
{
    FILE *f = fopen(path, "w");
    fputs(head, f);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%s%s%zu\"", i ? "," : "", each, i);
    fputs(tail, f);
    fclose(f);
}

static void write_files(struct test *t)
{
    static const struct {
        const char *path, *text;
        size_t n; /* bytes, where they hold NUL */
    } files[] = {
        {"empty", "", 0},
        {"blank.json", " \n\n", 0},
        {"counterfact.jsonl", "{\"case_id\": 1, \"requested_rewrite\": {\"prompt\": \"{}\"}}\n", 0},
        {"one.json", " {\"requested_rewrite\": {}}", 0},
        {"bom.json", "\xef\xbb\xbf[{\"requested_rewrite\": {}}]", 0},
        {"zsre.json", "[{\"subject\": \"x\", \"src\": \"y\", \"answers\": []}]", 0},
        {"plain.json", "[{\"a\": [1, {\"b\": \"}\"}], \"prompt\": \"{}\", \"subject\": \"x\"}]", 0},
        {"hparams.yml", "# a comment\nalg_name: \"PMET\"\nlayers: [3]\n", 0},
        {"easy.json", "{\"alg_name\": \"PMET\", \"layers\": [3]}", 0},
        {"flat.json", "[\"{}\", \"Well. {}\"]", 0},
        {"docs.jsonl", "{\"title\": \"x\", \"text\": \"y\"}\n", 0},
        {"index.json", "{\"metadata\": {}, \"weight_map\": {}}", 0},
        {"adapter_config.json", "{\"peft_type\": \"LORA\"}", 0},
        {"results.jsonl", "{\"pmet\": \"0.2.0\", \"device\": \"cpu\", \"facts\": {}}\n", 0},
        {"page.html", "<!DOCTYPE html><html>", 0},
        {"pointer.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", 0},
        {"model.gguf", "GGUF\3\0\0\0", 8},
        {"model.onnx", "\x08\x07\x12\x07pytorch", 11},
        {"model.h5", "\x89HDF\r\n\x1a\n", 8},
        {"text.gz", "\x1f\x8b\x08\0\0\0\0\0", 8},
        {"text.zst", "\x28\xb5\x2f\xfd\0\0\0\0", 8},
        {"text.parquet", "PAR1\0\0\0\0", 8},
        {"things.zip", "PK\3\4................................word/document.xml", 0},
        {"arrays.npz", "PK\3\4................................arr_0.npy", 0},
        {"mom2.npz", "PK\3\4................................mom2.mom2.npy", 0},
        {"old.bin", "\x80\x02\x8a\x0alegacy", 0},
        {"list.pkl", "\x80\x04\x95........", 0},
        {"array.npy", "\x93NUMPY\1\0", 8},
        {"noise", "\xff\xfe\0\1\2\3\4\5\6\7\x80\x81\x82", 13},
        {"f.journal", "\x10\0\0\0\0\0\0\0{\"version\":", 20},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        test_write_file(files[i].path, files[i].text, files[i].n ? files[i].n : strlen(files[i].text));
    write_long("long.json", "[{\"requested_rewrite\": {\"paraphrases\": [", "\"a long list of them", 9000,
               "]}}]");
    write_long("vocabulary.json", "{\"!\": 0, \"x\": 1", ", \"token\": 7, \"", 9000, ": 3}");
    const float one[2] = {1, 1};
    const struct pmet_tensor lora = test_tensor("base.h.0.lora_A.weight", PMET_F32, 1, 2, one);
    CHECK_DONE(pmet_safetensors_write(pmet_io_system(), "adapter.safetensors", &lora, 1, NULL, 0, &t->err));
    cli_shell(
        "mkdir nothing bare cache cache/snapshots cache/blobs && cp m/tokenizer.json bare && mkdir dead && "
        "touch dead/.pmet-unfinished && mkdir published && mkfifo fifo && cp -r m "
        "lfs && "
        "cp pointer.safetensors lfs/model.safetensors");
    cli_shell("cp '%s/tests/data/compressed.npz' published/mom2.npz", cli_start);
}

#define FOUND(what) "found " what "; expected a checkpoint, a file of tensors, or a folder of statistics"

TEST(inspect_says_what_a_file_is_and_who_takes_it)
{
    static const char facts[] = "; pmet edit --facts and pmet eval --facts take it\n",
                      hparams[] = "; pmet edit --hparams and pmet stats --hparams take it\n",
                      part[] = "; --model takes the folder that holds it\n",
                      text[] = "; pmet stats --text takes it\n";
    const struct {
        const char *path, *is, *then;
        int status;
    } kinds[] = {
        {"facts.json", "facts: CounterFact records", facts, 0},
        {"counterfact.jsonl", "facts: CounterFact records", facts, 0},
        {"one.json", "facts: CounterFact records", facts, 0},
        {"bom.json", "facts: CounterFact records", facts, 0},
        {"long.json", "facts: CounterFact records", facts, 0},
        {"zsre.json", "facts: zsRE records", facts, 0},
        {"plain.json", "facts: plain records", facts, 0},
        {"out/pmet_facts.jsonl", "the facts of an edit, as pmet edit reports them", facts, 0},
        {"hparams.json", "hyper-parameters", hparams, 0},
        {"easy.json", "hyper-parameters of EasyEdit", hparams, 0},
        {"hparams.yml", "hyper-parameters in YAML", hparams, 0},
        {"contexts.json", "context templates", "; pmet edit --contexts takes it\n", 0},
        {"flat.json", "context templates", "; pmet edit --contexts takes it\n", 0},
        {"prompts.json", "a JSON array of strings",
         "; pmet trace --prompts takes it, and pmet stats --text as documents\n", 0},
        {"docs.jsonl", "documents, in JSON", text, 0},
        {"text.jsonl", "documents, in JSON", text, 0},
        {"text.gz", "data packed with gzip", "; for anything but a text: gunzip it first\n", 0},
        {"text.zst", "data packed with zstd", "; for anything but a text: unzstd it first\n", 0},
        {"m/config.json", "a model's config.json", part, 0},
        {"m/tokenizer.json", "a tokenizer", part, 0},
        {"m/vocab.json", "a vocabulary", part, 0},
        {"vocabulary.json", "a vocabulary", part, 0},
        {"m/merges.txt", "merges of a tokenizer", part, 0},
        {"index.json", "the index of a checkpoint's shards", part, 0},
        {"out/pmet_edit.json", "the record of an edit", "\n", 0},
        {"results.jsonl", "results of pmet eval", "\n", 0},
        {"f.journal", "a journal of a work folder", "\n", 0},
        {"mom2.npz", "published second moments (.npz)",
         "; pmet edit --stats takes the folder that holds it\n", 0},
        {"w", "a work folder", "; the command that made it goes on from it, with --work\n", 0},
        {"empty", FOUND("an empty file"), "\n", 1},
        {"blank.json", FOUND("a file of blanks"), "\n", 1},
        {"noise", FOUND("bytes of no known kind"), "\n", 1},
        {"model.gguf", FOUND("weights in GGUF (llama.cpp)"), "; take the folder of the transformers model\n",
         1},
        {"model.onnx", FOUND("a network in ONNX"), "; take the folder of the transformers model\n", 1},
        {"model.h5", FOUND("HDF5: weights of TensorFlow"), "; load it with", 1},
        {"text.parquet", FOUND("Parquet"), "; pandas.read_parquet(FILE)", 1},
        {"things.zip", FOUND("a zip archive"), "; unpack it first\n", 1},
        {"arrays.npz", FOUND("arrays of numpy (.npz)"), "\n", 1},
        {"array.npy", FOUND("one numpy array"), "\n", 1},
        {"list.pkl", FOUND("a Python pickle"), "; no code in files is run", 1},
        {"page.html", FOUND("a web page"), "; what was wanted may not have been downloaded\n", 1},
        {"pointer.safetensors", FOUND("a pointer of Git LFS, not the file itself"),
         "; git lfs pull fetches it\n", 1},
        {"adapter_config.json", FOUND("the settings of an adapter (PEFT)"), "; merge it into its model", 1},
        {"nothing", FOUND("an empty folder"), "\n", 1},
        {"bare", FOUND("a tokenizer's folder, without config.json"), "; pmet tokenize --model takes it\n", 1},
        {"cache", FOUND("a folder of the Hugging Face cache"), "; the model is snapshots/HASH in it\n", 1},
        {"dead", FOUND("what a killed run has left"), "; the same command removes it and begins again\n", 1},
        {"fifo", FOUND("a pipe or a device"), "\n", 1},
    };
    cli_enter(t, "inspect", "gptj-A");
    write_files(t);
    CHECK(cli(NULL, EDIT_BUT "--facts facts.json --limit 1 --work w") == 0);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const int status = cli(NULL, "inspect %s", kinds[i].path);
        const char *start = test_text(t, "%s%s: %s%s", kinds[i].status ? "pmet inspect: " : "", kinds[i].path,
                                      kinds[i].is, kinds[i].then);
        const char *said = kinds[i].status ? cli_err() : cli_out();
        if (status != kinds[i].status || strncmp(said, start, strlen(start)) != 0)
            test_fail(t, "exit %d: %s%s     expected %s", status, cli_out(), cli_err(), start);
        t->n_check++;
        if (status == 0) { /* it has verified nothing, and says so */
            CHECK(cli(NULL, "inspect --check %s", kinds[i].path) == 1);
            CHECK(strstr(cli_err(),
                         "; --check reads a checkpoint, a file of tensors, or a folder of statistics\n"));
        }
    }
    CHECK(cli(NULL, "inspect published") == 0);
    CHECK_STR(cli_out(), "mom2.npz: [3,3] F32, a published archive, of no named model\n"
                         "published: 1 second moments\n");
    CHECK(cli(NULL, "inspect --check published") == 0);
    cli_shell("printf x | dd of=published/mom2.npz bs=1 seek=460 conv=notrunc status=none");
    CHECK(cli(NULL, "inspect --check published") == 1);
    if (!CHECK(cli(NULL, "inspect adapter.safetensors") == 0 && strstr(cli_out(), ": 1 tensors")))
        test_fail(t, "%s%s", cli_out(), cli_err());
    CHECK(cli(NULL, "inspect out") == 0 && strstr(cli_out(), "edited       1 facts by "));
}

TEST(a_file_for_another_option_is_named_before_the_work)
{
    static const struct {
        const char *line, *message;
    } wrong[] = {
        {EDIT_BUT "--facts hparams.json", "hparams.json: found hyper-parameters; expected facts "
                                          "(CounterFact, zsRE or plain records, in JSON); pmet edit "
                                          "--hparams and pmet stats --hparams take it"},
        {EDIT_BUT "--facts m",
         "m: found a model's folder; expected facts (CounterFact, zsRE or plain records, in JSON); "
         "the other commands take it as --model"},
        {EDIT_BUT "--facts text.parquet", "text.parquet: found Parquet; expected facts"},
        {EDIT_BUT "--facts facts.json --hparams contexts.json",
         "contexts.json: found context templates; expected hyper-parameters (JSON or YAML); pmet edit "
         "--contexts takes "
         "it"},
        {EDIT_BUT "--facts facts.json --contexts facts.json",
         "facts.json: found facts: CounterFact records; expected context templates (JSON); pmet edit --facts "
         "and pmet "
         "eval --facts take it"},
        {EDIT_BUT "--facts facts.json --stats m/model.safetensors",
         "m/model.safetensors: found tensors (safetensors); expected the folder of statistics"},
        {EDIT_BUT "--facts facts.json --stats mom2.npz",
         "mom2.npz: found published second moments (.npz); expected the folder of statistics; pmet edit "
         "--stats takes the "
         "folder that holds it"},
        {EDIT_BUT "--facts facts.json --model s",
         "s: found statistics; expected a model's folder (config.json, weights, a tokenizer); pmet edit "
         "--stats takes it"},
        {EDIT_BUT "--facts facts.json --model model.gguf",
         "model.gguf: found weights in GGUF (llama.cpp); expected a "
         "model's folder"},
        {"generate --prompt x --model cache",
         "cache: found a folder of the Hugging Face cache; expected a model's "
         "folder (config.json, weights, a tokenizer); the model is snapshots/HASH "
         "in it"},
        {"generate --prompt x --model m/model.safetensors",
         "m/model.safetensors: found tensors (safetensors); expected "
         "a model's folder"},
        {"generate --prompt x --model nothing", "nothing: found an empty folder; expected a model's folder"},
        {"eval --model m --facts contexts.json", "contexts.json: found context templates; expected facts"},
        {"eval --model m --before s --facts facts.json", "s: found statistics; expected a model's folder"},
        {"eval --model m --facts facts.json --generate 1 --snippets facts.json",
         "facts.json: found facts: CounterFact records; expected attribute snippets (JSON)"},
        {"stats --model m --text m/model.safetensors --out o",
         "m/model.safetensors: found tensors (safetensors); "
         "expected documents"},
        {"stats --model m --text hparams.json --out o",
         "hparams.json: found hyper-parameters; expected documents"},
        {"stats --model m --text text.jsonl --hparams text.jsonl --layers x --out o", "--layers: found"},
        {"trace --model m --prompts facts.json --out o",
         "facts.json: found facts: CounterFact records; expected prompts (one a line, or a JSON array of "
         "strings)"},
        {"trace --model lfs --prompts prompts.json --out o",
         "lfs/model.safetensors: found a pointer of Git LFS, not the file itself; git lfs pull fetches it\n"},
        {"diff m/model.safetensors m",
         "m: found a model's folder; expected a file of tensors (safetensors); the other "
         "commands take it as --model"},
        {"diff facts.json m/model.safetensors",
         "facts.json: found facts: CounterFact records; expected a file of "
         "tensors (safetensors)"},
    };
    cli_enter(t, "wrong", "gptj-A");
    write_files(t);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int status = cli(NULL, "%s", wrong[i].line);
        const char *start =
            test_text(t, "pmet %.*s: %s", (int)strcspn(wrong[i].line, " "), wrong[i].line, wrong[i].message);
        if (status != 1 || strncmp(cli_err(), start, strlen(start)) != 0 || cli_out()[0])
            test_fail(t, "%s: exit %d: %s", wrong[i].line, status, cli_err());
        t->n_check++;
    }
}
