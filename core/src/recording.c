#include "recording.h"

#include <stdlib.h>
#include <string.h>

#include "msg_internal.h"

#define MARK "kogge recording"
#define HEAD 8 /* of a frame: length and checksum of its body */

static uint32_t checksum(const uint8_t *p, size_t n) { /* FNV-1a */
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

static void put32(uint8_t *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *at) {
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static int make_frame(kg_pack_t *p, uint8_t **out, size_t *size) {
  kg_doc_t *body = kg_pack_doc(p);
  size_t n = kg_doc_size(body);
  /* Plugins of this process may have packed what no reader takes: better not written. */
  *out = body && kg_doc_check(kg_doc_data(body), n, NULL) == 0 ? malloc(n + HEAD) : NULL;
  if (*out) {
    put32(*out, (uint32_t)n);
    put32(*out + 4, checksum(kg_doc_data(body), n));
    memcpy(*out + HEAD, kg_doc_data(body), n);
    *size = n + HEAD;
  }
  kg_doc_unref(body);
  return *out ? 0 : -1;
}

int kg_recording_begin(int64_t now_us, uint8_t **out, size_t *size) {
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kg_pack_str(&p, MARK);
  kg_pack_int(&p, KG_RECORDING_VERSION);
  kg_pack_int(&p, now_us);
  kg_pack_end(&p);
  return make_frame(&p, out, size);
}

int kg_recording_message(int64_t time_us, kg_str_t to, kg_view_t envelope, kg_view_t args, kg_view_t docs,
                         uint8_t **out, size_t *size) {
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kg_pack_int(&p, time_us);
  kg_pack_strn(&p, to);
  kg_pack_view(&p, envelope);
  kg_pack_view(&p, args);
  if (kg_view_type(docs) == KG_V_ARRAY) {
    kg_pack_view(&p, docs);
  } else {
    kg_pack_array(&p);
    kg_pack_end(&p);
  }
  kg_pack_end(&p);
  return make_frame(&p, out, size);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* The elements of an array that must have so many. */
static int elements(const uint8_t *body, size_t n, kg_view_t *v, size_t count, kg_error_t *err) {
  if (kg_doc_check(body, n, err) < 0) return -1;
  kg_view_t all = kg_view_bytes(body, n);
  kg_iter_t it = kg_iter(all);
  if (kg_view_type(all) != KG_V_ARRAY || kg_view_count(all) != count)
    return kg_error_set(err, KG_EINVAL, "it is no array of %zu values", count);
  for (size_t i = 0; i < count && kg_iter_next(&it); i++) v[i] = it.value;
  return 0;
}

static int read_begin(const uint8_t *body, size_t n, kg_error_t *err) {
  kg_view_t v[3];
  if (elements(body, n, v, 3, err) < 0) return -1;
  int64_t version = kg_view_int(v[1], -1);
  if (!kg_str_is(kg_view_str(v[0]), MARK)) return kg_error_set(err, KG_EINVAL, "it does not say \"" MARK "\"");
  if (version != KG_RECORDING_VERSION)
    return kg_error_set(err, KG_EINVAL, "version %lld of recordings is not read here", (long long)version);
  return 0;
}

static int read_docs(kg_view_t list, kg_msg_init_t *init, kg_doc_t **docs, kg_error_t *err) {
  init->docs = docs;
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it);) {
    kg_str_t bytes = kg_view_bin(it.value);
    if (!bytes.p) return kg_error_set(err, KG_EINVAL, "document %zu is no binary value", init->ndocs);
    if (kg_doc_check(bytes.p, bytes.n, err) < 0) return kg_error_prefix(err, "document %zu", init->ndocs);
    if (!(docs[init->ndocs] = kg_doc_copy(bytes.p, bytes.n))) return kg_error_set(err, KG_EFULL, "out of memory");
    init->ndocs++;
  }
  return 0;
}

static int read_args(kg_view_t args, kg_msg_init_t *init, kg_error_t *err) {
  if (kg_view_type(args) == KG_V_NIL) return 0;
  if (kg_view_type(args) != KG_V_MAP) return kg_error_set(err, KG_EINVAL, "its arguments are no map");
  init->args = kg_doc_copy(args.p, kg_view_span(args));
  return init->args ? 0 : kg_error_set(err, KG_EFULL, "out of memory");
}

static kg_msg_t *make_message(kg_view_t envelope, kg_view_t args, kg_view_t list, kg_error_t *err) {
  char scratch[KG_ENVELOPE_MAX + 8];
  kg_msg_init_t init;
  size_t count = kg_view_count(list);
  kg_msg_t *m = NULL;
  if (kg_envelope_decode(envelope.p, kg_view_span(envelope), 0, &init, scratch, err) < 0) return NULL;
  if (kg_view_type(list) != KG_V_ARRAY || count > KG_MSG_MAX_DOCS) {
    kg_error_set(err, KG_EINVAL, "its documents are no array of at most %d", KG_MSG_MAX_DOCS);
    return NULL;
  }
  kg_doc_t **docs = calloc(count + 1, sizeof *docs);
  init.flags &= ~(uint32_t)KG_FLAG_INLINE;
  if (!docs)
    kg_error_set(err, KG_EFULL, "out of memory");
  else if (read_args(args, &init, err) == 0 && read_docs(list, &init, docs, err) == 0 && !(m = kg_msg_new(&init)))
    kg_error_set(err, KG_EFULL, "out of memory");
  for (size_t i = 0; docs && i < init.ndocs; i++) kg_doc_unref(docs[i]);
  free(docs);
  kg_doc_unref(init.args);
  return m;
}

/* 0, -1, or what `each` said if that is not 0. */
static int read_message(const uint8_t *body, size_t n, int (*each)(void *arg, const kg_recorded_t *r), void *arg,
                        int *stop, kg_error_t *err) {
  kg_view_t v[5];
  char to[KG_NAME_MAX + 1];
  if (elements(body, n, v, 5, err) < 0) return -1;
  kg_str_t name = kg_view_str(v[1]);
  kg_recorded_t r = {.time_us = kg_view_int(v[0], -1), .to = to};
  if (r.time_us < 0) return kg_error_set(err, KG_EINVAL, "its time is no number of microseconds");
  if (!name.n || name.n > KG_NAME_MAX || memchr(name.p, 0, name.n))
    return kg_error_set(err, KG_EINVAL, "its receiver is no name");
  memcpy(to, name.p, name.n);
  to[name.n] = 0;
  if (!(r.m = make_message(v[2], v[3], v[4], err))) return -1;
  *stop = each ? each(arg, &r) : 0;
  kg_msg_unref(r.m);
  return 0;
}

/* What is there of a frame at `at`: 1 a whole one, 0 the end or one that was broken off, -1 no frame. */
static int find_frame(const uint8_t *data, size_t size, size_t at, kg_error_t *err) {
  size_t left = size - at, i = at;
  while (i < size && !data[i]) i++;
  if (i == size) return 0; /* the end, or space that was never written */
  if (left < HEAD) return 0;
  size_t n = get32(data + at);
  if (n == 0 || n > KG_DOC_MAX_BYTES) return kg_error_set(err, KG_EINVAL, "a frame of %zu bytes is not allowed", n);
  if (n > left - HEAD) return 0;
  if (get32(data + at + 4) == checksum(data + at + HEAD, n)) return 1;
  return n == left - HEAD ? 0 : kg_error_set(err, KG_EINVAL, "the frame's checksum is wrong");
}

int kg_recording_read(const void *bytes, size_t size, int (*each)(void *arg, const kg_recorded_t *r), void *arg,
                      kg_recording_t *out, kg_error_t *err) {
  const uint8_t *data = bytes;
  kg_recording_t local, *sum = out ? out : &local;
  *sum = (kg_recording_t){0};
  if (size > KG_RECORDING_MAX_BYTES)
    return kg_error_set(err, KG_ETOOBIG, "%zu bytes are more than a recording may have", size);
  int found, stop = 0;
  while (!stop && (found = find_frame(data, size, sum->whole, err)) != 0) {
    size_t n = found > 0 ? get32(data + sum->whole) : 0;
    const uint8_t *body = data + sum->whole + HEAD;
    if (found < 0 || (sum->whole == 0 ? read_begin(body, n, err) : read_message(body, n, each, arg, &stop, err)) < 0)
      return kg_error_prefix(err, "at byte %zu", sum->whole);
    sum->messages += sum->whole != 0;
    sum->whole += HEAD + n;
  }
  if (!sum->whole) return kg_error_set(err, KG_EINVAL, "at byte 0: there is no beginning of a recording");
  sum->cut = stop ? 0 : size - sum->whole;
  return 0;
}
