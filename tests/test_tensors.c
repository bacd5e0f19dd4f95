/* SPDX-License-Identifier: MIT
 * Element types, the safetensors writer, SHA-256. */
#include "tensors/dtype.h"
#include "tensors/safetensors.h"
#include "tensors/sha256.h"
#include "tests/test.h"

static uint32_t bits(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static uint64_t bits64(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

/* The formats' own definition: (-1)^s 2^(e-bias) 1.f, or without the 1 at e = 0. */
static double value_of(unsigned h, int n_fraction, int bias)
{
    const int e = (int)(h & 0x7fff) >> n_fraction, e_max = 0x7fff >> n_fraction;
    const double f = h & ((1u << n_fraction) - 1), one = ldexp(1, n_fraction);
    const double sign = h & 0x8000 ? -1 : 1;
    if (e == e_max)
        return f > 0 ? nan("") : sign * HUGE_VAL;
    return sign * (e == 0 ? ldexp(f, 1 - bias - n_fraction) : ldexp(one + f, e - bias - n_fraction));
}

TEST(every_f16_and_bf16_has_the_value_of_its_definition)
{
    for (unsigned h = 0; h < 65536; h++) {
        const double f16 = value_of(h, 10, 15), bf16 = value_of(h, 7, 127);
        const float a = pmet_f16_to_f32((uint16_t)h), b = pmet_bf16_to_f32((uint16_t)h);
        if (!(isnan(f16) ? isnan(a) : bits64((double)a) == bits64(f16)) ||
            !(isnan(bf16) ? isnan(b) : bits64((double)b) == bits64(bf16)))
            test_fail(t, "pattern %04x: f16 %a, expected %a; bf16 %a, expected %a", h, (double)a, f16,
                      (double)b, bf16);
    }
    CHECK(bits(pmet_f16_to_f32(0x8000)) == 0x80000000);
    CHECK(bits(pmet_f16_to_f32(0x7c01)) == 0x7fc02000); /* NaN: quiet, its other bits kept */
}

TEST(every_f16_and_bf16_comes_back_from_float_and_double)
{
    for (unsigned h = 0; h < 65536; h++) {
        const bool nan16 = (h & 0x7fff) > 0x7c00, nanb = (h & 0x7fff) > 0x7f80;
        const float a = pmet_f16_to_f32((uint16_t)h), b = pmet_bf16_to_f32((uint16_t)h);
        const double da = (double)a, db = (double)b;
        uint16_t got[4];
        got[0] = pmet_f32_to_f16(a);
        got[1] = pmet_f32_to_bf16(b);
        pmet_from_f64(&got[2], PMET_F16, &da, 1);
        pmet_from_f64(&got[3], PMET_BF16, &db, 1);
        const uint16_t w16 = (uint16_t)(nan16 ? h | 0x200 : h), wb = (uint16_t)(nanb ? h | 0x40 : h);
        if (got[0] != w16 || got[1] != wb || got[2] != w16 || got[3] != wb)
            test_fail(t, "pattern %04x: f16 %04x %04x, bf16 %04x %04x", h, got[0], got[2], got[1], got[3]);
    }
    CHECK(true);
}

/* Rounds x to 16 bits by the definition: the neighbour that is nearer, the even one of two equally
 * near. The value past the greatest finite one counts as 2^(e_max + 1), as IEEE 754 has it. */
static uint16_t nearest(double x, int n_fraction, int bias)
{
    const unsigned inf = (0x7fffu >> n_fraction) << n_fraction, sign = signbit(x) ? 0x8000 : 0;
    const double a = fabs(x);
    unsigned lo = 0, hi = inf; /* value(lo) <= a, in the order of the patterns */
    while (hi - lo > 1) {
        const unsigned mid = (lo + hi) / 2;
        if (value_of(mid, n_fraction, bias) <= a)
            lo = mid;
        else
            hi = mid;
    }
    const double above = hi == inf ? ldexp(1, bias + 1) : value_of(hi, n_fraction, bias);
    const double down = a - value_of(lo, n_fraction, bias), up = above - a; /* exact: lo and hi are close */
    return (uint16_t)(sign | (down < up || (down == up && lo % 2 == 0) ? lo : hi));
}

static void check_rounding(struct test *t, double x)
{
    const double both[] = {x, -x};
    for (int i = 0; i < 2; i++) {
        const uint16_t w16 = nearest(both[i], 10, 15), wb = nearest(both[i], 7, 127);
        uint16_t g16, gb;
        pmet_from_f64(&g16, PMET_F16, &both[i], 1);
        pmet_from_f64(&gb, PMET_BF16, &both[i], 1);
        if (g16 != w16 || gb != wb)
            test_fail(t, "double %a: f16 %04x, expected %04x; bf16 %04x, expected %04x", both[i], g16, w16,
                      gb, wb);
        const float f = (float)both[i];
        if ((double)f != both[i])
            continue;
        g16 = pmet_f32_to_f16(f);
        gb = pmet_f32_to_bf16(f);
        if (g16 != w16 || gb != wb)
            test_fail(t, "float %a: f16 %04x, expected %04x; bf16 %04x, expected %04x", both[i], g16, w16, gb,
                      wb);
    }
}

TEST(ties_go_to_even_and_their_neighbours_do_not)
{
    for (unsigned h = 0; h < 0x7f80; h++)
        for (int kind = 0; kind < 2; kind++) {
            const int n_fraction = kind ? 7 : 10, bias = kind ? 127 : 15;
            const unsigned inf = kind ? 0x7f80 : 0x7c00;
            if (h >= inf)
                continue;
            const double lo = value_of(h, n_fraction, bias);
            const double hi = h + 1 == inf ? ldexp(1, bias + 1) : value_of(h + 1, n_fraction, bias);
            const double tie = lo + (hi - lo) / 2;
            check_rounding(t, tie);
            check_rounding(t, nextafter(tie, 0)); /* a double that float would round onto the tie */
            check_rounding(t, nextafter(tie, HUGE_VAL));
            check_rounding(t, (double)nextafterf((float)tie, 0));
            check_rounding(t, (double)nextafterf((float)tie, INFINITY));
        }
    CHECK(true);
}

TEST(rounding_of_seeded_numbers_is_the_definition)
{
    struct test_rng r = {0x5eed};
    for (int i = 0; i < 20000; i++)
        check_rounding(t, ldexp(1 + test_rng_uniform(&r), (int)(test_rng_next(&r) % 300) - 160));
    CHECK(true);
}

TEST(extremes_become_infinity_zero_and_quiet_nan)
{
    static const double in[] = {65519.999, 65520, 1e300,  -1e300,   0x1p-25,
                                0x1.8p-25, -0.0,  5e-324, HUGE_VAL, -HUGE_VAL};
    static const uint16_t f16[] = {0x7bff, 0x7c00, 0x7c00, 0xfc00, 0, 1, 0x8000, 0, 0x7c00, 0xfc00};
    uint16_t got[10];
    pmet_from_f64(got, PMET_F16, in, 10);
    CHECK(memcmp(got, f16, sizeof f16) == 0);
    static const double big[] = {0x1.fefffffp127, 0x1.ffp127, 0x1.fffffffffffffp127, 1e300};
    static const uint16_t bf16[] = {0x7f7f, 0x7f80, 0x7f80, 0x7f80};
    pmet_from_f64(got, PMET_BF16, big, 4);
    CHECK(memcmp(got, bf16, sizeof bf16) == 0);
    const uint32_t nan_bits[] = {0x7f800001, 0xffc12345, 0x7fffffff};
    float q[3];
    memcpy(q, nan_bits, sizeof q);
    CHECK(pmet_f32_to_f16(q[0]) == 0x7e00 && pmet_f32_to_bf16(q[0]) == 0x7fc0);
    CHECK(pmet_f32_to_f16(q[1]) == 0xfe09 && pmet_f32_to_bf16(q[1]) == 0xffc1);
    CHECK(pmet_f32_to_f16(q[2]) == 0x7fff && pmet_f32_to_bf16(q[2]) == 0x7fff);
    const double dnan = nan("");
    pmet_from_f64(got, PMET_F16, &dnan, 1);
    pmet_from_f64(got + 1, PMET_BF16, &dnan, 1);
    CHECK((got[0] & 0x7fff) > 0x7c00 && (got[1] & 0x7fff) > 0x7f80);
}

/* Past a block of 4096, at odd addresses; the largest finite values are none. */
TEST(the_first_nan_or_infinity_is_found_in_every_float_dtype)
{
    static const struct {
        enum pmet_dtype dtype;
        uint64_t largest, bad[4]; /* infinity, its negative, NaN, a signalling one */
    } cases[] = {
        {PMET_F16, 0xfbff, {0x7c00, 0xfc00, 0x7e00, 0x7c01}},
        {PMET_BF16, 0xff7f, {0x7f80, 0xff80, 0x7fc0, 0x7f81}},
        {PMET_F32, 0xff7fffff, {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001}},
        {PMET_F64,
         UINT64_C(0xffefffffffffffff),
         {UINT64_C(0x7ff) << 52, UINT64_C(0xfff) << 52, UINT64_C(0x7ff8) << 48, (UINT64_C(0x7ff) << 52) + 1}},
        {PMET_I32, UINT32_MAX, {0x7f800000, 0xff800000, 0, 1}},
    };
    static const size_t at[] = {0, 1, 4095, 4096, 9000};
    enum { N = 9001 };
    unsigned char *raw = (unsigned char *)test_alloc(t, 8 * N + 1) + 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const enum pmet_dtype dtype = cases[i].dtype;
        const size_t size = pmet_dtype_size(dtype);
        for (size_t b = 0; b < 4; b++) {
            for (size_t k = 0; k < N; k++)
                memcpy(raw + k * size, &cases[i].largest, size);
            CHECK(pmet_first_not_finite(raw, dtype, N) == N && pmet_first_not_finite(raw, dtype, 0) == 0);
            for (size_t k = 5; k-- > 0;) { /* the first of those that are there */
                memcpy(raw + at[k] * size, &cases[i].bad[b], size);
                CHECK(pmet_first_not_finite(raw, dtype, N) == (pmet_dtype_is_float(dtype) ? at[k] : N));
            }
        }
    }
}

TEST(all_dtypes_convert_from_unaligned_memory)
{
    unsigned char raw[8 * 3 + 1];
    const int64_t i64[] = {-1, INT64_C(1) << 62, 9007199254740993}; /* the last is halfway between doubles */
    const int32_t i32[] = {INT32_MIN, 0, 16777217};
    const unsigned char u8[] = {0, 1, 255};
    const double f64[] = {0.1, -HUGE_VAL, 1e-320};
    double d[3];
    float f[3];
    memcpy(raw + 1, i64, sizeof i64);
    pmet_to_f64(d, raw + 1, PMET_I64, 3);
    CHECK(d[0] == -1 && d[1] == 0x1p62 && d[2] == 9007199254740992);
    pmet_to_f32(f, raw + 1, PMET_I64, 3);
    CHECK(f[0] == -1 && f[1] == 0x1p62f && f[2] == 9007199254740992.f);
    memcpy(raw + 1, i32, sizeof i32);
    pmet_to_f64(d, raw + 1, PMET_I32, 3);
    pmet_to_f32(f, raw + 1, PMET_I32, 3);
    CHECK(d[0] == -2147483648. && d[1] == 0 && d[2] == 16777217 && f[2] == 16777216);
    pmet_to_f64(d, u8, PMET_U8, 3);
    pmet_to_f32(f, u8, PMET_BOOL, 3);
    CHECK(d[2] == 255 && f[0] == 0 && f[1] == 1);
    memcpy(raw + 1, f64, sizeof f64);
    pmet_to_f64(d, raw + 1, PMET_F64, 3);
    pmet_to_f32(f, raw + 1, PMET_F64, 3);
    CHECK(memcmp(d, f64, sizeof d) == 0 && f[0] == 0.1f && isinf(f[1]) && f[2] == 0);
    pmet_to_f32(f, raw + 1, PMET_F32, 0);
    for (enum pmet_dtype k = PMET_F64; k <= PMET_BOOL; k++) {
        enum pmet_dtype back;
        CHECK(pmet_dtype_parse(pmet_dtype_name(k), &back) && back == k);
        CHECK(pmet_dtype_is_float(k) == (k <= PMET_BF16));
    }
    CHECK(pmet_dtype_size(PMET_F64) == 8 && pmet_dtype_size(PMET_BF16) == 2 &&
          pmet_dtype_size(PMET_BOOL) == 1);
    enum pmet_dtype unused;
    CHECK(!pmet_dtype_parse("f32", &unused) && !pmet_dtype_parse("", &unused));
}

TEST(float_arrays_round_trip_through_every_float_dtype)
{
    const float in[] = {0, -0.f, 1, -1.5f, 0x1p-14f, 65504, 0x1p-24f};
    for (enum pmet_dtype k = PMET_F64; k <= PMET_BF16; k++) {
        double buffer[7], d[7];
        float out[7];
        pmet_from_f32(buffer, k, in, 7);
        pmet_to_f32(out, buffer, k, 7);
        pmet_to_f64(d, buffer, k, 7);
        for (int i = 0; i < 7; i++)
            CHECK(k == PMET_BF16 && i == 5 ? out[i] == 65536
                                           : bits(out[i]) == bits(in[i]) && d[i] == (double)in[i]);
    }
}

/* tests/data/layout.safetensors is by the published writer (safetensors 0.8.0): all eight dtypes, a
 * scalar and a vector each, and an empty tensor with a name that wants escapes. */
static void rewrite(struct test *t, const char *from)
{
    struct pmet_safetensors *st;
    if (!CHECK_DONE(pmet_safetensors_open(pmet_io_system(), from, &st, &t->err)))
        return;
    const size_t n = st->all.n;
    struct pmet_tensor *tensors = test_alloc(t, (n + 1) * sizeof *tensors);
    for (size_t i = 0; i < n; i++)
        tensors[n - 1 - i] = st->all.tensor[i]; /* the writer's order must not be ours */
    const char *to = test_path("again.safetensors");
    if (CHECK_DONE(pmet_safetensors_write(pmet_io_system(), to, tensors, n, st->meta, st->n_meta, &t->err))) {
        char *a, *b;
        size_t n_a, n_b;
        CHECK_DONE(pmet_read_file(pmet_io_system(), from, SIZE_MAX, &a, &n_a, &t->err));
        CHECK_DONE(pmet_read_file(pmet_io_system(), to, SIZE_MAX, &b, &n_b, &t->err));
        if (!CHECK(n_a == n_b && memcmp(a, b, n_a) == 0))
            test_fail(t, "%s: %.300s\n     ours: %.300s", from, a + 8, b + 8);
        free(a);
        free(b);
    }
    pmet_safetensors_close(st);
}

TEST(the_layout_is_byte_for_byte_the_published_writers)
{
    rewrite(t, "tests/data/layout.safetensors");
    rewrite(t, "golden/gptj-C/model/model-00001-of-00002.safetensors");
}

TEST(what_is_written_is_read_back)
{
    struct test_rng r = {7};
    size_t n = 100000; /* larger than the writer's buffer */
    float *w = test_alloc(t, n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = (float)test_rng_normal(&r);
    const uint16_t h[] = {1, 2, 3};
    const struct pmet_tensor in[] = {test_tensor("h", PMET_BF16, 3, 0, h),
                                     test_tensor("w", PMET_F32, 250, 400, w),
                                     {.name = "e", .dtype = PMET_U8, .n_dim = 2, .shape = {0, 7}}};
    const struct pmet_pair meta[] = {{"a", "1"}, {"\xc3\xa9", "line\nbreak"}};
    const char *path = test_path("rt.safetensors");
    CHECK_DONE(pmet_safetensors_write(pmet_io_system(), path, in, 3, meta, 2, &t->err));
    struct pmet_safetensors *st;
    if (CHECK_DONE(pmet_safetensors_open(pmet_io_system(), path, &st, &t->err))) {
        CHECK(st->all.n == 3 && strcmp(st->all.tensor[0].name, "w") == 0);
        for (size_t i = 0; i < 3; i++) {
            const struct pmet_tensor *g = pmet_tensors_find(&st->all, in[i].name);
            CHECK(g && g->dtype == in[i].dtype && g->n_dim == in[i].n_dim && g->n_bytes == in[i].n_bytes &&
                  memcmp(g->shape, in[i].shape, in[i].n_dim * sizeof *g->shape) == 0 &&
                  (g->n_bytes == 0 || memcmp(g->data, in[i].data, g->n_bytes) == 0));
        }
        CHECK(pmet_tensors_find(&st->all, "x") == NULL && st->n_meta == 3);
        CHECK_STR(pmet_safetensors_metadata(st, "format"), "pt");
        CHECK_STR(pmet_safetensors_metadata(st, "\xc3\xa9"), "line\nbreak");
        CHECK(pmet_safetensors_metadata(st, "b") == NULL);
        pmet_safetensors_close(st);
    }
}

TEST(a_header_that_cannot_be_written_is_refused)
{
    const struct pmet_tensor twice[] = {{.name = "a", .dtype = PMET_U8, .n_dim = 1},
                                        {.name = "a", .dtype = PMET_F32, .n_dim = 1}};
    const struct pmet_tensor bad[] = {{.name = "\xff", .dtype = PMET_U8, .n_dim = 1}};
    CHECK_REFUSED(pmet_safetensors_write(pmet_io_system(), test_path("x"), twice, 2, NULL, 0, &t->err),
                  PMET_INPUT, "x: tensor \"a\" twice");
    CHECK_REFUSED(pmet_safetensors_write(pmet_io_system(), test_path("x"), bad, 1, NULL, 0, &t->err),
                  PMET_INPUT, "x: tensor \"\\xff\": a name that is not UTF-8");
    const size_t n = 100000001;
    char *long_value = test_alloc(t, n);
    memset(long_value, 'v', n - 1);
    long_value[n - 1] = '\0';
    const struct pmet_pair meta = {"k", long_value};
    CHECK_REFUSED(pmet_safetensors_write(pmet_io_system(), test_path("x"), NULL, 0, &meta, 1, &t->err),
                  PMET_INPUT, "x: a header of 100000040 bytes; the format allows 100000000");
}

/* FIPS 180-4's own examples (NIST), and a length for each way of padding. */
TEST(sha256_gives_the_published_digests)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                 {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                 {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"}};
    struct pmet_sha256 s;
    char hex[65];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pmet_sha256_begin(&s);
        pmet_sha256_add(&s, cases[i].text, strlen(cases[i].text));
        pmet_sha256_hex(&s, hex);
        CHECK_STR(hex, cases[i].hex);
    }
    pmet_sha256_begin(&s);
    for (int i = 0; i < 1000000; i += 125) { /* a million 'a', in pieces that straddle blocks */
        char a[125];
        memset(a, 'a', sizeof a);
        pmet_sha256_add(&s, a, sizeof a);
    }
    pmet_sha256_hex(&s, hex);
    CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
