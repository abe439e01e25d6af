// Attention straight from the pages of keys and values.
//
// The queries that share a key and value head, of one position or of several, go through the pages together: first all
// scores, then softmax, then all values. A query's result is the same whichever others go with it.

#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace cutaway {

enum CacheKind : int { CACHE_FLOAT32, CACHE_BFLOAT16, CACHE_INT8 };

// One layer's pages: [page, kv_head, PAGE, d_head], and for int8 the scales, [page, kv_head, PAGE].
struct Cache {
    CacheKind kind;
    int heads, d;
    void* data;
    float* scale;

    size_t place(int page, int head, int slot) const { return (size_t(page) * heads + head) * PAGE + slot; }

    void write(int page, int head, int slot, const float* x) const {
        const size_t place = this->place(page, head, slot), at = place * d;
        switch (kind) {
            case CACHE_FLOAT32: std::memcpy((float*)data + at, x, d * sizeof(float)); return;
            case CACHE_BFLOAT16:
                for (int i = 0; i < d; ++i) ((uint16_t*)data)[at + i] = to_bfloat16(x[i]);
                return;
            case CACHE_INT8: {
                float most = 0;
                for (int i = 0; i < d; ++i) most = std::max(most, std::fabs(x[i]));
                const float inverse = most > 1e-30f ? 127 / most : 0;
                for (int i = 0; i < d; ++i) ((int8_t*)data)[at + i] = int8_t(std::nearbyint(x[i] * inverse));
                scale[place] = most / 127;
            }
        }
    }

    // A head's `PAGE` rows as float32: in place, or made so in `room`.
    const float* rows(int page, int head, float* room) const {
        const size_t first = place(page, head, 0), at = first * d;
        if (kind == CACHE_FLOAT32) return (const float*)data + at;
        if (kind == CACHE_BFLOAT16) {
            const uint16_t* from = (const uint16_t*)data + at;
            int i = 0;
            for (; i + LANES <= PAGE * d; i += LANES) store(room + i, bfloat16s(from + i));
            return room;   // sixteen rows are whole vectors
        }
        const int8_t* from = (const int8_t*)data + at;
        for (int slot = 0; slot < PAGE; ++slot) {
            const Floats size = splat(scale[first + slot]);
            int i = 0;
            for (; i + LANES <= d; i += LANES) store(room + slot * d + i, int8s(from + slot * d + i) * size);
            for (; i < d; ++i) room[slot * d + i] = float(from[slot * d + i]) * scale[first + slot];
        }
        return room;
    }
};

// One query with the sixteen keys of a page. A width known beforehand, `D`, makes all addresses offsets from one.
template <int D>
inline void page_scores_of(const float* q, const float* keys, int d_head, float* scores) {
    const int d = D ? D : d_head;
    Floats sums[PAGE] = {};
    int i = 0;
    for (; i + LANES <= d; i += LANES) {
        const Floats part = floats(q + i);
        UNROLL for (int slot = 0; slot < PAGE; ++slot) sums[slot] = part * floats(keys + slot * d + i) + sums[slot];
    }
    totals(sums, scores);
    for (; i < d; ++i)
        for (int slot = 0; slot < PAGE; ++slot) scores[slot] += q[i] * keys[slot * d + i];
}

using PageScores = void (*)(const float*, const float*, int, float*);
inline PageScores page_scores(int d) {
    switch (d) {
        case 32: return page_scores_of<32>;
        case 64: return page_scores_of<64>;
        case 80: return page_scores_of<80>;
        case 96: return page_scores_of<96>;
        case 128: return page_scores_of<128>;
        case 256: return page_scores_of<256>;
        default: return page_scores_of<0>;
    }
}

// out[row] += p[row, slot] · values[slot], over `slots` slots in turn.
template <int ROWS, int VECTORS>
inline void add_values(
    const float* p, size_t p_ld, const float* values, int d, int slots, float* out, size_t out_ld) {
    Floats sums[ROWS][VECTORS];
    UNROLL for (int r = 0; r < ROWS; ++r) UNROLL for (int v = 0; v < VECTORS; ++v)
        sums[r][v] = floats(out + r * out_ld + v * LANES);
    for (int slot = 0; slot < slots; ++slot) {
        Floats value[VECTORS];
        UNROLL for (int v = 0; v < VECTORS; ++v) value[v] = floats(values + slot * d + v * LANES);
        UNROLL for (int r = 0; r < ROWS; ++r) {
            const Floats share = splat(p[r * p_ld + slot]);
            UNROLL for (int v = 0; v < VECTORS; ++v) sums[r][v] = share * value[v] + sums[r][v];
        }
    }
    UNROLL for (int r = 0; r < ROWS; ++r) UNROLL for (int v = 0; v < VECTORS; ++v)
        store(out + r * out_ld + v * LANES, sums[r][v]);
}

template <int ROWS>
inline void add_page(const float* p, size_t p_ld, const float* values, int d, int slots, float* out, size_t out_ld) {
    int i = 0;
    constexpr int WIDE = LANES == 8 ? 2 : 4;   // vectors for which there are registers, with four rows
    for (; i + WIDE * LANES <= d; i += WIDE * LANES)
        add_values<ROWS, WIDE>(p, p_ld, values + i, d, slots, out + i, out_ld);
    for (; i + 2 * LANES <= d; i += 2 * LANES)
        add_values<ROWS, 2>(p, p_ld, values + i, d, slots, out + i, out_ld);
    for (; i + LANES <= d; i += LANES) add_values<ROWS, 1>(p, p_ld, values + i, d, slots, out + i, out_ld);
    for (; i < d; ++i)
        for (int r = 0; r < ROWS; ++r)
            for (int slot = 0; slot < slots; ++slot) out[r * out_ld + i] += p[r * p_ld + slot] * values[slot * d + i];
}

// A query, already scaled, and what it may read.
struct Query {
    const float* q;
    float* out;
    int position;
    float slope;   // ALiBi's, else 0
};

struct AttentionRoom {
    std::vector<float> scores, sums, keys, out;
};

// The softmax of scores over positions begin…end − 1, not yet divided by the sum, which it returns. The scores lie from
// position `base` on; those outside become 0 up to `length`.
inline float softmax(float* scores, int base, int begin, int end, int length, float cap, const Query& query) {
    begin -= base, end -= base;
    if (cap > 0 || query.slope != 0)
        for (int at = begin / LANES * LANES; at < end; at += LANES) {
            Floats s = floats(scores + at);
            if (cap > 0) s = splat(cap) * tangent(s / splat(cap));
            if (query.slope != 0)
                for (int lane = 0; lane < LANES; ++lane) s[lane] += query.slope * float(base + at + lane - query.position);
            store(scores + at, s);
        }
    for (int at = 0; at < begin; ++at) scores[at] = -INFINITY;
    for (int at = end; at < length; ++at) scores[at] = -INFINITY;
    Floats best = splat(-INFINITY);
    for (int at = 0; at < length; at += LANES) best = larger(best, floats(scores + at));
    const Floats most = splat(greatest(best));
    Floats sum{};
    for (int at = 0; at < length; at += LANES) {
        const Floats e = exponential(floats(scores + at) - most);
        sum += e;
        store(scores + at, e);
    }
    return total(sum);
}

// What `n` queries of one sequence gather from a key and value head. `pages` are the sequence's; a query reads the
// `window` positions up to its own, or all if that is 0. The queries' positions do not fall.
inline void attend(
    const Query* queries, int n, const Cache& keys, const Cache& values, int head, const int32_t* pages, int window,
    float cap, AttentionRoom& room) {
    const int d = keys.d;
    const auto begins = [&](const Query& query) { return window ? std::max(0, query.position - window + 1) : 0; };
    const int first_page = begins(queries[0]) / PAGE, last = queries[n - 1].position, last_page = last / PAGE;
    const int base = first_page * PAGE, length = (last_page + 1) * PAGE - base;
    room.scores.resize(size_t(n) * length);
    room.sums.resize(n);
    room.keys.resize(size_t(PAGE) * d + 64);
    room.out.assign(size_t(n) * d, 0);
    float* scores = room.scores.data();
    const PageScores page_scores = cutaway::page_scores(d);
    for (int page = first_page; page <= last_page; ++page) {
        const float* rows = keys.rows(pages[page], head, room.keys.data());
        for (int i = 0; i < n; ++i) page_scores(queries[i].q, rows, d, scores + size_t(i) * length + page * PAGE - base);
    }
    for (int i = 0; i < n; ++i)
        room.sums[i] = softmax(
            scores + size_t(i) * length, base, begins(queries[i]), queries[i].position + 1, length, cap, queries[i]);
    for (int page = first_page; page <= last_page; ++page) {
        const float* rows = values.rows(pages[page], head, room.keys.data());
        // Past the last position lies whatever was there before.
        const int slots = std::min(PAGE, last - page * PAGE + 1);
        const float* p = scores + page * PAGE - base;
        int i = 0;
        for (; i + 4 <= n; i += 4)
            add_page<4>(p + size_t(i) * length, length, rows, d, slots, room.out.data() + size_t(i) * d, d);
        for (; i + 2 <= n; i += 2)
            add_page<2>(p + size_t(i) * length, length, rows, d, slots, room.out.data() + size_t(i) * d, d);
        for (; i < n; ++i)
            add_page<1>(p + size_t(i) * length, length, rows, d, slots, room.out.data() + size_t(i) * d, d);
    }
    for (int i = 0; i < n; ++i) {
        const float inverse = 1 / room.sums[i];
        for (int k = 0; k < d; ++k) queries[i].out[k] = room.out[size_t(i) * d + k] * inverse;
    }
}

}  // namespace cutaway
