/* SPDX-License-Identifier: MIT
 * Two passes: the first measures the opcodes, so that all memory is taken at once; the second
 * executes them. */
#include "tensors/pickle_private.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct pmet_pickle {
    struct pmet_pickle_text text;
    const struct pmet_pickle_global *globals;
    size_t n_global;
    size_t n_op, n_memo; /* of the first pass: they bound what follows */
    struct pmet_pickle_value *value;
    struct pmet_pickle_entry *entry;
    const struct pmet_pickle_value **item;
    struct pmet_pickle_value **stack, **memo;
    size_t n_value, n_entry, n_item, n_stack, n_memoized;
};

/* ---- first pass ---- */

static enum pmet_status measure(struct pmet_pickle *p, size_t *n_used, struct pmet_error *err)
{
    struct pmet_pickle_op op = {.code = 0};
    size_t memo_at = 0, n_put = 0;
    while (op.code != STOP) {
        PMET_TRY(pmet_pickle_next(&p->text, &op, err));
        if ((op.code == PROTO) != (op.at == 0))
            return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found %s; expected PROTO at byte 0 only",
                             p->text.where, op.at, pmet_opcode_name(op.code));
        if (op.code == PROTO && (op.arg[0] < 2 || op.arg[0] > 5))
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: byte 0: found protocol %d; expected 2 to 5",
                             p->text.where, op.arg[0]);
        n_put += op.code == BINPUT || op.code == LONG_BINPUT || op.code == MEMOIZE;
        if (op.code == BINPUT || op.code == LONG_BINPUT) {
            const size_t index = pmet_little_endian(op.arg, op.n_arg);
            memo_at = index < p->n_memo ? memo_at : op.at;
            p->n_memo = index < p->n_memo ? p->n_memo : index + 1;
        }
        if (++p->n_op > PMET_MAX_OPCODE)
            return pmet_fail(err, PMET_UNSUPPORTED, "%s: byte %zu: found more than %zu opcodes",
                             p->text.where, op.at, PMET_MAX_OPCODE);
    }
    if (n_used)
        *n_used = p->text.at;
    else if (p->text.at != p->text.n)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found %zu bytes after STOP; expected none",
                         p->text.where, p->text.at, p->text.n - p->text.at);
    if (p->n_memo > p->n_op) /* picklers count from 0 */
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found memo %zu; expected one below the %zu opcodes",
                         p->text.where, memo_at, p->n_memo - 1, p->n_op);
    p->n_memo = p->n_memo < n_put ? n_put : p->n_memo; /* MEMOIZE counts on */
    p->text.at = 0;
    return PMET_OK;
}

/* An opcode makes at most one value and pushes at most one; what is pushed is taken into an item or
 * an entry at most once. So n_op bounds all of them. */
static enum pmet_status reserve(struct pmet_pickle *p, struct pmet_error *err)
{
    PMET_TRY(pmet_calloc(&p->value, p->n_op, sizeof *p->value, p->text.where, err));
    PMET_TRY(pmet_calloc(&p->entry, p->n_op, sizeof *p->entry, p->text.where, err));
    PMET_TRY(pmet_calloc(&p->item, p->n_op, sizeof *p->item, p->text.where, err));
    PMET_TRY(pmet_calloc(&p->stack, p->n_op, sizeof *p->stack, p->text.where, err));
    return pmet_calloc(&p->memo, p->n_memo, sizeof *p->memo, p->text.where, err);
}

/* ---- second pass ---- */

static struct pmet_pickle_value *push(struct pmet_pickle *p, enum pmet_pickle_kind kind)
{
    struct pmet_pickle_value *v = &p->value[p->n_value++];
    v->kind = kind;
    p->stack[p->n_stack++] = v;
    return v;
}

static void push_number(struct pmet_pickle *p, enum pmet_pickle_kind kind, int64_t number)
{
    push(p, kind)->number = number;
}

/* The topmost n values: none of them a mark. */
static enum pmet_status need(const struct pmet_pickle *p, const struct pmet_pickle_op *op, size_t n,
                             struct pmet_error *err)
{
    for (size_t i = 1; i <= n; i++)
        if (i > p->n_stack || p->stack[p->n_stack - i]->kind == PMET_PICKLE_MARK)
            return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: %s finds %zu of %zu values on the stack",
                             p->text.where, op->at, pmet_opcode_name(op->code), i - 1, n);
    return PMET_OK;
}

/* How many values lie above the topmost mark. */
static enum pmet_status above_mark(const struct pmet_pickle *p, const struct pmet_pickle_op *op, size_t *n,
                                   struct pmet_error *err)
{
    for (*n = 0; *n < p->n_stack; ++*n)
        if (p->stack[p->n_stack - 1 - *n]->kind == PMET_PICKLE_MARK)
            return PMET_OK;
    return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: %s finds no mark on the stack", p->text.where, op->at,
                     pmet_opcode_name(op->code));
}

static enum pmet_status push_long(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                  struct pmet_error *err)
{
    const size_t n = op->n_arg;
    uint64_t x = n > 0 && op->arg[n - 1] & 0x80 ? UINT64_MAX : 0;
    if (n > 8)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: byte %zu: found an int of %zu bytes; expected at most 8",
                         p->text.where, op->at, n);
    for (size_t i = n; i-- > 0;)
        x = x << 8 | op->arg[i];
    int64_t number;
    memcpy(&number, &x, sizeof number);
    push_number(p, PMET_PICKLE_INT, number);
    return PMET_OK;
}

static enum pmet_status push_text(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                  struct pmet_error *err)
{
    for (size_t i = 0; i < op->n_arg;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(op->arg + i, (utf8proc_ssize_t)(op->n_arg - i), &c);
        if (n <= 0)
            return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: found a str that is not UTF-8", p->text.where,
                             op->at);
        i += (size_t)n;
    }
    struct pmet_pickle_value *v = push(p, PMET_PICKLE_STR);
    v->text = (const char *)op->arg;
    v->n = op->n_arg;
    return PMET_OK;
}

static enum pmet_status push_known(struct pmet_pickle *p, const struct pmet_pickle_op *op, const char *module,
                                   size_t n_module, const char *name, size_t n_name, struct pmet_error *err)
{
    for (size_t i = 0; i < p->n_global; i++) {
        const char *known = p->globals[i].name;
        if (strlen(known) == n_module + 1 + n_name && known[n_module] == ' ' &&
            memcmp(known, module, n_module) == 0 && memcmp(known + n_module + 1, name, n_name) == 0) {
            push(p, PMET_PICKLE_GLOBAL)->global = &p->globals[i];
            return PMET_OK;
        }
    }
    return pmet_fail(err, PMET_UNSUPPORTED,
                     "%s: byte %zu: found the global \"%.*s %.*s\"; expected only those of tensors",
                     p->text.where, op->at, (int)(n_module < 99 ? n_module : 99), module,
                     (int)(n_name < 99 ? n_name : 99), name);
}

static enum pmet_status push_global(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                    struct pmet_error *err)
{
    const char *module = (const char *)op->arg, *name = (const char *)memchr(module, '\n', op->n_arg) + 1;
    const size_t n_module = (size_t)(name - module) - 1;
    return push_known(p, op, module, n_module, name, op->n_arg - n_module - 2, err);
}

/* The same with both names on the stack. */
static enum pmet_status stack_global(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                     struct pmet_error *err)
{
    PMET_TRY(need(p, op, 2, err));
    const struct pmet_pickle_value *name = p->stack[p->n_stack - 1], *module = p->stack[p->n_stack - 2];
    if (name->kind != PMET_PICKLE_STR || module->kind != PMET_PICKLE_STR)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: STACK_GLOBAL of %s and %s; expected two strs",
                         p->text.where, op->at, pmet_pickle_found(module), pmet_pickle_found(name));
    p->n_stack -= 2;
    return push_known(p, op, module->text, module->n, name->text, name->n, err);
}

/* The topmost n values, or if `marked` all above the topmost mark, become a tuple; the mark goes,
 * too. */
static enum pmet_status make_tuple(struct pmet_pickle *p, const struct pmet_pickle_op *op, size_t n,
                                   bool marked, struct pmet_error *err)
{
    PMET_TRY(marked ? above_mark(p, op, &n, err) : need(p, op, n, err));
    const struct pmet_pickle_value **item = p->item + p->n_item;
    for (size_t i = 0; i < n; i++)
        item[i] = p->stack[p->n_stack - n + i];
    p->n_item += n;
    p->n_stack -= n + marked;
    struct pmet_pickle_value *v = push(p, PMET_PICKLE_TUPLE);
    v->item = item;
    v->n = n;
    return PMET_OK;
}

static void add_entry(struct pmet_pickle *p, struct pmet_pickle_value *to, struct pmet_pickle_value *key,
                      struct pmet_pickle_value *value)
{
    struct pmet_pickle_entry *e = &p->entry[p->n_entry++];
    *e = (struct pmet_pickle_entry){key, value, NULL};
    if (to->n++)
        to->last->next = e;
    else
        to->first = e;
    to->last = e;
}

/* `one` values, or if `marked` all above the topmost mark, leave the stack for the container below
 * them: values for a list, keys with values for a dict. */
static enum pmet_status add_items(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                  enum pmet_pickle_kind kind, size_t one, bool marked, struct pmet_error *err)
{
    size_t n = one;
    PMET_TRY(marked ? above_mark(p, op, &n, err) : need(p, op, one + 1, err));
    if (n % one)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: SETITEMS finds a key without a value",
                         p->text.where, op->at);
    struct pmet_pickle_value **item = p->stack + (p->n_stack - n);
    p->n_stack -= n + marked;
    PMET_TRY(need(p, op, 1, err));
    struct pmet_pickle_value *to = p->stack[p->n_stack - 1];
    if (to->kind != kind)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: %s on %s; expected %s", p->text.where, op->at,
                         pmet_opcode_name(op->code), pmet_pickle_found(to),
                         kind == PMET_PICKLE_DICT ? "a dict" : "a list");
    for (size_t i = 0; i < n; i += one)
        add_entry(p, to, one == 2 ? item[i] : NULL, item[i + one - 1]);
    return PMET_OK;
}

static enum pmet_status reduce(struct pmet_pickle *p, const struct pmet_pickle_op *op, struct pmet_error *err)
{
    PMET_TRY(need(p, op, 2, err));
    const struct pmet_pickle_value *args = p->stack[p->n_stack - 1], *callee = p->stack[p->n_stack - 2];
    if (callee->kind != PMET_PICKLE_GLOBAL || args->kind != PMET_PICKLE_TUPLE)
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: REDUCE of %s on %s; expected a global on a tuple", p->text.where,
                         op->at, pmet_pickle_found(callee), pmet_pickle_found(args));
    const struct pmet_pickle_global *g = callee->global;
    if (g->role == PMET_ROLE_NAME || (g->role == PMET_ROLE_DICT && args->n > 0))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: REDUCE of \"%s\" on %zu arguments; expected %s", p->text.where,
                         op->at, g->name, args->n, g->role == PMET_ROLE_NAME ? "no call of it" : "none");
    p->n_stack -= 2;
    struct pmet_pickle_value *v = push(p, g->role == PMET_ROLE_DICT ? PMET_PICKLE_DICT : PMET_PICKLE_CALL);
    v->global = g;
    if (g->role == PMET_ROLE_CALL) {
        v->n = args->n;
        v->item = args->item;
    }
    return PMET_OK;
}

static enum pmet_status persistent_id(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                      struct pmet_error *err)
{
    PMET_TRY(need(p, op, 1, err));
    const struct pmet_pickle_value *id = p->stack[p->n_stack - 1];
    if (id->kind != PMET_PICKLE_TUPLE)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: byte %zu: BINPERSID of %s; expected a tuple",
                         p->text.where, op->at, pmet_pickle_found(id));
    p->n_stack--;
    struct pmet_pickle_value *v = push(p, PMET_PICKLE_PERSISTENT);
    v->n = id->n;
    v->item = id->item;
    return PMET_OK;
}

/* torch adds the versions of modules to the OrderedDict of a model's tensors, which do not depend on
 * them. */
static enum pmet_status build(struct pmet_pickle *p, const struct pmet_pickle_op *op, struct pmet_error *err)
{
    PMET_TRY(need(p, op, 2, err));
    const struct pmet_pickle_value *state = p->stack[p->n_stack - 1], *object = p->stack[p->n_stack - 2];
    if (object->kind != PMET_PICKLE_DICT || !object->global)
        return pmet_fail(err, PMET_UNSUPPORTED, "%s: byte %zu: BUILD on %s; expected an OrderedDict",
                         p->text.where, op->at, pmet_pickle_found(object));
    if (state->kind != PMET_PICKLE_DICT || state->n != 1 || !pmet_pickle_is(state->first->key, "_metadata"))
        return pmet_fail(err, PMET_UNSUPPORTED,
                         "%s: byte %zu: BUILD with %s; expected a dict of _metadata alone", p->text.where,
                         op->at, pmet_pickle_found(state));
    p->n_stack--;
    return PMET_OK;
}

/* MEMOIZE takes the number of what is there as its index. */
static enum pmet_status put(struct pmet_pickle *p, const struct pmet_pickle_op *op, struct pmet_error *err)
{
    PMET_TRY(need(p, op, 1, err));
    const size_t i = op->code == MEMOIZE ? p->n_memoized : pmet_little_endian(op->arg, op->n_arg);
    p->n_memoized += p->memo[i] == NULL;
    p->memo[i] = p->stack[p->n_stack - 1];
    return PMET_OK;
}

static enum pmet_status get(struct pmet_pickle *p, const struct pmet_pickle_op *op, struct pmet_error *err)
{
    const size_t i = pmet_little_endian(op->arg, op->n_arg);
    if (i >= p->n_memo || !p->memo[i])
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: memo %zu is read before it is set", p->text.where,
                         op->at, i);
    p->stack[p->n_stack++] = p->memo[i];
    return PMET_OK;
}

static enum pmet_status execute(struct pmet_pickle *p, const struct pmet_pickle_op *op,
                                struct pmet_error *err)
{
    switch (op->code) {
    case MARK:
        push(p, PMET_PICKLE_MARK);
        break;
    case NONE_VALUE:
        push(p, PMET_PICKLE_NONE);
        break;
    case NEWTRUE:
    case NEWFALSE:
        push_number(p, PMET_PICKLE_BOOL, op->code == NEWTRUE);
        break;
    case BININT:
        push_number(p, PMET_PICKLE_INT, (int32_t)(uint32_t)pmet_little_endian(op->arg, 4));
        break;
    case BININT1:
    case BININT2:
        push_number(p, PMET_PICKLE_INT, (int64_t)pmet_little_endian(op->arg, op->n_arg));
        break;
    case LONG1:
        return push_long(p, op, err);
    case BINFLOAT:
        push(p, PMET_PICKLE_FLOAT);
        break;
    case BINUNICODE:
    case SHORT_BINUNICODE:
    case BINUNICODE8:
        return push_text(p, op, err);
    case GLOBAL:
        return push_global(p, op, err);
    case STACK_GLOBAL:
        return stack_global(p, op, err);
    case EMPTY_LIST:
        push(p, PMET_PICKLE_LIST);
        break;
    case EMPTY_DICT:
        push(p, PMET_PICKLE_DICT);
        break;
    case EMPTY_TUPLE:
        return make_tuple(p, op, 0, false, err);
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
        return make_tuple(p, op, (size_t)(op->code - TUPLE1) + 1, false, err);
    case TUPLE:
        return make_tuple(p, op, 0, true, err);
    case SETITEM:
    case SETITEMS:
        return add_items(p, op, PMET_PICKLE_DICT, 2, op->code == SETITEMS, err);
    case APPEND:
    case APPENDS:
        return add_items(p, op, PMET_PICKLE_LIST, 1, op->code == APPENDS, err);
    case REDUCE:
        return reduce(p, op, err);
    case BINPERSID:
        return persistent_id(p, op, err);
    case BUILD:
        return build(p, op, err);
    case BINPUT:
    case LONG_BINPUT:
    case MEMOIZE:
        return put(p, op, err);
    case BINGET:
    case LONG_BINGET:
        return get(p, op, err);
    default: /* PROTO and STOP: the first pass has checked where they are; FRAME: of no bearing */
        break;
    }
    return PMET_OK;
}

static enum pmet_status run(struct pmet_pickle *p, struct pmet_error *err)
{
    struct pmet_pickle_op op = {.code = 0};
    while (op.code != STOP) {
        PMET_TRY(pmet_pickle_next(&p->text, &op, err));
        PMET_TRY(execute(p, &op, err));
    }
    PMET_TRY(need(p, &op, 1, err));
    if (p->n_stack != 1)
        return pmet_fail(err, PMET_FORMAT, "%s: byte %zu: STOP finds %zu values on the stack; expected 1",
                         p->text.where, op.at, p->n_stack);
    return PMET_OK;
}

enum pmet_status pmet_pickle_read(const void *data, size_t n, const char *where,
                                  const struct pmet_pickle_global *globals, size_t n_global, size_t *n_used,
                                  struct pmet_pickle **out, struct pmet_error *err)
{
    struct pmet_pickle *p;
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&p, 1, sizeof *p, where, err));
    p->text = (struct pmet_pickle_text){where, data, n, 0};
    p->globals = globals;
    p->n_global = n_global;
    PMET_GO(measure(p, n_used, err));
    PMET_GO(reserve(p, err));
    PMET_GO(run(p, err));
    *out = p;
    p = NULL;
done:
    pmet_pickle_free(p);
    return status;
}

void pmet_pickle_free(struct pmet_pickle *p)
{
    if (!p)
        return;
    free(p->value);
    free(p->entry);
    free(p->item);
    free(p->stack);
    free(p->memo);
    free(p);
}

const struct pmet_pickle_value *pmet_pickle_root(const struct pmet_pickle *p)
{
    return p->stack[0];
}

const struct pmet_pickle_value *pmet_pickle_at(const struct pmet_pickle *p, size_t i)
{
    return i < p->n_value ? &p->value[i] : NULL;
}

bool pmet_pickle_is(const struct pmet_pickle_value *v, const char *text)
{
    return v->kind == PMET_PICKLE_STR && v->n == strlen(text) && memcmp(v->text, text, v->n) == 0;
}

const char *pmet_pickle_found(const struct pmet_pickle_value *v)
{
    static const char *const names[] = {"a mark",  "None",     "a bool",  "an int",
                                        "a float", "a str",    "a tuple", "a list",
                                        "a dict",  "a global", "a call",  "a persistent id"};
    return names[v->kind];
}
