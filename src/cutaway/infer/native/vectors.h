// Vectors as wide as the processor's, and the few functions of them that a transformer needs.
//
// Arithmetic is written with the compiler's own vector types, so that it compiles for any processor; what these cannot
// say (products of bytes, sums across vectors) is written for AVX-512, AVX2 and NEON, and plainly for all others.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#define UNROLL _Pragma("GCC unroll 16")

namespace cutaway {

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define CUTAWAY_AVX512
constexpr int LANES = 16;
#elif defined(__AVX2__) && defined(__FMA__)
#define CUTAWAY_AVX2
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

constexpr int TILE = 16;              // outputs of a matrix that lie beside each other in memory
constexpr int PARTS = TILE / LANES;   // vectors that hold a number for each of them
constexpr int GROUP = 32;             // weights, or inputs, that share a scale
constexpr int PAGE = 16;              // positions of a page of keys and values

template <class Vector, class Number>
inline Vector load(const Number* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}
inline Floats floats(const float* from) { return load<Floats>(from); }
inline void store(float* to, Floats vector) { std::memcpy(to, &vector, sizeof vector); }

inline Floats splat(float number) {
#if defined(CUTAWAY_AVX512)
    return (Floats)_mm512_set1_ps(number);
#elif defined(CUTAWAY_AVX2)
    return (Floats)_mm256_set1_ps(number);
#else
    return number - Floats{};
#endif
}
inline Ints splat(int32_t number) {
#if defined(CUTAWAY_AVX512)
    return (Ints)_mm512_set1_epi32(number);
#elif defined(CUTAWAY_AVX2)
    return (Ints)_mm256_set1_epi32(number);
#else
    return number - Ints{};
#endif
}
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }

// bfloat16 is the upper half of a float32.
inline float from_bfloat16(uint16_t half) {
    uint32_t word = uint32_t(half) << 16;
    float number;
    std::memcpy(&number, &word, 4);
    return number;
}
inline uint16_t to_bfloat16(float number) {
    uint32_t word;
    std::memcpy(&word, &number, 4);
    if ((word & 0x7fffffff) > 0x7f800000) return uint16_t(word >> 16 | 0x40);   // stays not a number
    return uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}
inline Floats bfloat16s(const uint16_t* from) {
    return (Floats)(__builtin_convertvector(load<Halves>(from), Words) << 16);
}
inline Floats int8s(const int8_t* from) {
    typedef int8_t Bytes __attribute__((vector_size(LANES)));
    return __builtin_convertvector(__builtin_convertvector(load<Bytes>(from), Ints), Floats);
}

inline float total(Floats vector) {
    float lane[LANES];
    store(lane, vector);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
}
inline float greatest(Floats vector) {
    float best = vector[0];
    for (int i = 1; i < LANES; ++i) best = vector[i] > best ? vector[i] : best;
    return best;
}

// e to the x within 2e-7 of itself: x = n ln 2 + r, and a polynomial in r (Cephes' expf); 0 where float32 has nothing left.
inline Floats exponential(Floats x) {
    const Ints seen = x > splat(-87.0f);
    x = smaller(larger(x, splat(-87.0f)), splat(88.0f));
    const Floats round = splat(12582912.0f);   // 1.5 · 2^23: adding it leaves no place behind the point
    const Floats n = (x * splat(1.44269504088896341f) + round) - round;
    const Floats r = (x - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
    Floats p = splat(1.9875691500e-4f);
    p = p * r + splat(1.3981999507e-3f);
    p = p * r + splat(8.3334519073e-3f);
    p = p * r + splat(4.1665795894e-2f);
    p = p * r + splat(1.6666665459e-1f);
    p = p * r + splat(5.0000001201e-1f);
    p = p * (r * r) + r + splat(1.0f);
    const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return (Floats)((Ints)(p * (Floats)power) & seen);
}
inline Floats tangent(Floats x) {   // the hyperbolic one
    return splat(1.0f) - splat(2.0f) / (exponential(x + x) + splat(1.0f));
}
inline Floats sigmoid(Floats x) { return splat(1.0f) / (splat(1.0f) + exponential(-x)); }

// The error function within 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
inline Floats error_function(Floats x) {
    const Floats size = larger(x, -x);
    const Floats t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * size);
    Floats p = splat(1.061405429f);
    p = p * t - splat(1.453152027f);
    p = p * t + splat(1.421413741f);
    p = p * t - splat(0.284496736f);
    p = p * t + splat(0.254829592f);
    const Floats value = splat(1.0f) - p * t * exponential(-size * size);
    return x < Floats{} ? -value : value;
}

enum Activation : int { RELU, GELU, GELU_TANH, QUICK_GELU, SILU };

inline Floats activated(Floats x, int activation) {
    switch (activation) {
        case RELU: return larger(x, Floats{});
        case GELU: return splat(0.5f) * x * (splat(1.0f) + error_function(x * splat(0.70710678118f)));
        case GELU_TANH:
            return splat(0.5f) * x * (splat(1.0f) + tangent(splat(0.79788456080f) * (x + splat(0.044715f) * x * x * x)));
        case QUICK_GELU: return x * sigmoid(splat(1.702f) * x);
        default: return x * sigmoid(x);
    }
}

// Four products of bytes a lane, added up: a lane's four weights times the same four inputs (an int32 that holds four
// int8). Where the instruction wants its weights unsigned they are kept with BIAS added, and what that adds, BIAS times
// the sum of the inputs, is taken off again.
typedef uint8_t Bytes __attribute__((vector_size(4 * LANES)));

#if defined(CUTAWAY_AVX512) && defined(__AVX512VNNI__)
constexpr int BIAS = 128;
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, (__m512i)inputs);
}
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) { return dot(sum, weights, inputs); }
#elif defined(CUTAWAY_AVX512)
constexpr int BIAS = 0;
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) {
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)weights, (__m512i)inputs);
    return sum + (Ints)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    // AVX-512 has no `sign`: the weights' signs go to the inputs by a masked subtraction.
    const __m512i w = (__m512i)weights, x = (__m512i)inputs;
    const __m512i turned = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
    return dot_unsigned(sum, (Bytes)_mm512_abs_epi8(w), (Ints)turned);
}
#elif defined(CUTAWAY_AVX2) && defined(__AVXVNNI__)
constexpr int BIAS = 128;
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)weights, (__m256i)inputs);
}
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) { return dot(sum, weights, inputs); }
#elif defined(CUTAWAY_AVX2)
constexpr int BIAS = 0;
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)weights, (__m256i)inputs);
    return sum + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    const __m256i w = (__m256i)weights;
    return dot_unsigned(sum, (Bytes)_mm256_abs_epi8(w), (Ints)_mm256_sign_epi8((__m256i)inputs, w));
}
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr int BIAS = 0;
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    return (Ints)vdotq_s32((int32x4_t)sum, (int8x16_t)weights, (int8x16_t)inputs);
}
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) { return dot(sum, weights, inputs); }
#else
constexpr int BIAS = 0;
inline Ints dot(Ints sum, Bytes weights, Ints inputs) {
    // Byte n of each lane, its sign drawn over the lane by shifting it up and down again.
    UNROLL for (int n = 0; n < 4; ++n)
        sum += (((Ints)weights << (24 - 8 * n)) >> 24) * ((inputs << (24 - 8 * n)) >> 24);
    return sum;
}
inline Ints dot_unsigned(Ints sum, Bytes weights, Ints inputs) { return dot(sum, weights, inputs); }
#endif

// The sums of sixteen vectors' lanes, one after another.
inline void totals(const Floats* vectors, float* sums) {
#if defined(CUTAWAY_AVX512)
    const __m512* v = (const __m512*)vectors;
    __m512 fours[4];
    UNROLL for (int i = 0; i < 4; ++i) {
        const __m512 a = v[4 * i], b = v[4 * i + 1], c = v[4 * i + 2], d = v[4 * i + 3];
        const __m512d ab = (__m512d)(_mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b));
        const __m512d cd = (__m512d)(_mm512_unpacklo_ps(c, d) + _mm512_unpackhi_ps(c, d));
        fours[i] = (__m512)_mm512_unpacklo_pd(ab, cd) + (__m512)_mm512_unpackhi_pd(ab, cd);
    }
    const __m512 first = _mm512_shuffle_f32x4(fours[0], fours[1], 0x44) + _mm512_shuffle_f32x4(fours[0], fours[1], 0xee);
    const __m512 last = _mm512_shuffle_f32x4(fours[2], fours[3], 0x44) + _mm512_shuffle_f32x4(fours[2], fours[3], 0xee);
    _mm512_storeu_ps(sums, _mm512_shuffle_f32x4(first, last, 0x88) + _mm512_shuffle_f32x4(first, last, 0xdd));
#elif defined(CUTAWAY_AVX2)
    const __m256* v = (const __m256*)vectors;
    UNROLL for (int i = 0; i < 16; i += 8) {
        const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(v[i], v[i + 1]), _mm256_hadd_ps(v[i + 2], v[i + 3]));
        const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(v[i + 4], v[i + 5]), _mm256_hadd_ps(v[i + 6], v[i + 7]));
        _mm256_storeu_ps(sums + i, _mm256_permute2f128_ps(low, high, 0x20) + _mm256_permute2f128_ps(low, high, 0x31));
    }
#else
    for (int i = 0; i < 16; ++i) sums[i] = total(vectors[i]);
#endif
}

inline size_t up_to_multiple(size_t number, size_t of) { return (number + of - 1) / of * of; }

}  // namespace cutaway
