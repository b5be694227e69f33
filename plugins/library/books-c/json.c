#include "json.h"

#include <stdlib.h>
#include <string.h>

// How deep arrays and objects may lie in each other. Deeper ones would use up the stack, which no plugin survives.
enum { MAX_DEPTH = 64 };

static void push(struct text *text, uint8_t byte) {
  // Doubles at each power of two.
  if ((text->len & (text->len - 1)) == 0) {
    uint8_t *more = realloc(text->ptr, text->len == 0 ? 1 : text->len * 2);
    if (more == NULL) abort();
    text->ptr = more;
  }
  text->ptr[text->len++] = byte;
}

struct text text_copy(const uint8_t *ptr, size_t len) {
  struct text copy = {0};
  if (len == 0) return copy;
  copy.ptr = malloc(len);
  if (copy.ptr == NULL) abort();
  memcpy(copy.ptr, ptr, len);
  copy.len = len;
  return copy;
}

void text_free(struct text *text) {
  free(text->ptr);
  *text = (struct text){0};
}

// ---- reading ----------------------------------------------------------------------------------------------------------

struct reader {
  const uint8_t *at, *end;
};

static void blanks(struct reader *in) {
  while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

// Takes this character, if it is the next one.
static bool take(struct reader *in, uint8_t wanted) {
  if (in->at == in->end || *in->at != wanted) return false;
  in->at++;
  return true;
}

static void push_utf8(struct text *out, uint32_t point) {
  if (point < 0x80) {
    push(out, point);
  } else if (point < 0x800) {
    push(out, 0xC0 | point >> 6);
    push(out, 0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    push(out, 0xE0 | point >> 12);
    push(out, 0x80 | (point >> 6 & 0x3F));
    push(out, 0x80 | (point & 0x3F));
  } else {
    push(out, 0xF0 | point >> 18);
    push(out, 0x80 | (point >> 12 & 0x3F));
    push(out, 0x80 | (point >> 6 & 0x3F));
    push(out, 0x80 | (point & 0x3F));
  }
}

// One character of more than a byte, as RFC 3629 allows it: none that is longer than it must be, and no half of a pair.
static bool wide(struct reader *in, struct text *out) {
  uint8_t first = *in->at++;
  int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  if (first < 0xC2 || first > 0xF4 || in->end - in->at < more) return false;
  uint32_t point = first & (0x3F >> more);
  for (int n = 0; n < more; n++) {
    uint8_t next = *in->at++;
    if ((next & 0xC0) != 0x80) return false;
    point = point << 6 | (next & 0x3F);
  }
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  if (point < least[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
  push_utf8(out, point);
  return true;
}

static bool four_digits(struct reader *in, uint32_t *value) {
  *value = 0;
  for (int n = 0; n < 4; n++) {
    if (in->at == in->end) return false;
    uint8_t digit = *in->at++;
    if (digit >= '0' && digit <= '9') digit -= '0';
    else if (digit >= 'a' && digit <= 'f') digit -= 'a' - 10;
    else if (digit >= 'A' && digit <= 'F') digit -= 'A' - 10;
    else return false;
    *value = *value << 4 | digit;
  }
  return true;
}

static bool escape(struct reader *in, struct text *out) {
  if (in->at == in->end) return false;
  switch (*in->at++) {
    case '"': push(out, '"'); return true;
    case '\\': push(out, '\\'); return true;
    case '/': push(out, '/'); return true;
    case 'b': push(out, '\b'); return true;
    case 'f': push(out, '\f'); return true;
    case 'n': push(out, '\n'); return true;
    case 'r': push(out, '\r'); return true;
    case 't': push(out, '\t'); return true;
    case 'u': break;
    default: return false;
  }
  uint32_t point, low;
  if (!four_digits(in, &point)) return false;
  if (point >= 0xD800 && point <= 0xDBFF) {
    if (!take(in, '\\') || !take(in, 'u') || !four_digits(in, &low) || low < 0xDC00 || low > 0xDFFF) return false;
    point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
  } else if (point >= 0xDC00 && point <= 0xDFFF) {
    return false;
  }
  push_utf8(out, point);
  return true;
}

// A string. What was read before a mistake is in `out`, too.
static bool string(struct reader *in, struct text *out) {
  if (!take(in, '"')) return false;
  while (in->at < in->end) {
    uint8_t next = *in->at;
    if (next < 0x20) return false;
    if (next >= 0x80) {
      if (!wide(in, out)) return false;
      continue;
    }
    in->at++;
    if (next == '"') return true;
    if (next == '\\') {
      if (!escape(in, out)) return false;
    } else {
      push(out, next);
    }
  }
  return false;
}

static bool digits(struct reader *in) {
  const uint8_t *first = in->at;
  while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
  return in->at > first;
}

static bool number(struct reader *in) {
  take(in, '-');
  if (!take(in, '0') && !digits(in)) return false;
  if (take(in, '.') && !digits(in)) return false;
  if (take(in, 'e') || take(in, 'E')) {
    if (!take(in, '+')) take(in, '-');
    return digits(in);
  }
  return true;
}

static bool word(struct reader *in, const char *word) {
  for (; *word != 0; word++) {
    if (!take(in, *word)) return false;
  }
  return true;
}

static bool skip_string(struct reader *in) {
  struct text skipped = {0};
  bool read = string(in, &skipped);
  text_free(&skipped);
  return read;
}

// Any value, which is left out.
static bool skip(struct reader *in, int depth) {
  if (in->at == in->end || depth > MAX_DEPTH) return false;
  switch (*in->at) {
    case '"': return skip_string(in);
    case 't': return word(in, "true");
    case 'f': return word(in, "false");
    case 'n': return word(in, "null");
    case '[':
    case '{': break;
    default: return number(in);
  }
  bool object = *in->at++ == '{';
  uint8_t close = object ? '}' : ']';
  blanks(in);
  if (take(in, close)) return true;
  do {
    blanks(in);
    if (object) {
      if (!skip_string(in)) return false;
      blanks(in);
      if (!take(in, ':')) return false;
      blanks(in);
    }
    if (!skip(in, depth + 1)) return false;
    blanks(in);
  } while (take(in, ','));
  return take(in, close);
}

static bool is(const struct text *text, const char *name) {
  return text->len == strlen(name) && (text->len == 0 || memcmp(text->ptr, name, text->len) == 0);
}

// A name and its value. Where the name is wanted, the value must be a string; the last one counts.
static bool member(struct reader *in, size_t count, const char *const names[], struct text texts[], bool found[]) {
  struct text name = {0};
  size_t wanted = 0;
  bool read = string(in, &name);
  while (wanted < count && !is(&name, names[wanted])) wanted++;
  text_free(&name);
  if (!read) return false;
  blanks(in);
  if (!take(in, ':')) return false;
  blanks(in);
  if (wanted == count) return skip(in, 1);
  text_free(&texts[wanted]);
  found[wanted] = true;
  return string(in, &texts[wanted]);
}

static bool members(struct reader *in, size_t count, const char *const names[], struct text texts[], bool found[]) {
  blanks(in);
  if (!take(in, '{')) return false;
  blanks(in);
  if (!take(in, '}')) {
    do {
      blanks(in);
      if (!member(in, count, names, texts, found)) return false;
      blanks(in);
    } while (take(in, ','));
    if (!take(in, '}')) return false;
  }
  blanks(in);
  return in->at == in->end;
}

bool json_texts(const uint8_t *data, size_t len, size_t count, const char *const names[], struct text texts[]) {
  struct reader in = {data, data + len};
  bool found[count], all = true;
  for (size_t n = 0; n < count; n++) {
    texts[n] = (struct text){0};
    found[n] = false;
  }
  all = members(&in, count, names, texts, found);
  for (size_t n = 0; n < count; n++) all = all && found[n];
  for (size_t n = 0; !all && n < count; n++) text_free(&texts[n]);
  return all;
}

// ---- writing ----------------------------------------------------------------------------------------------------------

static void push_string(struct text *out, const uint8_t *ptr, size_t len) {
  static const char hex[] = "0123456789abcdef";
  push(out, '"');
  for (size_t n = 0; n < len; n++) {
    uint8_t byte = ptr[n];
    if (byte < 0x20) {
      const char escaped[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
      for (size_t at = 0; at < sizeof escaped; at++) push(out, escaped[at]);
    } else {
      if (byte == '"' || byte == '\\') push(out, '\\');
      push(out, byte);
    }
  }
  push(out, '"');
}

struct text json_object(size_t count, const char *const names[], const struct text texts[]) {
  struct text out = {0};
  push(&out, '{');
  for (size_t n = 0; n < count; n++) {
    if (n > 0) push(&out, ',');
    push_string(&out, (const uint8_t *)names[n], strlen(names[n]));
    push(&out, ':');
    push_string(&out, texts[n].ptr, texts[n].len);
  }
  push(&out, '}');
  return out;
}
