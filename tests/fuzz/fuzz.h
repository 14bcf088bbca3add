#ifndef FUZZ_H
#define FUZZ_H
/* What the fuzzing targets share. An input may have several parts, with FUZZ_CUT between them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kogge/doc.h"
#include "kogge/view.h"

#define FUZZ_CUT 0x1e /* ASCII's record separator: no text of ours holds it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run if what must always hold does not. */
#define FUZZ_MUST(what)                                                                                                \
  do {                                                                                                                 \
    if (!(what)) {                                                                                                     \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);                                        \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

typedef struct fuzz_in {
  const uint8_t *p, *end;
} fuzz_in_t;

/* The next byte, 0 at the end. */
static inline uint8_t fuzz_byte(fuzz_in_t *in) {
  return in->p < in->end ? *in->p++ : 0;
}

/* The next part, in memory of its own so that reading past its end is seen; never NULL. Caller frees .p. */
static inline kg_str_t fuzz_part(fuzz_in_t *in) {
  size_t left = (size_t)(in->end - in->p);
  const uint8_t *cut = left ? memchr(in->p, FUZZ_CUT, left) : NULL;
  size_t n = cut ? (size_t)(cut - in->p) : left;
  char *copy = malloc(n ? n : 1);
  if (n) memcpy(copy, in->p, n);
  in->p += n + (cut != NULL);
  return (kg_str_t){copy, n};
}

/* A document that we made ourselves must be one. */
static inline void fuzz_check(const kg_doc_t *doc) {
  kg_error_t err = {0};
  if (kg_doc_check(kg_doc_data(doc), kg_doc_size(doc), &err) == 0) return;
  fprintf(stderr, "%s\n", err.text);
  abort();
}

#endif
