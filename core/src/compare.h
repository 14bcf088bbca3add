#ifndef KG_COMPARE_H
#define KG_COMPARE_H
/* Where two values or messages differ. Any thread. */
#include "kernel.h"

#define KG_PATH_MAX 256

/* The first difference; its views are borrowed from what was compared, absent on the side where there is none. */
typedef struct kg_difference {
  char path[KG_PATH_MAX]; /* "args.spec.replicas", "docs[0].metadata.name", "code" */
  kg_view_t a, b;         /* for args and docs */
  char ta[200], tb[200];  /* for everything else */
} kg_difference_t;

/* Same for values that are equal in the sense of kg_view_equal(). */
uint64_t kg_view_hash(kg_view_t v);
/* True if they differ in some place that no glob of `ignore` (NULL-terminated, or NULL) matches; *d (at first zeros)
 * says where. */
bool kg_views_differ(kg_view_t a, kg_view_t b, char *const *ignore, kg_difference_t *d);
/* Type, code, text, arguments and documents; not who sent it and under which id. */
bool kg_messages_differ(const kg_msg_t *a, const kg_msg_t *b, char *const *ignore, kg_difference_t *d);

#endif
