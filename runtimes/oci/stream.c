/* What exec and attach have alike: items of output, and input that is kept until it is taken. */
#include "oci.h"

int stream_output(kg_ctx_t *ctx, const kg_msg_t *request, int number, const void *data, size_t n) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "fd", number);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, data, n);
  kg_pack_end(&p);
  kg_doc_t *item = kg_pack_doc(&p);
  int left = kg_stream_item(ctx, request, item, NULL, 0);
  kg_doc_unref(item);
  return left;
}

void input_add(stream_input_t *in, const kg_msg_t *item, bool wanted) {
  kg_str_t data = kg_view_bin(kg_view_get(kg_msg_args(item), "data"));
  if (kg_msg_type(item) == KG_MSG_END) in->ended = true;
  if (kg_msg_type(item) == KG_MSG_ITEM) in->owed++;
  if (wanted) kube_buf_add(&in->rest, data.p, data.n);
}

bool input_waits(const stream_input_t *in) {
  return in->taken < in->rest.n;
}

void input_taken(kg_ctx_t *ctx, const kg_msg_t *request, stream_input_t *in) {
  kube_buf_free(&in->rest);
  in->taken = 0;
  kg_stream_grant(ctx, request, in->owed);
  in->owed = 0;
}
