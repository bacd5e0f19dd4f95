/* SPDX-License-Identifier: MIT
 * The opcodes of pickles and their arguments.      SPEC §9.12 */
#include "tensors/pickle_private.h"

#include <string.h>

enum argument { REFUSED, NONE, ONE, TWO, FOUR, TEXT, LONG, LINES };

/* Every opcode that pickles have, by its name; those without an argument form are not for data. */
static const struct {
    const char *name;
    enum argument argument;
} opcodes[256] = {[MARK] = {"MARK", NONE},
                  [STOP] = {"STOP", NONE},
                  [BININT] = {"BININT", FOUR},
                  [BININT1] = {"BININT1", ONE},
                  [BININT2] = {"BININT2", TWO},
                  [NONE_VALUE] = {"NONE", NONE},
                  [BINPERSID] = {"BINPERSID", NONE},
                  [REDUCE] = {"REDUCE", NONE},
                  [BINUNICODE] = {"BINUNICODE", TEXT},
                  [BUILD] = {"BUILD", NONE},
                  [GLOBAL] = {"GLOBAL", LINES},
                  [EMPTY_DICT] = {"EMPTY_DICT", NONE},
                  [BINGET] = {"BINGET", ONE},
                  [LONG_BINGET] = {"LONG_BINGET", FOUR},
                  [BINPUT] = {"BINPUT", ONE},
                  [LONG_BINPUT] = {"LONG_BINPUT", FOUR},
                  [SETITEM] = {"SETITEM", NONE},
                  [TUPLE] = {"TUPLE", NONE},
                  [EMPTY_TUPLE] = {"EMPTY_TUPLE", NONE},
                  [SETITEMS] = {"SETITEMS", NONE},
                  [PROTO] = {"PROTO", ONE},
                  [TUPLE1] = {"TUPLE1", NONE},
                  [TUPLE2] = {"TUPLE2", NONE},
                  [TUPLE3] = {"TUPLE3", NONE},
                  [NEWTRUE] = {"NEWTRUE", NONE},
                  [NEWFALSE] = {"NEWFALSE", NONE},
                  [LONG1] = {"LONG1", LONG},
                  ['0'] = {"POP", REFUSED},
                  ['1'] = {"POP_MARK", REFUSED},
                  ['2'] = {"DUP", REFUSED},
                  ['B'] = {"BINBYTES", REFUSED},
                  ['C'] = {"SHORT_BINBYTES", REFUSED},
                  ['F'] = {"FLOAT", REFUSED},
                  ['G'] = {"BINFLOAT", REFUSED},
                  ['I'] = {"INT", REFUSED},
                  ['L'] = {"LONG", REFUSED},
                  ['P'] = {"PERSID", REFUSED},
                  ['S'] = {"STRING", REFUSED},
                  ['T'] = {"BINSTRING", REFUSED},
                  ['U'] = {"SHORT_BINSTRING", REFUSED},
                  ['V'] = {"UNICODE", REFUSED},
                  ['a'] = {"APPEND", REFUSED},
                  ['d'] = {"DICT", REFUSED},
                  ['e'] = {"APPENDS", REFUSED},
                  ['g'] = {"GET", REFUSED},
                  ['i'] = {"INST", REFUSED},
                  ['l'] = {"LIST", REFUSED},
                  ['o'] = {"OBJ", REFUSED},
                  ['p'] = {"PUT", REFUSED},
                  [']'] = {"EMPTY_LIST", REFUSED},
                  [0x81] = {"NEWOBJ", REFUSED},
                  [0x82] = {"EXT1", REFUSED},
                  [0x83] = {"EXT2", REFUSED},
                  [0x84] = {"EXT4", REFUSED},
                  [0x8b] = {"LONG4", REFUSED},
                  [0x8c] = {"SHORT_BINUNICODE", REFUSED},
                  [0x8d] = {"BINUNICODE8", REFUSED},
                  [0x8e] = {"BINBYTES8", REFUSED},
                  [0x8f] = {"EMPTY_SET", REFUSED},
                  [0x90] = {"ADDITEMS", REFUSED},
                  [0x91] = {"FROZENSET", REFUSED},
                  [0x92] = {"NEWOBJ_EX", REFUSED},
                  [0x93] = {"STACK_GLOBAL", REFUSED},
                  [0x94] = {"MEMOIZE", REFUSED},
                  [0x95] = {"FRAME", REFUSED},
                  [0x96] = {"BYTEARRAY8", REFUSED},
                  [0x97] = {"NEXT_BUFFER", REFUSED},
                  [0x98] = {"READONLY_BUFFER", REFUSED}};

size_t pmet_little_endian(const unsigned char *p, size_t n)
{
    size_t x = 0;
    while (n > 0)
        x = x << 8 | p[--n];
    return x;
}

const char *pmet_opcode_name(unsigned char code)
{
    return opcodes[code].name;
}

static enum pmet_status fail_cut(const struct pmet_pickle_text *t, const struct pmet_pickle_op *op,
                                 struct pmet_error *err)
{
    return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: %s runs past the pickle's %zu bytes", t->where, op->at,
                     opcodes[op->code].name, t->n);
}

enum pmet_status pmet_pickle_next(struct pmet_pickle_text *t, struct pmet_pickle_op *op,
                                  struct pmet_error *err)
{
    if (t->at == t->n)
        return pmet_fail(err, PMET_FORMAT, "%s: found its end at byte %zu; expected STOP", t->where, t->at);
    const unsigned char *arg = t->data + t->at + 1, *newline;
    size_t left = t->n - t->at - 1, n_length = 0, n = 0;
    *op = (struct pmet_pickle_op){.code = t->data[t->at], .at = t->at};
    const enum argument form = opcodes[op->code].argument;
    switch (form) {
    case REFUSED:
        if (!opcodes[op->code].name)
            return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found 0x%02x; expected an opcode", t->where,
                             op->at, op->code);
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: found opcode %s; expected only those of tensors", t->where, op->at,
                         opcodes[op->code].name);
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
