/* SPDX-License-Identifier: MIT
 * GPT-J: one norm a block for both branches, three projections without bias.
 * SPEC §3.7, §3.8, E27 */
#include "ref/model/family.h"

/* X13 */
static const struct pmet_preset presets[] = {
    {"PMET", 28, 4096,
     "{\n"
     "    \"layers\": [3, 4, 5, 6, 7, 8],\n"
     "    \"clamp_norm_factor\": 0.75,\n"
     "    \"layer_selection\": \"all\",\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 30,\n"
     "    \"v_lr\": 0.2,\n"
     "    \"v_loss_layer\": 27,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"kl_factor\": 1,\n"
     "    \"rewrite_module_tmp\": \"transformer.h.{}.mlp.fc_out\",\n"
     "    \"rewrite_module_tmps\": [\"transformer.h.{}.mlp.fc_out\"],\n"
     "    \"layer_module_tmp\": \"transformer.h.{}\",\n"
     "    \"mlp_module_tmp\": \"transformer.h.{}.mlp.fc_out\",\n"
     "    \"attn_module_tmp\": \"transformer.h.{}.attn.out_proj\",\n"
     "    \"ln_f_module\": \"transformer.ln_f\",\n"
     "    \"lm_head_module\": \"lm_head\",\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"mom2_update_weight\": 6000,\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 100000,\n"
     "    \"mom2_dtype\": \"float32\",\n"
     "    \"nll_loss_factor\": 1\n"
     "}\n"},
    {"MEMIT", 28, 4096,
     "{\n"
     "    \"layers\": [3, 4, 5, 6, 7, 8],\n"
     "    \"clamp_norm_factor\": 0.75,\n"
     "    \"layer_selection\": \"all\",\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 25,\n"
     "    \"v_lr\": 0.5,\n"
     "    \"v_loss_layer\": 27,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"kl_factor\": 0.0625,\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"mom2_update_weight\": 15000,\n"
     "    \"rewrite_module_tmp\": \"transformer.h.{}.mlp.fc_out\",\n"
     "    \"layer_module_tmp\": \"transformer.h.{}\",\n"
     "    \"mlp_module_tmp\": \"transformer.h.{}.mlp\",\n"
     "    \"attn_module_tmp\": \"transformer.h.{}.attn\",\n"
     "    \"ln_f_module\": \"transformer.ln_f\",\n"
     "    \"lm_head_module\": \"lm_head\",\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 100000,\n"
     "    \"mom2_dtype\": \"float32\"\n"
     "}\n"},
    {"ROME", 28, 4096,
     "{\n"
     "    \"layers\": [5],\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 20,\n"
     "    \"v_lr\": 0.5,\n"
     "    \"v_loss_layer\": 27,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"clamp_norm_factor\": 4,\n"
     "    \"kl_factor\": 0.0625,\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"context_template_length_params\": [[5, 10], [10, 10]],\n"
     "    \"rewrite_module_tmp\": \"transformer.h.{}.mlp.fc_out\",\n"
     "    \"layer_module_tmp\": \"transformer.h.{}\",\n"
     "    \"mlp_module_tmp\": \"transformer.h.{}.mlp\",\n"
     "    \"attn_module_tmp\": \"transformer.h.{}.attn\",\n"
     "    \"ln_f_module\": \"transformer.ln_f\",\n"
     "    \"lm_head_module\": \"lm_head\",\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 100000,\n"
     "    \"mom2_dtype\": \"float32\"\n"
     "}\n"},
};

const struct pmet_family pmet_family_gptj = {
    .name = "gptj",
    .config = {.n_layer = {"n_layer", "num_hidden_layers"},
               .d_model = {"n_embd", "hidden_size"},
               .n_head = {"n_head", "num_attention_heads"},
               .n_ctx = {"n_positions", "max_position_embeddings"},
               .d_ff = {"n_inner", NULL},
               .alias_first = true,
               .d_ff_factor = 4,
               .ln_eps = {"layer_norm_epsilon", 1e-5},
               .rope_base = {NULL, 10000},
               .act = "activation_function",
               .act_absent = "gelu_new",
               .rotary_dim = {"rotary_dim", NULL},
               .rotary_dim_absent = 64},
    .tensor = {.embed = "transformer.wte.weight",
               .ln_f_gain = "transformer.ln_f.weight",
               .ln_f_bias = "transformer.ln_f.bias",
               .head = "lm_head.weight",
               .head_bias = "lm_head.bias",
               .block = "transformer.h.{}",
               .ln1_gain = "ln_1.weight",
               .ln1_bias = "ln_1.bias",
               .qkv = {"attn.q_proj.weight", "attn.k_proj.weight", "attn.v_proj.weight"},
               .attn_out = "attn.out_proj.weight",
               .fc_in = "mlp.fc_in.weight",
               .fc_in_bias = "mlp.fc_in.bias",
               .fc_out = "mlp.fc_out.weight",
               .fc_out_bias = "mlp.fc_out.bias",
               .buffer = {"attn.bias", "attn.masked_bias", "attn.embed_positions"}},
    .prefix = "transformer.",
    .qkv = {.n_matrix = 3, .place = {0, 1, 2}},
    .rope = PMET_ROPE_INTERLEAVED,
    .module = {"transformer.h.{}.mlp.fc_out", "transformer.h.{}.attn.out_proj"},
    .ln_f_module = "transformer.ln_f",
    .lm_head_module = "lm_head",
    .preset = presets,
    .n_preset = sizeof presets / sizeof *presets,
};
