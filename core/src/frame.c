#include <stdlib.h>
#include <string.h>

#include "frame.h"

int kg_frame_pack(int type, uint64_t id, const char *service, const char *topic, int code, const char *text,
                  kg_doc_t *args, kg_doc_t *const *docs, size_t ndocs, bool stream, int64_t timeout_ms, uint8_t **out,
                  size_t *size) {
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kg_pack_int(&p, type);
  kg_pack_uint(&p, id);
  kg_pack_str(&p, service);
  kg_pack_str(&p, topic);
  kg_pack_int(&p, code);
  kg_pack_str(&p, text);
  kg_pack_view(&p, kg_view_of(args));
  kg_pack_array(&p);
  for (size_t i = 0; i < ndocs; i++) kg_pack_bin(&p, kg_doc_data(docs[i]), kg_doc_size(docs[i]));
  kg_pack_end(&p);
  kg_pack_bool(&p, stream);
  kg_pack_int(&p, timeout_ms);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  uint32_t n = doc ? (uint32_t)kg_doc_size(doc) : 0;
  *out = doc ? malloc(n + 4) : NULL;
  if (*out) {
    for (int i = 0; i < 4; i++) (*out)[i] = (uint8_t)(n >> (8 * i));
    memcpy(*out + 4, kg_doc_data(doc), n);
    *size = n + 4;
  }
  kg_doc_unref(doc);
  return *out ? 0 : -1;
}

int kg_frame_read(const void *data, size_t size, kg_frame_t *f) {
  kg_view_t v[10] = {0};
  size_t n = 0;
  if (kg_doc_check(data, size, NULL) < 0) return -1;
  kg_iter_t it = kg_iter(kg_view_bytes(data, size));
  if (it.map) return -1;
  while (n < 10 && kg_iter_next(&it)) v[n++] = it.value;
  *f = (kg_frame_t){.type = (int)kg_view_int(v[0], 0),
                    .id = kg_view_uint(v[1], 0),
                    .service = kg_view_str(v[2]),
                    .topic = kg_view_str(v[3]),
                    .code = (int)kg_view_int(v[4], 0),
                    .text = kg_view_str(v[5]),
                    .args = v[6],
                    .docs = v[7],
                    .stream = kg_view_bool(v[8], false),
                    .timeout_ms = kg_view_int(v[9], 0)};
  return n == 10 ? 0 : -1;
}
