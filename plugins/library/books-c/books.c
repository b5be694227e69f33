// Lending, with the rules of ../books, written in C against the contract alone. The entity is a book.

#include <stdlib.h>
#include <string.h>

#include "command_handler_plugin.h"
#include "json.h"

// The generated names, shortened.
#define OF_HANDLER(name) exports_pelton_plugin_command_handler_##name
typedef command_handler_plugin_string_t string_t;
typedef OF_HANDLER(entity_t) entity_t;
typedef OF_HANDLER(own_entity_t) own_entity_t;
typedef OF_HANDLER(command_t) command_t;
typedef OF_HANDLER(new_event_t) new_event_t;
typedef OF_HANDLER(list_new_event_t) events_t;
typedef OF_HANDLER(rejection_t) rejection_t;
typedef OF_HANDLER(event_type_t) event_type_t;
typedef OF_HANDLER(recorded_event_t) recorded_event_t;

// One book: whether somebody has it, and who.
struct OF_HANDLER(entity_t) {
  bool is_lent;
  struct text reader;
};

// What the host gets belongs to it, on the heap, and is freed by the generated code.
static string_t string(const char *text) {
  string_t string;
  command_handler_plugin_string_dup(&string, text);
  return string;
}

static void *room(size_t count, size_t bytes) {
  void *room = calloc(count, bytes);
  if (room == NULL) abort();
  return room;
}

static bool is(const string_t *text, const char *name) {
  return text->len == strlen(name) && memcmp(text->ptr, name, text->len) == 0;
}

// ---- what the plugin says of itself -----------------------------------------------------------------------------------

static command_handler_plugin_list_string_t strings(size_t count, const char *const texts[]) {
  command_handler_plugin_list_string_t list = {room(count, sizeof(string_t)), count};
  for (size_t n = 0; n < count; n++) list.ptr[n] = string(texts[n]);
  return list;
}

static OF_HANDLER(list_event_type_t) event_types(void) {
  static const char *const types[] = {"book-lent", "book-returned", "book-asked-for"};
  OF_HANDLER(list_event_type_t) list = {room(3, sizeof(event_type_t)), 3};
  for (size_t n = 0; n < 3; n++) list.ptr[n] = (event_type_t){string(types[n]), 1};
  return list;
}

void OF_HANDLER(describe)(OF_HANDLER(descriptor_t) *said) {
  said->identity.name = string("library-books-c");
  said->identity.version = string("0.1.0");
  said->identity.metadata.len = 0;
  said->commands = strings(3, (const char *[]){"lend-book", "return-book", "ask-for-book"});
  said->emits = event_types();
  said->folds = event_types();
  said->rejections = strings(3, (const char *[]){"no-name", "already-lent", "not-lent"});
  said->state_version = 1;
  // The state does not depend on where its events lie.
  said->metadata.ptr = room(1, sizeof *said->metadata.ptr);
  said->metadata.len = 1;
  said->metadata.ptr[0].f0 = string("decide-ahead");
  said->metadata.ptr[0].f1 = string("true");
}

// ---- the state --------------------------------------------------------------------------------------------------------

static const char *const BOOK_AND_READER[] = {"book", "reader"};
static const char *const READER[] = {"reader"};

own_entity_t OF_HANDLER(constructor_entity)(string_t *id) {
  command_handler_plugin_string_free(id);
  return OF_HANDLER(entity_new)(room(1, sizeof(entity_t)));
}

void OF_HANDLER(entity_destructor)(entity_t *book) {
  text_free(&book->reader);
  free(book);
}

// A snapshot is `{}`, or `{"reader":…}`.
bool OF_HANDLER(static_entity_restore)(string_t *id, command_handler_plugin_list_u8_t *snapshot, own_entity_t *restored,
                                       string_t *why) {
  command_handler_plugin_string_free(id);
  struct text reader;
  bool is_lent = json_texts(snapshot->ptr, snapshot->len, 1, READER, &reader);
  bool is_free = snapshot->len == 2 && memcmp(snapshot->ptr, "{}", 2) == 0;
  command_handler_plugin_list_u8_free(snapshot);
  if (!is_lent && !is_free) {
    *why = string("it is no snapshot of a book");
    return false;
  }
  entity_t *book = room(1, sizeof(entity_t));
  *book = (entity_t){is_lent, reader};
  *restored = OF_HANDLER(entity_new)(book);
  return true;
}

bool OF_HANDLER(method_entity_snapshot)(entity_t *book, command_handler_plugin_list_u8_t *snapshot) {
  struct text state = json_object(book->is_lent ? 1 : 0, READER, &book->reader);
  *snapshot = (command_handler_plugin_list_u8_t){state.ptr, state.len};
  return true;
}

static bool fold(entity_t *book, const string_t *type, const command_handler_plugin_list_u8_t *data) {
  struct text texts[2];
  if (!json_texts(data->ptr, data->len, 2, BOOK_AND_READER, texts)) return false;
  text_free(&texts[0]);
  bool lent = is(type, "book-lent"), returned = is(type, "book-returned");
  if (lent || returned) {
    text_free(&book->reader);
    book->is_lent = lent;
  }
  if (lent) {
    book->reader = texts[1];
  } else {
    text_free(&texts[1]);
  }
  return true;
}

bool OF_HANDLER(method_entity_evolve)(entity_t *book, OF_HANDLER(list_recorded_event_t) *events, string_t *why) {
  bool folded = true;
  for (size_t n = 0; folded && n < events->len; n++) {
    folded = fold(book, &events->ptr[n].event.type, &events->ptr[n].event.data);
  }
  OF_HANDLER(list_recorded_event_free)(events);
  if (!folded) *why = string("an event has no book or no reader");
  return folded;
}

// ---- the rules --------------------------------------------------------------------------------------------------------

static bool reject(rejection_t *rejection, const char *code, const char *message) {
  *rejection = (rejection_t){string(code), string(message), {NULL, 0}};
  return false;
}

// Accepts with one event of the book and this reader.
static bool accept(events_t *events, const char *type, struct text book, struct text reader) {
  struct text data = json_object(2, BOOK_AND_READER, (struct text[]){book, reader});
  *events = (events_t){room(1, sizeof(new_event_t)), 1};
  events->ptr[0] = (new_event_t){.type = string(type), .version = 1, .data = {data.ptr, data.len}};
  return true;
}

// A reader is a key of a view and an entity of `library-notices`, so not every text can be one.
static bool is_name(struct text text) {
  for (size_t n = 0; n < text.len; n++) {
    uint8_t c = text.ptr[n];
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_letter && !(c >= '0' && c <= '9') && c != '-') return false;
  }
  return text.len >= 1 && text.len <= 64;
}

static bool lend(const entity_t *book, struct text title, struct text reader, events_t *events, rejection_t *rejection) {
  if (!is_name(reader)) {
    return reject(rejection, "no-name", "a reader's name has 1 to 64 letters, digits and -");
  }
  if (!book->is_lent) return accept(events, "book-lent", title, reader);
  reject(rejection, "already-lent", "somebody has the book");
  struct text has = text_copy(book->reader.ptr, book->reader.len);
  rejection->details.ptr = room(1, sizeof *rejection->details.ptr);
  rejection->details.len = 1;
  rejection->details.ptr[0].f0 = string("reader");
  rejection->details.ptr[0].f1 = (string_t){has.ptr, has.len};
  return false;
}

bool OF_HANDLER(method_entity_decide)(entity_t *book, command_t *command, events_t *events, rejection_t *rejection) {
  struct text texts[2] = {0};
  bool lends = is(&command->type, "lend-book"), returns = is(&command->type, "return-book");
  size_t wanted = returns ? 1 : 2;
  bool is_read = json_texts(command->data.ptr, command->data.len, wanted, BOOK_AND_READER, texts);
  OF_HANDLER(command_free)(command);
  bool accepted;
  if (!is_read) {
    accepted = reject(rejection, "invalid-command", "it is no JSON object with the texts `book` and `reader`");
  } else if (lends) {
    accepted = lend(book, texts[0], texts[1], events, rejection);
  } else if (!book->is_lent) {
    accepted = reject(rejection, "not-lent", "nobody has the book");
  } else if (returns) {
    accepted = accept(events, "book-returned", texts[0], book->reader);
  } else {
    accepted = accept(events, "book-asked-for", texts[0], texts[1]);
  }
  text_free(&texts[0]);
  text_free(&texts[1]);
  return accepted;
}
