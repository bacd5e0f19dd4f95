/* SPDX-License-Identifier: MIT
 * GPT-NeoX and Pythia: two norms a block, one projection with bias, parallel or sequential blocks.
 * SPEC §3.7, §3.8, E25, E28, E29 */
#include "ref/model/family.h"

/* X13 */
static const struct pmet_preset presets[] = {
    {"PMET", 44, 6144,
     "{\n"
     "    \"layers\": [6, 7, 8, 9, 10],\n"
     "    \"clamp_norm_factor\": 0.8,\n"
     "    \"layer_selection\": \"all\",\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 30,\n"
     "    \"v_lr\": 0.5,\n"
     "    \"v_loss_layer\": 43,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"kl_factor\": 0.8,\n"
     "    \"rewrite_module_tmp\": \"gpt_neox.layers.{}.mlp.dense_4h_to_h\",\n"
     "    \"rewrite_module_tmps\": [\"gpt_neox.layers.{}.mlp.dense_4h_to_h\"],\n"
     "    \"layer_module_tmp\": \"gpt_neox.layers.{}\",\n"
     "    \"mlp_module_tmp\": \"gpt_neox.layers.{}.mlp.dense_4h_to_h\",\n"
     "    \"attn_module_tmp\": \"gpt_neox.layers.{}.attention.dense\",\n"
     "    \"ln_f_module\": \"gpt_neox.final_layer_norm\",\n"
     "    \"lm_head_module\": \"embed_out\",\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"mom2_update_weight\": 15000,\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 50000,\n"
     "    \"mom2_dtype\": \"float32\",\n"
     "    \"nll_loss_factor\": 1\n"
     "}\n"},
    {"MEMIT", 44, 6144,
     "{\n"
     "    \"layers\": [6, 7, 8, 9, 10],\n"
     "    \"clamp_norm_factor\": 0.8,\n"
     "    \"layer_selection\": \"all\",\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 20,\n"
     "    \"v_lr\": 0.5,\n"
     "    \"v_loss_layer\": 43,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"kl_factor\": 0.0625,\n"
     "    \"rewrite_module_tmp\": \"gpt_neox.layers.{}.mlp.dense_4h_to_h\",\n"
     "    \"layer_module_tmp\": \"gpt_neox.layers.{}\",\n"
     "    \"mlp_module_tmp\": \"gpt_neox.layers.{}.mlp.dense_4h_to_h\",\n"
     "    \"attn_module_tmp\": \"gpt_neox.layers.{}.attention.dense\",\n"
     "    \"ln_f_module\": \"gpt_neox.final_layer_norm\",\n"
     "    \"lm_head_module\": \"embed_out\",\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"mom2_update_weight\": 6000,\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 50000,\n"
     "    \"mom2_dtype\": \"float32\"\n"
     "}\n"},
    {"ROME", 44, 6144,
     "{\n"
     "    \"layers\": [15],\n"
     "    \"fact_token\": \"subject_last\",\n"
     "    \"v_num_grad_steps\": 20,\n"
     "    \"v_lr\": 0.5,\n"
     "    \"v_loss_layer\": 43,\n"
     "    \"v_weight_decay\": 0.5,\n"
     "    \"clamp_norm_factor\": 4,\n"
     "    \"kl_factor\": 0.0625,\n"
     "    \"mom2_adjustment\": true,\n"
     "    \"context_template_length_params\": [[5, 10], [10, 10]],\n"
     "    \"rewrite_module_tmp\": \"gpt_neox.layers.{}.mlp.dense_4h_to_h\",\n"
     "    \"layer_module_tmp\": \"gpt_neox.layers.{}\",\n"
     "    \"mlp_module_tmp\": \"gpt_neox.layers.{}.mlp\",\n"
     "    \"attn_module_tmp\": \"gpt_neox.layers.{}.attention\",\n"
     "    \"ln_f_module\": \"gpt_neox.final_layer_norm\",\n"
     "    \"lm_head_module\": \"embed_out\",\n"
     "    \"mom2_dataset\": \"wikipedia\",\n"
     "    \"mom2_n_samples\": 100000,\n"
     "    \"mom2_dtype\": \"float32\"\n"
     "}\n"},
};

const struct pmet_family pmet_family_neox = {
    .name = "gpt_neox",
    .config = {.n_layer = {"num_hidden_layers", "n_layer"},
               .d_model = {"hidden_size", "n_embd"},
               .n_head = {"num_attention_heads", "n_head"},
               .n_ctx = {"max_position_embeddings", "n_positions"},
               .d_ff = {"intermediate_size", "n_inner"},
               .ln_eps = {"layer_norm_eps", 1e-5},
               .rope_base = {"rotary_emb_base", 10000},
               .act = "hidden_act",
               .act_absent = "gelu",
               .rotary_pct = {"rotary_pct", 0.25},
               .rope_object = {"rope_scaling", "rope_parameters"},
               .parallel = "use_parallel_residual",
               .attn_bias = "attention_bias"},
    .tensor = {.embed = "gpt_neox.embed_in.weight",
               .ln_f_gain = "gpt_neox.final_layer_norm.weight",
               .ln_f_bias = "gpt_neox.final_layer_norm.bias",
               .head = "embed_out.weight",
               .block = "gpt_neox.layers.{}",
               .ln1_gain = "input_layernorm.weight",
               .ln1_bias = "input_layernorm.bias",
               .ln2_gain = "post_attention_layernorm.weight",
               .ln2_bias = "post_attention_layernorm.bias",
               .qkv = {"attention.query_key_value.weight"},
               .qkv_bias = {"attention.query_key_value.bias"},
               .attn_out = "attention.dense.weight",
               .attn_out_bias = "attention.dense.bias",
               .fc_in = "mlp.dense_h_to_4h.weight",
               .fc_in_bias = "mlp.dense_h_to_4h.bias",
               .fc_out = "mlp.dense_4h_to_h.weight",
               .fc_out_bias = "mlp.dense_4h_to_h.bias",
               .buffer = {"attention.bias", "attention.masked_bias", "attention.norm_factor",
                          "attention.rotary_emb.inv_freq", "attention.rotary_emb.cos_cached",
                          "attention.rotary_emb.sin_cached"}},
    .prefix = "gpt_neox.",
    .head_alias = "lm_head.weight",
    .qkv = {.n_matrix = 1, .by_head = true, .place = {0, 1, 2}},
    .rope = PMET_ROPE_HALF,
    .module = {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "gpt_neox.layers.{}.attention.dense"},
    .ln_f_module = "gpt_neox.final_layer_norm",
    .lm_head_module = "embed_out",
    .preset = presets,
    .n_preset = sizeof presets / sizeof *presets,
};
