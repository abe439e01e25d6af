// The library's face: plain C, for ctypes. Functions give 0, or 1 when there is not enough memory.

#include "decoder.h"

using namespace cutaway;

#define PUBLIC extern "C" __attribute__((visibility("default")))

template <class Work>
static int guarded(Work work) {
    try {
        work();
        return 0;
    } catch (...) {
        return 1;
    }
}

PUBLIC void* cutaway_open(const Shape* shape, int threads) {
    void* decoder = nullptr;
    guarded([&] { decoder = new Decoder(*shape, threads); });
    return decoder;
}

PUBLIC void cutaway_close(void* decoder) { delete (Decoder*)decoder; }

PUBLIC void cutaway_set_layer(void* decoder, int i, const Layer* layer) { ((Decoder*)decoder)->layers[i] = *layer; }

// Weights [output, input] as the matrix numbered `which`. Different ones may be packed at the same time.
PUBLIC int cutaway_pack(void* decoder, int which, const float* weights, int outputs, int inputs, int kind) {
    Decoder& own = *(Decoder*)decoder;
    return guarded([&] { own.matrices[which] = pack(own.memory, weights, outputs, inputs, Kind(kind)); });
}

PUBLIC void cutaway_set_pages(void* decoder, int i, int kind, void* k, void* v, float* k_scale, float* v_scale) {
    Decoder& own = *(Decoder*)decoder;
    const int heads = own.shape.n_kv_heads, d = own.shape.d_head;
    own.keys[i] = Cache{CacheKind(kind), heads, d, k, k_scale};
    own.values[i] = Cache{CacheKind(kind), heads, d, v, v_scale};
}

PUBLIC int cutaway_step(void* decoder, const Step* step) {
    return guarded([&] { ((Decoder*)decoder)->step(*step); });
}
