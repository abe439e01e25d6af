// Weight matrices as the processor reads them best, in four precisions, and their products with any number of inputs.
//
// Sixteen outputs make a tile, in which their weights lie side by side: a weight vector holds a weight of each, is
// multiplied by one input, and sums never have to be added up across a vector. A tile is read once for up to twelve
// inputs, so that a batch costs no more memory traffic than one sequence.
//
// An output is one chain of additions in the order of its inputs, however many rows are multiplied together: what a
// sequence gets does not depend on what else is in its batch.

#pragma once

#include <algorithm>
#include <cmath>

#include "store.h"
#include "vectors.h"

namespace cutaway {

enum Kind : int { FLOAT32, BFLOAT16, INT8, INT4 };

struct Matrix {
    Kind kind;
    int outputs, inputs;
    int tiles;
    int groups;          // of 32 inputs, in a row of quantised weights
    size_t tile_bytes;
    uint8_t* data;

    bool quantised() const { return kind == INT8 || kind == INT4; }
    const uint8_t* tile(int i) const { return data + i * tile_bytes; }
};

// What a product reads: rows of float32, or of int8 in groups with a scale and what the group's numbers add up to.
struct Inputs {
    const float* x = nullptr;
    const int8_t* q = nullptr;
    const float* scale = nullptr;    // [row, group]
    const int32_t* offset = nullptr; // [row, group]: −BIAS times the group's sum
    const float* sum = nullptr;      // [row, group]: the group's sum, scaled
    size_t ld = 0;                   // numbers from one row to the next; groups are a 32nd

    Inputs from(size_t row) const {
        Inputs rest = *this;
        if (x) rest.x += row * ld;
        if (q) {
            const size_t groups = row * (ld / GROUP);
            rest.q += row * ld, rest.scale += groups, rest.offset += groups, rest.sum += groups;
        }
        return rest;
    }
};

// ---------------------------------------------------------------------------------------------------- packing

// One group of 32 weights as d·q with q in −127…127; d is rounded up to a bfloat16, so that nothing is cut off.
inline float int8_scale(const float* w) {
    float most = 0;
    for (int k = 0; k < GROUP; ++k) most = std::max(most, std::fabs(w[k]));
    float d = from_bfloat16(to_bfloat16(most / 127));
    if (d * 127 < most) d = from_bfloat16(uint16_t(to_bfloat16(most / 127) + 1));
    return d;
}

// One group as d·q + m with q in 0…15, d and m bfloat16s: first from the least to the greatest weight, then d and m
// fitted to the q by least squares and the q chosen anew, as long as that helps.
inline void int4_group(const float* w, uint8_t* q, float& d, float& m) {
    float least = w[0], most = w[0];
    for (int k = 1; k < GROUP; ++k) least = std::min(least, w[k]), most = std::max(most, w[k]);
    d = from_bfloat16(to_bfloat16((most - least) / 15)), m = from_bfloat16(to_bfloat16(least));
    float best = INFINITY, best_d = d, best_m = m;
    float trial[GROUP];
    for (int round = 0; round < 4; ++round) {
        const float inverse = d > 1e-30f ? 1 / d : 0;
        float error = 0, n = GROUP, sum_q = 0, sum_qq = 0, sum_w = 0, sum_qw = 0;
        for (int k = 0; k < GROUP; ++k) {
            const float nearest = std::nearbyint(std::min(std::max((w[k] - m) * inverse, 0.0f), 15.0f));
            trial[k] = nearest;
            const float off = w[k] - (d * nearest + m);
            error += off * off;
            sum_q += nearest, sum_qq += nearest * nearest, sum_w += w[k], sum_qw += nearest * w[k];
        }
        if (error >= best) break;
        best = error, best_d = d, best_m = m;
        for (int k = 0; k < GROUP; ++k) q[k] = uint8_t(trial[k]);
        const float spread = n * sum_qq - sum_q * sum_q;
        if (spread <= 0) break;
        const float fitted = (n * sum_qw - sum_q * sum_w) / spread;
        if (!(fitted > 0)) break;
        d = from_bfloat16(to_bfloat16(fitted));
        m = from_bfloat16(to_bfloat16((sum_w - d * sum_q) / n));
    }
    d = best_d, m = best_m;
}

inline void pack_group(const Matrix& matrix, uint8_t* tile, int group, int lane, const float* w) {
    if (matrix.kind == INT8) {
        const float d = int8_scale(w), inverse = d > 1e-30f ? 1 / d : 0;
        for (int k = 0; k < GROUP; ++k) {
            const int q = int(std::nearbyint(std::min(std::max(w[k] * inverse, -127.0f), 127.0f)));
            tile[group * GROUP * TILE + (k / 4 * TILE + lane) * 4 + k % 4] = uint8_t(q + BIAS);
        }
        ((uint16_t*)(tile + matrix.groups * GROUP * TILE))[group * TILE + lane] = to_bfloat16(d);
        return;
    }
    uint8_t q[GROUP];
    float d, m;
    int4_group(w, q, d, m);
    // A byte holds the weights of inputs k and k + 4 of eight.
    for (int k = 0; k < GROUP; ++k) {
        uint8_t& byte = tile[group * GROUP * TILE / 2 + (k / 8 * TILE + lane) * 4 + k % 4];
        byte = uint8_t(k % 8 < 4 ? q[k] : byte | q[k] << 4);
    }
    uint16_t* scales = (uint16_t*)(tile + matrix.groups * GROUP * TILE / 2) + group * 2 * TILE;
    scales[lane] = to_bfloat16(d), scales[TILE + lane] = to_bfloat16(m);
}

inline Matrix pack(Store& store, const float* weights, int outputs, int inputs, Kind kind) {
    const int tiles = (outputs + TILE - 1) / TILE, groups = (inputs + GROUP - 1) / GROUP;
    size_t tile_bytes = 0;
    switch (kind) {
        case FLOAT32: tile_bytes = size_t(inputs) * TILE * 4; break;
        case BFLOAT16: tile_bytes = size_t(inputs + 1) / 2 * TILE * 4; break;
        case INT8: tile_bytes = size_t(groups) * (GROUP * TILE + 2 * TILE); break;
        case INT4: tile_bytes = size_t(groups) * (GROUP * TILE / 2 + 4 * TILE); break;
    }
    tile_bytes = up_to_multiple(tile_bytes, 64);
    const Matrix matrix{kind, outputs, inputs, tiles, groups, tile_bytes, store.take(tiles * tile_bytes)};
    for (int out = 0; out < tiles * TILE; ++out) {
        uint8_t* tile = matrix.data + out / TILE * tile_bytes;
        const int lane = out % TILE;
        const float* row = weights + size_t(std::min(out, outputs - 1)) * inputs;
        const bool real = out < outputs;
        if (kind == FLOAT32) {
            for (int k = 0; real && k < inputs; ++k) ((float*)tile)[k * TILE + lane] = row[k];
        } else if (kind == BFLOAT16) {
            for (int k = 0; real && k < inputs; ++k)
                ((uint16_t*)tile)[(k / 2 * TILE + lane) * 2 + k % 2] = to_bfloat16(row[k]);
        } else {
            for (int group = 0; group < groups; ++group) {
                float w[GROUP] = {};
                for (int k = 0; real && k < GROUP && group * GROUP + k < inputs; ++k) w[k] = row[group * GROUP + k];
                pack_group(matrix, tile, group, lane, w);
            }
        }
    }
    return matrix;
}

// A row of inputs as int8 in groups of 32, each with its scale. `n` need not be a multiple of 32. What rounding leaves
// goes to `rest`, unless that is null.
inline void quantise(
    const float* x, int n, int8_t* q, float* scale, int32_t* offset, float* sum, float* rest = nullptr) {
    for (int at = 0, group = 0; at < n; at += GROUP, ++group) {
        const int many = std::min(GROUP, n - at);
        float w[GROUP] = {};
        std::memcpy(w, x + at, many * sizeof(float));
        Floats most{};
        UNROLL for (int k = 0; k < GROUP; k += LANES) {
            const Floats v = floats(w + k);
            most = larger(most, larger(v, -v));
        }
        const float top = greatest(most), d = top / 127, inverse = top > 1e-30f ? 127 / top : 0;
        const Floats round = splat(12582912.0f);
        Ints sums{};
        UNROLL for (int k = 0; k < GROUP; k += LANES) {
            // Adding 1.5 · 2^23 leaves the nearest whole number in the lowest bits.
            const Ints whole = (Ints)(floats(w + k) * splat(inverse) + round) - (Ints)round;
            sums += whole;
            typedef int8_t Small __attribute__((vector_size(LANES)));
            const Small small = __builtin_convertvector(whole, Small);
            std::memcpy(q + at + k, &small, sizeof small);
            store(w + k, floats(w + k) - __builtin_convertvector(whole, Floats) * splat(d));
        }
        int32_t all = 0;
        for (int i = 0; i < LANES; ++i) all += sums[i];
        if (rest) std::memcpy(rest + at, w, many * sizeof(float));
        scale[group] = d, offset[group] = -BIAS * all, sum[group] = d * float(all);
    }
}

// ---------------------------------------------------------------------------------------------------- products

// Tiles that are multiplied at once: as many as there are registers for, and enough chains of additions to keep busy.
constexpr int tiles_at_once(int rows, bool quantised) {
#if defined(CUTAWAY_AVX512)
    return quantised ? (rows <= 3 ? 4 : rows <= 6 ? 2 : 1) : rows <= 6 ? 4 : 2;
#elif defined(CUTAWAY_AVX2)
    return quantised ? 1 : rows <= 2 ? 2 : 1;
#else
    return quantised || rows > 2 ? 1 : 2;
#endif
}
#if defined(CUTAWAY_AVX512)
constexpr int MOST_ROWS = 12;
#else
constexpr int MOST_ROWS = 6;
#endif

template <int ROWS, int TILES>
inline void put(const Floats (&sums)[ROWS][TILES][PARTS], float* y, size_t ld) {
    UNROLL for (int r = 0; r < ROWS; ++r) UNROLL for (int t = 0; t < TILES; ++t)
        UNROLL for (int p = 0; p < PARTS; ++p) store(y + r * ld + t * TILE + p * LANES, sums[r][t][p]);
}

template <int ROWS, int TILES>
void product_float32(const Matrix& matrix, int tile, const Inputs& in, float* y, size_t ld) {
    const float* w = (const float*)matrix.tile(tile);
    const size_t next = matrix.tile_bytes / sizeof(float);
    const float* x = in.x;
    Floats sums[ROWS][TILES][PARTS] = {};
    for (int k = 0; k < matrix.inputs; ++k) {
        Floats weights[TILES][PARTS];
        UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p)
            weights[t][p] = floats(w + t * next + k * TILE + p * LANES);
        UNROLL for (int r = 0; r < ROWS; ++r) {
            const Floats input = splat(x[r * in.ld + k]);
            UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p)
                sums[r][t][p] = weights[t][p] * input + sums[r][t][p];
        }
    }
    put(sums, y, ld);
}

// A word holds the weights of two inputs; either half, moved to the upper end, is a float32.
template <int ROWS, int TILES>
void product_bfloat16(const Matrix& matrix, int tile, const Inputs& in, float* y, size_t ld) {
    const uint32_t* w = (const uint32_t*)matrix.tile(tile);
    const size_t next = matrix.tile_bytes / sizeof(uint32_t);
    const float* x = in.x;
    const int pairs = (matrix.inputs + 1) / 2;
    Floats sums[ROWS][TILES][PARTS] = {};
    for (int k = 0; k < pairs; ++k) {
        Floats even[TILES][PARTS], odd[TILES][PARTS];
        UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
            const Words both = load<Words>(w + t * next + k * TILE + p * LANES);
            even[t][p] = (Floats)(both << 16);
            odd[t][p] = (Floats)(both & 0xffff0000u);
        }
        UNROLL for (int r = 0; r < ROWS; ++r) {
            const Floats first = splat(x[r * in.ld + 2 * k]), second = splat(x[r * in.ld + 2 * k + 1]);
            UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
                sums[r][t][p] = even[t][p] * first + sums[r][t][p];
                sums[r][t][p] = odd[t][p] * second + sums[r][t][p];
            }
        }
    }
    put(sums, y, ld);
}

inline Ints four_inputs(const int8_t* q) {
    int32_t word;
    std::memcpy(&word, q, 4);
    return splat(word);
}

template <int ROWS, int TILES>
void product_int8(const Matrix& matrix, int tile, const Inputs& in, float* y, size_t ld) {
    const uint8_t* w = matrix.tile(tile);
    const size_t next = matrix.tile_bytes, row_groups = in.ld / GROUP;
    const size_t scales = size_t(matrix.groups) * GROUP * TILE;
    Floats sums[ROWS][TILES][PARTS] = {};
    for (int g = 0; g < matrix.groups; ++g) {
        Ints whole[ROWS][TILES][PARTS];
        UNROLL for (int r = 0; r < ROWS; ++r) UNROLL for (int t = 0; t < TILES; ++t)
            UNROLL for (int p = 0; p < PARTS; ++p) whole[r][t][p] = splat(in.offset[r * row_groups + g]);
        UNROLL for (int k = 0; k < GROUP; k += 4) {
            Bytes weights[TILES][PARTS];
            UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p)
                weights[t][p] = load<Bytes>(w + t * next + g * GROUP * TILE + (k * TILE + p * LANES * 4));
            UNROLL for (int r = 0; r < ROWS; ++r) {
                const Ints input = four_inputs(in.q + r * in.ld + g * GROUP + k);
                UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p)
                    whole[r][t][p] = dot(whole[r][t][p], weights[t][p], input);
            }
        }
        UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
            const Floats d = bfloat16s((const uint16_t*)(w + t * next + scales) + g * TILE + p * LANES);
            UNROLL for (int r = 0; r < ROWS; ++r)
                sums[r][t][p] = __builtin_convertvector(whole[r][t][p], Floats) *
                    (d * splat(in.scale[r * row_groups + g])) + sums[r][t][p];
        }
    }
    put(sums, y, ld);
}

template <int ROWS, int TILES>
void product_int4(const Matrix& matrix, int tile, const Inputs& in, float* y, size_t ld) {
    const uint8_t* w = matrix.tile(tile);
    const size_t next = matrix.tile_bytes, row_groups = in.ld / GROUP;
    const size_t scales = size_t(matrix.groups) * GROUP * TILE / 2;
    Floats sums[ROWS][TILES][PARTS] = {};
    for (int g = 0; g < matrix.groups; ++g) {
        Ints whole[ROWS][TILES][PARTS] = {};
        UNROLL for (int k = 0; k < GROUP; k += 8) {
            Bytes low[TILES][PARTS], high[TILES][PARTS];
            UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
                const Words both =
                    load<Words>(w + t * next + g * GROUP * TILE / 2 + (k / 8 * TILE + p * LANES) * 4);
                low[t][p] = (Bytes)(both & 0x0f0f0f0fu);
                high[t][p] = (Bytes)(both >> 4 & 0x0f0f0f0fu);
            }
            UNROLL for (int r = 0; r < ROWS; ++r) {
                const Ints first = four_inputs(in.q + r * in.ld + g * GROUP + k);
                const Ints second = four_inputs(in.q + r * in.ld + g * GROUP + k + 4);
                UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
                    whole[r][t][p] = dot_unsigned(whole[r][t][p], low[t][p], first);
                    whole[r][t][p] = dot_unsigned(whole[r][t][p], high[t][p], second);
                }
            }
        }
        UNROLL for (int t = 0; t < TILES; ++t) UNROLL for (int p = 0; p < PARTS; ++p) {
            const uint16_t* pair = (const uint16_t*)(w + t * next + scales) + g * 2 * TILE + p * LANES;
            const Floats d = bfloat16s(pair), m = bfloat16s(pair + TILE);
            UNROLL for (int r = 0; r < ROWS; ++r) {
                sums[r][t][p] = __builtin_convertvector(whole[r][t][p], Floats) *
                    (d * splat(in.scale[r * row_groups + g])) + sums[r][t][p];
                sums[r][t][p] = m * splat(in.sum[r * row_groups + g]) + sums[r][t][p];
            }
        }
    }
    put(sums, y, ld);
}

template <int ROWS, int TILES, bool QUANTISED>
inline void product_of(const Matrix& matrix, int tile, const Inputs& in, float* y, size_t ld) {
    if constexpr (QUANTISED) {
        if (matrix.kind == INT8) return product_int8<ROWS, TILES>(matrix, tile, in, y, ld);
        return product_int4<ROWS, TILES>(matrix, tile, in, y, ld);
    } else {
        if (matrix.kind == FLOAT32) return product_float32<ROWS, TILES>(matrix, tile, in, y, ld);
        return product_bfloat16<ROWS, TILES>(matrix, tile, in, y, ld);
    }
}

template <int ROWS, bool QUANTISED>
void product_of_rows(const Matrix& matrix, int tile, int end, const Inputs& in, float* y, size_t ld) {
    constexpr int MANY = tiles_at_once(ROWS, QUANTISED);
    for (; tile < end;) {
        int done = 1;
        if (end - tile >= MANY) {
            product_of<ROWS, MANY, QUANTISED>(matrix, tile, in, y, ld);
            done = MANY;
        } else if (MANY > 2 && end - tile >= 2) {
            product_of<ROWS, (MANY > 2 ? 2 : 1), QUANTISED>(matrix, tile, in, y, ld);
            done = 2;
        } else {
            product_of<ROWS, 1, QUANTISED>(matrix, tile, in, y, ld);
        }
        tile += done, y += done * TILE;
    }
}

using RowsProduct = void (*)(const Matrix&, int, int, const Inputs&, float*, size_t);
template <bool QUANTISED>
inline RowsProduct rows_product(int rows) {
    static const RowsProduct of[] = {
        product_of_rows<1, QUANTISED>, product_of_rows<2, QUANTISED>, product_of_rows<3, QUANTISED>,
        product_of_rows<4, QUANTISED>, product_of_rows<5, QUANTISED>, product_of_rows<6, QUANTISED>,
#if defined(CUTAWAY_AVX512)
        product_of_rows<7, QUANTISED>, product_of_rows<8, QUANTISED>, product_of_rows<9, QUANTISED>,
        product_of_rows<10, QUANTISED>, product_of_rows<11, QUANTISED>, product_of_rows<12, QUANTISED>,
#endif
    };
    return of[rows - 1];
}

// y[row, (tile − first)·16 + lane] for `rows` inputs and the tiles from `first` to before `end`.
inline void product(const Matrix& matrix, int first, int end, const Inputs& in, int rows, float* y, size_t ld) {
    constexpr int STRIP = 4;   // tiles that stay in the nearest cache while all rows are multiplied
    const int blocks = (rows + MOST_ROWS - 1) / MOST_ROWS, most = (rows + blocks - 1) / blocks;
    const int strip = blocks == 1 ? end - first : STRIP;
    for (int tile = first; tile < end; tile += strip)
        for (int row = 0; row < rows; row += most) {
            const int many = std::min(most, rows - row);
            const RowsProduct kernel = matrix.quantised() ? rows_product<true>(many) : rows_product<false>(many);
            kernel(matrix, tile, std::min(end, tile + strip), in.from(row), y + row * ld + (tile - first) * TILE, ld);
        }
}

}  // namespace cutaway
