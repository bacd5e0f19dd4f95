/* SPDX-License-Identifier: MIT
 * pytorch_model.bin: what torch wrote is read as it stands, what is wrong or alive is refused by name.      SPEC §9.12
 * The .bin files of tests/data are torch's own (make_kinds.py beside them). */
#include <unistd.h>
#include "tensors/pickle.h"
#include "tensors/torch_bin.h"
#include "tests/cli.h"
#include "tests/fuzz.h"
#include "tests/test.h"
#include "tests/torch.h"

/* ---- what is read ---- */

TEST(every_type_a_parameter_a_shared_storage_and_metadata_are_read)
{
    static const struct {
        const char *name;
        enum pmet_dtype dtype;
        size_t n_dim, shape[4], n;
        double value[6];
    } expected[] = {{"f64", PMET_F64, 1, {2}, 2, {0.1, -2}},
                    {"f32", PMET_F32, 2, {2, 3}, 6, {0, 1, 2, 3, 4, 5}},
                    {"f16", PMET_F16, 2, {1, 1}, 1, {1.5}},
                    {"bf16", PMET_BF16, 1, {2}, 2, {-3, 0x1p100}},
                    {"i64", PMET_I64, 1, {2}, 2, {0x1p40, -1}},
                    {"i32", PMET_I32, 1, {1}, 1, {-7}},
                    {"u8", PMET_U8, 1, {3}, 3, {255, 0, 1}},
                    {"bool", PMET_BOOL, 4, {1, 1, 2, 2}, 4, {1, 0, 1, 1}},
                    {"scalar", PMET_F32, 0, {0}, 1, {-1e9}},
                    {"empty", PMET_F32, 2, {0, 4}, 0, {0}},
                    {"tied", PMET_F32, 2, {2, 3}, 6, {0, 1, 2, 3, 4, 5}},
                    {"row", PMET_F32, 1, {3}, 3, {3, 4, 5}},
                    {"column", PMET_F32, 2, {3, 1}, 3, {1, 1, 1}}};
    struct pmet_torch_bin *b = NULL;
    if (!CHECK_DONE(pmet_torch_bin_open(pmet_io_system(), "tests/data/kinds.bin", &b, &t->err)))
        return;
    CHECK(pmet_torch_bin_all(b)->n == sizeof expected / sizeof *expected &&
          !pmet_tensors_find(pmet_torch_bin_all(b), "none"));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct pmet_tensor *x = &pmet_torch_bin_all(b)->tensor[i];
        double got[6];
        CHECK_STR(x->name, expected[i].name);
        CHECK(pmet_tensors_find(pmet_torch_bin_all(b), x->name) == x && x->dtype == expected[i].dtype &&
              x->n_elem == expected[i].n && x->n_dim == expected[i].n_dim &&
              memcmp(x->shape, expected[i].shape, x->n_dim * sizeof *x->shape) == 0);
        pmet_to_f64(got, x->data, x->dtype, x->n_elem);
        CHECK_CLOSE(got, expected[i].value, x->n_elem, 0);
    }
    CHECK(pmet_tensors_find(pmet_torch_bin_all(b), "tied")->data ==
          pmet_tensors_find(pmet_torch_bin_all(b), "f32")->data);
    pmet_torch_bin_close(b);
}

/* Protocols 2 to 5, in an archive and in the form before torch 1.6; tensors that are views of one
 * storage; dicts around their dict, with what a trainer keeps beside it; a wrapper's prefix. */
TEST(views_are_read_in_every_form_and_protocol)
{
    static const char *const files[] = {"legacy2", "legacy4", "zip2", "zip3", "zip4", "zip5"};
    static const struct {
        const char *name;
        enum pmet_dtype dtype;
        size_t n_dim, shape[2], n;
        double value[12];
    } expected[] = {{"whole", PMET_F32, 2, {3, 4}, 12, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
                    {"transposed", PMET_F32, 2, {4, 3}, 12, {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}},
                    {"cut", PMET_F32, 2, {2, 2}, 4, {4, 6, 8, 10}},
                    {"row", PMET_F32, 1, {4}, 4, {8, 9, 10, 11}},
                    {"expanded", PMET_F32, 2, {2, 3}, 6, {7, 7, 7, 7, 7, 7}},
                    {"parameter", PMET_BF16, 2, {3, 2}, 6, {0, 3, 1, 4, 2, 5}}};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct pmet_torch_bin *b = NULL;
        if (!CHECK_DONE(pmet_torch_bin_open(pmet_io_system(),
                                            test_text(t, "tests/data/views-%s.bin", files[f]), &b, &t->err)))
            return;
        CHECK(pmet_torch_bin_all(b)->n == sizeof expected / sizeof *expected);
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
            const struct pmet_tensor *x = &pmet_torch_bin_all(b)->tensor[i];
            double got[12];
            CHECK_STR(x->name, expected[i].name);
            CHECK(x->dtype == expected[i].dtype && x->n_elem == expected[i].n &&
                  x->n_dim == expected[i].n_dim &&
                  memcmp(x->shape, expected[i].shape, x->n_dim * sizeof *x->shape) == 0);
            pmet_to_f64(got, x->data, x->dtype, x->n_elem);
            CHECK_CLOSE(got, expected[i].value, x->n_elem, 0);
        }
        pmet_torch_bin_close(b);
    }
}

/* ---- what is refused ---- */

static enum pmet_status load(const char *path, struct pmet_error *err)
{
    struct pmet_torch_bin *b;
    volatile unsigned sum = 0; /* so that the bytes are read */
    PMET_TRY(pmet_torch_bin_open(pmet_io_system(), path, &b, err));
    for (size_t i = 0; i < pmet_torch_bin_all(b)->n; i++) /* all that a tensor says is there */
        for (size_t k = 0; k < pmet_torch_bin_all(b)->tensor[i].n_bytes; k++)
            sum = sum + ((const unsigned char *)pmet_torch_bin_all(b)->tensor[i].data)[k];
    pmet_torch_bin_close(b);
    return PMET_OK;
}

static void expect(struct test *t, const char *path, enum pmet_status expected, const char *message)
{
    const enum pmet_status status = load(path, &t->err);
    const char *base = strrchr(path, '/') + 1, *got = strstr(t->err.message, base);
    if (!CHECK(status == expected))
        test_fail(t, "status %d: %s", (int)status, t->err.message);
    CHECK_STR(got ? got + strlen(base) : t->err.message, message);
    t->err = (struct pmet_error){PMET_OK, ""};
}

/* An archive of the pickle and of data/0, 24 bytes; data/1 is compressed. */
static const char *write_pickle(const void *pickle, size_t n)
{
    static const float six[6];
    struct archive a = {.n_member = 0};
    const char *path = test_path("x.bin");
    archive_add(&a, "x/data.pkl", pickle, n, 0, 0);
    archive_add(&a, "x/data/0", six, sizeof six, 0, 0);
    archive_add(&a, "x/data/1", six, sizeof six, 8, 0);
    archive_end(&a, path);
    return path;
}

#define STR1(c) "X\1\0\0\0" c
#define STORED(type, key, numel)                                                                             \
    "(X\7\0\0\0storagectorch\n" type "\n" STR1(key) "X\3\0\0\0"                                              \
                                                    "cpu" numel "tQ"
#define FLOATS STORED("FloatStorage", "0", "K\6")
#define ORDERED "ccollections\nOrderedDict\n"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define TENSOR(storage, offset, size, stride) REBUILD "(" storage offset size stride "\x89" ORDERED ")RtR"
#define SIX TENSOR(FLOATS, "K\0", "K\6\x85", "K\1\x85")
#define BEGIN "\x80\2"
#define ONE(value) BEGIN "}" STR1("w") value "s."
#define ONE_OF(key) "}" STR1(key) SIX "s"
#define BYTES(literal) literal, sizeof(literal) - 1
#define NO_TENSOR "; expected a tensor, or in some entry a dict of tensors"
#define TENSORS_ONLY "; expected only those of tensors"
/* clang-format off */
/* A pickle that breaks the rules, or keeps them and holds something else, at a byte of it or in
 * tensor "w". */
#define BROKEN_AT(pickle, message) {BYTES(pickle), PMET_FORMAT, ": data.pkl: byte " message}
#define OTHER_AT(pickle, message) {BYTES(pickle), PMET_UNSUPPORTED, ": data.pkl: byte " message}
#define BROKEN_W(value, message) {BYTES(ONE(value)), PMET_FORMAT, ": tensor \"w\": " message}
#define OTHER_W(value, message) {BYTES(ONE(value)), PMET_UNSUPPORTED, ": tensor \"w\": " message}
/* clang-format on */

struct refusal {
    const char *pickle;
    size_t n;
    enum pmet_status status;
    const char *message;
};

static void refuse_all(struct test *t, const struct refusal *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        expect(t, write_pickle(r[i].pickle, r[i].n), r[i].status, r[i].message);
}

TEST(what_a_pickle_would_run_is_refused_by_name)
{
    static const struct refusal cases[] = {
        OTHER_AT(ONE("cposix\nsystem\nX\4\0\0\0true\x85R"),
                 "9: found the global \"posix system\"" TENSORS_ONLY),
        OTHER_AT(ONE("cbuiltins\neval\n"), "9: found the global \"builtins eval\"" TENSORS_ONLY),
        OTHER_AT(ONE("ctorch\nCharStorage\n"), "9: found the global \"torch CharStorage\"" TENSORS_ONLY),
        OTHER_AT(ONE("ctorch\nFloat\n"), "9: found the global \"torch Float\"" TENSORS_ONLY),
        OTHER_AT(ONE("ctorch FloatStorage\n\n"), "9: found the global \"torch FloatStorage \"" TENSORS_ONLY),
        OTHER_AT(ONE("ctorch._utils\n_rebuild_tensor_v2 \n"),
                 "9: found the global \"torch._utils _rebuild_tensor_v2 \"" TENSORS_ONLY),
        OTHER_AT(BEGIN "(cos\nsystem\no.", "14: found opcode OBJ" TENSORS_ONLY),
        OTHER_AT(BEGIN "(S'true'\nios\nsystem\n.", "3: found opcode STRING" TENSORS_ONLY),
        OTHER_AT(BEGIN "\x8c\2os\x8c\6system\x93.", "14: found the global \"os system\"" TENSORS_ONLY),
        OTHER_AT(BEGIN "\x82\1.", "2: found opcode EXT1" TENSORS_ONLY),
        OTHER_AT(BEGIN "\x8f.", "2: found opcode EMPTY_SET" TENSORS_ONLY),
        OTHER_AT(BEGIN "C\1x.", "2: found opcode SHORT_BINBYTES" TENSORS_ONLY),
        BROKEN_AT(BEGIN "NK\1\x93.", "5: STACK_GLOBAL of None and an int; expected two strs"),
        OTHER_AT(BEGIN ORDERED ")\x81.", "28: found opcode NEWOBJ" TENSORS_ONLY),
        BROKEN_AT(BEGIN "\xff.", "2: found 0xff; expected an opcode"),
        OTHER_AT(ONE("ctorch\nFloatStorage\n)R"),
                 "30: REDUCE of \"torch FloatStorage\" on 0 arguments; expected no call of it"),
        OTHER_AT(ONE("K\1)R"), "12: REDUCE of an int on a tuple; expected a global on a tuple"),
        OTHER_AT(ONE(ORDERED "}R"), "35: REDUCE of a global on a dict; expected a global on a tuple"),
        OTHER_AT(ONE(ORDERED "K\1\x85R"),
                 "37: REDUCE of \"collections OrderedDict\" on 1 arguments; expected none"),
        OTHER_AT(ONE("}}b"), "11: BUILD on a dict; expected an OrderedDict"),
        OTHER_AT(BEGIN "}}b.", "4: BUILD on a dict; expected an OrderedDict"),
        OTHER_AT(BEGIN ORDERED ")R}b.", "30: BUILD with a dict; expected a dict of _metadata alone"),
        OTHER_AT(BEGIN ORDERED ")R)b.", "30: BUILD with a tuple; expected a dict of _metadata alone"),
        OTHER_AT(BEGIN ORDERED ")R}X\x0a\0\0\0__setstateNsb.",
                 "47: BUILD with a dict; expected a dict of _metadata alone"),
        OTHER_AT(ONE("K\1Q"), "11: BINPERSID of an int; expected a tuple"),
    };
    refuse_all(t, cases, sizeof cases / sizeof *cases);
}

TEST(a_pickle_that_is_broken_is_refused_at_its_byte)
{
    static const struct refusal cases[] = {
        {BYTES(""), PMET_FORMAT, ": data.pkl: found its end at byte 0; expected STOP"},
        BROKEN_AT("}.", "0: found EMPTY_DICT; expected PROTO at byte 0 only"),
        OTHER_AT("\x80\1}.", "0: found protocol 1; expected 2 to 5"),
        OTHER_AT("\x80\6}.", "0: found protocol 6; expected 2 to 5"),
        BROKEN_AT("\x80\4\x95\0\0\0\0\0\0\0", "2: FRAME runs past the pickle's 10 bytes"),
        BROKEN_AT(BEGIN "\x8d\0\0\0\0\0\0\0\1", "2: BINUNICODE8 runs past the pickle's 11 bytes"),
        BROKEN_AT(BEGIN "\x94.", "2: MEMOIZE finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "}Na.", "4: APPEND on a dict; expected a list"),
        BROKEN_AT(BEGIN "]N(e.", "5: APPENDS on None; expected a list"),
        BROKEN_AT(BEGIN "\x80\2}.", "2: found PROTO; expected PROTO at byte 0 only"),
        {BYTES(BEGIN), PMET_FORMAT, ": data.pkl: found its end at byte 2; expected STOP"},
        {BYTES(BEGIN "}"), PMET_FORMAT, ": data.pkl: found its end at byte 3; expected STOP"},
        BROKEN_AT(BEGIN "}.}.", "4: found 2 bytes after STOP; expected none"),
        BROKEN_AT(BEGIN ".", "2: STOP finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "}}.", "4: STOP finds 2 values on the stack; expected 1"),
        BROKEN_AT(BEGIN "(.", "3: STOP finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "J\1\2.", "2: BININT runs past the pickle's 6 bytes"),
        BROKEN_AT(BEGIN "X\1\0", "2: BINUNICODE runs past the pickle's 5 bytes"),
        BROKEN_AT(BEGIN "X\xff\xff\xff\xff"
                        "w.",
                  "2: BINUNICODE runs past the pickle's 9 bytes"),
        BROKEN_AT(BEGIN "X\2\0\0\0\xc3\x28.", "2: found a str that is not UTF-8"),
        BROKEN_AT(BEGIN "ctorch\nFloat.", "2: GLOBAL runs past the pickle's 15 bytes"),
        OTHER_AT(BEGIN "\x8a\x09\1\2\3\4\5\6\7\1\1.", "2: found an int of 9 bytes; expected at most 8"),
        BROKEN_AT(BEGIN "\x8a\xff\1.", "2: LONG1 runs past the pickle's 6 bytes"),
        BROKEN_AT(BEGIN "K\1t.", "4: TUPLE finds no mark on the stack"),
        BROKEN_AT(BEGIN "K\1\x86.", "4: TUPLE2 finds 1 of 2 values on the stack"),
        BROKEN_AT(BEGIN "(K\1\x86.", "5: TUPLE2 finds 1 of 2 values on the stack"),
        BROKEN_AT(BEGIN "}(" STR1("w") "u.", "10: SETITEMS finds a key without a value"),
        BROKEN_AT(BEGIN "}" STR1("w") "s.", "9: SETITEM finds 2 of 3 values on the stack"),
        BROKEN_AT(BEGIN "K\1" STR1("w") "Ns.", "11: SETITEM on an int; expected a dict"),
        BROKEN_AT(BEGIN "(" STR1("w") "Nu.", "10: SETITEMS finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "((" STR1("w") "Nu.", "11: SETITEMS finds 0 of 1 values on the stack"),
        {BYTES(BEGIN "}K\1" SIX "s."), PMET_UNSUPPORTED,
         ": data.pkl: the name of tensor 0: found an int; expected a str"},
        BROKEN_AT(BEGIN "h\0.", "2: memo 0 is read before it is set"),
        BROKEN_AT(BEGIN "}q\2h\1.", "5: memo 1 is read before it is set"),
        BROKEN_AT(BEGIN "}j\xff\xff\xff\xff.", "3: memo 4294967295 is read before it is set"),
        BROKEN_AT(BEGIN "q\0}.", "2: BINPUT finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "}q\x0ah\x0a.", "3: found memo 10; expected one below the 5 opcodes"),
        BROKEN_AT(BEGIN "}r\xff\xff\xff\xff.", "3: found memo 4294967295; expected one below the 4 opcodes"),
        BROKEN_AT(BEGIN "R.", "2: REDUCE finds 0 of 2 values on the stack"),
        BROKEN_AT(BEGIN "(Q.", "3: BINPERSID finds 0 of 1 values on the stack"),
        BROKEN_AT(BEGIN "b.", "2: BUILD finds 0 of 2 values on the stack"),
    };
    refuse_all(t, cases, sizeof cases / sizeof *cases);
}

TEST(a_tensor_that_does_not_fit_is_refused_by_its_name)
{
    static const struct refusal cases[] = {
        {BYTES(BEGIN "K\7."), PMET_UNSUPPORTED, ": data.pkl: found an int; expected a dict of tensors"},
        {BYTES(ONE("K\7")), PMET_UNSUPPORTED, ": data.pkl: \"w\": found an int" NO_TENSOR},
        {BYTES(ONE("}")), PMET_UNSUPPORTED, ": data.pkl: \"w\": found a dict" NO_TENSOR},
        {BYTES(BEGIN "}(" STR1("v") SIX STR1("w") "K\1K\2\x86u."), PMET_UNSUPPORTED,
         ": tensor \"w\": found a tuple; expected a plain tensor or parameter"},
        OTHER_W(REBUILD "(" FLOATS "tR", "found a call; expected a plain tensor or parameter"),
        OTHER_W("ctorch._utils\n_rebuild_parameter\n(" SIX "\x88}N\x87tR",
                "found a call; expected a plain tensor or parameter"),
        OTHER_W(REBUILD "(" FLOATS "K\0K\6\x85K\1\x85N}tR",
                "found None and a dict as requires_grad and hooks; expected a bool and an empty dict"),
        OTHER_W(REBUILD "(" FLOATS "K\0K\6\x85K\1\x85\x89NtR",
                "found a bool and None as requires_grad and hooks; expected a bool and an empty dict"),
        BROKEN_W(TENSOR("N", "K\0", "K\6\x85", "K\1\x85"),
                 "found None; expected a storage (\"storage\", type, key, device, length)"),
        BROKEN_W(TENSOR("K\1\x85Q", "K\0", "K\6\x85", "K\1\x85"),
                 "found a persistent id; expected a storage (\"storage\", type, key, device, length)"),
        BROKEN_W(TENSOR(STORED("FloatStorage", "7", "K\6"), "K\0", "K\6\x85", "K\1\x85"),
                 "its storage x/data/7 is not in the archive"),
        BROKEN_W(TENSOR(STORED("FloatStorage", "\0", "K\6"), "K\0", "K\6\x85", "K\1\x85"),
                 "its storage x/data/ is not in the archive"),
        OTHER_W(TENSOR(STORED("FloatStorage", "1", "K\6"), "K\0", "K\6\x85", "K\1\x85"),
                "its storage x/data/1 is compressed; expected it stored, as torch.save writes it"),
        BROKEN_W(TENSOR(STORED("FloatStorage", "0", "K\7"), "K\0", "K\6\x85", "K\1\x85"),
                 "its storage x/data/0 holds 24 bytes; expected 7 elements of F32"),
        BROKEN_W(TENSOR(STORED("FloatStorage", "0", "K\5"), "K\0", "K\5\x85", "K\1\x85"),
                 "its storage x/data/0 holds 24 bytes; expected 5 elements of F32"),
        BROKEN_W(TENSOR(STORED("DoubleStorage", "0", "K\6"), "K\0", "K\6\x85", "K\1\x85"),
                 "its storage x/data/0 holds 24 bytes; expected 6 elements of F64"),
        BROKEN_W(
            TENSOR(STORED("FloatStorage", "0", "\x8a\x08\6\0\0\0\0\0\0\x40"), "K\0", "K\6\x85", "K\1\x85"),
            "its storage x/data/0 holds 24 bytes; expected 4611686018427387910 elements of F32"),
        BROKEN_W(TENSOR(STORED("FloatStorage", "0", "J\xff\xff\xff\xff"), "K\0", "K\6\x85", "K\1\x85"),
                 "length: found -1; expected 0 or more"),
        BROKEN_W(TENSOR(FLOATS, "N", "K\6\x85", "K\1\x85"), "offset: found None; expected an int"),
        BROKEN_W(TENSOR(FLOATS, "J\xff\xff\xff\xff", "K\6\x85", "K\1\x85"),
                 "offset: found -1; expected 0 or more"),
        BROKEN_W(TENSOR(FLOATS, "K\1", "K\6\x85", "K\1\x85"),
                 "6 elements from element 1 on; its storage holds 6"),
        BROKEN_W(TENSOR(FLOATS, "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\6\x85", "K\1\x85"),
                 "6 elements from element 9223372036854775807 on; its storage holds 6"),
        BROKEN_W(TENSOR(FLOATS, "K\7", "K\0\x85", "K\1\x85"),
                 "0 elements from element 7 on; its storage holds 6"),
        BROKEN_W(TENSOR(FLOATS, "K\0", "K\6", "K\1\x85"), "size: found an int; expected a tuple"),
        OTHER_W(TENSOR(FLOATS, "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "K\1\x85"),
                "size: found 9 dimensions; expected at most 8"),
        BROKEN_W(TENSOR(FLOATS, "K\0", "K\2K\3\x86", "K\1\x85"),
                 "found 1 strides; expected 2, one a dimension"),
        BROKEN_W(TENSOR(FLOATS, "K\1", "K\2K\3\x86", "K\1K\2\x86"),
                 "6 elements from element 1 on; its storage holds 6"),
        BROKEN_W(TENSOR(FLOATS, "K\0", "K\2K\3\x86", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\2\x86"),
                 "6 elements from element 0 on; its storage holds 6"),
        OTHER_W(TENSOR(FLOATS, "K\0", "J\0\0\0\1\x85", "K\0\x85"),
                "67108864 bytes of views, with those before it; expected at most twice the file's 511"),
        BROKEN_W(TENSOR(FLOATS, "K\0",
                        "\x8a\x08\0\0\0\0\0\0\0\x40"
                        "K\4K\0\x87",
                        "K\0K\0K\1\x87"),
                 "size: the product overflows"),
        BROKEN_W(TENSOR(FLOATS, "K\0", "\x8a\x08\0\0\0\0\0\0\0\x40\x85", "K\1\x85"),
                 "size: the product overflows"),
        {BYTES(BEGIN "}(" STR1("w") SIX STR1("w") SIX "u."), PMET_FORMAT, ": data.pkl: tensor \"w\" twice"},
        {BYTES(BEGIN "}(" STR1("\0") SIX "u."), PMET_FORMAT, ": data.pkl: a NUL in the name of tensor 0"},
    };
    refuse_all(t, cases, sizeof cases / sizeof *cases);
}

TEST(what_means_the_same_is_taken)
{
    static const struct refusal cases[] = {
        {BYTES(ONE(SIX)), PMET_OK, ""},
        {BYTES(BEGIN ORDERED ")R(" STR1("w") SIX "u}X\x09\0\0\0_metadata}sb."), PMET_OK, ""},
        {BYTES(ONE("ctorch._utils\n_rebuild_parameter\n" SIX "\x88" ORDERED ")R\x87R")), PMET_OK, ""},
        {BYTES(ONE(TENSOR(FLOATS, "K\5", "K\1K\1\x86", "K\3K\7\x86"))), PMET_OK,
         ""}, /* one element: any stride */
        {BYTES(ONE(TENSOR(FLOATS, "K\6", "K\0K\3\x86", "K\7K\7\x86"))), PMET_OK,
         ""},                                                          /* none: at the very end */
        {BYTES(ONE(TENSOR(FLOATS, "\x8a\0", ")", ")"))), PMET_OK, ""}, /* a scalar; 0 in no bytes */
        {BYTES(BEGIN "}(" STR1("a") TENSOR(FLOATS "q\1", "K\0", "K\6\x85", "K\1\x85") STR1("b")
                   TENSOR("h\1", "K\0", "K\6\x85", "K\1\x85") "u."),
         PMET_OK, ""},
        {BYTES(BEGIN "}(" STR1("a") "q\1" SIX "r\1\0\0\0" STR1("b") "j\1\0\0\0u."), PMET_OK, ""},
        {BYTES(BEGIN "}(u."), PMET_OK, ""},                                           /* no tensors */
        {BYTES(ONE(TENSOR(FLOATS, "K\0", "K\2K\3\x86", "K\1K\2\x86"))), PMET_OK, ""}, /* transposed */
        {BYTES(ONE("ctorch._utils\n_rebuild_tensor\n(" FLOATS "K\0"
                   "K\6\x85"
                   "K\1\x85"
                   "tR")),
         PMET_OK, ""},
        {BYTES(BEGIN "}(" STR1("e") ONE_OF("v") "X\5\0\0\0model" ONE_OF("w") "u."), PMET_OK, ""},
        {BYTES(BEGIN "}(" STR1("e") ONE_OF("v") STR1("f") "K\1u."), PMET_OK, ""},
        {BYTES(BEGIN "}(" STR1("e") ONE_OF("v") STR1("f") ONE_OF("w") "u."), PMET_INPUT,
         ": data.pkl: found tensors in \"e\" and in \"f\"; expected one dict of them, or one called "
         "state_dict"},
    };
    refuse_all(t, cases, sizeof cases / sizeof *cases);
}

/* head, n times body, tail */
static void expect_bomb(struct test *t, const char *head, size_t n_head, const char *body, size_t n_body,
                        size_t n, const char *tail, size_t n_tail, enum pmet_status status,
                        const char *message)
{
    struct bytes b = {.n = 0};
    bytes_add(&b, head, n_head);
    for (size_t i = 0; i < n; i++)
        bytes_add(&b, body, n_body);
    bytes_add(&b, tail, n_tail);
    expect(t, write_pickle(b.p, b.n), status, message);
    free(b.p);
}

/* Deep, wide, growing twofold with each byte, or containing itself: all in linear time and without
 * recursion. */
TEST(bombs_do_not_go_off)
{
    static const char tuple[] = ": data.pkl: \"w\": found a tuple" NO_TENSOR;
    expect_bomb(t, BYTES(BEGIN "}" STR1("w") ")"), BYTES("\x85"), 1000000, BYTES("s."), PMET_UNSUPPORTED,
                tuple);
    expect_bomb(t, BYTES(BEGIN "}" STR1("w") ")"), BYTES("q\0h\0\x86"), 200, BYTES("s."), PMET_UNSUPPORTED,
                tuple);
    expect_bomb(t, BYTES(BEGIN "}q\0"), BYTES(STR1("w") "h\0s"), 1, BYTES("."), PMET_UNSUPPORTED,
                ": data.pkl: \"w\": found a dict" NO_TENSOR);
    expect_bomb(t, BYTES(BEGIN "X\0\0\x20\0"), BYTES("abcdefgh"), 1 << 18, BYTES("."), PMET_UNSUPPORTED,
                ": data.pkl: byte 2: found a str of 2097152 bytes; expected at most 1048576");
    /* the one dict that may lead to tensors leads to itself */
    expect_bomb(t, BYTES(BEGIN "}q\0"), BYTES("X\5\0\0\0modelh\0s"), 1, BYTES("."), PMET_UNSUPPORTED,
                ": data.pkl: \"model\": found a dict" NO_TENSOR);
    expect_bomb(t, BYTES(BEGIN), BYTES("(("), 500000, BYTES("t."), PMET_FORMAT,
                ": data.pkl: byte 1000003: STOP finds 1000000 values on the stack; expected 1");
    expect_bomb(t, BYTES(BEGIN "("), BYTES("(t"), 500000, BYTES("t."), PMET_UNSUPPORTED,
                ": data.pkl: found a tuple; expected a dict of tensors");
    expect_bomb(t, BYTES(BEGIN), BYTES("N"), PMET_MAX_OPCODE, BYTES("."), PMET_UNSUPPORTED,
                ": data.pkl: byte 4194305: found more than 4194304 opcodes");
}

/* ---- archives ---- */

static void expect_archive(struct test *t, const char *const *names, const char *const *data, size_t n,
                           enum pmet_status status, const char *message)
{
    struct archive a = {.n_member = 0};
    for (size_t i = 0; i < n; i++)
        archive_add(&a, names[i], data[i], strlen(data[i]), data[i][0] == '!' ? 8 : 0, data[i][0] == '?');
    archive_end(&a, test_path("x.bin"));
    expect(t, test_path("x.bin"), status, message);
}

TEST(an_archive_of_another_kind_is_refused)
{
#define NAMES(...) (const char *const[]){__VA_ARGS__}
#define EMPTY BEGIN "}."
    expect_archive(t, NAMES("a/data.pkl"), NAMES(EMPTY), 1, PMET_OK, "");
    expect_archive(t, NAMES("any name/data.pkl", "any name/byteorder"), NAMES(EMPTY, "little"), 2, PMET_OK,
                   "");
    expect_archive(t, NAMES("data.pkl"), NAMES(EMPTY), 1, PMET_FORMAT,
                   ": holds no data.pkl; expected a file that torch.save wrote");
    expect_archive(t, NAMES("a/b/data.pkl"), NAMES(EMPTY), 1, PMET_FORMAT,
                   ": holds no data.pkl; expected a file that torch.save wrote");
    expect_archive(t, NAMES("a/data.pkl", "b/data.pkl"), NAMES(EMPTY, EMPTY), 2, PMET_FORMAT,
                   ": found a/data.pkl and b/data.pkl; expected one data.pkl");
    expect_archive(t, NAMES("a/data.pkl"), NAMES("!"), 1, PMET_UNSUPPORTED,
                   ": data.pkl is compressed; expected it stored, as torch.save writes it");
    expect_archive(t, NAMES("a/data.pkl"), NAMES("?"), 1, PMET_UNSUPPORTED,
                   ": data.pkl is encrypted; expected it stored, as torch.save writes it");
    expect_archive(t, NAMES("a/data.pkl", "a/byteorder"), NAMES(EMPTY, "big"), 2, PMET_UNSUPPORTED,
                   ": byteorder: found \"big\"; expected \"little\"");
    expect_archive(t, NAMES("a/data.pkl", "a/byteorder"), NAMES(EMPTY, "!"), 2, PMET_UNSUPPORTED,
                   ": byteorder: found \"\"; expected \"little\"");
    expect(t, "tests/data/legacy.bin", PMET_OK, "");
    expect(t, "tests/data/transposed.bin", PMET_OK, "");
    expect(t, "tests/data/layout.safetensors", PMET_FORMAT,
           ": found no end record; expected a zip archive that is complete: copy or download it again");
    test_write_file(test_path("x.bin"), "", 0);
    expect(t, test_path("x.bin"), PMET_FORMAT, ": found 0 bytes; expected a zip archive");
    size_t n;
    char *data = test_slurp(t, "tests/data/kinds.bin", &n);
    test_write_file(test_path("x.bin"), data, n - 1);
    expect(t, test_path("x.bin"), PMET_FORMAT,
           ": found no end record; expected a zip archive that is complete: copy or download it again");
}

/* ---- damage ---- */

static void damage(struct test *t, const char *file, unsigned seed, bool cut)
{
    size_t n;
    char *data = test_slurp(t, file, &n);
    const size_t n_taken = fuzz(t, data, n, 6000, seed, load);
    CHECK(n_taken > 100 && n_taken < 5900);
    for (size_t i = 0; cut && i < n; i++) { /* cut at every byte */
        unlink(test_path("x.bin"));
        test_write_file(test_path("x.bin"), data, i);
        CHECK(load(test_path("x.bin"), &t->err) == PMET_FORMAT);
    }
}

TEST(damage_never_leads_outside_the_file)
{
    damage(t, "tests/data/kinds.bin", 0x7061, true);
    damage(t, "tests/data/views-zip4.bin", 0x7062, true);
    damage(t, "tests/data/views-legacy2.bin", 0x7063, true);
    damage(t, "tests/data/views-legacy4.bin", 0x7064, true);
}
