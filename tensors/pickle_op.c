/* SPDX-License-Identifier: MIT
 * The opcodes of pickles and their arguments.      SPEC §9.12 */
#include "tensors/pickle_private.h"

#include <string.h>

/* What follows an opcode: nothing, 1, 2 or 4 bytes, a text behind its length of four bytes, an int
 * behind its length of one, or two lines. Opcodes that are not for data are refused. */
enum argument { REFUSED, NONE, ONE, TWO, FOUR, TEXT, LONG, LINES };

static const unsigned char forms[256] = {
    [MARK] = NONE,        [STOP] = NONE,       [BININT] = FOUR, [BININT1] = ONE,      [BININT2] = TWO,
    [NONE_VALUE] = NONE,  [BINPERSID] = NONE,  [REDUCE] = NONE, [BINUNICODE] = TEXT,  [BUILD] = NONE,
    [GLOBAL] = LINES,     [EMPTY_DICT] = NONE, [BINGET] = ONE,  [LONG_BINGET] = FOUR, [BINPUT] = ONE,
    [LONG_BINPUT] = FOUR, [SETITEM] = NONE,    [TUPLE] = NONE,  [EMPTY_TUPLE] = NONE, [SETITEMS] = NONE,
    [PROTO] = ONE,        [TUPLE1] = NONE,     [TUPLE2] = NONE, [TUPLE3] = NONE,      [NEWTRUE] = NONE,
    [NEWFALSE] = NONE,    [LONG1] = LONG};

/* Every opcode that pickles have. */
/* clang-format off */
static const char *const names[256] = {
    [MARK] = "MARK", [STOP] = "STOP", [BININT] = "BININT", [BININT1] = "BININT1", [BININT2] = "BININT2",
    [NONE_VALUE] = "NONE", [BINPERSID] = "BINPERSID", [REDUCE] = "REDUCE", [BINUNICODE] = "BINUNICODE",
    [BUILD] = "BUILD", [GLOBAL] = "GLOBAL", [EMPTY_DICT] = "EMPTY_DICT", [BINGET] = "BINGET",
    [LONG_BINGET] = "LONG_BINGET", [BINPUT] = "BINPUT", [LONG_BINPUT] = "LONG_BINPUT", [SETITEM] = "SETITEM",
    [TUPLE] = "TUPLE", [EMPTY_TUPLE] = "EMPTY_TUPLE", [SETITEMS] = "SETITEMS", [PROTO] = "PROTO",
    [TUPLE1] = "TUPLE1", [TUPLE2] = "TUPLE2", [TUPLE3] = "TUPLE3", [NEWTRUE] = "NEWTRUE",
    [NEWFALSE] = "NEWFALSE", [LONG1] = "LONG1", ['0'] = "POP", ['1'] = "POP_MARK", ['2'] = "DUP",
    ['B'] = "BINBYTES", ['C'] = "SHORT_BINBYTES", ['F'] = "FLOAT", ['G'] = "BINFLOAT", ['I'] = "INT",
    ['L'] = "LONG", ['P'] = "PERSID", ['S'] = "STRING", ['T'] = "BINSTRING", ['U'] = "SHORT_BINSTRING",
    ['V'] = "UNICODE", ['a'] = "APPEND", ['d'] = "DICT", ['e'] = "APPENDS", ['g'] = "GET", ['i'] = "INST",
    ['l'] = "LIST", ['o'] = "OBJ", ['p'] = "PUT", [0x81] = "NEWOBJ", [0x82] = "EXT1", [0x83] = "EXT2",
    [0x84] = "EXT4", [0x8b] = "LONG4", [0x8c] = "SHORT_BINUNICODE", [0x8d] = "BINUNICODE8",
    [0x8e] = "BINBYTES8", [0x8f] = "EMPTY_SET", [0x90] = "ADDITEMS", [0x91] = "FROZENSET",
    [0x92] = "NEWOBJ_EX", [0x93] = "STACK_GLOBAL", [0x94] = "MEMOIZE", [0x95] = "FRAME",
    [0x96] = "BYTEARRAY8", [0x97] = "NEXT_BUFFER", [0x98] = "READONLY_BUFFER", [']'] = "EMPTY_LIST",
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
        n = form == ONE ? 1 : form == TWO ? 2 : 4;
        break;
    case TEXT:
    case LONG:
        n_length = form == TEXT ? 4 : 1;
        if (left < n_length)
            return fail_cut(t, op, err);
        n = pmet_little_endian(arg, n_length);
        break;
    case LINES:
        for (int line = 0; line < 2; line++) {
            if (!(newline = memchr(arg + n, '\n', left - n)))
                return fail_cut(t, op, err);
            n = (size_t)(newline - arg) + 1;
        }
        break;
    }
    if (n > left - n_length)
        return fail_cut(t, op, err);
    op->arg = arg + n_length;
    op->n_arg = n;
    t->at += 1 + n_length + n;
    return PMET_OK;
}
