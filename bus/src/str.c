#include <stdlib.h>
#include <string.h>

#include "head.h"

kg_str_t kg_str(const char *z) {
  return z ? (kg_str_t){z, strlen(z)} : (kg_str_t){NULL, 0};
}

bool kg_str_eq(kg_str_t a, kg_str_t b) {
  return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool kg_str_is(kg_str_t a, const char *z) {
  return kg_str_eq(a, kg_str(z));
}

int kg_str_cmp(kg_str_t a, kg_str_t b) {
  size_t n = a.n < b.n ? a.n : b.n;
  int order = n ? memcmp(a.p, b.p, n) : 0;
  return order ? order : (a.n > b.n) - (a.n < b.n);
}

char *kg_str_dup(kg_str_t s) {
  char *z = malloc(s.n + 1);
  if (!z) return NULL;
  if (s.n) memcpy(z, s.p, s.n);
  z[s.n] = '\0';
  return z;
}

bool kg_str_utf8(kg_str_t s) {
  return kg_utf8_ok((const uint8_t *)s.p, s.n);
}
