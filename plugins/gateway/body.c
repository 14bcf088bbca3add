/* Request bodies: JSON, or YAML where a client may send it, into one document. */
#include <strings.h>

#include "gateway.h"

/* Media type without its parameters. */
static void media_type(const char *type, char out[96]) {
  size_t n = type ? strcspn(type, "; \t") : 0;
  if (n > 95) n = 95;
  for (size_t i = 0; i < n; i++) out[i] = type[i] >= 'A' && type[i] <= 'Z' ? (char)(type[i] + 32) : type[i];
  out[n] = 0;
}

static bool looks_like_json(const kube_buf_t *b) {
  size_t i = 0;
  while (i < b->n && (b->p[i] == ' ' || b->p[i] == '\n' || b->p[i] == '\t' || b->p[i] == '\r')) i++;
  return i < b->n && (b->p[i] == '{' || b->p[i] == '[');
}

static void warn_of(gw_ex_t *ex, const kube_buf_t *twice) {
  kube_buf_t text = {0}, header = {0};
  kube_buf_fmt(&text, "yaml: unmarshal errors:%.*s", (int)twice->n, twice->p);
  for (size_t i = 0; i < text.n; i++)
    if (text.p[i] == '\n') text.p[i] = ' ';
  kube_buf_addz(&header, "299 - ");
  kube_json_string(&header, (kg_str_t){text.p, text.n});
  kube_buf_add(&header, "", 1);
  if (!text.failed && !header.failed) gw_add_header(ex, "warning", header.p);
  kube_buf_free(&text);
  kube_buf_free(&header);
}

/* Keys that come twice: the last one counts, or, where the client wants it strict, none. */
static kg_doc_t *yaml_doc(gw_ex_t *ex, kg_error_t *err) {
  kube_buf_t twice = {0};
  char *mode = gw_query(ex, "fieldValidation", NULL);
  kg_doc_t *doc = gw_yaml_parse(ex->body.p, ex->body.n, &twice, err);
  if (!doc) {
    kg_error_prefix(err, "yaml parse error");
  } else if (twice.n && mode && !strcmp(mode, "Strict")) {
    kg_error_set(err, KG_EINVAL,
                 "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:%.*s", (int)twice.n,
                 twice.p);
    kg_doc_unref(doc);
    doc = NULL;
  } else if (twice.n && !(mode && !strcmp(mode, "Ignore"))) {
    warn_of(ex, &twice);
  }
  free(mode);
  kube_buf_free(&twice);
  return doc;
}

static kg_doc_t *parse(gw_ex_t *ex, bool yaml, kg_pack_t *duplicates, kg_error_t *err) {
  kube_json_limits_t limits = {.max_bytes = GW_MAX_BODY};
  kg_doc_t *doc;
  if (yaml && !looks_like_json(&ex->body)) {
    doc = yaml_doc(ex, err);
  } else {
    doc = kube_json_parse(ex->body.p ? ex->body.p : "", ex->body.n, &limits, duplicates, err);
    if (!doc) kg_error_prefix(err, "json parse error");
  }
  if (!doc && err) err->code = KG_EINVAL;
  return doc;
}

/* `type`: NULL for objects (JSON or YAML by their content type), else the patch kind. */
kg_doc_t *gw_body(gw_ex_t *ex, const char *type, kg_pack_t *duplicates, kg_error_t *err) {
  char media[96];
  media_type(gw_header(ex, "content-type"), media);
  if (type) return parse(ex, !strcmp(type, "apply"), duplicates, err);
  if (!strcmp(media, "application/vnd.kubernetes.protobuf"))
    return gw_protobuf_parse(ex->body.p ? ex->body.p : "", ex->body.n, err);
  bool yaml = !strcmp(media, "application/yaml");
  if (*media && !yaml && strcmp(media, "application/json")) {
    kg_error_set(err, 415,
                 "the body of the request was in an unknown format - accepted media types include: application/json, "
                 "application/yaml");
    return NULL;
  }
  return parse(ex, yaml, duplicates, err);
}
