// A decoder's step, from token ids to logits: the phases that a crew goes through together.

#pragma once

#include <cstdlib>
#include <memory>
#include <numeric>
#include <vector>

#include "attention.h"
#include "crew.h"
#include "interface.h"
#include "matrix.h"

namespace cutaway {

// Numbers at the beginning of a cache line; zeros when new.
template <class Number>
class Room {
   public:
    void hold(size_t many) {
        if (many <= size) return;
        numbers.reset((Number*)std::aligned_alloc(64, up_to_multiple(many * sizeof(Number), 64)));
        if (!numbers) throw std::bad_alloc();
        std::memset(numbers.get(), 0, many * sizeof(Number));
        size = many;
    }
    Number* get() const { return numbers.get(); }

   private:
    struct Free {
        void operator()(Number* number) const { std::free(number); }
    };
    std::unique_ptr<Number[], Free> numbers;
    size_t size = 0;
};

inline size_t padded(size_t width) { return up_to_multiple(width, GROUP); }

// Rows made ready for a product: normalised, and quantised if the matrix is, then as up to two rows each.
struct Prepared {
    Room<float> x, scale, sum;
    Room<int8_t> q;
    Room<int32_t> offset;

    void hold(size_t rows, size_t ld) {
        x.hold(rows * ld), q.hold(2 * rows * ld);
        for (Room<float>* each : {&scale, &sum}) each->hold(2 * rows * ld / GROUP);
        offset.hold(2 * rows * ld / GROUP);
    }
    Inputs inputs(size_t ld, bool quantised) const {
        if (!quantised) return {x.get(), nullptr, nullptr, nullptr, nullptr, ld};
        return {nullptr, q.get(), scale.get(), offset.get(), sum.get(), ld};
    }
};

struct Worker {
    Prepared few;
    uint64_t prepared_for = 0;   // the phase whose inputs `few` holds
    Room<float> y;
    AttentionRoom attention;
    std::vector<Query> queries;
};

// What a product reads.
struct Source {
    const float* x;
    int width, rows;
    const Norm* norm = nullptr;
    const int32_t* picks = nullptr;   // which rows, if not the first ones
};

class Decoder {
   public:
    Decoder(const Shape& shape, int threads)
        : shape(shape),
          layers(shape.n_layers),
          matrices(4 * shape.n_layers + 1),
          keys(shape.n_layers),
          values(shape.n_layers),
          width(shape.n_heads * shape.d_head),
          all_heads(shape.n_heads + 2 * shape.n_kv_heads),
          workers(threads) {
        widest = padded(std::max({shape.d_model, width, shape.d_mlp}));
        for (Worker& worker : workers) worker.few.hold(FEW, widest);
        crew = std::make_unique<Crew>(threads, [this](Hand& hand) { work(hand); });
    }

    Store memory;
    Shape shape;
    std::vector<Layer> layers;
    std::vector<Matrix> matrices;   // of each layer qkv, o, up, down; last the unembedding
    std::vector<Cache> keys, values;

    void step(const Step& step) {
        crew->step([&] { prepare(step); }, [&](Hand& hand) { work(hand); });
    }

   private:
    static constexpr int FEW = 4;   // rows that every thread prepares for itself rather than wait for others

    // One sequence's queries of one key and value head, or of one of the heads that share it.
    struct Piece {
        int row, token, tokens, head, heads;
    };

    void prepare(const Step& step) {
        at = step;
        const size_t n = step.tokens;
        if (n > positions.size()) positions.resize(n), pages.resize(n);
        pieces.clear();
        const int group = shape.n_heads / shape.n_kv_heads;
        const bool few = step.rows * shape.n_kv_heads < 4 * crew->threads();
        for (int row = 0, token = 0; row < step.rows; ++row) {
            const int32_t* own = step.pages + step.page_starts[row];
            const int count = step.counts[row], end = step.starts[row] + count;
            for (int i = 0; i < count; ++i) {
                positions[token + i] = step.starts[row] + i;
                pages[token + i] = own[(step.starts[row] + i) / PAGE];
            }
            // As many queries at once as leave their scores in the second cache.
            const int heads = few && count == 1 ? 1 : group;
            const int block = std::max(1, std::min(48, (1 << 18) / std::max(end, 1)) / heads);
            for (int head = 0; head < shape.n_heads; head += heads)
                for (int first = 0; first < count; first += block)
                    pieces.push_back({row, token + first, std::min(block, count - first), head, heads});
            token += count;
        }
        residual.hold(n * padded(shape.d_model));
        q.hold(n * padded(width)), z.hold(n * padded(width)), hidden.hold(n * padded(shape.d_mlp));
        if (shape.norm_place != BEFORE) branch.hold(n * padded(shape.d_model));
        if (shape.qk_norm == NORM_ALL) raw.hold(n * padded(all_heads * shape.d_head));
        if (std::max(step.tokens, step.picks) > FEW) prepared.hold(std::max(step.tokens, step.picks), widest);
    }

    void work(Hand& hand) {
        crew->share(hand, at.tokens, [&](int begin, int end) {
            for (int token = begin; token < end; ++token) embed(token);
        });
        for (int i = 0; i < shape.n_layers; ++i) layer(hand, i);
        const Source last{residual.get(), shape.d_model, at.picks, &shape.norm_final, at.pick};
        multiply(hand, matrices.back(), last, 2, [&](int tile, int tiles, int row, int rows, float* y, size_t ld) {
            for (int r = 0; r < rows; ++r) logits(tile * TILE, tiles * TILE, row + r, y + r * ld);
        });
    }

    void embed(int token) {
        float* x = residual.get() + token * padded(shape.d_model);
        const size_t from = size_t(at.ids[token]) * shape.d_model;
        if (shape.embed_bfloat16)
            for (int i = 0; i < shape.d_model; ++i) x[i] = from_bfloat16(((const uint16_t*)shape.embed)[from + i]);
        else
            std::memcpy(x, (const float*)shape.embed + from, shape.d_model * sizeof(float));
        if (shape.embedding_scale != 1)
            for (int i = 0; i < shape.d_model; ++i) x[i] *= shape.embedding_scale;
        if (shape.positions) {
            const float* place = shape.positions + size_t(positions[token]) * shape.d_model;
            for (int i = 0; i < shape.d_model; ++i) x[i] += place[i];
        }
        if (shape.norm_embed.gain) normalise(x, shape.norm_embed, shape.d_model, x, shape.centred);
    }

    void layer(Hand& hand, int i) {
        const Layer& layer = layers[i];
        const Matrix* own = &matrices[4 * i];
        const bool first = shape.norm_place == BEFORE || shape.norm_place == AROUND;
        const auto normed = [&](const Norm& norm) {
            return Source{residual.get(), shape.d_model, at.tokens, first && norm.gain ? &norm : nullptr};
        };
        const int unit = std::lcm(TILE, shape.d_head) / TILE;
        multiply(hand, own[0], normed(layer.norm1), unit,
            [&](int tile, int tiles, int row, int rows, float* y, size_t ld) {
                for (int r = 0; r < rows; ++r) heads(i, row + r, tile * TILE / shape.d_head, tiles * TILE, y + r * ld);
            });
        if (shape.qk_norm == NORM_ALL)
            crew->share(hand, at.tokens, [&](int begin, int end) {
                for (int token = begin; token < end; ++token) heads_normed_together(i, token);
            });
        const auto up = [&] {
            multiply(hand, own[2], normed(layer.norm2), 2,
                [&](int tile, int tiles, int row, int rows, float* y, size_t ld) {
                    for (int r = 0; r < rows; ++r) activate(layer, tile, tiles, row + r, y + r * ld);
                });
        };
        // In a parallel block the MLP reads what attention has not yet been added to.
        if (shape.parallel) up();
        crew->share(hand, uint32_t(pieces.size()), [&](int begin, int end) {
            for (int piece = begin; piece < end; ++piece) gather(workers[hand.thread], i, pieces[piece]);
        });
        add(hand, own[1], {z.get(), width, at.tokens}, layer.bias_o, layer.norm1, layer.norm1_after);
        if (!shape.parallel) up();
        add(hand, own[3], {hidden.get(), shape.d_mlp, at.tokens}, layer.bias_down, layer.norm2, layer.norm2_after);
    }

    // A product in pieces of `unit` tiles; `finish(tile, tiles, row, rows, y, ld)` takes its results, rows `ld` apart.
    template <class Finish>
    void multiply(Hand& hand, const Matrix& matrix, const Source& source, int unit, Finish finish) {
        const bool quantised = matrix.quantised(), ready = !source.norm && !source.picks && !quantised;
        const bool together = !ready && source.rows > FEW;
        const size_t ld = padded(source.width);
        const int parts = parts_of(matrix, source);
        if (together)
            crew->share(hand, source.rows, [&](int begin, int end) {
                for (int row = begin; row < end; ++row) make_ready(source, row, prepared, quantised, parts);
            });
        const uint64_t phase = hand.phase;
        crew->share(hand, (matrix.tiles + unit - 1) / unit, [&](int begin, int end) {
            Worker& me = workers[hand.thread];
            Inputs in{source.x, nullptr, nullptr, nullptr, nullptr, ld};
            if (together) {
                in = prepared.inputs(ld, quantised);
            } else if (!ready) {
                if (me.prepared_for != phase)
                    for (int row = 0; row < source.rows; ++row) make_ready(source, row, me.few, quantised, parts);
                me.prepared_for = phase;
                in = me.few.inputs(ld, quantised);
            }
            // Rows whose inputs stay in the second cache while all tiles go by.
            const size_t near = (size_t(1) << 19) / (ld * parts * (quantised ? 1 : 4)) / MOST_ROWS * MOST_ROWS;
            const int panel = std::min(source.rows, int(std::max(near, size_t(4 * MOST_ROWS))));
            const int strip = (8 + unit - 1) / unit * unit, last = std::min(end * unit, matrix.tiles);
            const size_t y_ld = strip * TILE;
            me.y.hold(panel * parts * y_ld);
            float* y = me.y.get();
            for (int row = 0; row < source.rows; row += panel)
                for (int tile = begin * unit; tile < last; tile += strip) {
                    const int tiles = std::min(strip, last - tile), rows = std::min(panel, source.rows - row);
                    product(matrix, tile, tile + tiles, in.from(row * parts), rows * parts, y, y_ld);
                    if (parts == 2)
                        for (int r = 0; r < rows; ++r)
                            for (int i = 0; i < tiles * TILE; i += LANES)
                                store(y + r * y_ld + i, floats(y + 2 * r * y_ld + i) + floats(y + (2 * r + 1) * y_ld + i));
                    finish(tile, tiles, row, rows, y, y_ld);
                }
        });
    }

    // How many rows of int8 stand for one of float32. The residual stream has single numbers many times as large as all
    // others, in whose groups little would be left of these: what rounding leaves of it becomes a row of its own.
    static int parts_of(const Matrix& matrix, const Source& source) {
        return matrix.kind == INT8 && source.norm ? 2 : 1;
    }

    void make_ready(const Source& source, int row, Prepared& into, bool quantised, int parts) {
        const size_t ld = padded(source.width);
        const float* x = source.x + (source.picks ? source.picks[row] : row) * ld;
        float* ready = into.x.get() + row * ld;
        if (source.norm && source.norm->gain) {
            normalise(x, *source.norm, source.width, ready, shape.centred);
            std::memset(ready + source.width, 0, (ld - source.width) * sizeof(float));
            x = ready;
        } else if (!quantised) {
            std::memcpy(ready, x, ld * sizeof(float));
        }
        if (!quantised) return;
        for (int part = 0; part < parts; ++part) {
            const size_t at = (row * parts + part) * ld, group = at / GROUP;
            quantise(
                x, source.width, into.q.get() + at, into.scale.get() + group, into.offset.get() + group,
                into.sum.get() + group, parts == 2 ? ready : nullptr);
            x = ready;
        }
    }

    // A branch's last product, added to the residual stream.
    void add(
        Hand& hand, const Matrix& matrix, const Source& source, const float* bias, const Norm& main,
        const Norm& after) {
        const bool plainly = shape.norm_place == BEFORE;
        const size_t ld = padded(shape.d_model);
        multiply(hand, matrix, source, 2, [&](int tile, int tiles, int row, int rows, float* y, size_t y_ld) {
            for (int r = 0; r < rows; ++r) {
                float* to = (plainly ? residual.get() : branch.get()) + (row + r) * ld + tile * TILE;
                for (int i = 0; i < tiles * TILE; i += LANES) {
                    Floats sum = floats(y + r * y_ld + i);
                    if (bias) sum += floats(bias + tile * TILE + i);
                    if (plainly) sum += floats(to + i);
                    store(to + i, sum);
                }
            }
        });
        if (plainly) return;
        crew->share(hand, at.tokens, [&](int begin, int end) {
            for (int token = begin; token < end; ++token) {
                float *stream = residual.get() + token * ld, *own = branch.get() + token * ld;
                if (after.gain) normalise(own, after, shape.d_model, own, shape.centred);
                for (int i = 0; i < shape.d_model; ++i) stream[i] += own[i];
                if (shape.norm_place == AFTER_SUM && main.gain)
                    normalise(stream, main, shape.d_model, stream, shape.centred);
            }
        });
    }

    void normalise(const float* x, const Norm& norm, int width, float* out, bool centred) const {
        const int whole = width / LANES * LANES;
        float mean = 0;
        if (centred) {
            Floats sum{};
            for (int i = 0; i < whole; i += LANES) sum += floats(x + i);
            mean = total(sum);
            for (int i = whole; i < width; ++i) mean += x[i];
            mean /= float(width);
        }
        Floats squares{};
        for (int i = 0; i < whole; i += LANES) {
            const Floats off = floats(x + i) - splat(mean);
            squares = off * off + squares;
        }
        float power = total(squares);
        for (int i = whole; i < width; ++i) power += (x[i] - mean) * (x[i] - mean);
        const float inverse = 1 / std::sqrt(power / float(width) + shape.norm_eps);
        for (int i = 0; i < whole; i += LANES) {
            Floats y = (floats(x + i) - splat(mean)) * splat(inverse) * floats(norm.gain + i);
            if (norm.bias) y += floats(norm.bias + i);
            store(out + i, y);
        }
        for (int i = whole; i < width; ++i)
            out[i] = (x[i] - mean) * inverse * norm.gain[i] + (norm.bias ? norm.bias[i] : 0);
    }

    // Queries, keys and values of one token: `numbers` of them in whole heads, from `head` on.
    void heads(int i, int token, int head, int numbers, float* y) {
        const Layer& layer = layers[i];
        const int d = shape.d_head;
        for (int at = 0; at < numbers && head < all_heads; at += d, ++head) {
            float* x = y + at;
            if (layer.bias_qkv)
                for (int k = 0; k < d; ++k) x[k] += layer.bias_qkv[head * d + k];
            if (shape.qk_norm == NORM_ALL) {
                std::memcpy(raw.get() + token * padded(all_heads * d) + head * d, x, d * sizeof(float));
                continue;
            }
            if (shape.qk_norm == NORM_HEAD && head < shape.n_heads + shape.n_kv_heads)
                normalise(x, {head < shape.n_heads ? layer.norm_q : layer.norm_k, nullptr}, d, x, false);
            place_head(i, token, head, x);
        }
    }

    void heads_normed_together(int i, int token) {
        const Layer& layer = layers[i];
        const int kv_width = shape.n_kv_heads * shape.d_head;
        float* x = raw.get() + token * padded(all_heads * shape.d_head);
        normalise(x, {layer.norm_q, nullptr}, width, x, false);
        normalise(x + width, {layer.norm_k, nullptr}, kv_width, x + width, false);
        for (int head = 0; head < all_heads; ++head) place_head(i, token, head, x + head * shape.d_head);
    }

    // Turn a query, or a key, by its position; put it where attention reads it.
    void place_head(int i, int token, int head, float* x) {
        const Layer& layer = layers[i];
        const int d = shape.d_head, position = positions[token], kv_head = head - shape.n_heads;
        if (layer.turn && kv_head < shape.n_kv_heads) {
            const int half = shape.d_rotary / 2;
            const float* cos = (layer.turn == TURN_NEAR ? at.near_cos : at.cos) + size_t(position) * half;
            const float* sin = (layer.turn == TURN_NEAR ? at.near_sin : at.sin) + size_t(position) * half;
            for (int k = 0; k < half; ++k) {
                const float first = x[k], second = x[k + half];
                x[k] = first * cos[k] - second * sin[k];
                x[k + half] = second * cos[k] + first * sin[k];
            }
        }
        if (kv_head < 0) {
            float* to = q.get() + token * padded(width) + head * d;
            for (int k = 0; k < d; ++k) to[k] = x[k] * shape.attention_scale;
        } else if (kv_head < shape.n_kv_heads) {
            keys[i].write(pages[token], kv_head, position % PAGE, x);
        } else {
            values[i].write(pages[token], kv_head - shape.n_kv_heads, position % PAGE, x);
        }
    }

    void gather(Worker& me, int i, const Piece& piece) {
        me.queries.clear();
        for (int token = piece.token; token < piece.token + piece.tokens; ++token)
            for (int head = piece.head; head < piece.head + piece.heads; ++head) {
                const size_t place = token * padded(width) + head * shape.d_head;
                me.queries.push_back(
                    {q.get() + place, z.get() + place, positions[token], shape.slopes ? shape.slopes[head] : 0});
            }
        attend(
            me.queries.data(), int(me.queries.size()), keys[i], values[i],
            piece.head / (shape.n_heads / shape.n_kv_heads), at.pages + at.page_starts[piece.row], layers[i].window,
            shape.attention_softcap, me.attention);
    }

    void activate(const Layer& layer, int tile, int tiles, int token, const float* y) {
        float* to = hidden.get() + token * padded(shape.d_mlp);
        const int step = shape.gated ? 2 * TILE : TILE;
        for (int at = 0; at < tiles * TILE; at += step)
            for (int i = at; i < at + TILE; i += LANES) {
                const int out = tile * TILE + i;
                Floats x = floats(y + i);
                if (layer.bias_up) x += floats(layer.bias_up + out);
                x = activated(x, shape.activation);
                if (shape.gated) {
                    Floats factor = floats(y + i + TILE);
                    if (layer.bias_up) factor += floats(layer.bias_up + out + TILE);
                    x *= factor;
                }
                store(to + (tile * TILE + at) / step * TILE + (i - at), x);
            }
    }

    void logits(int first, int numbers, int row, float* y) {
        const float cap = shape.final_softcap;
        for (int i = 0; i < numbers; i += LANES) {
            Floats x = floats(y + i) * splat(shape.logit_scale);
            if (shape.bias_unembed) x += floats(shape.bias_unembed + first + i);
            if (cap > 0) x = splat(cap) * tangent(x / splat(cap));
            store(y + i, x);
        }
        const int real = std::min(numbers, shape.vocab_size - first);
        std::memcpy(at.logits + size_t(row) * shape.vocab_size + first, y, real * sizeof(float));
    }

    const int width, all_heads;
    size_t widest;
    std::vector<Worker> workers;
    Step at{};
    std::vector<int32_t> positions, pages;   // of each token: where it stands, and the page that holds it
    std::vector<Piece> pieces;
    Room<float> residual, q, z, hidden, branch, raw;
    Prepared prepared;
    std::unique_ptr<Crew> crew;   // last, so that its threads end before what they use
};

}  // namespace cutaway
