// What Python calls: counting words, and learning merges from the counts.
#include <cstdint>

#include "merges.h"
#include "scan.h"
#include "words.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

using cutaway::Learner;
using cutaway::Words;

EXPORT Words* cutaway_words_new() { return new Words; }
EXPORT void cutaway_words_free(Words* words) { delete words; }
EXPORT int64_t cutaway_words_size(const Words* words) { return int64_t(words->words.size()); }
EXPORT void cutaway_words_add_all(Words* words, const Words* others) { words->add_all(*others); }
EXPORT void cutaway_words_thin(Words* words, int64_t most) { words->thin(size_t(most)); }

// Count the words of the texts that lie end to end; text i ends where ends[i] says.
EXPORT void cutaway_words_count(Words* words, const uint8_t* classes, int kind, int digits, const uint8_t* text,
                                const int64_t* ends, int64_t n_texts) {
    size_t at = 0;
    for (int64_t i = 0; i < n_texts; i++) {
        const cutaway::Scanner scanner{classes, cutaway::Kind(kind), digits, text, size_t(ends[i])};
        while (at < scanner.end) {
            const size_t after = scanner.next(at);
            words->add(text + at, after - at, 1);
            at = after;
        }
    }
}

// Learn merges. The first n_known tokens are given: their bytes end to end, each ending where known_ends says.
EXPORT Learner* cutaway_learn(Words* words, const uint32_t* id_of_byte, const char* known, const int64_t* known_ends,
                              int64_t n_known, int64_t vocab_size) {
    auto* learner = new Learner;
    int64_t start = 0;
    for (int64_t i = 0; i < n_known; start = known_ends[i++]) {
        learner->tokens.emplace_back(known + start, size_t(known_ends[i] - start));
        // A token whose name no bytes spell has none here.
        if (known_ends[i] > start) learner->ids.emplace(learner->tokens.back(), uint32_t(i));
    }
    words->sort();
    learner->learn(*words, id_of_byte, size_t(vocab_size));
    return learner;
}

EXPORT void cutaway_learner_free(Learner* learner) { delete learner; }
EXPORT int64_t cutaway_learner_size(const Learner* learner) { return int64_t(learner->merges.size()); }
EXPORT const uint32_t* cutaway_learner_merges(const Learner* learner) { return learner->merges.data(); }
