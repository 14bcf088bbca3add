/* An image from its OCI configuration (image-spec, config.md). */
#include <stdio.h>
#include <openssl/evp.h>

#include "image_store.h"

void stored_free(stored_t *s) {
  if (!s) return;
  for (size_t i = 0; i < s->nnames; i++) free(s->names[i]);
  for (size_t i = 0; i < s->nlayers; i++) free(s->layers[i]);
  free(s->names);
  free(s->layers);
  free(s->id);
  kg_doc_unref(s->config);
  free(s);
}

int stored_add_name(stored_t *s, const char *name) {
  char **more = realloc(s->names, (s->nnames + 1) * sizeof *more);
  if (!more) return -1;
  s->names = more;
  return (s->names[s->nnames] = strdup(name)) ? (s->nnames++, 0) : -1;
}

const char *image_architecture(void) {
#if defined __aarch64__
  return "arm64";
#else
  return "amd64";
#endif
}

kg_view_t config_diff_ids(kg_view_t config) {
  return kg_view_path(config, "rootfs", "diff_ids", NULL);
}

void text_digest(const void *text, size_t n, char digest[8 + HEX]) {
  unsigned char sum[32];
  unsigned len = sizeof sum;
  EVP_Digest(text, n, sum, &len, EVP_sha256(), NULL);
  memcpy(digest, "sha256:", 7);
  for (int i = 0; i < 32; i++) snprintf(digest + 7 + 2 * i, 3, "%02x", sum[i]);
}

static int read_layers(stored_t *s, kg_view_t ids, kg_error_t *err) {
  s->layers = calloc(kg_view_count(ids) + 1, sizeof *s->layers);
  for (kg_iter_t it = kg_iter(ids); s->layers && kg_iter_next(&it);) {
    kg_str_t id = kg_view_str(it.value);
    if (!image_is_digest(id))
      return kg_error_set(err, KG_EINVAL, "the image configuration has a layer id that is no SHA-256: " KG_STR_FMT,
                          KG_STR_ARG(id));
    s->layers[s->nlayers++] = strndup(id.p + 7, HEX);
  }
  return s->nlayers ? 0 : kg_error_set(err, KG_EINVAL, "the image configuration names no layers");
}

static int check_platform(kg_view_t v, kg_error_t *err) {
  kg_str_t os = kg_view_str(kg_view_get(v, "os")), arch = kg_view_str(kg_view_get(v, "architecture"));
  if ((!os.n || kg_str_is(os, "linux")) && (!arch.n || kg_str_is(arch, image_architecture()))) return 0;
  return kg_error_set(err, KG_EINVAL, "the image is for %.*s/%.*s, this node is linux/%s", CUT_ARG(os), CUT_ARG(arch),
                      image_architecture());
}

stored_t *stored_of_config(const char *text, size_t n, kg_error_t *err) {
  char id[8 + HEX];
  kg_doc_t *doc = kube_json_parse(text, n, NULL, NULL, err);
  stored_t *s = doc ? calloc(1, sizeof *s) : NULL;
  if (!s) {
    kg_error_prefix(err, "the image configuration cannot be read");
    kg_doc_unref(doc);
    return NULL;
  }
  kg_view_t config = kg_view_get(kg_view_of(doc), "config");
  text_digest(text, n, id);
  s->id = strdup(id);
  s->config = kg_view_type(config) == KG_V_MAP ? kg_doc_copy(config.p, kg_view_span(config)) : kg_doc_copy("\x80", 1);
  int bad = !s->id || !s->config                       ? kg_error_set(err, KG_EINTERNAL, "out of memory")
            : check_platform(kg_view_of(doc), err) < 0 ? -1
                                                       : read_layers(s, config_diff_ids(kg_view_of(doc)), err);
  kg_doc_unref(doc);
  if (!bad) return s;
  stored_free(s);
  return NULL;
}
