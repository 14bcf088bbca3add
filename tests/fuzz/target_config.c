/* Configuration files and flags: YAML, then PATH=VALUE settings, then the document that plugins see. */
#include "config.h"
#include "fuzz.h"

static void set_one(kg_cfg_t *cfg, kg_str_t setting) {
  kg_error_t err = {0};
  char *text = kg_str_dup(setting), *eq = strchr(text, '=');
  if (eq) *eq = 0;
  if (kg_cfg_set(cfg, text, eq ? eq + 1 : "", setting.n & 1, &err) < 0) FUZZ_MUST(err.text[0]);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_in_t in = {data, data + size};
  kg_str_t text = fuzz_part(&in);
  kg_error_t err = {0};
  kg_cfg_t *cfg = kg_cfg_parse("fuzz.yaml", text.p, text.n, &err);
  free((char *)text.p);
  if (!cfg) {
    FUZZ_MUST(!strncmp(err.text, "fuzz.yaml:", 10));
    return 0;
  }
  while (in.p < in.end) {
    kg_str_t setting = fuzz_part(&in);
    set_one(cfg, setting);
    free((char *)setting.p);
  }
  kg_doc_t *doc = kg_cfg_doc(cfg);
  if (doc) fuzz_check(doc);
  kg_doc_unref(doc);
  kg_cfg_free(cfg);
  return 0;
}
