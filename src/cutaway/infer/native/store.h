// Memory for weights: a few large pieces, in huge pages where the system has them, filled one matrix after another, so
// that what a step reads from end to end lies that way and misses no page table.

#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

namespace cutaway {

class Store {
   public:
    ~Store() {
        for (const Piece& piece : pieces) munmap(piece.data, piece.bytes);
    }

    // `bytes` zeros, at the beginning of a cache line. Throws std::bad_alloc.
    uint8_t* take(size_t bytes) {
        const std::lock_guard<std::mutex> lock(mutex);
        bytes = (bytes + 63) / 64 * 64;
        if (pieces.empty() || pieces.back().used + bytes > pieces.back().bytes) {
            constexpr size_t PIECE = size_t(256) << 20, HUGE_PAGE = size_t(2) << 20;
            const size_t want = (std::max(bytes, PIECE) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
            // Nothing is taken from the system before it is written to.
            void* data = mmap(nullptr, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (data == MAP_FAILED) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
            madvise(data, want, MADV_HUGEPAGE);
#endif
            pieces.push_back({(uint8_t*)data, want, 0});
        }
        Piece& piece = pieces.back();
        uint8_t* found = piece.data + piece.used;
        piece.used += bytes;
        return found;
    }

   private:
    struct Piece {
        uint8_t* data;
        size_t bytes, used;
    };
    std::mutex mutex;
    std::vector<Piece> pieces;
};

}  // namespace cutaway
