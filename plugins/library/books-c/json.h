// The JSON of commands and events whose values are texts.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes on the heap; without any, `ptr` is null.
struct text {
  uint8_t *ptr;
  size_t len;
};

// Reads the texts under these names from an object. What else the object has must be JSON, and is left out. On false it is
// none, or a text is missing; then `texts` are empty.
bool json_texts(const uint8_t *data, size_t len, size_t count, const char *const names[], struct text texts[]);

// An object with these texts, on the heap.
struct text json_object(size_t count, const char *const names[], const struct text texts[]);

// A copy on the heap.
struct text text_copy(const uint8_t *ptr, size_t len);

void text_free(struct text *text);

#endif
