#include "head.h"

/* Heads from 0xc0 to 0xdf: type and the width of the length or scalar after the first byte. */
typedef struct {
  uint8_t type, width, sized; /* sized: the width is a length's */
} kg_wide_t;

static const kg_wide_t wide[32] = {
    [0x00] = {KG_V_NIL, 0, 0},   [0x02] = {KG_V_BOOL, 0, 0}, [0x03] = {KG_V_BOOL, 0, 0},  [0x04] = {KG_V_BIN, 1, 1},
    [0x05] = {KG_V_BIN, 2, 1},   [0x06] = {KG_V_BIN, 4, 1},  [0x0a] = {KG_V_FLOAT, 4, 0}, [0x0b] = {KG_V_FLOAT, 8, 0},
    [0x0c] = {KG_V_INT, 1, 0},   [0x0d] = {KG_V_INT, 2, 0},  [0x0e] = {KG_V_INT, 4, 0},   [0x0f] = {KG_V_UINT, 8, 0},
    [0x10] = {KG_V_INT, 1, 0},   [0x11] = {KG_V_INT, 2, 0},  [0x12] = {KG_V_INT, 4, 0},   [0x13] = {KG_V_INT, 8, 0},
    [0x19] = {KG_V_STR, 1, 1},   [0x1a] = {KG_V_STR, 2, 1},  [0x1b] = {KG_V_STR, 4, 1},   [0x1c] = {KG_V_ARRAY, 2, 1},
    [0x1d] = {KG_V_ARRAY, 4, 1}, [0x1e] = {KG_V_MAP, 2, 1},  [0x1f] = {KG_V_MAP, 4, 1},
};

static kg_head_t checked(kg_head_t h, const uint8_t *p, const uint8_t *end) {
  size_t left = (size_t)(end - p);
  bool bytes = h.type == KG_V_STR || h.type == KG_V_BIN;
  /* Every element takes a byte at least: a count that cannot fit is refused before anyone loops over it. */
  uint64_t least = h.type == KG_V_MAP ? 2 * (uint64_t)h.length : bytes || h.type == KG_V_ARRAY ? h.length : 0;
  return h.own + least > left ? (kg_head_t){KG_V_NONE, 0, 0} : h;
}

kg_head_t kg_head_read(const uint8_t *p, const uint8_t *end) {
  if (!p || p >= end) return (kg_head_t){KG_V_NONE, 0, 0};
  uint8_t b = *p;
  if (b < 0x80 || b >= 0xe0) return (kg_head_t){KG_V_INT, 0, 1};
  if (b < 0x90) return checked((kg_head_t){KG_V_MAP, b & 0x0f, 1}, p, end);
  if (b < 0xa0) return checked((kg_head_t){KG_V_ARRAY, b & 0x0f, 1}, p, end);
  if (b < 0xc0) return checked((kg_head_t){KG_V_STR, b & 0x1f, 1}, p, end);
  kg_wide_t w = wide[b - 0xc0];
  if (w.type == KG_V_NONE || (size_t)(end - p) < 1u + w.width) return (kg_head_t){KG_V_NONE, 0, 0};
  if (w.sized) return checked((kg_head_t){w.type, (uint32_t)kg_load_be(p + 1, w.width), 1u + w.width}, p, end);
  if (w.type == KG_V_UINT && !(p[1] & 0x80)) w.type = KG_V_INT;
  return (kg_head_t){w.type, 0, 1u + w.width};
}
