/* SPDX-License-Identifier: MIT
 * What the files of the tokenizer share: the vocabulary, the merges and the added tokens. */
#ifndef PMET_TOKENIZER_MODEL_H
#define PMET_TOKENIZER_MODEL_H

#include <jansson.h>
#include "tokenizer/tokenizer.h"

#define PMET_MAX_TOKENS 10000000
#define PMET_MAX_TOKENIZER_FILE ((size_t)1 << 28)

struct pmet_token {
    size_t at, n;        /* what it decodes to, n bytes from strings + at on */
    bool used;           /* false: no such id */
    bool added, special; /* an added token; one that skip_special leaves out */
    bool whole; /* merging its bytes gives this one token, so that a word of these bytes needs no merging */
};

struct pmet_merge {
    int32_t left, right; /* left -1: an empty slot */
    int32_t rank, id;
};

struct pmet_added {
    const char *text; /* searched in the raw or in the normalised text */
    size_t n;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized;
    bool said; /* some file gives these flags */
};

/* Added tokens to search for, longest first among those with the same first byte. */
struct pmet_added_set {
    struct pmet_added *token;
    size_t n;
    size_t first[257];        /* tokens that begin with byte b: first[b] .. first[b+1]-1 */
    unsigned char pair[8192]; /* bit (b0 << 8 | b1): some token begins so; every b1 for one-byte tokens */
};

struct pmet_tokenizer {
    char *strings; /* bytes of all tokens */
    size_t n_strings, cap_strings;
    struct pmet_token *token;
    size_t n_token, cap_token; /* n_token: 1 + the highest id */
    int32_t *slot;             /* by hash of the bytes: id or -1 */
    size_t n_slot;             /* a power of two */
    struct pmet_merge *merge;
    size_t n_merge_slot;  /* a power of two */
    int32_t byte_id[256]; /* of the one-byte tokens, -1: none */
    int32_t unk_id;       /* -1: unknown bytes are left out */
    struct pmet_added_set raw, normal;
    bool nfc, add_prefix_space, use_regex, ignore_merges, clean_up;
    size_t n_row; /* rows of the model's embedding, 0: unknown; those without a token decode to nothing */
};

/* Id of the vocabulary's token with these bytes, or -1. */
int32_t pmet_token_of_bytes(const struct pmet_tokenizer *tk, const char *p, size_t n);
/* The merge of two neighbours, or NULL. */
const struct pmet_merge *pmet_merge_of(const struct pmet_tokenizer *tk, int32_t left, int32_t right);
/* The table of the tokens so far, n of them used; an empty one for n merges; and one merge into it,
 * in place of any that joins the same two. */
enum pmet_status pmet_lookup_tokens(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err);
enum pmet_status pmet_lookup_merges(struct pmet_tokenizer *tk, size_t n, struct pmet_error *err);
void pmet_lookup_add_merge(struct pmet_tokenizer *tk, const struct pmet_merge *merge);

/* Appends the ids of one word, merging as ranked. */
enum pmet_status pmet_bpe_word(const struct pmet_tokenizer *tk, const char *word, size_t n,
                               struct pmet_ids *ids, struct pmet_error *err);

/* Bytes of a token written in the byte-level alphabet; false if a character lies outside it. out
 * holds n. */
bool pmet_from_alphabet(const char *text, size_t n, char *out, size_t *n_out);

/* Length of the word that begins text[0..n), n > 0, by the GPT-2 pattern (E3)
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * A byte that is not UTF-8 counts as a character of the third kind. */
size_t pmet_next_word(const char *text, size_t n);

/* A tokenizer in the making: load_json.c and load_files.c fill it, build.c ends it. */
struct pmet_vocab_builder {
    struct pmet_tokenizer *tk;
    const char *path; /* for messages */
    struct pmet_added *added;
    size_t n_added, cap_added;
    size_t n_new;  /* of them not in the vocabulary */
    json_t *vocab; /* token to id, as written */
    json_t *index; /* content of an added token to its place in `added` */
    size_t n_merge;
};
enum pmet_status pmet_build_vocab(struct pmet_vocab_builder *b, const json_t *vocab, const char *path,
                                  struct pmet_error *err);
/* One merge, its parts as written; `where` names it in messages. */
enum pmet_status pmet_build_merge(struct pmet_vocab_builder *b, const char *left, size_t n_left,
                                  const char *right, size_t n_right, const char *where,
                                  struct pmet_error *err);
/* One token to cut out. Its id is the vocabulary's, else the next after all; a given id (-1: none)
 * that differs is refused. flags NULL: none are given. Where the token is there already, its flags
 * must be equal; once special it stays so. */
enum pmet_status pmet_build_added(struct pmet_vocab_builder *b, const char *content, json_int_t id,
                                  const struct pmet_added *flags, bool special, struct pmet_error *err);
enum pmet_status pmet_build_end(struct pmet_vocab_builder *b, struct pmet_error *err);

/* content and flags of an object that describes an added token; `where` names it in messages. */
enum pmet_status pmet_read_added_flags(const struct pmet_vocab_builder *b, const json_t *token,
                                       const char *where, const char **content, struct pmet_added *flags,
                                       bool *special, struct pmet_error *err);

/* What stands beside the vocabulary (load_settings.c); root NULL: no such file. */
struct pmet_settings_file {
    char *path;
    json_t *root;
};
/* Which rules of transformers hold: NONE where only the tokenizer's own files are there, ANY for a
 * class that takes tokenizer.json as it is. */
enum pmet_tokenizer_class { PMET_CLASS_NONE, PMET_CLASS_ANY, PMET_CLASS_GPT2, PMET_CLASS_NEOX };
struct pmet_settings {
    struct pmet_settings_file config, map, added, model;
    enum pmet_tokenizer_class class;
};
enum pmet_status pmet_settings_load(const struct pmet_io *io, const char *dir, struct pmet_settings *s,
                                    struct pmet_error *err);
/* After the vocabulary; whole_file: it came from tokenizer.json. */
enum pmet_status pmet_settings_apply(struct pmet_vocab_builder *b, const struct pmet_settings *s,
                                     bool whole_file, struct pmet_error *err);
void pmet_settings_free(struct pmet_settings *s);

enum pmet_status pmet_load_tokenizer_json(struct pmet_vocab_builder *b, const struct pmet_io *io,
                                          const char *path, struct pmet_error *err);
enum pmet_status pmet_load_vocab_merges(struct pmet_vocab_builder *b, const struct pmet_io *io,
                                        const char *dir, struct pmet_error *err);

#endif
