// Cuts text into the words that no merge may cross, as the patterns of splits.py do, in one pass and without
// backtracking: every text takes time in proportion to its length.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cutaway {

// What a character is; the bits of the table that Python hands over, one byte a code point.
enum : uint8_t { LETTER = 1, NUMBER = 2, SPACE = 4, UPPER = 8, LOWER = 16 };
enum Kind { GPT2 = 0, MODERN = 1, CASED = 2 };

struct Scanner {
    const uint8_t* classes;
    Kind kind;
    int digits;  // of a group; 0 for any number
    const uint8_t* text;
    size_t end;

    // The class of the character at `at`, and its length in `size`. Beyond the end there is none.
    uint8_t look(size_t at, size_t& size) const {
        if (at >= end) return size = 0, uint8_t(0);
        const uint8_t byte = text[at];
        if (byte < 0x80) return size = 1, classes[byte];
        uint32_t code;
        if (byte < 0xE0) code = (byte & 31u) << 6 | (text[at + 1] & 63u), size = 2;
        else if (byte < 0xF0) code = (byte & 15u) << 12 | (text[at + 1] & 63u) << 6 | (text[at + 2] & 63u), size = 3;
        else code = (byte & 7u) << 18 | (text[at + 1] & 63u) << 12 | (text[at + 2] & 63u) << 6 | (text[at + 3] & 63u), size = 4;
        return classes[code];
    }

    bool is_break(size_t at) const { return at < end && (text[at] == '\n' || text[at] == '\r'); }

    // The end of the run of characters that have any of `bits`, from `at` on.
    size_t run(size_t at, uint8_t bits) const {
        size_t size;
        while (look(at, size) & bits) at += size;
        return at;
    }

    // The end of the run of marks: neither letters, numbers nor white space.
    size_t marks(size_t at) const {
        size_t size;
        while (at < end && !(look(at, size) & (LETTER | NUMBER | SPACE))) at += size;
        return at;
    }

    size_t number(size_t at) const {
        size_t size;
        for (int n = 0; (digits == 0 || n < digits) && (look(at, size) & NUMBER); n++) at += size;
        return at;
    }

    // The end of 's, 't, 're, 've, 'm, 'll or 'd; `at` where there is none. The long s is an s without its case.
    size_t contraction(size_t at, bool any_case) const {
        if (at + 1 >= end || text[at] != '\'') return at;
        const uint8_t fold = any_case ? 0x20 : 0;
        const uint8_t first = text[at + 1] | fold, second = at + 2 < end ? text[at + 2] | fold : 0;
        if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
        if ((first == 'r' || first == 'v') && second == 'e') return at + 3;
        if (first == 'l' && second == 'l') return at + 3;
        if (any_case && text[at + 1] == 0xC5 && at + 2 < end && text[at + 2] == 0xBF) return at + 3;
        return at;
    }

    // Capitals and then small letters, at least one small one if `small`, else at least one capital; 0 if there is no
    // such word here. Letters without case and marks count as both.
    size_t cased(size_t at, bool small) const {
        size_t size, both = 0, capitals = at;
        for (uint8_t what; (what = look(capitals, size)) & UPPER; capitals += size)
            if (what & LOWER) both = capitals + size;
        const size_t whole = run(capitals, LOWER);
        if (small) return whole > capitals ? whole : both;
        return capitals > at ? whole : 0;
    }

    size_t cased_word(size_t at) const {
        size_t size;
        const uint8_t what = look(at, size);
        const bool prefix = !is_break(at) && !(what & (LETTER | NUMBER));
        for (const bool small : {true, false}) {
            size_t found = prefix ? cased(at + size, small) : 0;
            if (!found) found = cased(at, small);
            if (found) return contraction(found, true);
        }
        return at;
    }

    size_t white_space(size_t at) const {
        size_t size, last = at, after_break = 0, here = at;
        while (look(here, size) & SPACE) {
            last = here;
            if (is_break(here)) after_break = here + 1;
            here += size;
        }
        if (kind != GPT2 && after_break) return after_break;
        // The last space belongs to the word behind it, but for being the only one.
        return here == end || last == at ? here : last;
    }

    // Where the word that begins at `at` ends.
    size_t next(size_t at) const {
        size_t size, after;
        const uint8_t what = look(at, size);
        if (kind != CASED && text[at] == '\'' && (after = contraction(at, kind == MODERN)) > at) return after;
        const bool space = text[at] == ' ';
        size_t ignored;
        const uint8_t following = look(at + size, ignored);
        if (kind == GPT2) {
            const size_t from = space ? at + 1 : at;
            const uint8_t first = space ? following : what;
            if (from < end) {
                if (first & LETTER) return run(from, LETTER);
                if (first & NUMBER) return number(from);
                if (!(first & SPACE)) return marks(from);
            }
            return white_space(at);
        }
        if (kind == MODERN) {
            if (what & LETTER) return run(at, LETTER);
            if (!(what & NUMBER) && !is_break(at) && (following & LETTER)) return run(at + size, LETTER);
        } else if ((after = cased_word(at)) > at) {
            return after;
        }
        if (what & NUMBER) return number(at);
        const size_t from = space ? at + 1 : at;
        if ((after = marks(from)) > from) {
            while (is_break(after) || (kind == CASED && after < end && text[after] == '/')) after++;
            return after;
        }
        return white_space(at);
    }
};

}  // namespace cutaway
