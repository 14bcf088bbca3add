#include "kogge/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int kg_error_set(kg_error_t *err, int code, const char *fmt, ...) {
  if (!err) return -1;
  va_list ap;
  va_start(ap, fmt);
  err->code = code;
  vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
  kg_str_mend(err->text);
  return -1;
}

int kg_error_prefix(kg_error_t *err, const char *fmt, ...) {
  if (!err) return -1;
  char old[sizeof err->text];
  memcpy(old, err->text, sizeof old);
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
  va_end(ap);
  if (n >= 0 && (size_t)n < sizeof err->text) snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", old);
  kg_str_mend(err->text);
  return -1;
}
