/* SPDX-License-Identifier: MIT
 * The names and ids of torch.save's pickles.      SPEC §9.12 */
#include "tensors/torch_private.h"

const struct pmet_pickle_global pmet_torch_names[PMET_TORCH_N_NAME] = {
    [PMET_TORCH_ORDERED_DICT] = {"collections OrderedDict", PMET_ROLE_DICT},
    [PMET_TORCH_REBUILD_TENSOR] = {"torch._utils _rebuild_tensor_v2", PMET_ROLE_CALL},
    [PMET_TORCH_REBUILD_TENSOR_V1] = {"torch._utils _rebuild_tensor", PMET_ROLE_CALL},
    [PMET_TORCH_REBUILD_PARAMETER] = {"torch._utils _rebuild_parameter", PMET_ROLE_CALL},
    [PMET_TORCH_STORAGE + PMET_F64] = {"torch DoubleStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_F32] = {"torch FloatStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_F16] = {"torch HalfStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_BF16] = {"torch BFloat16Storage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_I64] = {"torch LongStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_I32] = {"torch IntStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_U8] = {"torch ByteStorage", PMET_ROLE_NAME},
    [PMET_TORCH_STORAGE + PMET_BOOL] = {"torch BoolStorage", PMET_ROLE_NAME}};

bool pmet_torch_read_id(const struct pmet_pickle_value *v, struct pmet_torch_id *out)
{
    if (v->kind != PMET_PICKLE_PERSISTENT || (v->n != 5 && v->n != 6) ||
        !pmet_pickle_is(v->item[0], "storage") || v->item[1]->kind != PMET_PICKLE_GLOBAL ||
        v->item[1]->global < pmet_torch_names + PMET_TORCH_STORAGE || v->item[2]->kind != PMET_PICKLE_STR ||
        v->item[3]->kind != PMET_PICKLE_STR || (v->n == 6 && v->item[5]->kind != PMET_PICKLE_NONE))
        return false;
    *out = (struct pmet_torch_id){
        .key = v->item[2],
        .dtype = (enum pmet_dtype)(v->item[1]->global - pmet_torch_names - PMET_TORCH_STORAGE),
        .length = v->item[4]};
    return true;
}
