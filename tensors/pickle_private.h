/* SPDX-License-Identifier: MIT
 * A pickle as a list of opcodes. */
#ifndef PMET_TENSORS_PICKLE_PRIVATE_H
#define PMET_TENSORS_PICKLE_PRIVATE_H

#include "tensors/pickle.h"

/* Those that are read. */
/* clang-format off */
enum pmet_opcode {
    MARK = '(', STOP = '.', BINFLOAT = 'G', BININT = 'J', BININT1 = 'K', BININT2 = 'M', NONE_VALUE = 'N',
    BINPERSID = 'Q', REDUCE = 'R', BINUNICODE = 'X', APPEND = 'a', BUILD = 'b', GLOBAL = 'c', APPENDS = 'e',
    EMPTY_LIST = ']', EMPTY_DICT = '}', BINGET = 'h', LONG_BINGET = 'j', BINPUT = 'q', LONG_BINPUT = 'r',
    SETITEM = 's', TUPLE = 't', EMPTY_TUPLE = ')', SETITEMS = 'u', PROTO = 0x80, TUPLE1 = 0x85, TUPLE2, TUPLE3,
    NEWTRUE, NEWFALSE, LONG1, SHORT_BINUNICODE = 0x8c, BINUNICODE8, STACK_GLOBAL = 0x93, MEMOIZE, FRAME
};
/* clang-format on */

/* The bytes of a pickle and how far they are read. */
struct pmet_pickle_text {
    const char *where;
    const unsigned char *data;
    size_t n, at;
};

struct pmet_pickle_op {
    unsigned char code;
    size_t at;                /* its byte */
    const unsigned char *arg; /* TEXT, LONG: without their length; LINES: both, newlines included */
    size_t n_arg;
};

const char *pmet_opcode_name(unsigned char code); /* of an opcode that is read */

/* The opcode at text->at, with its argument, which lies within the pickle. */
enum pmet_status pmet_pickle_next(struct pmet_pickle_text *text, struct pmet_pickle_op *op,
                                  struct pmet_error *err);

size_t pmet_little_endian(const unsigned char *p, size_t n); /* a number of at most 8 bytes */

#endif
