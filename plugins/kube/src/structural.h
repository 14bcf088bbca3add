#ifndef KUBE_STRUCTURAL_H
#define KUBE_STRUCTURAL_H
/* A compiled schema of a custom kind, as the files that use it see it. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "kube/custom.h"
#include "kube/schema.h"

typedef enum {
  KUBE_S_ANY,
  KUBE_S_OBJECT,
  KUBE_S_ARRAY,
  KUBE_S_STRING,
  KUBE_S_INTEGER,
  KUBE_S_NUMBER,
  KUBE_S_BOOLEAN
} kube_stype_t;
typedef struct kube_property {
  kg_str_t name;
  kube_structural_t *s;
} kube_property_t;

struct kube_structural {
  kube_stype_t type;
  bool nullable, preserve, embedded, int_or_string, map_atomic, exclusive_min, exclusive_max, unique, has_min, has_max,
      has_multiple;
  kube_list_t list;
  const char *const *list_keys;
  kg_str_t format, pattern;
  pcre2_code *regex;
  kube_property_t *props; /* in order of their names */
  uint32_t nprops;
  kube_structural_t *items, *additional;
  kube_node_t *dflt, *enums, *required;
  double min, max, multiple;
  kg_str_t min_text, max_text, multiple_text;
  int64_t min_length, max_length, min_items, max_items, min_props, max_props; /* -1: not said */
  kube_structural_t **all_of, **any_of, **one_of, *not_of;                    /* lists end with NULL */
  kube_structural_t *next_regex, *regexes; /* those with a regex; regexes: of the root, the first to be freed */
  kube_arena_t *arena;                     /* of the root */
  kg_doc_t *doc;
};

const kube_structural_t *kube_structural_field(const kube_structural_t *s, kg_str_t name); /* NULL: not known */

/* custom.c */
/* Decodes the metadata of an object; unknown gets the paths of what is not known there. */
int kube_custom_metadata(kube_arena_t *a, kube_node_t *object, kube_node_t *unknown, kg_error_t *err);
int kube_custom_decode(kube_arena_t *a, const kube_resource_t *r, kube_node_t *object, kube_node_t *unknown, bool given,
                       kg_error_t *err);
struct kube_check;
void kube_custom_validate(struct kube_check *c);

#endif
