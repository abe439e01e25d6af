// Threads that do a step's work together: a sequence of phases, each a number of pieces that any of them may do.
//
// Every thread has a share of each phase, the same one step after step, so that it finds in its caches what it left
// there; who has finished helps the others. A phase is over when all its pieces are done, not when all threads have come:
// one that the system has taken off its core holds up no more than the piece it had begun. Waiting is spinning, which a
// step of a third of a millisecond needs, but only for a moment; then the core is offered to others.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <sched.h>

namespace cutaway {

inline void breathe(int waited) {
    constexpr int MOMENT = 1000;
    if (waited >= MOMENT) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

// One thread's place in a step.
struct Hand {
    int thread = 0;
    uint64_t step = 0;    // the number of the step's first phase
    uint64_t phase = 0;   // of the phase it comes to next
    bool over = false;    // whether the others have finished the step without it
};

class Crew {
   public:
    // `work` is what every thread does of a step; it must come to the same phases in all of them.
    template <class Work>
    Crew(int threads, Work work) : shares(threads) {
        for (int thread = 1; thread < threads; ++thread)
            others.emplace_back([this, thread, work] {
                uint64_t seen = 0;
                while (wait_for_step(seen)) {
                    Hand hand{thread, seen, seen};
                    work(hand);
                }
            });
    }

    ~Crew() {
        stop.store(true);
        wake();
        for (std::thread& other : others) other.join();
    }

    int threads() const { return int(shares.size()); }

    // Do a step: `prepare` sets out what it is about while nobody is at work, `work` is this thread's part of it.
    template <class Prepare, class Work>
    void step(Prepare prepare, Work work) {
        prepare();
        const uint64_t first = next;
        running.store(first);
        if (sleepers.load()) wake();
        Hand hand{0, first, first};
        work(hand);
        // Whoever comes late finds the step over, and every piece of it taken.
        running.store(0);
        next = hand.phase + 1;
        finished.store(word(hand.phase, 0));
        for (Share& share : shares) share.taken.store(word(hand.phase, 0));
    }

    // One phase: `each(begin, end)` does those of `pieces` pieces. All are done when this returns.
    template <class Each>
    void share(Hand& hand, uint32_t pieces, Each each) {
        if (hand.over) return;
        const uint64_t phase = hand.phase++;
        std::atomic_thread_fence(std::memory_order_acquire);
        if (hand.thread && running.load() != hand.step) {
            hand.over = true;
            return;
        }
        uint32_t done = 0;
        const uint64_t n = shares.size();
        for (uint64_t i = 0; i < n; ++i) {
            const uint64_t owner = (hand.thread + i) % n;
            const uint32_t first = uint32_t(pieces * owner / n), last = uint32_t(pieces * (owner + 1) / n);
            uint32_t begin, end;
            while (take(shares[owner].taken, phase, first, last, begin, end)) {
                each(begin, end);
                done += end - begin;
            }
        }
        if (done) report(phase, done);
        for (int waited = 0;; ++waited) {
            const uint64_t state = finished.load(std::memory_order_acquire);
            if (phase_of(state) > phase || state == word(phase, pieces)) return;
            breathe(waited);
        }
    }

   private:
    // A phase's number and how many of its pieces are taken, or done, in one word.
    static constexpr int COUNT_BITS = 20;
    static uint64_t word(uint64_t phase, uint32_t count) { return phase << COUNT_BITS | count; }
    static uint64_t phase_of(uint64_t word) { return word >> COUNT_BITS; }
    static uint32_t count_of(uint64_t word) { return uint32_t(word & ((1u << COUNT_BITS) - 1)); }

    struct alignas(128) Share {
        std::atomic<uint64_t> taken{0};   // counted from the share's first piece
    };

    // Half of what is left of a share, so that pieces are large at first and nobody waits long for the last.
    static bool take(
        std::atomic<uint64_t>& taken, uint64_t phase, uint32_t first, uint32_t last, uint32_t& begin, uint32_t& end) {
        uint64_t state = taken.load(std::memory_order_acquire);
        for (;;) {
            if (phase_of(state) > phase) return false;
            begin = first + (phase_of(state) == phase ? count_of(state) : 0);
            if (begin >= last) return false;
            uint32_t many = (last - begin + 1) / 2;
            if (many > 2) many &= ~1u;
            end = begin + many;
            if (taken.compare_exchange_weak(state, word(phase, end - first), std::memory_order_acq_rel)) return true;
        }
    }

    void report(uint64_t phase, uint32_t done) {
        uint64_t state = finished.load(std::memory_order_acquire);
        while (!finished.compare_exchange_weak(
            state, word(phase, done + (phase_of(state) == phase ? count_of(state) : 0)), std::memory_order_acq_rel)) {
        }
    }

    // Wait for a step other than the one seen last; false when the crew is dismissed.
    bool wait_for_step(uint64_t& seen) {
        constexpr int PATIENCE = 12'000;   // about half a millisecond
        for (int waited = 0;; ++waited) {
            if (stop.load(std::memory_order_relaxed)) return false;
            const uint64_t now = running.load(std::memory_order_acquire);
            if (now && now != seen) {
                seen = now;
                return true;
            }
            if (waited < PATIENCE) {
                breathe(waited % 1024);
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex);
            ++sleepers;
            bell.wait(lock, [&] {
                const uint64_t at = running.load();
                return stop.load() || (at && at != seen);
            });
            --sleepers;
        }
    }

    void wake() {
        { std::lock_guard<std::mutex> lock(mutex); }
        bell.notify_all();
    }

    std::vector<Share> shares;
    alignas(128) std::atomic<uint64_t> finished{0};
    alignas(128) std::atomic<uint64_t> running{0};   // the first phase of the step at hand; 0 between steps
    uint64_t next = 1;
    std::atomic<int> sleepers{0};
    std::atomic<bool> stop{false};
    std::mutex mutex;
    std::condition_variable bell;
    std::vector<std::thread> others;
};

}  // namespace cutaway
