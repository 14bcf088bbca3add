/* The envelope between processes: PROTOCOL.md rules 2 and 3. */
#include <string.h>

#include "head.h"
#include "msg_internal.h"

enum { FIELDS = 11, TEXT_MAX = 2048 };

/* Always the shortest form, like kg_pack_uint(). */
static uint8_t *put_uint(uint8_t *at, uint64_t v) {
  unsigned n = v < 0x80 ? 0 : v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;
  if (n == 0) {
    *at++ = (uint8_t)v;
    return at;
  }
  *at++ = n == 1 ? 0xcc : n == 2 ? 0xcd : n == 4 ? 0xce : 0xcf;
  for (unsigned i = 0; i < n; i++) at[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
  return at + n;
}

static uint8_t *put_string(uint8_t *at, const char *z, size_t max) {
  size_t n = strnlen(z, max);
  /* A character is never cut in two: the rest of the kernel takes UTF-8 only. */
  while (z[n] && n && ((uint8_t)z[n] & 0xc0) == 0x80) n--;
  if (n < 32) {
    *at++ = (uint8_t)(0xa0 | n);
  } else if (n < 256) {
    *at++ = 0xd9;
    *at++ = (uint8_t)n;
  } else {
    *at++ = 0xda;
    *at++ = (uint8_t)(n >> 8);
    *at++ = (uint8_t)n;
  }
  memcpy(at, z, n);
  return at + n;
}

size_t kg_envelope_write(const kg_msg_t *m, uint64_t id, uint32_t flags, int64_t now_ms, uint8_t out[KG_ENVELOPE_MAX]) {
  int64_t left = m->deadline_ms ? m->deadline_ms - now_ms : 0;
  if (m->deadline_ms && left < 1) left = 1; /* 0 would mean: none */
  uint8_t *at = out;
  *at++ = 0x90 | FIELDS;
  *at++ = KG_ENVELOPE_VERSION;
  *at++ = (uint8_t)m->type;
  at = put_string(at, m->topic, KG_NAME_MAX);
  at = put_string(at, m->source, KG_NAME_MAX);
  at = put_string(at, m->service, KG_NAME_MAX);
  at = put_uint(at, id);
  at = put_uint(at, left > INT32_MAX ? INT32_MAX : (uint64_t)left);
  at = put_uint(at, m->flags | flags);
  at = put_uint(at, m->code < 0 ? KG_EINTERNAL : (uint64_t)m->code);
  at = put_string(at, m->text, TEXT_MAX);
  at = put_uint(at, m->credit);
  return (size_t)(at - out);
}

kg_doc_t *kg_envelope_encode(const kg_msg_t *m, int64_t now_ms) {
  uint8_t out[KG_ENVELOPE_MAX];
  return kg_doc_copy(out, kg_envelope_write(m, m->id, 0, now_ms, out));
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct reader {
  const uint8_t *p, *end;
  char *scratch;
  kg_error_t *err;
} reader_t;

static int number(reader_t *r, const char *what, uint64_t max, uint64_t *out) {
  if (r->p < r->end && *r->p < 0x80 && *r->p <= max) { /* most are one byte */
    *out = *r->p++;
    return 0;
  }
  kg_head_t h = kg_head_read(r->p, r->end);
  bool is = h.type == KG_V_INT || h.type == KG_V_UINT;
  uint64_t n = is ? kg_view_uint((kg_view_t){r->p, r->end}, UINT64_MAX) : UINT64_MAX;
  if (!is || n > max) return kg_error_set(r->err, KG_EINVAL, "envelope: %s is missing or out of range (rule 2)", what);
  r->p += h.own;
  *out = n;
  return 0;
}

static int string(reader_t *r, const char *what, size_t max, const char **out) {
  kg_head_t h = kg_head_read(r->p, r->end);
  const uint8_t *z = r->p + h.own;
  size_t n = h.length;
  if (h.type != KG_V_STR) return kg_error_set(r->err, KG_EINVAL, "envelope: %s is no string (rule 2)", what);
  if (n > max) return kg_error_set(r->err, KG_EINVAL, "envelope: %s is longer than %zu bytes (rule 2)", what, max);
  if (memchr(z, 0, n)) return kg_error_set(r->err, KG_EINVAL, "envelope: %s contains a zero byte (rule 2)", what);
  if (!kg_utf8_ok(z, n)) return kg_error_set(r->err, KG_EINVAL, "envelope: %s is not UTF-8 (rule 2)", what);
  *out = memcpy(r->scratch, z, n);
  r->scratch[n] = '\0';
  r->scratch += n + 1;
  r->p = z + n;
  return 0;
}

static bool topic_ok(const char *z) {
  const char *start = z;
  while ((*z >= 'a' && *z <= 'z') || (*z >= '-' && *z <= '9' && *z != '/') || *z == '_') z++;
  return !*z && z != start;
}

static int read_fields(reader_t *r, int64_t now_ms, kg_msg_init_t *out) {
  uint64_t version, type, left, flags, code, credit;
  if (number(r, "version", UINT32_MAX, &version)) return -1;
  if (version != KG_ENVELOPE_VERSION)
    return kg_error_set(r->err, KG_EINVAL, "envelope: version %u is not spoken here (rule 3)", (unsigned)version);
  if (number(r, "type", KG_MSG_CREDIT, &type)) return -1;
  if (type < KG_MSG_REQUEST)
    return kg_error_set(r->err, KG_EINVAL, "envelope: type %u is unknown (rule 3)", (unsigned)type);
  if (string(r, "topic", KG_NAME_MAX, &out->topic) || string(r, "source", KG_NAME_MAX, &out->source) ||
      string(r, "service", KG_NAME_MAX, &out->service) || number(r, "id", UINT64_MAX - 1, &out->id) ||
      number(r, "deadline", INT32_MAX, &left) ||
      number(r, "flags", KG_FLAG_STREAM | KG_FLAG_UP | KG_FLAG_INLINE, &flags) || number(r, "code", INT32_MAX, &code) ||
      string(r, "text", KG_ENVELOPE_MAX, &out->text) || number(r, "credit", UINT32_MAX, &credit))
    return -1;
  if (!topic_ok(out->topic))
    return kg_error_set(r->err, KG_EINVAL, "envelope: topic '%s' is malformed (rule 2)", out->topic);
  out->type = (kg_msg_type_t)type;
  out->deadline_ms = left ? now_ms + (int64_t)left : 0;
  out->flags = (uint32_t)flags;
  out->code = (int)code;
  out->credit = (uint32_t)credit;
  return 0;
}

size_t kg_envelope_read(const void *data, size_t size, int64_t now_ms, kg_msg_init_t *out, char *scratch,
                        kg_error_t *err) {
  const uint8_t *start = data;
  reader_t r = {start, start + (size < KG_ENVELOPE_MAX ? size : KG_ENVELOPE_MAX), scratch, err};
  kg_head_t h = kg_head_read(r.p, r.end);
  memset(out, 0, sizeof *out);
  if (h.type != KG_V_ARRAY || h.length != FIELDS) {
    kg_error_set(err, KG_EINVAL, "envelope: is no array of %d values (rule 2)", FIELDS);
    return 0;
  }
  r.p += h.own;
  return read_fields(&r, now_ms, out) < 0 ? 0 : (size_t)(r.p - start);
}

int kg_envelope_decode(const void *data, size_t size, int64_t now_ms, kg_msg_init_t *out, char *scratch,
                       kg_error_t *err) {
  if (size > KG_ENVELOPE_MAX)
    return kg_error_set(err, KG_ETOOBIG, "envelope: %zu bytes are over %d (rule 3)", size, KG_ENVELOPE_MAX);
  size_t used = kg_envelope_read(data, size, now_ms, out, scratch, err);
  if (used && used == size) return 0; /* nothing at all is no envelope */
  return used ? kg_error_set(err, KG_EINVAL, "envelope: has %zu bytes after its end", size - used) : -1;
}
