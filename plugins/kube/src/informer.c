#include "kube/informer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"

enum { RETRY_FIRST_MS = 100, RETRY_LAST_MS = 10000 };

typedef struct entry {
  kg_doc_t *doc;
  kg_str_t ns, name; /* borrowed from doc */
} entry_t;

struct kube_informer {
  kube_informer_config_t config;
  char *ns, *label_selector, *field_selector;
  entry_t *all; /* sorted by ns, name */
  size_t n, room;
  uint64_t call, retry;
  int64_t retry_ms;
  char rv[24];
  bool synced;
};

/* --- the sorted entries ---------------------------------------------------------------------------------------------
 */

static int order(const entry_t *e, kg_str_t ns, kg_str_t name) {
  int o = kg_str_cmp(e->ns, ns);
  return o ? o : kg_str_cmp(e->name, name);
}

/* First place whose entry is not before (ns, name); *found tells whether it is that one. */
static size_t place_of(const kube_informer_t *inf, kg_str_t ns, kg_str_t name, bool *found) {
  size_t low = 0, high = inf->n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (order(&inf->all[middle], ns, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (found) *found = low < inf->n && order(&inf->all[low], ns, name) == 0;
  return low;
}

static entry_t entry_of(kg_doc_t *doc) {
  kg_view_t v = kg_view_of(doc);
  return (entry_t){.doc = kg_doc_ref(doc), .ns = kube_namespace(v), .name = kube_name(v)};
}

static bool insert(kube_informer_t *inf, size_t at, kg_doc_t *doc) {
  if (inf->n == inf->room) {
    size_t room = inf->room ? inf->room * 2 : 16;
    entry_t *all = realloc(inf->all, room * sizeof *all);
    if (!all) return false;
    inf->all = all;
    inf->room = room;
  }
  memmove(inf->all + at + 1, inf->all + at, (inf->n - at) * sizeof *inf->all);
  inf->all[at] = entry_of(doc);
  inf->n++;
  return true;
}

static void tell(kg_ctx_t *ctx, void *self, kube_informer_t *inf, kube_change_t change, kg_doc_t *old, kg_doc_t *now) {
  if (inf->config.on_change)
    inf->config.on_change(ctx, self, change, kg_view_of(old), kg_view_of(now), inf->config.arg);
}

static void put(kg_ctx_t *ctx, void *self, kube_informer_t *inf, kg_doc_t *doc) {
  bool found;
  kg_view_t v = kg_view_of(doc);
  size_t at = place_of(inf, kube_namespace(v), kube_name(v), &found);
  if (!found) {
    if (insert(inf, at, doc))
      tell(ctx, self, inf, KUBE_ADDED, NULL, doc);
    else
      kg_log(ctx, KG_LOG_ERROR, "out of memory: an object of %s is not seen", inf->config.gvr.resource);
    return;
  }
  kg_doc_t *old = inf->all[at].doc;
  inf->all[at] = entry_of(doc);
  if (old != doc) tell(ctx, self, inf, KUBE_MODIFIED, old, doc);
  kg_doc_unref(old);
}

static void drop(kg_ctx_t *ctx, void *self, kube_informer_t *inf, kg_doc_t *last) {
  bool found;
  kg_view_t v = kg_view_of(last);
  size_t at = place_of(inf, kube_namespace(v), kube_name(v), &found);
  if (!found) return;
  kg_doc_t *old = inf->all[at].doc;
  memmove(inf->all + at, inf->all + at + 1, (inf->n - at - 1) * sizeof *inf->all);
  inf->n--;
  tell(ctx, self, inf, KUBE_DELETED, old, last);
  kg_doc_unref(old);
}

/* --- list, then watch ------------------------------------------------------------------------------------------------
 */

static void list(kg_ctx_t *ctx, kube_informer_t *inf);

static void retry_due(kg_ctx_t *ctx, void *self, void *arg) {
  (void)self;
  kube_informer_t *inf = arg;
  inf->retry = 0;
  list(ctx, inf);
}

static void retry_later(kg_ctx_t *ctx, kube_informer_t *inf) {
  inf->call = 0;
  inf->retry = kg_timer(ctx, inf->retry_ms, 0, retry_due, inf);
  inf->retry_ms = inf->retry_ms * 2 < RETRY_LAST_MS ? inf->retry_ms * 2 : RETRY_LAST_MS;
}

static void watched(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  kube_informer_t *inf = arg;
  if (kg_msg_type(m) != KG_MSG_ITEM) {
    if (kg_msg_type(m) == KG_MSG_ERROR)
      kg_log(ctx, KG_LOG_DEBUG, "watch of %s ended: %s", inf->config.gvr.resource, kg_msg_text(m));
    retry_later(ctx, inf);
    return;
  }
  kg_str_t type = kg_view_str(kg_view_get(kg_msg_args(m), "type"));
  kg_doc_t *doc = kg_msg_doc(m, 0);
  inf->retry_ms = RETRY_FIRST_MS;
  if (kg_str_is(type, "ERROR")) {
    kg_cancel(ctx, inf->call);
    retry_later(ctx, inf);
  } else if (kg_str_is(type, "DELETED")) {
    drop(ctx, self, inf, doc);
  } else if (doc && !kg_str_is(type, "BOOKMARK")) {
    put(ctx, self, inf, doc);
  }
}

static kube_call_t call_of(const kube_informer_t *inf) {
  return (kube_call_t){.gvr = inf->config.gvr,
                       .ns = inf->ns,
                       .label_selector = inf->label_selector,
                       .field_selector = inf->field_selector};
}

static void watch(kg_ctx_t *ctx, kube_informer_t *inf) {
  kube_call_t call = call_of(inf);
  call.resource_version = inf->rv;
  inf->call = kube_api_watch(ctx, &call, watched, inf);
}

static int by_place(const void *a, const void *b) {
  const entry_t *x = a, *y = b;
  return order(x, y->ns, y->name);
}

/* The list is the truth: what is not in it has gone. Told in the order of the keys, after the cache is whole. */
static void replace(kg_ctx_t *ctx, void *self, kube_informer_t *inf, const kg_msg_t *m) {
  entry_t *old = inf->all;
  size_t n_old = inf->n, i = 0, n = kg_msg_ndocs(m);
  inf->all = calloc(n ? n : 1, sizeof *inf->all);
  inf->n = inf->all ? n : 0;
  inf->room = inf->all && n ? n : inf->all ? 1 : 0;
  for (size_t d = 0; d < inf->n; d++) inf->all[d] = entry_of(kg_msg_doc(m, d));
  if (inf->n) qsort(inf->all, inf->n, sizeof *inf->all, by_place);
  /* A handler may not change the cache, but it may stop the informer's owner from wanting more: keep our own
   * references. */
  for (size_t d = 0; d < inf->n || i < n_old;) {
    int o = d == inf->n ? 1 : i == n_old ? -1 : order(&inf->all[d], old[i].ns, old[i].name);
    if (o < 0)
      tell(ctx, self, inf, KUBE_ADDED, NULL, inf->all[d].doc);
    else if (o > 0)
      tell(ctx, self, inf, KUBE_DELETED, old[i].doc, old[i].doc);
    else if (old[i].doc != inf->all[d].doc)
      tell(ctx, self, inf, KUBE_MODIFIED, old[i].doc, inf->all[d].doc);
    d += o <= 0;
    i += o >= 0;
  }
  for (i = 0; i < n_old; i++) kg_doc_unref(old[i].doc);
  free(old);
}

static void listed(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  kube_informer_t *inf = arg;
  inf->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) {
    kg_log(ctx, KG_LOG_DEBUG, "list of %s failed: %s", inf->config.gvr.resource, kg_msg_text(m));
    retry_later(ctx, inf);
    return;
  }
  kg_view_t rv = kg_view_get(kg_msg_args(m), "rv");
  kg_str_t text = kg_view_str(rv);
  if (text.p)
    snprintf(inf->rv, sizeof inf->rv, KG_STR_FMT, KG_STR_ARG(text));
  else
    snprintf(inf->rv, sizeof inf->rv, "%lld", (long long)kg_view_int(rv, 0));
  replace(ctx, self, inf, m);
  watch(ctx, inf);
  if (inf->synced) return;
  inf->synced = true;
  if (inf->config.on_synced) inf->config.on_synced(ctx, self, inf->config.arg);
}

static void list(kg_ctx_t *ctx, kube_informer_t *inf) {
  kube_call_t call = call_of(inf);
  inf->call = kube_api_list(ctx, &call, listed, inf);
}

/* --- life and look-ups
 * ------------------------------------------------------------------------------------------------ */

kube_informer_t *kube_informer_start(kg_ctx_t *ctx, const kube_informer_config_t *config) {
  kube_informer_t *inf = calloc(1, sizeof *inf);
  if (!inf) return NULL;
  inf->config = *config;
  inf->ns = config->ns ? strdup(config->ns) : NULL;
  inf->label_selector = config->label_selector ? strdup(config->label_selector) : NULL;
  inf->field_selector = config->field_selector ? strdup(config->field_selector) : NULL;
  inf->retry_ms = RETRY_FIRST_MS;
  list(ctx, inf);
  return inf;
}

void kube_informer_stop(kg_ctx_t *ctx, kube_informer_t *inf) {
  if (!inf) return;
  if (inf->call) kg_cancel(ctx, inf->call);
  kg_timer_cancel(ctx, inf->retry);
  for (size_t i = 0; i < inf->n; i++) kg_doc_unref(inf->all[i].doc);
  free(inf->all);
  free(inf->ns);
  free(inf->label_selector);
  free(inf->field_selector);
  free(inf);
}

bool kube_informer_synced(const kube_informer_t *inf) {
  return inf && inf->synced;
}
size_t kube_informer_count(const kube_informer_t *inf) {
  return inf->n;
}

kg_doc_t *kube_informer_get(const kube_informer_t *inf, kg_str_t ns, kg_str_t name) {
  bool found;
  size_t at = place_of(inf, ns, name, &found);
  return found ? inf->all[at].doc : NULL;
}

kg_doc_t *kube_informer_at(const kube_informer_t *inf, size_t i) {
  return i < inf->n ? inf->all[i].doc : NULL;
}

void kube_informer_ns(const kube_informer_t *inf, kg_str_t ns, size_t *first, size_t *count) {
  size_t end = *first = place_of(inf, ns, (kg_str_t){NULL, 0}, NULL);
  size_t high = inf->n;
  while (end < high) { /* first entry past the namespace */
    size_t middle = (end + high) / 2;
    if (kg_str_cmp(inf->all[middle].ns, ns) <= 0)
      end = middle + 1;
    else
      high = middle;
  }
  *count = end - *first;
}
