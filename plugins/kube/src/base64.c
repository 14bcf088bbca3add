#include <stdlib.h>

#include "kube/json.h"
#include "kube/values.h"

size_t kube_base64(char *out, const void *data, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *in = data;
  char *p = out;
  for (size_t i = 0; i < n; i += 3) {
    unsigned v = (unsigned)in[i] << 16;
    if (i + 1 < n) v |= (unsigned)in[i + 1] << 8;
    if (i + 2 < n) v |= in[i + 2];
    *p++ = digits[v >> 18];
    *p++ = digits[v >> 12 & 63];
    *p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
    *p++ = i + 2 < n ? digits[v & 63] : '=';
  }
  *p = '\0';
  return (size_t)(p - out);
}

void kube_buf_base64(kube_buf_t *b, const void *data, size_t n) {
  char *at = kube_buf_room(b, KUBE_BASE64_SIZE(n));
  if (at) b->n += kube_base64(at, data, n);
}

static int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

char *kube_base64_decode(kg_str_t s, size_t *n) {
  char *out = malloc(s.n / 4 * 3 + 4);
  unsigned bits = 0, have = 0;
  *n = 0;
  for (size_t i = 0; out && i < s.n; i++) {
    int d = digit(s.p[i]);
    if (d < 0) continue;
    bits = bits << 6 | (unsigned)d;
    if ((have += 6) >= 8) out[(*n)++] = (char)(bits >> (have -= 8));
  }
  if (out) out[*n] = 0;
  return out;
}
