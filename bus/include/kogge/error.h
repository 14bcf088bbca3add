#ifndef KOGGE_ERROR_H
#define KOGGE_ERROR_H
/*
 * An error is a value: a code for programs and one sentence for people. It lives in the caller's frame, holds no
 * memory of its own and is passed down as `kg_error_t *err`. Functions that can fail return 0 or a pointer on
 * success, a negative number or NULL after they filled `err`. `err` may be NULL when the caller does not care.
 */
#include "kogge/export.h"

/* Codes follow HTTP's numbers, so that a gateway needs no table: 400 bad input, 404 absent, 409 conflict, ... */
typedef enum {
  KG_OK = 0,
  KG_EINVAL = 400,
  KG_EDENIED = 403,
  KG_ENOTFOUND = 404,
  KG_ETIMEOUT = 408,
  KG_ECONFLICT = 409,
  KG_EGONE = 410,
  KG_ETOOBIG = 413,
  KG_ECANCELLED = 499,
  KG_EINTERNAL = 500,
  KG_EUNAVAILABLE = 503,
  KG_EDEADLINE = 504,
  KG_EFULL = 507,
} kg_code_t;

typedef struct kg_error {
  int code;       /* kg_code_t, 0: no error */
  char text[508]; /* one sentence, NUL-terminated, cut if too long */
} kg_error_t;

/* Fills *err (if not NULL) and returns -1, so that a failing function can `return kg_error_set(err, ...)`. Any thread.
 */
KG_PUBLIC int kg_error_set(kg_error_t *err, int code, const char *fmt, ...) KG_PRINTF(3, 4);

/* Puts "context: " before the sentence already in *err; keeps the code. Returns -1. Any thread. */
KG_PUBLIC int kg_error_prefix(kg_error_t *err, const char *fmt, ...) KG_PRINTF(2, 3);

#endif
