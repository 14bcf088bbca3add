/* The gate for foreign bytes: after kg_doc_check() every view over them is exact. */
#include <string.h>

#include "head.h"
#include "kogge/doc.h"

/* Length of the UTF-8 sequence at p, 0 if it is none (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
static size_t utf8_sequence(const uint8_t *p, size_t left) {
  uint8_t b = *p;
  size_t n = b < 0x80 ? 1 : b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
  if (n == 0 || n > left) return 0;
  for (size_t i = 1; i < n; i++)
    if ((p[i] & 0xc0) != 0x80) return 0;
  if (b == 0xe0 && p[1] < 0xa0) return 0;
  if (b == 0xed && p[1] > 0x9f) return 0;
  if (b == 0xf0 && p[1] < 0x90) return 0;
  if (b == 0xf4 && p[1] > 0x8f) return 0;
  return n;
}

bool kg_utf8_ok(const uint8_t *p, size_t n) {
  while (n) {
    uint64_t word;
    if (n >= 8 && (memcpy(&word, p, 8), !(word & 0x8080808080808080ull))) {
      p += 8;
      n -= 8;
      continue;
    }
    size_t step = utf8_sequence(p, n);
    if (!step) return false;
    p += step;
    n -= step;
  }
  return true;
}

int kg_doc_check(const void *data, size_t size, kg_error_t *err) {
  size_t used = 0;
  if (kg_value_check(data, size, &used, err) < 0) return -1;
  if (used == size) return 0;
  return kg_error_set(err, KG_EINVAL, "document has %zu bytes after its end at byte %zu", size - used, used);
}

int kg_value_check(const void *data, size_t size, size_t *used, kg_error_t *err) {
  const uint8_t *start = data, *p = start, *end = start + size;
  uint64_t left[KG_DOC_MAX_DEPTH + 1]; /* values still expected on each level */
  unsigned depth = 0;
  if (size > KG_DOC_MAX_BYTES)
    return kg_error_set(err, KG_ETOOBIG, "document of %zu bytes is over the limit of %u", size, KG_DOC_MAX_BYTES);
  left[0] = 1;
  for (;;) {
    while (left[depth] == 0) {
      if (depth == 0) {
        *used = (size_t)(p - start);
        return 0;
      }
      depth--;
    }
    left[depth]--;
    kg_head_t h = kg_head_read(p, end);
    size_t at = (size_t)(p - start);
    if (h.type == KG_V_NONE) return kg_error_set(err, KG_EINVAL, "document is malformed or cut off at byte %zu", at);
    p += h.own;
    if (h.type == KG_V_STR && !kg_utf8_ok(p, h.length))
      return kg_error_set(err, KG_EINVAL, "string at byte %zu is not UTF-8", at);
    if (h.type == KG_V_STR || h.type == KG_V_BIN) p += h.length;
    if (h.type != KG_V_ARRAY && h.type != KG_V_MAP) continue;
    if (depth == KG_DOC_MAX_DEPTH)
      return kg_error_set(err, KG_EINVAL, "document is nested deeper than %d at byte %zu", KG_DOC_MAX_DEPTH, at);
    left[++depth] = h.type == KG_V_MAP ? 2 * (uint64_t)h.length : h.length;
  }
}
