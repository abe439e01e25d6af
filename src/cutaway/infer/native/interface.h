// What Python hands over: plain structures, laid out as `layout.py` says again.

#pragma once

#include <cstdint>

namespace cutaway {

struct Norm {
    const float* gain;   // null where there is no norm
    const float* bias;
};

enum NormPlace : int32_t { BEFORE, AFTER, AROUND, AFTER_SUM };
enum QkNorm : int32_t { NORM_NONE, NORM_HEAD, NORM_ALL };
enum Turn : int32_t { TURN_NONE, TURN_FAR, TURN_NEAR };

// A model's shape, and what belongs to no layer.
struct Shape {
    int32_t n_layers, d_model, n_heads, n_kv_heads, d_head, d_rotary, d_mlp, vocab_size;
    int32_t centred, norm_place, parallel, qk_norm, gated, activation, embed_bfloat16;
    float norm_eps, attention_scale, attention_softcap, embedding_scale, logit_scale, final_softcap;
    const void* embed;           // [vocab, d_model]
    const float* positions;      // [position, d_model], or null
    const float* slopes;         // [head], ALiBi's, or null
    const float* bias_unembed;   // [vocab], or null
    Norm norm_embed, norm_final;
};

// Biases are as long as their matrices' tiles; those of gate and up are interleaved as these are.
struct Layer {
    Norm norm1, norm1_after, norm2, norm2_after;
    const float *norm_q, *norm_k, *bias_qkv, *bias_o, *bias_up, *bias_down;
    int32_t window, turn;
};

// One step: some tokens of each row, which is a sequence.
struct Step {
    int32_t rows, tokens, picks;
    const int32_t *counts, *starts;        // [row]: how many tokens, and the first one's position
    const int32_t* ids;                    // [token], the rows' one after another
    const int32_t *pages, *page_starts;    // the rows' pages one after another, and where each row's begin
    const int32_t* pick;                   // [pick]: the tokens whose logits are wanted
    float* logits;                         // [pick, vocab]
    const float *cos, *sin, *near_cos, *near_sin;   // [position, d_rotary / 2]
};

}  // namespace cutaway
