#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"

char *kube_buf_room(kube_buf_t *b, size_t n) {
  if (b->failed) return NULL;
  if (b->room - b->n < n) {
    size_t room = b->room ? b->room : 256;
    while (room - b->n < n) room *= 2;
    char *p = realloc(b->p, room);
    if (!p) {
      b->failed = true;
      return NULL;
    }
    b->p = p;
    b->room = room;
  }
  return b->p + b->n;
}

void kube_buf_add(kube_buf_t *b, const void *p, size_t n) {
  char *at = n ? kube_buf_room(b, n) : NULL;
  if (!at) return;
  memcpy(at, p, n);
  b->n += n;
}

void kube_buf_addz(kube_buf_t *b, const char *z) {
  kube_buf_add(b, z, strlen(z));
}

void kube_buf_fmt(kube_buf_t *b, const char *fmt, ...) {
  va_list ap, again;
  va_start(ap, fmt);
  va_copy(again, ap);
  /* What is left of the room is enough mostly: then once is enough. */
  size_t left = b->failed ? 0 : b->room - b->n;
  int n = vsnprintf(left ? b->p + b->n : NULL, left, fmt, ap);
  va_end(ap);
  char *at = n > 0 ? kube_buf_room(b, (size_t)n + 1) : NULL;
  if (at && (size_t)n >= left) vsnprintf(at, (size_t)n + 1, fmt, again);
  if (at) b->n += (size_t)n;
  va_end(again);
}

void kube_buf_free(kube_buf_t *b) {
  free(b->p);
  *b = (kube_buf_t){0};
}
