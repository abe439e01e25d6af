// How often each word occurs: a hash table over bytes that lie end to end in one buffer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace cutaway {

struct Word {
    uint64_t hash;
    size_t start;
    uint32_t length;
    int64_t count;
};

inline uint64_t hash_of(const uint8_t* bytes, size_t length) {
    uint64_t hash = length * 0x9E3779B97F4A7C15ull;
    while (length >= 8) {
        uint64_t part;
        std::memcpy(&part, bytes, 8);
        hash = (hash ^ part) * 0xD6E8FEB86659FD93ull;
        hash ^= hash >> 32;
        bytes += 8, length -= 8;
    }
    uint64_t part = 0;
    std::memcpy(&part, bytes, length);
    hash = (hash ^ part) * 0xD6E8FEB86659FD93ull;
    return hash ^ hash >> 32;
}

struct Words {
    std::vector<uint8_t> bytes;
    std::vector<Word> words;
    std::vector<uint32_t> table = std::vector<uint32_t>(1 << 12);  // 1 + index of a word; 0 where there is none

    void add(const uint8_t* word, size_t length, int64_t count) { add(word, length, count, hash_of(word, length)); }

    void add(const uint8_t* word, size_t length, int64_t count, uint64_t hash) {
        size_t slot = hash & (table.size() - 1);
        for (; table[slot]; slot = (slot + 1) & (table.size() - 1)) {
            Word& known = words[table[slot] - 1];
            if (known.hash == hash && known.length == length && !std::memcmp(&bytes[known.start], word, length)) {
                known.count += count;
                return;
            }
        }
        words.push_back({hash, bytes.size(), uint32_t(length), count});
        bytes.insert(bytes.end(), word, word + length);
        table[slot] = uint32_t(words.size());
        if (words.size() * 2 > table.size()) grow();
    }

    void grow() {
        table.assign(table.size() * 2, 0);
        for (size_t i = 0; i < words.size(); i++) {
            size_t slot = words[i].hash & (table.size() - 1);
            while (table[slot]) slot = (slot + 1) & (table.size() - 1);
            table[slot] = uint32_t(i + 1);
        }
    }

    void add_all(const Words& others) {
        for (const Word& word : others.words) add(&others.bytes[word.start], word.length, word.count, word.hash);
    }

    // Forget the rarest words until no more than half of `most` are left.
    void thin(size_t most) {
        for (int64_t rare = 1; words.size() > most / 2; rare *= 2) {
            Words kept;
            for (const Word& word : words)
                if (word.count > rare) kept.add(&bytes[word.start], word.length, word.count, word.hash);
            *this = std::move(kept);
        }
    }

    // In the order of their bytes, so that nothing hangs on the order in which they came.
    void sort() {
        std::sort(words.begin(), words.end(), [this](const Word& a, const Word& b) {
            const int order = std::memcmp(&bytes[a.start], &bytes[b.start], std::min(a.length, b.length));
            return order ? order < 0 : a.length < b.length;
        });
        table.assign(1, 0);
    }
};

}  // namespace cutaway
