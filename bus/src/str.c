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

void kg_str_mend(char *z) {
  size_t n = strlen(z), k = n;
  while (k && n - k < 3 && ((unsigned char)z[k - 1] & 0xc0) == 0x80) k--;
  if (!k) return;
  unsigned char first = (unsigned char)z[k - 1];
  size_t whole = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
  if (whole > 1 && n - k + 1 < whole) z[k - 1] = '\0';
}
