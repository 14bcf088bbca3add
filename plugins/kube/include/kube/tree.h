#ifndef KUBE_TREE_H
#define KUBE_TREE_H
/*
 * A document that can be changed: msgpack is parsed into nodes of an arena, edited, and packed into a new document. All
 * nodes live until the arena is freed; nothing is freed one by one. Strings may be borrowed from the parsed document,
 * so the document must outlive the tree. One thread at a time. Maps keep the order of their keys.
 */
#include "kogge/doc.h"
#include "kogge/pack.h"
#include "kogge/view.h"

typedef struct kube_arena kube_arena_t;
KG_NODISCARD kube_arena_t *kube_arena_new(void); /* caller frees with kube_arena_free */
void kube_arena_free(kube_arena_t *a);           /* NULL is allowed */
void *kube_arena_alloc(kube_arena_t *a,
                       size_t size); /* zeroed, 8-aligned; never NULL (exits the process on out of memory) */
char *kube_arena_fmt(kube_arena_t *a, const char *fmt, ...) KG_PRINTF(2, 3);
kg_str_t kube_arena_str(kube_arena_t *a, kg_str_t s); /* copies */

typedef struct kube_node kube_node_t;
struct kube_node {
  kg_vtype_t type; /* KG_V_NIL ... KG_V_MAP */
  union {
    bool b;
    int64_t i;
    uint64_t u;
    double f;
    kg_str_t s; /* STR and BIN */
    struct {    /* ARRAY and MAP */
      kube_node_t **items;
      kg_str_t *keys; /* MAP only */
      uint32_t n, room;
      uint32_t *index; /* of a MAP that is not small: where its keys are; NULL: to be searched one by one */
    } c;
  };
};

/* Parses one value. NULL if malformed (see kg_doc_check). */
kube_node_t *kube_tree_parse(kube_arena_t *a, kg_view_t v);
void kube_tree_pack(const kube_node_t *n, kg_pack_t *p);
kg_doc_t *kube_tree_doc(const kube_node_t *n);                       /* caller owns one reference */
kube_node_t *kube_tree_clone(kube_arena_t *a, const kube_node_t *n); /* deep; strings shared */
bool kube_tree_equal(const kube_node_t *a, const kube_node_t *b);    /* maps without order; NULL equals only NULL */

kube_node_t *kube_nil(kube_arena_t *a);
kube_node_t *kube_bool(kube_arena_t *a, bool v);
kube_node_t *kube_int(kube_arena_t *a, int64_t v);
kube_node_t *kube_float(kube_arena_t *a, double v);
kube_node_t *kube_str(kube_arena_t *a, const char *z); /* copied */
kube_node_t *kube_strn(kube_arena_t *a, kg_str_t s);   /* copied */
kube_node_t *kube_strf(kube_arena_t *a, const char *fmt, ...) KG_PRINTF(2, 3);
kube_node_t *kube_map(kube_arena_t *a);
kube_node_t *kube_array(kube_arena_t *a);

/* Maps. `m` may be NULL or no map: get gives NULL then. set replaces in place or appends; the key is copied. */
kube_node_t *kube_get(const kube_node_t *m, const char *key);
kube_node_t *kube_getn(const kube_node_t *m, kg_str_t key);
kube_node_t *kube_path(const kube_node_t *m, ...)
    __attribute__((sentinel)); /* kube_path(o, "metadata", "labels", NULL) */
void kube_set(kube_arena_t *a, kube_node_t *m, const char *key, kube_node_t *v);
void kube_setn(kube_arena_t *a, kube_node_t *m, kg_str_t key, kube_node_t *v);
bool kube_del(kube_node_t *m, const char *key); /* true if it was there */
bool kube_deln(kube_node_t *m, kg_str_t key);
/* For many at once, where each kube_deln() would move the rest: strikes the key out, so that it is neither found nor
 * counted right, until kube_settle() must follow before anybody else looks at the map. */
void kube_strike(kube_node_t *m, kg_str_t key);
void kube_settle(kube_arena_t *a, kube_node_t *m);
/* Puts the keys in order, as Go writes maps: clients compare such texts. deep: also of all maps below. Others than maps
 * stay. */
void kube_sort_keys(kube_arena_t *a, kube_node_t *m, bool deep);
kube_node_t *kube_sub(kube_arena_t *a, kube_node_t *m,
                      const char *key); /* the map under key, made if absent or not a map */
/* Arrays. */
void kube_push(kube_arena_t *a, kube_node_t *arr, kube_node_t *v);
void kube_remove_at(kube_node_t *arr, uint32_t i);

/* Scalars with a fallback, like the views. */
kg_str_t kube_node_str(const kube_node_t *n);
int64_t kube_node_int(const kube_node_t *n, int64_t fallback);
bool kube_node_bool(const kube_node_t *n, bool fallback);

#endif
