#include "kogge/doc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mapped.h"
#include "refs.h"

struct kg_doc {
  atomic_uint refs;
  size_t size;
  const uint8_t *data;
  void (*release)(void *data, void *arg); /* NULL: the bytes follow the struct */
  void *arg;
  uint8_t bytes[];
};

static void free_data(void *data, void *arg) {
  (void)arg;
  free(data);
}

kg_doc_t *kg_doc_copy(const void *data, size_t size) {
  kg_doc_t *doc = malloc(sizeof *doc + size);
  if (!doc) return NULL;
  atomic_init(&doc->refs, 1);
  doc->size = size;
  doc->data = doc->bytes;
  doc->release = NULL;
  doc->arg = NULL;
  if (size) memcpy(doc->bytes, data, size);
  return doc;
}

/* What a wrapped document has behind it: the plugin's code it leads back to, or NULL. */
static kg_mapped_t **code_of(kg_doc_t *doc) {
  return (kg_mapped_t **)(void *)doc->bytes;
}

static kg_doc_t *wrap(const void *data, size_t size, void (*release)(void *data, void *arg), void *arg,
                      kg_mapped_t *code) {
  kg_doc_t *doc = malloc(sizeof *doc + sizeof code);
  if (!doc) return NULL;
  *code_of(doc) = code;
  atomic_init(&doc->refs, 1);
  doc->size = size;
  doc->data = data;
  doc->release = release;
  doc->arg = arg;
  return doc;
}

static void keep_data(void *data, void *arg) {
  (void)data, (void)arg;
}

kg_doc_t *kg_doc_wrap(const void *data, size_t size, void (*release)(void *data, void *arg), void *arg) {
  kg_mapped_t *code = kg_mapped_of(data, (const void *)(uintptr_t)release);
  kg_doc_t *doc = wrap(data, size, release ? release : keep_data, arg, code);
  if (!doc) kg_mapped_drop(code);
  return doc;
}

kg_doc_t *kg_doc_take(void *data, size_t size) {
  kg_doc_t *doc = wrap(data, size, free_data, NULL, NULL);
  if (!doc) free(data);
  return doc;
}

kg_doc_t *kg_doc_ref(kg_doc_t *doc) {
  if (doc) atomic_fetch_add_explicit(&doc->refs, 1, memory_order_relaxed);
  return doc;
}

void kg_doc_unref(kg_doc_t *doc) {
  if (!doc || !kg_refs_drop(&doc->refs)) return;
  if (doc->release) {
    doc->release((void *)doc->data, doc->arg);
    kg_mapped_drop(*code_of(doc)); /* only now nobody returns into it any more */
  }
  free(doc);
}

const uint8_t *kg_doc_data(const kg_doc_t *doc) {
  return doc ? doc->data : NULL;
}
size_t kg_doc_size(const kg_doc_t *doc) {
  return doc ? doc->size : 0;
}
unsigned kg_doc_refs(const kg_doc_t *doc) {
  return doc ? atomic_load(&doc->refs) : 0;
}
