/* SPDX-License-Identifier: MIT
 * The opcodes of pickles and their arguments.      SPEC §9.12 */
#include "tensors/pickle_private.h"

#include <string.h>

/* What follows an opcode: nothing, 1, 2, 4 or 8 bytes, a text behind its length of one, four or eight
 * bytes, an int behind its length of one, or two lines. Opcodes that are not for data are refused. */
enum argument { REFUSED, NONE, ONE, TWO, FOUR, EIGHT, TEXT1, TEXT4, TEXT8, LONG, LINES };

static const unsigned char forms[256] = {
    [MARK] = NONE,         [STOP] = NONE,         [BINFLOAT] = EIGHT,   [BININT] = FOUR,
    [BININT1] = ONE,       [BININT2] = TWO,       [NONE_VALUE] = NONE,  [BINPERSID] = NONE,
    [REDUCE] = NONE,       [BINUNICODE] = TEXT4,  [APPEND] = NONE,      [APPENDS] = NONE,
    [BUILD] = NONE,        [GLOBAL] = LINES,      [EMPTY_LIST] = NONE,  [EMPTY_DICT] = NONE,
    [BINGET] = ONE,        [LONG_BINGET] = FOUR,  [BINPUT] = ONE,       [LONG_BINPUT] = FOUR,
    [SETITEM] = NONE,      [TUPLE] = NONE,        [EMPTY_TUPLE] = NONE, [SETITEMS] = NONE,
    [PROTO] = ONE,         [TUPLE1] = NONE,       [TUPLE2] = NONE,      [TUPLE3] = NONE,
    [NEWTRUE] = NONE,      [NEWFALSE] = NONE,     [LONG1] = LONG,       [SHORT_BINUNICODE] = TEXT1,
    [BINUNICODE8] = TEXT8, [STACK_GLOBAL] = NONE, [MEMOIZE] = NONE,     [FRAME] = EIGHT};
/* Bytes of the argument, or of its length. */
static const unsigned char sizes[] = {[ONE] = 1,   [TWO] = 2,   [FOUR] = 4, [EIGHT] = 8, [TEXT1] = 1,
                                      [TEXT4] = 4, [TEXT8] = 8, [LONG] = 1, [LINES] = 0};

/* Every opcode that pickles have. */
/* clang-format off */
static const char *const names[256] = {
    [MARK] = "MARK", [STOP] = "STOP", [BININT] = "BININT", [BININT1] = "BININT1", [BININT2] = "BININT2",
    [NONE_VALUE] = "NONE", [BINPERSID] = "BINPERSID", [REDUCE] = "REDUCE", [BINUNICODE] = "BINUNICODE",
    [BUILD] = "BUILD", [GLOBAL] = "GLOBAL", [EMPTY_DICT] = "EMPTY_DICT", [BINGET] = "BINGET",
    [LONG_BINGET] = "LONG_BINGET", [BINPUT] = "BINPUT", [LONG_BINPUT] = "LONG_BINPUT",
    [SETITEM] = "SETITEM", [TUPLE] = "TUPLE", [EMPTY_TUPLE] = "EMPTY_TUPLE", [SETITEMS] = "SETITEMS",
    [PROTO] = "PROTO", [TUPLE1] = "TUPLE1", [TUPLE2] = "TUPLE2", [TUPLE3] = "TUPLE3", [NEWTRUE] = "NEWTRUE",
    [NEWFALSE] = "NEWFALSE", [LONG1] = "LONG1", [BINFLOAT] = "BINFLOAT", [APPEND] = "APPEND",
    [APPENDS] = "APPENDS", [EMPTY_LIST] = "EMPTY_LIST", [SHORT_BINUNICODE] = "SHORT_BINUNICODE",
    [BINUNICODE8] = "BINUNICODE8", [STACK_GLOBAL] = "STACK_GLOBAL", [MEMOIZE] = "MEMOIZE",
    [FRAME] = "FRAME", ['0'] = "POP", ['1'] = "POP_MARK", ['2'] = "DUP", ['B'] = "BINBYTES",
    ['C'] = "SHORT_BINBYTES", ['F'] = "FLOAT", ['I'] = "INT", ['L'] = "LONG", ['P'] = "PERSID",
    ['S'] = "STRING", ['T'] = "BINSTRING", ['U'] = "SHORT_BINSTRING", ['V'] = "UNICODE", ['d'] = "DICT",
    ['g'] = "GET", ['i'] = "INST", ['l'] = "LIST", ['o'] = "OBJ", ['p'] = "PUT", [0x81] = "NEWOBJ",
    [0x82] = "EXT1", [0x83] = "EXT2", [0x84] = "EXT4", [0x8b] = "LONG4", [0x8e] = "BINBYTES8",
    [0x8f] = "EMPTY_SET", [0x90] = "ADDITEMS", [0x91] = "FROZENSET", [0x92] = "NEWOBJ_EX",
    [0x96] = "BYTEARRAY8", [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER",
};
/* clang-format on */

size_t pmet_little_endian(const unsigned char *p, size_t n)
{
    size_t x = 0;
    while (n > 0)
        x = x << 8 | p[--n];
    return x;
}

const char *pmet_opcode_name(unsigned char code)
{
    return names[code];
}

static enum pmet_status fail_cut(const struct pmet_pickle_text *t, const struct pmet_pickle_op *op,
                                 struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: %s runs past the pickle's %zu bytes", t->where, op->at,
                     names[op->code], t->n);
}

enum pmet_status pmet_pickle_next(struct pmet_pickle_text *t, struct pmet_pickle_op *op,
                                  struct pmet_error *err)
{
    if (t->at == t->n)
        return pmet_fail(err, PMET_FORMAT, "%s: found its end at byte %zu; expected STOP", t->where, t->at);
    const unsigned char *arg = t->data + t->at + 1, *newline;
    size_t left = t->n - t->at - 1, n_length = 0, n = 0;
    *op = (struct pmet_pickle_op){.code = t->data[t->at], .at = t->at};
    const enum argument form = (enum argument)forms[op->code];
    switch (form) {
    case REFUSED:
        if (!names[op->code])
            return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found 0x%02x; expected an opcode", t->where,
                             op->at, op->code);
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: found opcode %s; expected only those of tensors", t->where, op->at,
                         names[op->code]);
    case NONE:
        break;
    case ONE:
    case TWO:
    case FOUR:
    case EIGHT:
        n = sizes[form];
        break;
    case TEXT1:
    case TEXT4:
    case TEXT8:
    case LONG:
        n_length = sizes[form];
        if (left < n_length)
            return fail_cut(t, op, err);
        n = pmet_little_endian(arg, n_length);
        break;
    case LINES:
        for (int line = 0; line < 2; line++) {
            if (!(newline = memchr(arg + n, '\n', left - n < PMET_MAX_STR ? left - n : PMET_MAX_STR)))
                return fail_cut(t, op, err);
            n = (size_t)(newline - arg) + 1;
        }
        break;
    }
    if (n > left - n_length)
        return fail_cut(t, op, err);
    if (n_length > 0 && n > PMET_MAX_STR)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: found a str of %zu bytes; expected at most %zu", t->where, op->at, n,
                         PMET_MAX_STR);
    op->arg = arg + n_length;
    op->n_arg = n;
    t->at += 1 + n_length + n;
    return PMET_OK;
}
