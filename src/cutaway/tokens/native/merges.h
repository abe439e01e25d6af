// Byte-pair encoding learned from words and how often they occur (Sennrich et al. 2016): again and again the pair of
// neighbours that occurs most often becomes one token; of several such the pair of the lowest ids. Word for word what
// the trainer of `tokenizers` does, in what it leaves stale too, so that both learn the same merges.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "words.h"

namespace cutaway {

struct Candidate {
    int64_t count;
    uint64_t pair;
    uint32_t places;  // index of the list of words in which it may occur

    bool operator<(const Candidate& other) const {
        return count != other.count ? count < other.count : pair > other.pair;
    }
};

struct PairCounts {
    struct Entry {
        uint64_t pair;
        int64_t count;
        int32_t places;  // list of words in which it came about in this step; -1 for none
    };
    std::vector<Entry> entries;
    std::vector<uint32_t> table = std::vector<uint32_t>(1 << 16);

    static size_t hash_of_pair(uint64_t pair) {
        pair *= 0x9E3779B97F4A7C15ull;
        return size_t(pair ^ pair >> 29);
    }

    uint32_t find(uint64_t pair) {
        size_t slot = hash_of_pair(pair) & (table.size() - 1);
        for (; table[slot]; slot = (slot + 1) & (table.size() - 1))
            if (entries[table[slot] - 1].pair == pair) return table[slot] - 1;
        entries.push_back({pair, 0, -1});
        table[slot] = uint32_t(entries.size());
        if (entries.size() * 2 > table.size()) {
            table.assign(table.size() * 2, 0);
            for (size_t i = 0; i < entries.size(); i++) {
                size_t at = hash_of_pair(entries[i].pair) & (table.size() - 1);
                while (table[at]) at = (at + 1) & (table.size() - 1);
                table[at] = uint32_t(i + 1);
            }
        }
        return uint32_t(entries.size() - 1);
    }
};

struct Learner {
    std::vector<std::string> tokens;               // by id
    std::unordered_map<std::string, uint32_t> ids;  // of tokens
    std::vector<uint32_t> merges;                  // left, right and their token, one after another

    std::vector<uint32_t> symbols;
    std::vector<size_t> starts;
    std::vector<uint32_t> lengths;
    PairCounts pairs;
    std::vector<std::vector<uint32_t>> places;
    std::vector<uint32_t> touched;

    void change(uint32_t left, uint32_t right, int64_t by, uint32_t word) {
        const uint32_t found = pairs.find(uint64_t(left) << 32 | right);
        PairCounts::Entry& entry = pairs.entries[found];
        entry.count += by;
        if (by < 0) return;
        if (entry.places < 0) {
            entry.places = int32_t(places.size());
            places.emplace_back();
            touched.push_back(found);
        }
        auto& list = places[size_t(entry.places)];
        if (list.empty() || list.back() != word) list.push_back(word);
    }

    void queue(std::vector<Candidate>& heap) {
        for (const uint32_t found : touched) {
            PairCounts::Entry& entry = pairs.entries[found];
            if (entry.count > 0) {
                heap.push_back({entry.count, entry.pair, uint32_t(entry.places)});
                std::push_heap(heap.begin(), heap.end());
            }
            entry.places = -1;
        }
        touched.clear();
    }

    void join(uint32_t word, int64_t count, uint32_t left, uint32_t right, uint32_t token) {
        uint32_t* s = &symbols[starts[word]];
        const uint32_t n = lengths[word];
        uint32_t written = 0;
        for (uint32_t i = 0; i < n; written++) {
            if (i + 1 < n && s[i] == left && s[i + 1] == right) {
                if (written > 0) {
                    change(s[written - 1], left, -count, word);
                    change(s[written - 1], token, count, word);
                }
                if (i + 2 < n) {
                    change(right, s[i + 2], -count, word);
                    change(token, s[i + 2], count, word);
                }
                s[written] = token;
                i += 2;
            } else {
                s[written] = s[i++];
            }
        }
        lengths[word] = written;
    }

    void learn(const Words& words, const uint32_t* id_of_byte, size_t vocab_size) {
        for (const Word& word : words.words) {
            starts.push_back(symbols.size());
            lengths.push_back(word.length);
            for (uint32_t i = 0; i < word.length; i++) symbols.push_back(id_of_byte[words.bytes[word.start + i]]);
        }
        for (uint32_t word = 0; word < starts.size(); word++)
            for (uint32_t i = 0; i + 1 < lengths[word]; i++)
                change(symbols[starts[word] + i], symbols[starts[word] + i + 1], words.words[word].count, word);
        std::vector<Candidate> heap;
        queue(heap);
        while (tokens.size() < vocab_size && !heap.empty()) {
            std::pop_heap(heap.begin(), heap.end());
            Candidate top = heap.back();
            heap.pop_back();
            const int64_t count = pairs.entries[pairs.find(top.pair)].count;
            if (top.count != count) {  // it has become rarer since
                top.count = count;
                heap.push_back(top);
                std::push_heap(heap.begin(), heap.end());
                continue;
            }
            if (count < 1) break;
            const uint32_t left = uint32_t(top.pair >> 32), right = uint32_t(top.pair);
            const std::string joined = tokens[left] + tokens[right];
            const auto [known, is_new] = ids.emplace(joined, uint32_t(tokens.size()));
            const uint32_t token = known->second;
            if (is_new) tokens.push_back(joined);
            for (const uint32_t part : {left, right, token}) merges.push_back(part);
            const std::vector<uint32_t> where = std::move(places[top.places]);
            for (const uint32_t word : where) join(word, words.words[word].count, left, right, token);
            queue(heap);
        }
    }
};

}  // namespace cutaway
