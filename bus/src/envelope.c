/* The envelope between processes: PROTOCOL.md rules 2 and 3. */
#include <string.h>

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

static int number(kg_view_t v, const char *what, uint64_t max, uint64_t *out, kg_error_t *err) {
  uint64_t n = kg_view_uint(v, UINT64_MAX);
  if ((kg_view_type(v) != KG_V_INT && kg_view_type(v) != KG_V_UINT) || n > max)
    return kg_error_set(err, KG_EINVAL, "envelope: %s is missing or out of range (rule 2)", what);
  *out = n;
  return 0;
}

static int string(kg_view_t v, const char *what, size_t max, char **scratch, const char **out, kg_error_t *err) {
  kg_str_t s = kg_view_str(v);
  if (!s.p) return kg_error_set(err, KG_EINVAL, "envelope: %s is no string (rule 2)", what);
  if (s.n > max) return kg_error_set(err, KG_EINVAL, "envelope: %s is longer than %zu bytes (rule 2)", what, max);
  if (memchr(s.p, 0, s.n)) return kg_error_set(err, KG_EINVAL, "envelope: %s contains a zero byte (rule 2)", what);
  memcpy(*scratch, s.p, s.n);
  (*scratch)[s.n] = '\0';
  *out = *scratch;
  *scratch += s.n + 1;
  return 0;
}

static bool topic_ok(const char *z) {
  return *z && strspn(z, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(z);
}

static int decode_fields(const kg_view_t f[FIELDS], int64_t now_ms, kg_msg_init_t *out, char *scratch,
                         kg_error_t *err) {
  uint64_t version, type, left, flags, code, credit;
  if (number(f[0], "version", UINT32_MAX, &version, err)) return -1;
  if (version != KG_ENVELOPE_VERSION)
    return kg_error_set(err, KG_EINVAL, "envelope: version %u is not spoken here (rule 3)", (unsigned)version);
  if (number(f[1], "type", KG_MSG_CREDIT, &type, err)) return -1;
  if (type < KG_MSG_REQUEST)
    return kg_error_set(err, KG_EINVAL, "envelope: type %u is unknown (rule 3)", (unsigned)type);
  if (string(f[2], "topic", KG_NAME_MAX, &scratch, &out->topic, err) ||
      string(f[3], "source", KG_NAME_MAX, &scratch, &out->source, err) ||
      string(f[4], "service", KG_NAME_MAX, &scratch, &out->service, err) ||
      number(f[5], "id", UINT64_MAX - 1, &out->id, err) || number(f[6], "deadline", INT32_MAX, &left, err) ||
      number(f[7], "flags", KG_FLAG_STREAM | KG_FLAG_UP | KG_FLAG_INLINE, &flags, err) ||
      number(f[8], "code", INT32_MAX, &code, err) || string(f[9], "text", KG_ENVELOPE_MAX, &scratch, &out->text, err) ||
      number(f[10], "credit", UINT32_MAX, &credit, err))
    return -1;
  if (!topic_ok(out->topic))
    return kg_error_set(err, KG_EINVAL, "envelope: topic '%s' is malformed (rule 2)", out->topic);
  out->type = (kg_msg_type_t)type;
  out->deadline_ms = left ? now_ms + (int64_t)left : 0;
  out->flags = (uint32_t)flags;
  out->code = (int)code;
  out->credit = (uint32_t)credit;
  return 0;
}

int kg_envelope_decode(const void *data, size_t size, int64_t now_ms, kg_msg_init_t *out, char *scratch,
                       kg_error_t *err) {
  memset(out, 0, sizeof *out);
  if (size > KG_ENVELOPE_MAX)
    return kg_error_set(err, KG_ETOOBIG, "envelope: %zu bytes are over %d (rule 3)", size, KG_ENVELOPE_MAX);
  if (kg_doc_check(data, size, err)) return kg_error_prefix(err, "envelope");
  kg_view_t v = kg_view_bytes(data, size), f[FIELDS];
  kg_iter_t it = kg_iter(v);
  if (kg_view_type(v) != KG_V_ARRAY || kg_view_count(v) != FIELDS)
    return kg_error_set(err, KG_EINVAL, "envelope: is no array of %d values (rule 2)", FIELDS);
  for (size_t i = 0; i < FIELDS && kg_iter_next(&it); i++) f[i] = it.value;
  return decode_fields(f, now_ms, out, scratch, err);
}
