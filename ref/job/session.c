/* SPDX-License-Identifier: MIT */
#include "ref/job/session.h"

#include <stdlib.h>
#include "ref/device/device.h"
#include "ref/event.h"
#include "ref/event.h"
#include "tensors/dtype.h"

/* A faster precision is about matrices of one kind: a model that has none of them is told so. */
static enum pmet_status check_precision(const struct pmet_checkpoint *ck, enum pmet_device device,
                                        struct pmet_error *err)
{
    const bool half = device == PMET_DEVICE_CUDA_HALF;
    if (!half && device != PMET_DEVICE_CUDA_TF32)
        return PMET_OK;
    for (size_t i = 0; i < ck->n_tensor; i++) {
        const struct pmet_tensor *t = pmet_checkpoint_at(ck, i);
        if (t->n_dim == 2 && pmet_dtype_is_float(t->dtype) &&
            half == (t->dtype == PMET_F16 || t->dtype == PMET_BF16))
            return PMET_OK;
    }
    return pmet_fail(err, PMET_UNSUPPORTED, "%s: no matrix is %s: %s would change nothing", ck->dir,
                     half ? "F16 or BF16" : "F32 or F64", half ? "half activations" : "TF32");
}

static enum pmet_status open_model(struct pmet_session *s, enum pmet_device device, struct pmet_error *err)
{
    PMET_TRY(pmet_ops_open(device, s->n_threads, &s->op, err));
    PMET_TRY(check_precision(s->ck, device, err));
    return pmet_model_open(s->ck, s->op, &s->model, err);
}

enum pmet_status pmet_session_open_io(const struct pmet_io *io, const char *dir, enum pmet_device device,
                                      size_t n_threads, struct pmet_session **out, struct pmet_error *err)
{
    struct pmet_session *s;
    struct pmet_error why = {PMET_OK, ""};
    enum pmet_status status;
    PMET_TRY(pmet_calloc(&s, 1, sizeof *s, "a session", err));
    s->io = io;
    s->n_threads = n_threads;
    PMET_GO(pmet_checkpoint_open(io, dir, &s->ck, err));
    status = open_model(s, device, &why);
    if (status == PMET_MEMORY && device == PMET_DEVICE_AUTO && s->op && s->op->own_memory) {
        pmet_ops_free(s->op); /* a GPU that is too small for the model */
        s->op = NULL;
        why = (struct pmet_error){PMET_OK, ""};
        status = open_model(s, PMET_DEVICE_CPU, &why);
    }
    if (status != PMET_OK) {
        *err = why;
        goto done;
    }
    PMET_GO(pmet_tokenizer_open(io, dir, &s->tk, err));
    PMET_GO(pmet_checkpoint_fingerprint(s->ck, s->fingerprint, err));
    PMET_GO(pmet_model_parts(s->model, &s->parts, err));
    *out = s;
    return PMET_OK;
done:
    pmet_session_close(s);
    return status;
}

enum pmet_status pmet_session_open(const char *dir, enum pmet_device device, size_t n_threads,
                                   struct pmet_session **out, struct pmet_error *err)
{
    return pmet_session_open_io(pmet_io_system(), dir, device, n_threads, out, err);
}

void pmet_session_close(struct pmet_session *s)
{
    if (!s)
        return;
    pmet_tokenizer_close(s->tk);
    pmet_model_close(s->model);
    pmet_checkpoint_close(s->ck);
    pmet_ops_free(s->op);
    free(s);
}

void pmet_session_listen(const struct pmet_session *s, const struct pmet_listener *listener)
{
    s->op->stopped = listener && listener->on_event ? pmet_listener_stops : NULL;
    s->op->stopped_user = listener;
}

struct pmet_shape pmet_session_shape(const struct pmet_session *s)
{
    const struct pmet_config *c = &s->model->config;
    return (struct pmet_shape){.family = c->family->name,
                               .n_layer = c->n_layer,
                               .n_head = c->n_head,
                               .d_model = c->d_model,
                               .d_ff = c->d_ff,
                               .n_vocab = c->n_vocab,
                               .n_ctx = c->n_ctx};
}

void pmet_session_notes(const struct pmet_session *s, const struct pmet_listener *listener)
{
    for (size_t i = 0; i < s->model->notes.n; i++)
        pmet_raise_note(listener, s->model->notes.note[i].warning, "%s", s->model->notes.note[i].text);
}

const char *pmet_session_fingerprint(const struct pmet_session *s)
{
    return s->fingerprint;
}

enum pmet_status pmet_session_hparams(const struct pmet_session *s, const struct pmet_hparam_set *set,
                                      const char *path, const struct pmet_listener *listener,
                                      struct pmet_hparams *out, struct pmet_error *err)
{
    const struct pmet_config *config = &s->model->config;
    if (path) {
        PMET_TRY(pmet_hparams_load(s->io, path, set, out, err));
        if (out->passed_over[0])
            pmet_raise_note(listener, false, "%s: passed over, since they say nothing of the method: %s",
                            path, out->passed_over);
        return PMET_OK;
    }
    return pmet_hparams_default(config->family, set, config->n_layer, config->d_model, out, err);
}
