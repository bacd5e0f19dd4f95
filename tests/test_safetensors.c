/* SPDX-License-Identifier: MIT
 * The reader against hand-made files: what the format forbids, each with its message, and what is
 * odd but legal. The list follows the published reader's own tests and attacks; where we are
 * stricter it says so. */
#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include "tensors/safetensors.h"
#include "tests/fault.h"
#include "tests/test.h"

#define H "{\"test\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}"
#define ENTRY(name, dtype, shape, offsets)                                                                   \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{" ENTRY("t", dtype, shape, offsets) "}"

struct sample {
    const char *header;
    size_t n_data;
    const char *message; /* after "x.safetensors: "; NULL: accepted */
};

static void write_sample(const char *path, uint64_t n_claimed, const char *header, size_t n_header,
                         size_t n_data)
{
    const size_t n = 8 + n_header + n_data;
    unsigned char *bytes = calloc(n, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(n_claimed >> 8 * i);
    memcpy(bytes + 8, header, n_header);
    test_write_file(path, bytes, n);
    free(bytes);
}

/* Opens the file; true if that did what was expected. */
static void open_expecting(struct test *t, const char *path, const char *message, enum pmet_status expected,
                           const char *label)
{
    struct pmet_safetensors *st = NULL;
    const enum pmet_status status = pmet_safetensors_open(pmet_io_system(), path, &st, &t->err);
    if (!message
            ? !CHECK_DONE(status)
            : !CHECK_REFUSED(status, expected, test_text(t, "x.safetensors: %s", message)) || !CHECK(!st))
        test_fail(t, "%s", label);
    pmet_safetensors_close(st);
}

static void try_samples(struct test *t, const struct sample *s, size_t n, enum pmet_status expected)
{
    const char *path = test_path("x.safetensors");
    for (size_t i = 0; i < n; i++) {
        const size_t n_header = strlen(s[i].header);
        write_sample(path, n_header, s[i].header, n_header, s[i].n_data);
        open_expecting(t, path, s[i].message, expected, s[i].header);
    }
}
#define TRY(samples, status) try_samples(t, samples, sizeof samples / sizeof *samples, status)

TEST(a_header_length_that_does_not_fit_the_file_is_refused)
{
    static const struct {
        uint64_t n;
        size_t n_header, n_data;
        const char *message;
    } cases[] = {
        {60, 0, 0,
         "byte 0: header of 60 bytes; the file holds 0 after byte 8: is it cut off? copy or download it "
         "again"},
        {1000, 60, 16,
         "byte 0: header of 1000 bytes; the file holds 76 after byte 8: is it cut off? copy or download it "
         "again"},
        {77, 60, 16,
         "byte 0: header of 77 bytes; the file holds 76 after byte 8: is it cut off? copy or download it "
         "again"},
        {60, 30, 0,
         "byte 0: header of 60 bytes; the file holds 30 after byte 8: is it cut off? copy or download it "
         "again"},
        {100000001, 60, 16, "byte 0: header of 100000001 bytes; expected at most 100000000"},
        {0xffffff000000003c, 60, 16,
         "byte 0: header of 18446742974197923900 bytes; expected at most 100000000"},
        {UINT64_MAX, 60, 16, "byte 0: header of 18446744073709551615 bytes; expected at most 100000000"},
        {UINT64_MAX - 7, 60, 16, "byte 0: header of 18446744073709551608 bytes; expected at most 100000000"},
        {(uint64_t)1 << 63, 60, 16,
         "byte 0: header of 9223372036854775808 bytes; expected at most 100000000"},
    };
    const char *path = test_path("x.safetensors");
    CHECK(strlen(H) == 60);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_sample(path, cases[i].n, H, cases[i].n_header, cases[i].n_data);
        open_expecting(t, path, cases[i].message, PMET_FORMAT, cases[i].message);
    }
    test_write_file(path, "", 0);
    open_expecting(t, path, "found 0 bytes; expected at least 8: copy or download it again", PMET_FORMAT,
                   "empty");
    test_write_file(path, "1234567", 7);
    open_expecting(t, path, "found 7 bytes; expected at least 8: copy or download it again", PMET_FORMAT,
                   "7 bytes");
}

TEST(a_header_that_is_not_one_json_object_is_refused)
{
    static const struct sample cases[] = {
        {"\xff", 0, "line 1 column 0: not JSON: unable to decode byte 0xff"},
        {"{", 0, "line 1 column 1: not JSON: string or '}' expected near end of file"},
        {"", 16, "line 1 column 0: not JSON: unexpected token near end of file"},
        {"\xef\xbb\xbf" H, 16, "line 1 column 1: not JSON: invalid token near '\\ufeff'"},
        {"[]", 0, "header: found an array; expected an object"},
        {"null", 0, "header: found null; expected an object"},
        {"\"a\"", 0, "header: found a string; expected an object"},
        {H "x", 16, "line 1 column 61: not JSON: end of file expected near 'x'"},
        {H "{}", 16, "line 1 column 61: not JSON: end of file expected near '{'"},
        {"{\"a\":1,}", 0, "line 1 column 8: not JSON: string or '}' expected near '}'"},
        {"{/* */}", 0, "line 1 column 2: not JSON: string or '}' expected near '/'"},
        {ONE("I32", "[NaN]", "[0,16]"), 16, "line 1 column 32: not JSON: invalid token near 'NaN'"},
        {ONE("I32", "[02]", "[0,8]"), 8, "line 1 column 30: not JSON: invalid token near '0'"},
        {"{\"a\nb\":{}}", 0, "line 1 column 3: not JSON: unexpected newline near '\"a'"},
        {"{\"\\ud83d\":{}}", 0, "line 1 column 9: not JSON: invalid Unicode '\\uD83D' near '\"\\ud83d\"'"},
    };
    TRY(cases, PMET_FORMAT);
    write_sample(test_path("x.safetensors"), 62, H "\0\0", 62, 16);
    open_expecting(t, test_path("x.safetensors"),
                   "line 1 column 61: not JSON: end of file expected near end of file", PMET_FORMAT,
                   "NUL behind");
}

TEST(deep_nesting_is_refused_before_the_stack_ends)
{
    char *deep = test_alloc(t, 200000);
    memset(deep, '[', 200000);
    write_sample(test_path("x.safetensors"), 200000, deep, 200000, 0);
    open_expecting(t, test_path("x.safetensors"),
                   "line 1 column 2049: not JSON: maximum parsing depth reached near '['", PMET_FORMAT,
                   "200000 arrays");
}

TEST(white_space_and_empty_headers_are_taken)
{
    static const struct sample cases[] = {
        {H "\r \t\n", 16, NULL}, {"\t\n" H, 16, NULL}, {"{}", 0, NULL},
        {"{}      ", 0, NULL},   {H "    ", 16, NULL}, {"{\"__metadata__\":{\"a\":\"b\"}}", 0, NULL},
    };
    TRY(cases, PMET_OK);
}

/* Of tensors that begin at one byte the empty ones come first, whatever the header's order. */
TEST(empty_tensors_stand_before_between_and_behind_others)
{
    static const struct sample cases[] = {
        {"{" ENTRY("b", "I32", "[2]", "[0,8]") "," ENTRY("a", "I32", "[0]", "[0,0]") "}", 8, NULL},
        {"{" ENTRY("c", "I32", "[2]", "[8,16]") "," ENTRY("b", "I32", "[2,0]",
                                                          "[8,8]") "," ENTRY("a", "I32", "[2]", "[0,8]") "}",
         16, NULL},
        {"{" ENTRY("a", "I32", "[2]", "[0,8]") "," ENTRY("b", "I32", "[0]", "[8,8]") "}", 8, NULL},
    };
    TRY(cases, PMET_OK);
}

TEST(data_that_the_tensors_do_not_cover_exactly_are_refused)
{
    static const struct sample cases[] = {
        {"{}", 1, "1 bytes follow the last tensor; expected none"},
        {H, 17, "1 bytes follow the last tensor; expected none"},
        {H, 14,
         "tensor \"test\": data_offsets [0,16) do not lie within the 14 bytes of data: is the file cut off? "
         "copy or download it again"},
        {ONE("F32", "[1048576]", "[0,4194304]"), 1,
         "tensor \"t\": data_offsets [0,4194304) do not lie within the 1 bytes of data: is the file cut off? "
         "copy or download it again"},
        {ONE("I32", "[2,2]", "[0,4]"), 4,
         "tensor \"t\": data_offsets [0,4) hold 4 bytes; its shape and dtype take 16"},
        {"{" ENTRY("a", "I32", "[2,2]", "[0,16]") "," ENTRY("b", "I32", "[2,2]", "[0,16]") "}", 16,
         "tensor \"b\" begins at byte 0 of the data; expected 16, where \"a\" ends"},
        {"{" ENTRY("a", "I32", "[2]", "[0,8]") "," ENTRY("b", "I32", "[2]", "[4,12]") "}", 12,
         "tensor \"b\" begins at byte 4 of the data; expected 8, where \"a\" ends"},
        {ONE("I32", "[2,2]", "[4,20]"), 20,
         "tensor \"t\" begins at byte 4 of the data; expected 0, where the header ends"},
        {"{" ENTRY("a", "I32", "[2]", "[0,8]") "," ENTRY("b", "I32", "[2]", "[12,20]") "}", 20,
         "tensor \"b\" begins at byte 12 of the data; expected 8, where \"a\" ends"},
        {ONE("I32", "[2,2]", "[16,0]"), 16,
         "tensor \"t\": data_offsets [16,0) do not lie within the 16 bytes of data"},
        {ONE("I32", "[0]", "[99,99]"), 0,
         "tensor \"t\": data_offsets [99,99) do not lie within the 0 bytes of data: is the file cut off? "
         "copy or download it again"},
        {"{" ENTRY("a", "I32", "[0]", "[4,4]") "," ENTRY("b", "I32", "[2]", "[0,8]") "}", 8,
         "tensor \"a\" begins at byte 4 of the data; expected 8, where \"b\" ends"},
    };
    TRY(cases, PMET_FORMAT);
}

TEST(sizes_that_overflow_are_refused_wherever_a_zero_stands)
{
    static const struct sample cases[] = {
        {ONE("I32", "[2,18446744073709551614]", "[0,16]"), 16,
         "line 1 column 51: not JSON: too big integer near '18446744073709551614'"},
        {ONE("I32", "[2,9223372036854775807]", "[0,16]"), 16, "tensor \"t\": shape: the product overflows"},
        {ONE("I32", "[18446744073709551616]", "[0,16]"), 16,
         "line 1 column 49: not JSON: too big integer near '18446744073709551616'"},
        {ONE("U8", "[9223372036854775807,9223372036854775807,0]", "[0,0]"), 0,
         "tensor \"t\": shape: the product overflows"},
        {ONE("U8", "[0,9223372036854775807,9223372036854775807]", "[0,0]"), 0,
         "tensor \"t\": shape: the product overflows"},
        {ONE("U8", "[0,9223372036854775808,4]", "[0,0]"), 0,
         "line 1 column 49: not JSON: too big integer near '9223372036854775808'"},
        {ONE("U8", "[0,4611686018427387904,4]", "[0,0]"), 0, "tensor \"t\": shape: the product overflows"},
        {ONE("F64", "[0,4611686018427387904]", "[0,0]"), 0, "tensor \"t\": shape: the product overflows"},
        {ONE("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 16,
         "tensor \"t\": data_offsets [0,9223372036854775807) do not lie within the 16 bytes of data: is the "
         "file cut off? copy or download it again"},
    };
    TRY(cases, PMET_FORMAT);
}

TEST(numbers_that_are_no_counts_are_refused)
{
    static const struct sample cases[] = {
        {ONE("I32", "[-2]", "[0,8]"), 8,
         "tensor \"t\": shape: found a negative integer; expected an integer from 0 to 2^63-1"},
        {ONE("I32", "[2]", "[-8,0]"), 8,
         "tensor \"t\": data_offsets: found a negative integer; expected an integer from 0 to 2^63-1"},
        {ONE("I32", "[2.0]", "[0,8]"), 8,
         "tensor \"t\": shape: found a number with a fraction or exponent; expected an integer from 0 to "
         "2^63-1"},
        {ONE("I32", "[2e0]", "[0,8]"), 8,
         "tensor \"t\": shape: found a number with a fraction or exponent; expected an integer from 0 to "
         "2^63-1"},
        {ONE("I32", "[\"2\"]", "[0,8]"), 8,
         "tensor \"t\": shape: found a string; expected an integer from 0 to 2^63-1"},
        {ONE("I32", "[4]", "[0,1.6e1]"), 16,
         "tensor \"t\": data_offsets: found a number with a fraction or exponent; expected an integer from 0 "
         "to 2^63-1"},
        {ONE("I32", "[2]", "[-0,8]"), 8, "byte 56: found -0; expected an integer of 0 or more"},
        {ONE("I32", "[-0]", "[0,0]"), 0, "byte 37: found -0; expected an integer of 0 or more"},
        {ONE("I32", "[2]", "[8]"), 8,
         "tensor \"t\": data_offsets: found an array of another length; expected two integers"},
        {ONE("I32", "[2]", "[0,8,8]"), 8,
         "tensor \"t\": data_offsets: found an array of another length; expected two integers"},
        {ONE("I32", "[2]", "{\"0\":8}"), 8,
         "tensor \"t\": data_offsets: found an object; expected two integers"},
        {ONE("I32", "2", "[0,8]"), 8, "tensor \"t\": shape: found an integer; expected an array"},
        {ONE("I32", "[true]", "[0,8]"), 8,
         "tensor \"t\": shape: found a boolean; expected an integer from 0 to 2^63-1"},
        {ONE("I32", "[null]", "[0,8]"), 8,
         "tensor \"t\": shape: found null; expected an integer from 0 to 2^63-1"},
    };
    TRY(cases, PMET_FORMAT);
}

TEST(odd_but_legal_tensors_are_taken)
{
    static const struct sample cases[] = {
        {ONE("F32", "[2,0]", "[0,0]"), 0, NULL},
        {"{" ENTRY("a", "I32", "[2]", "[0,8]") "," ENTRY("e", "F64", "[0,3]",
                                                         "[8,8]") "," ENTRY("b", "I32", "[2]", "[8,16]") "}",
         16, NULL},
        {"{" ENTRY("a", "U8", "[0]", "[0,0]") "," ENTRY("b", "U8", "[0]", "[0,0]") "}", 0, NULL},
        {"{" ENTRY("b", "U8", "[2]", "[0,2]") "," ENTRY("a", "U8", "[0]", "[0,0]") "}", 2, NULL},
        {ONE("F32", "[]", "[0,4]"), 4, NULL},
        {"{" ENTRY("b", "I32", "[2]", "[8,16]") "," ENTRY("a", "I32", "[2]", "[0,8]") "}", 16, NULL},
        {"{" ENTRY("a", "BOOL", "[1]", "[0,1]") "," ENTRY("b", "F32", "[2]", "[1,9]") "}", 9, NULL},
        {ONE("U8", "[1,1,1,1,1,1,1,2]", "[0,2]"), 2, NULL},
        {"{\"t\":{\"extra\":[1,{}],\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, NULL},
        {"{\"__metadata__\":null," ENTRY("t", "U8", "[2]", "[0,2]") "}", 2, NULL},
        {"{" ENTRY("", "U8", "[2]", "[0,2]") "}", 2, NULL},
        {"{" ENTRY("\\ud83d\\ude00-0\\\"-0", "U8", "[2]", "[0,2]") "}", 2, NULL},
    };
    TRY(cases, PMET_OK);
}

TEST(data_are_found_where_the_header_says)
{
    const char *header = "{" ENTRY("b", "F32", "[2]", "[1,9]") "," ENTRY("a", "BOOL", "[1]", "[0,1]") "}";
    const char *path = test_path("x.safetensors");
    struct pmet_safetensors *st;
    const float w[] = {1.5f, NAN};
    float got[2];
    const size_t n = strlen(header);
    unsigned char *bytes = test_alloc(t, (8 + n + 9) * 1);
    bytes[0] = (unsigned char)n;
    memcpy(bytes + 8, header, n);
    bytes[8 + n] = 7; /* not a truth value: values are not checked */
    memcpy(bytes + 9 + n, w, sizeof w);
    test_write_file(path, bytes, 8 + n + 9);
    if (!CHECK_DONE(pmet_safetensors_open(pmet_io_system(), path, &st, &t->err)))
        return;
    const struct pmet_tensor *a = &st->all.tensor[0], *b = pmet_tensors_find(&st->all, "b");
    CHECK(strcmp(a->name, "a") == 0 && *(const unsigned char *)a->data == 7 && b == &st->all.tensor[1]);
    pmet_to_f32(got, b->data, b->dtype, 2);
    CHECK(got[0] == 1.5f && isnan(got[1]));
    CHECK_STR(st->all.path, path);
    pmet_safetensors_close(st);
}

TEST(entries_that_lack_or_garble_a_field_are_refused)
{
    static const struct sample cases[] = {
        {"{\"t\":{\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         "tensor \"t\": dtype: found nothing; expected a string"},
        {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,2]}}", 2,
         "tensor \"t\": shape: found nothing; expected an array"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[2]}}", 2,
         "tensor \"t\": data_offsets: found nothing; expected two integers"},
        {ONE("XYZ", "[2]", "[0,2]"), 2,
         "tensor \"t\": found dtype \"XYZ\"; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("i32", "[2]", "[0,8]"), 8,
         "tensor \"t\": found dtype \"i32\"; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {"{\"t\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         "tensor \"t\": dtype: found an integer; expected a string"},
        {"{\"t\":null}", 0, "tensor \"t\": found null; expected an object"},
        {"{\"t\":[\"I32\",[2,2],[0,16]]}", 16, "tensor \"t\": found an array; expected an object"},
        {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         "line 1 column 26: duplicate object key near '\"dtype\"'"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0,
         "line 1 column 33: duplicate object key near '\"__metadata__\"'"},
        {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0,
         "line 1 column 28: duplicate object key near '\"a\"'"},
        {"{" ENTRY("t", "U8", "[2]", "[0,2]") "," ENTRY("t", "U8", "[2]", "[0,2]") "}", 2,
         "line 1 column 56: duplicate object key near '\"t\"'"},
        {"{" ENTRY("t", "U8", "[2]", "[0,2]") "," ENTRY("t", "U8", "[2]", "[2,4]") "}", 4,
         "line 1 column 56: duplicate object key near '\"t\"'"},
        {"{" ENTRY("t", "U8", "[2]", "[0,2]") "," ENTRY("\\u0074", "U8", "[2]", "[2,4]") "}", 4,
         "line 1 column 61: duplicate object key near '\"\\u0074\"'"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: \"a\": found an integer; expected a string"},
        {"{\"__metadata__\":{\"a\":null}}", 0, "__metadata__: \"a\": found null; expected a string"},
        {"{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__: \"a\": found an object; expected a string"},
        {"{\"__metadata__\":[]}", 0, "__metadata__: found an array; expected an object"},
        {"{" ENTRY("a\\u0000b", "U8", "[2]", "[0,2]") "}", 2,
         "line 1 column 11: found \\u0000 in a string; expected text without it"},
        {"{\"__metadata__\":{\"a\":\"b\\u0000\"}}", 0,
         "line 1 column 30: found \\u0000 in a string; expected text without it"},
    };
    TRY(cases, PMET_FORMAT);
}

TEST(what_the_format_knows_and_we_do_not_is_refused_as_such)
{
    static const struct sample cases[] = {
        {ONE("I8", "[2]", "[0,2]"), 2,
         "tensor \"t\": dtype I8 is not supported; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("U16", "[1]", "[0,2]"), 2,
         "tensor \"t\": dtype U16 is not supported; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("F8_E4M3", "[2]", "[0,2]"), 2,
         "tensor \"t\": dtype F8_E4M3 is not supported; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("C64", "[1]", "[0,8]"), 8,
         "tensor \"t\": dtype C64 is not supported; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("F4", "[3]", "[0,1]"), 1,
         "tensor \"t\": dtype F4 is not supported; expected F64, F32, F16, BF16, I64, I32, U8 or BOOL"},
        {ONE("U8", "[1,1,1,1,1,1,1,1,2]", "[0,2]"), 2,
         "tensor \"t\": shape: found 9 dimensions; expected at most 8"},
    };
    TRY(cases, PMET_UNSUPPORTED);
}

TEST(folders_and_missing_files_are_reported_by_the_system)
{
    struct pmet_safetensors *st = NULL;
    mkdir(test_path("d"), 0777);
    CHECK_REFUSED(pmet_safetensors_open(pmet_io_system(), test_path("d"), &st, &t->err), PMET_IO,
                  "d: size: Is a directory");
    CHECK_REFUSED(pmet_safetensors_open(pmet_io_system(), test_path("none"), &st, &t->err), PMET_IO,
                  "none: open: No such file or directory");
    write_sample(test_path("x.safetensors"), 60, H, 60, 16);
    for (size_t k = 0; k < 3; k++) {
        struct fault f;
        fault_begin(&f, k, EIO);
        t->err = (struct pmet_error){PMET_OK, ""};
        CHECK(pmet_safetensors_open(&f.io, test_path("x.safetensors"), &st, &t->err) == PMET_IO && f.fired &&
              !st);
    }
}

/* Every byte of a good file is changed in turn, and the file cut at every length: no crash, a
 * message for each refusal, and what opens can be read through. */
TEST(damage_is_refused_or_readable)
{
    char *data;
    size_t n, n_refused = 0;
    unsigned sum = 0;
    const char *path = test_path("x.safetensors");
    CHECK_DONE(
        pmet_read_file(pmet_io_system(), "tests/data/layout.safetensors", SIZE_MAX, &data, &n, &t->err));
    for (size_t i = 0; i < 2 * n; i++) {
        struct pmet_safetensors *st;
        const char kept = data[i % n];
        if (i < n)
            data[i] = (char)(kept ^ (1 << i % 8));
        test_write_file(path, data, i < n ? n : i - n);
        data[i % n] = kept;
        t->err = (struct pmet_error){PMET_OK, ""};
        if (pmet_safetensors_open(pmet_io_system(), path, &st, &t->err) != PMET_OK) {
            n_refused++;
            if (t->err.status == PMET_OK || t->err.message[0] == '\0')
                test_fail(t, "byte %zu: refused without a message", i);
            continue;
        }
        if (i >= n)
            test_fail(t, "cut to %zu bytes: opened", i - n);
        for (size_t k = 0; k < st->all.n; k++)
            for (size_t j = 0; j < st->all.tensor[k].n_bytes; j++)
                sum += ((const unsigned char *)st->all.tensor[k].data)[j];
        pmet_safetensors_close(st);
    }
    CHECK(n_refused > n + 500 && sum > 0);
    free(data);
}

/* A header of n one-byte tensors in an order that is neither the offsets' nor the names'; all at
 * the same place if `stacked`. free() releases it. */
static char *many_tensors(size_t n, bool stacked, size_t *n_text)
{
    char *header = malloc(n * 100), *p = header;
    p += sprintf(p, "{\"__metadata__\":{\"k\":\"v\"}");
    for (size_t i = 0; i < n; i++) {
        const size_t at = stacked ? 0 : i * 7919 % n;
        p += sprintf(p, "," ENTRY("layer.%zu.weight", "U8", "[1]", "[%zu,%zu]"), i, at, at + 1);
    }
    *p++ = '}';
    *n_text = (size_t)(p - header);
    return header;
}

TEST(a_hundred_thousand_tensors_open_in_well_under_a_second)
{
    const size_t n = 100000;
    struct pmet_safetensors *st;
    size_t n_text;
    char *header = many_tensors(n, false, &n_text);
    write_sample(test_path("x.safetensors"), n_text, header, n_text, n);
    free(header);
    const clock_t t0 = clock();
    if (CHECK_DONE(pmet_safetensors_open(pmet_io_system(), test_path("x.safetensors"), &st, &t->err))) {
        char name[64];
        size_t n_wrong = 0;
        for (size_t i = 0; i < n; i++) {
            sprintf(name, "layer.%zu.weight", i);
            n_wrong += pmet_tensors_find(&st->all, name) != &st->all.tensor[i * 7919 % n];
        }
        CHECK(n_wrong == 0);
        pmet_safetensors_close(st);
    }
    const double seconds = (double)(clock() - t0) / CLOCKS_PER_SEC, limit = 5; /* room for sanitizers */
    printf("     %zu tensors opened and found in %.2f s\n", n, seconds);
    CHECK(seconds < limit);
}

/* The published attack: many tensors at one place make a small file look large. */
TEST(a_hundred_thousand_tensors_at_one_place_are_refused)
{
    struct pmet_safetensors *st = NULL;
    size_t n_text;
    char *header = many_tensors(100000, true, &n_text);
    write_sample(test_path("x.safetensors"), n_text, header, n_text, 1);
    free(header);
    CHECK(pmet_safetensors_open(pmet_io_system(), test_path("x.safetensors"), &st, &t->err) == PMET_FORMAT &&
          !st);
    CHECK(strstr(t->err.message, " begins at byte 0 of the data; expected 1, where "));
}
