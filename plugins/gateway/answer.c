/* Objects and lists on their way out: JSON, Table, metadata only. */
#include "gateway.h"

/* Two spaces an indent, as the API's pretty=true; `from` is compact JSON. */
static void prettify(kube_buf_t *b, const char *p, size_t n) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < n; i++) {
    char c = p[i];
    if (in_string) {
      size_t from = i;
      while (i < n && p[i] != '"') i += p[i] == '\\' ? 2 : 1;
      kube_buf_add(b, p + from, (i < n ? i + 1 : n) - from);
      in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    bool empty = (c == '{' || c == '[') && i + 1 < n && (p[i + 1] == '}' || p[i + 1] == ']');
    if (empty) {
      kube_buf_add(b, p + i++, 2);
      continue;
    }
    if (c == '}' || c == ']') kube_buf_fmt(b, "\n%*s", 2 * --depth, "");
    kube_buf_add(b, &c, 1);
    if (c == '{' || c == '[')
      kube_buf_fmt(b, "\n%*s", 2 * ++depth, "");
    else if (c == ',')
      kube_buf_fmt(b, "\n%*s", 2 * depth, "");
    else if (c == ':')
      kube_buf_addz(b, " ");
  }
}

void gw_respond_json(gw_ex_t *ex, int code, const char *type, kube_buf_t *b) {
  if (ex->pretty && !b->failed) {
    kube_buf_t nice = {0};
    prettify(&nice, b->p, b->n);
    kube_buf_free(b);
    *b = nice;
  }
  gw_respond(ex, code, type, b);
}

void gw_answer_json(gw_ex_t *ex, int code, const char *type, kg_view_t v) {
  kube_buf_t b = {0};
  kube_json_write(&b, v);
  gw_respond_json(ex, code, type, &b);
}

void gw_meta_only(kube_buf_t *b, kg_view_t object) {
  kube_buf_addz(b, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
  kube_json_write(b, kg_view_get(object, "metadata"));
  kube_buf_addz(b, "}");
}

/* True: answered as protobuf. False: the kind has no such form, so it goes as JSON. */
static bool respond_protobuf(gw_ex_t *ex, int code, kube_buf_t *b, bool ok) {
  if (ok)
    gw_respond(ex, code, GW_PROTOBUF, b);
  else
    kube_buf_free(b);
  return ok;
}

static bool object_protobuf(gw_ex_t *ex, int code, kg_view_t v) {
  kube_buf_t b = {0};
  bool ok = true;
  if (ex->form == GW_FORM_META)
    gw_protobuf_meta(&b, v);
  else
    ok = gw_protobuf_object(&b, v);
  return respond_protobuf(ex, code, &b, ok);
}

/* --- tables
 * -------------------------------------------------------------------------------------------------------------- */

static void on_table(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY || !kg_msg_doc(m, 0))
    gw_status_of(ex, m);
  else
    gw_answer_json(ex, 200, "application/json", kg_view_of(kg_msg_doc(m, 0)));
}

kg_doc_t *gw_table_args(gw_ex_t *ex, kg_view_t list, bool headers) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "g", ex->route.group);
  kg_pack_kv_str(&p, "v", ex->route.version);
  kg_pack_kv_str(&p, "r", ex->route.resource_name);
  kg_pack_kv_str(&p, "includeObject", ex->include_object);
  if (kg_view_there(list)) kg_pack_kv_view(&p, "list", list);
  kg_pack_kv_bool(&p, "headers", headers);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void ask_table(gw_ex_t *ex, kg_view_t list, kg_doc_t *const *docs, size_t n) {
  kg_doc_t *args = gw_table_args(ex, list, true);
  kg_request_t r = {
      .service = "api", .topic = "api.table", .args = args, .docs = docs, .ndocs = n, .fn = on_table, .arg = ex};
  ex->call = kg_send(ex->conn->gw->ctx, &r);
  kg_doc_unref(args);
}

/* --- objects and lists
 * --------------------------------------------------------------------------------------------------- */

void gw_answer_object(gw_ex_t *ex, int code, kg_doc_t *doc) {
  kg_view_t v = kg_view_of(doc);
  bool status = kg_str_is(kg_view_str(kg_view_get(v, "kind")), "Status");
  if (ex->protobuf && !status && object_protobuf(ex, code, v)) return;
  if (ex->form == GW_FORM_TABLE && !status && code == 200) {
    ask_table(ex, (kg_view_t){0}, &doc, 1);
  } else if (ex->form == GW_FORM_META && !status) {
    kube_buf_t b = {0};
    gw_meta_only(&b, v);
    gw_respond_json(ex, code, "application/json", &b);
  } else
    gw_answer_json(ex, code, "application/json", v);
}

static void table_of_list(gw_ex_t *ex, const kg_msg_t *m) {
  size_t n = kg_msg_ndocs(m);
  kg_doc_t **docs = malloc((n + 1) * sizeof *docs);
  if (!docs) {
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  for (size_t i = 0; i < n; i++) docs[i] = kg_msg_doc(m, i);
  ask_table(ex, kg_msg_args(m), docs, n);
  free(docs);
}

void gw_on_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  ex->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY) gw_add_warnings(ex, kg_msg_args(m));
  if (kg_msg_type(m) != KG_MSG_REPLY)
    gw_status_of(ex, m);
  else if (ex->form == GW_FORM_TABLE)
    table_of_list(ex, m);
  else
    gw_answer_list(ex, m);
}
