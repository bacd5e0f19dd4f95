/* SPDX-License-Identifier: MIT */
#include "tensors/kind_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tensors/folder.h"
#include "tensors/text.h"

enum { WINDOW = 65536 };

/* ---- bytes ---- */

#define FOREIGN(what, hint)                                                                                  \
    {                                                                                                        \
        PMET_KIND_FOREIGN, what, hint                                                                        \
    }
#define MERGE_IT "merge it into its model: merge_and_unload()"
#define SAVE_ANEW "load it with its own program and save the model as safetensors"

static const struct {
    size_t at, n;
    const char *bytes;
    struct pmet_found found;
} by_bytes[] = {
    {0, 4, "GGUF", FOREIGN("weights in GGUF (llama.cpp)", "take the folder of the transformers model")},
    {0, 4, "lmgg", FOREIGN("weights in GGML", "take the folder of the transformers model")},
    {0, 8, "\x89HDF\r\n\x1a\n", FOREIGN("HDF5: weights of TensorFlow", SAVE_ANEW)},
    {0, 4, "PAR1",
     FOREIGN("Parquet", "pandas.read_parquet(FILE).to_json(OUT, orient='records', lines=True) makes "
                        "JSON lines of it")},
    {0, 6, "ARROW1",
     FOREIGN("Arrow", "pandas.read_feather(FILE).to_json(OUT, orient='records', lines=True) makes JSON "
                      "lines of it")},
    {0, 2, "\x1f\x8b", {PMET_KIND_TEXT, "data packed with gzip", "for anything but a text: gunzip it first"}},
    {0,
     4,
     "\x28\xb5\x2f\xfd",
     {PMET_KIND_TEXT, "data packed with zstd", "for anything but a text: unzstd it first"}},
    {0, 3, "BZh", FOREIGN("data packed with bzip2", "bunzip2 it first")},
    {0, 6,
     "\xfd"
     "7zXZ",
     FOREIGN("data packed with xz", "unxz it first")},
    {257, 5, "ustar", FOREIGN("a tar archive", "unpack it first")},
    {0, 6, "\x93NUMPY", FOREIGN("one numpy array", NULL)},
    {0, 5, "%PDF-", FOREIGN("PDF", NULL)},
    {0, 4, "\x89PNG", FOREIGN("a picture", NULL)},
    {0, 15, "SQLite format 3", FOREIGN("a database of SQLite", NULL)},
    {0, 4, "\x80\x02\x8a\x0a", {PMET_KIND_TORCH, "a file that torch wrote before 1.6", NULL}},
    {0, 2, "\x80\x02",
     FOREIGN("a Python pickle", "no code in files is run: write it as JSON or safetensors")},
    {0, 2, "\x80\x03",
     FOREIGN("a Python pickle", "no code in files is run: write it as JSON or safetensors")},
    {0, 2, "\x80\x04",
     FOREIGN("a Python pickle", "no code in files is run: write it as JSON or safetensors")},
    {0, 23, "version https://git-lfs",
     FOREIGN("a pointer of Git LFS, not the file itself", "git lfs pull fetches it")},
    {0, 8, "#version", {PMET_KIND_PART, "merges of a tokenizer", NULL}},
};

static bool contains(const char *text, size_t n, const char *part)
{
    return memmem(text, n, part, strlen(part)) != NULL;
}

static struct pmet_found by_zip(const char *text, size_t n)
{
    if (contains(text, n, "data.pkl"))
        return (struct pmet_found){PMET_KIND_TORCH, "tensors in a file of torch", NULL};
    if (contains(text, n, "mom2.mom2.npy") || contains(text, n, "mom2.count.npy"))
        return (struct pmet_found){PMET_KIND_MOMENT, "published second moments (.npz)", NULL};
    if (contains(text, n, ".npy"))
        return (struct pmet_found)FOREIGN("arrays of numpy (.npz)", NULL);
    return (struct pmet_found)FOREIGN("a zip archive", "unpack it first");
}

/* Of a safetensors file: its header is JSON behind eight bytes of length. */
static struct pmet_found by_header(const char *text, size_t n)
{
    if (contains(text, n, "\"mom2\":") && contains(text, n, "\"count\":"))
        return (struct pmet_found){PMET_KIND_MOMENT, "second moments, as pmet stats writes them", NULL};
    if (contains(text, n, ".lora_A."))
        return (struct pmet_found){PMET_KIND_TENSORS, "the weights of an adapter (LoRA)", MERGE_IT};
    if (contains(text, n, "\"pmet\":\""))
        return (struct pmet_found){PMET_KIND_TENSORS, "a trace, as pmet writes it", NULL};
    if (contains(text, n, "\"key\":\"") && contains(text, n, "\"sha256\":\""))
        return (struct pmet_found){PMET_KIND_TENSORS, "an array of a work folder", NULL};
    return (struct pmet_found){PMET_KIND_TENSORS, "tensors (safetensors)", NULL};
}

static bool is_header(const char *text, size_t n, uint64_t n_file)
{
    uint64_t len = 0;
    for (size_t i = 0; n > 8 && i < 8; i++)
        len |= (uint64_t)(unsigned char)text[i] << (8 * i);
    return n > 8 && text[8] == '{' && len >= 2 && len <= 100000000 && len <= n_file - 8;
}

/* A line that begins so. */
static bool has_line(const char *text, size_t n, const char *start)
{
    const char *at = memmem(text, n, start, strlen(start));
    return at && (at == text || at[-1] == '\n');
}

static struct pmet_found by_text(const char *text, size_t n, const char *name)
{
    size_t at = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    if (at == n)
        return (struct pmet_found){PMET_KIND_EMPTY, "a file of blanks", NULL};
    if (text[at] == '{' || text[at] == '[')
        return pmet_kind_of_json(text + at, n - at);
    if (has_line(text, n, "alg_name:") || has_line(text, n, "v_num_grad_steps:"))
        return (struct pmet_found){PMET_KIND_HPARAMS, "hyper-parameters in YAML", NULL};
    if (n - at >= 9 &&
        (strncasecmp(text + at, "<!doctype", 9) == 0 || strncasecmp(text + at, "<html", 5) == 0))
        return (struct pmet_found)FOREIGN("a web page", "what was wanted may not have been downloaded");
    if (strcmp(name, "merges.txt") == 0)
        return (struct pmet_found){PMET_KIND_PART, "merges of a tokenizer", NULL};
    return pmet_utf8_span(text, n) + 4 > n
               ? (struct pmet_found){PMET_KIND_TEXT, "plain text", NULL}
               : (struct pmet_found){PMET_KIND_UNKNOWN, "bytes of no known kind", NULL};
}

static struct pmet_found by_content(const char *text, size_t n, uint64_t n_file, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (n_file == 0)
        return (struct pmet_found){PMET_KIND_EMPTY, "an empty file", NULL};
    for (size_t i = 0; i < sizeof by_bytes / sizeof *by_bytes; i++)
        if (by_bytes[i].at + by_bytes[i].n <= n &&
            memcmp(text + by_bytes[i].at, by_bytes[i].bytes, by_bytes[i].n) == 0)
            return by_bytes[i].found;
    if (n >= 4 && memcmp(text, "PK\3\4", 4) == 0)
        return by_zip(text, n);
    if (is_header(text, n, n_file))
        return by_header(text + 8, n - 8);
    if (pmet_ends_with(name, ".onnx") && text[0] == 0x08)
        return (struct pmet_found)FOREIGN("a network in ONNX", "take the folder of the transformers model");
    if (pmet_ends_with(name, ".msgpack") && (text[0] & 0x80))
        return (struct pmet_found)FOREIGN("weights of Flax", SAVE_ANEW);
    if (pmet_ends_with(name, ".journal") && n > 8 && text[8] == '{')
        return (struct pmet_found){PMET_KIND_RESULT, "a journal of a work folder", NULL};
    return by_text(text, n, name);
}

static enum pmet_status of_file(const struct pmet_io *io, const char *path, struct pmet_found *out,
                                struct pmet_error *err)
{
    char *text;
    size_t n = 0;
    ssize_t got = 1;
    uint64_t n_file = 0;
    PMET_TRY(pmet_calloc(&text, WINDOW, 1, path, err));
    const int fd = io->open(io->user, path, O_RDONLY, 0);
    enum pmet_status status = PMET_OK;
    if (fd < 0)
        status = pmet_fail_errno(err, path, "open");
    else if (io->size(io->user, fd, &n_file) != 0)
        status = pmet_fail_errno(err, path, "size");
    while (status == PMET_OK && n < WINDOW && got > 0) {
        got = io->read(io->user, fd, text + n, WINDOW - n);
        if (got < 0)
            status = pmet_fail_errno(err, path, "read");
        else
            n += (size_t)got;
    }
    if (fd >= 0)
        io->close(io->user, fd);
    if (status == PMET_OK)
        *out = by_content(text, n, n_file, path);
    free(text);
    return status;
}

/* ---- folders ---- */

static bool has_name(char **names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Whether a file of the folder is of second moments: the first of tensors tells. */
static enum pmet_status has_moments(const struct pmet_io *io, const char *path, char **names, size_t n,
                                    bool *out, struct pmet_error *err)
{
    *out = false;
    for (size_t i = 0; i < n && !*out; i++) {
        struct pmet_found found = {PMET_KIND_UNKNOWN, "", NULL};
        char *file;
        if (!pmet_ends_with(names[i], ".safetensors") && !pmet_ends_with(names[i], ".npz"))
            continue;
        PMET_TRY(pmet_path_join(path, names[i], &file, err));
        const enum pmet_status status = of_file(io, file, &found, err);
        free(file);
        PMET_TRY(status);
        *out = found.kind == PMET_KIND_MOMENT;
    }
    return PMET_OK;
}

#define NO_CONFIG                                                                                            \
    {                                                                                                        \
        PMET_KIND_FOLDER, "weights without config.json", "the model's own config.json belongs beside them"   \
    }

/* By the names of its files; the first that fits. */
static const struct {
    const char *name[2];
    struct pmet_found found;
} by_names[] = {
    {{PMET_UNFINISHED},
     {PMET_KIND_FOLDER, "what a killed run has left", "the same command removes it and begins again"}},
    {{"pmet.lock"}, {PMET_KIND_WORK, "a work folder", NULL}},
    {{"config.json"}, {PMET_KIND_MODEL, "a model's folder", NULL}},
    {{"model.safetensors"}, NO_CONFIG},
    {{"model.safetensors.index.json"}, NO_CONFIG},
    {{"pytorch_model.bin"}, NO_CONFIG},
    {{"pytorch_model.bin.index.json"}, NO_CONFIG},
    {{"adapter_config.json"}, FOREIGN("an adapter (PEFT)", MERGE_IT)},
    {{"snapshots", "blobs"},
     {PMET_KIND_FOLDER, "a folder of the Hugging Face cache", "the model is snapshots/HASH in it"}},
    {{"idf.npy"}, {PMET_KIND_FOLDER, "weights of terms", "pmet eval --idf takes it"}},
    {{"tokenizer.json"},
     {PMET_KIND_FOLDER, "a tokenizer's folder, without config.json", "pmet tokenize --model takes it"}},
    {{"vocab.json"},
     {PMET_KIND_FOLDER, "a tokenizer's folder, without config.json", "pmet tokenize --model takes it"}},
};

static enum pmet_status of_folder(const struct pmet_io *io, const char *path, struct pmet_found *out,
                                  struct pmet_error *err)
{
    char **names;
    size_t n;
    bool moments = false, known = false;
    enum pmet_status status = PMET_OK;
    PMET_TRY(pmet_list_folder(path, &names, &n, err));
    *out = (struct pmet_found){PMET_KIND_FOLDER, n ? "a folder of no known kind" : "an empty folder", NULL};
    for (size_t i = 0; !known && i < sizeof by_names / sizeof *by_names; i++) {
        const char *const *name = by_names[i].name;
        known = has_name(names, n, name[0]) && (!name[1] || has_name(names, n, name[1]));
        if (known)
            *out = by_names[i].found;
    }
    if (!known)
        status = has_moments(io, path, names, n, &moments, err);
    if (moments)
        *out = (struct pmet_found){PMET_KIND_STATS, "statistics", NULL};
    pmet_free_names(names, n);
    return status;
}

enum pmet_status pmet_kind_of(const struct pmet_io *io, const char *path, struct pmet_found *out,
                              struct pmet_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return pmet_fail_errno(err, path, "open");
    if (S_ISDIR(st.st_mode))
        return of_folder(io, path, out, err);
    if (S_ISREG(st.st_mode))
        return of_file(io, path, out, err);
    *out = (struct pmet_found){PMET_KIND_UNKNOWN, "a pipe or a device", NULL};
    return PMET_OK;
}
