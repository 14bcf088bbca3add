#include "config.h"
#include "kogge/yaml.h"

kg_doc_t *kg_yaml_doc(const char *name, const char *text, size_t size, kg_error_t *err) {
  kg_cfg_t *cfg = kg_cfg_parse(name, text, size, err);
  if (!cfg) return NULL;
  kg_doc_t *doc = kg_cfg_doc(cfg);
  kg_cfg_free(cfg);
  if (!doc) kg_error_set(err, KG_EFULL, "out of memory");
  return doc;
}
