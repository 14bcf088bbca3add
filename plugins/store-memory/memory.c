/*
 * The store role in memory: for tests, simulation and as documentation of the contract. Entries lie in an array in
 * order of their keys, changes in an array in order of their revisions. Nothing survives the instance.
 */
#include <stdlib.h>
#include <string.h>

#include "store.h"

typedef struct memory {
  store_event_t **entries; /* the last change of every key that exists */
  size_t nentries, entry_room;
  store_event_t **log; /* all changes above compacted, and older ones that still show after it */
  size_t nlog, log_room;
  size_t bytes;
} memory_t;

static int start(store_front_t *f, kg_error_t *err) {
  (void)f, (void)err;
  return 0;
}

static void stop(store_front_t *f) {
  (void)f;
}

/* Index of the first entry whose key is not below `key`. */
static size_t find(const memory_t *s, kg_str_t key) {
  size_t low = 0, high = s->nentries;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (kg_str_cmp(store_event_key(s->entries[mid]), key) < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

/* Index of the first change with a revision above `rev`. */
static size_t find_rev(const memory_t *s, int64_t rev) {
  size_t low = 0, high = s->nlog;
  while (low < high) {
    size_t mid = (low + high) / 2;
    if (s->log[mid]->rev > rev)
      high = mid;
    else
      low = mid + 1;
  }
  return low;
}

static bool grow(store_event_t ***list, size_t n, size_t *room) {
  if (n < *room) return true;
  size_t want = *room ? *room * 2 : 256;
  store_event_t **more = realloc(*list, want * sizeof *more);
  if (!more) return false;
  *list = more;
  *room = want;
  return true;
}

static int check(const store_op_t *op, const store_event_t *old, kg_error_t *err) {
  if (op->kind == STORE_DELETE && !old)
    return kg_error_set(err, KG_ENOTFOUND, "store.delete: there is no key " KG_STR_FMT, KG_STR_ARG(op->key));
  if (op->guarded && op->expect != (old ? old->rev : 0))
    return kg_error_set(err, KG_ECONFLICT, "key " KG_STR_FMT " has revision %lld, expected was %lld",
                        KG_STR_ARG(op->key), (long long)(old ? old->rev : 0), (long long)op->expect);
  return 0;
}

static size_t size_of(const store_event_t *e) {
  return e->nkey + (e->value ? kg_doc_size(e->value) : 0);
}

static void put_entry(memory_t *s, size_t at, store_event_t *old, store_event_t *e) {
  s->bytes += size_of(e) - (old ? size_of(old) : 0);
  if (old) {
    store_event_unref(old);
  } else {
    memmove(s->entries + at + 1, s->entries + at, (s->nentries - at) * sizeof *s->entries);
    s->nentries++;
  }
  s->entries[at] = store_event_ref(e);
}

static void drop_entry(memory_t *s, size_t at) {
  s->bytes -= size_of(s->entries[at]);
  store_event_unref(s->entries[at]);
  s->nentries--;
  memmove(s->entries + at, s->entries + at + 1, (s->nentries - at) * sizeof *s->entries);
}

static void write_op(store_front_t *f, store_op_t *op) {
  memory_t *s = f->backend;
  size_t at = find(s, op->key);
  store_event_t *old = at < s->nentries && kg_str_eq(store_event_key(s->entries[at]), op->key) ? s->entries[at] : NULL;
  if (check(op, old, &op->error) < 0) return;
  store_event_t *e = store_event_new(op->key, op->kind == STORE_PUT ? op->value : old->value);
  if (!e || !grow(&s->entries, s->nentries, &s->entry_room) || !grow(&s->log, s->nlog, &s->log_room)) {
    store_event_unref(e);
    kg_error_set(&op->error, KG_EFULL, "store-memory: out of memory");
    return;
  }
  e->deleted = op->kind == STORE_DELETE;
  e->rev = f->rev + 1;
  e->prev = old ? old->rev : 0;
  e->create = old ? old->create : e->rev;
  e->version = old ? old->version + 1 : 1;
  s->log[s->nlog++] = store_event_ref(e);
  if (e->deleted)
    drop_entry(s, at);
  else
    put_entry(s, at, old, e);
  op->event = e;
}

/* What no revision from `rev` on shows any more goes: values replaced up to there, and deletions up to there. */
static void compact(memory_t *s, int64_t rev) {
  size_t n = find_rev(s, rev), kept = 0;
  bool *drop = calloc(n + 1, 1);
  if (!drop) return;
  for (size_t i = 0; i < n; i++) {
    size_t before = s->log[i]->prev ? find_rev(s, s->log[i]->prev - 1) : n;
    if (before < n && s->log[before]->rev == s->log[i]->prev) drop[before] = true;
    if (s->log[i]->deleted) drop[i] = true;
  }
  for (size_t i = 0; i < s->nlog; i++) {
    if (i < n && drop[i])
      store_event_unref(s->log[i]);
    else
      s->log[kept++] = s->log[i];
  }
  s->nlog = kept;
  free(drop);
}

static void submit(store_front_t *f, store_op_t *op) {
  if (op->kind == STORE_COMPACT)
    compact(f->backend, op->rev);
  else if (op->kind != STORE_BARRIER)
    write_op(f, op);
  op->settled = true;
  store_done(f, op);
}

static bool give_row(const store_query_t *q, const store_event_t *e, store_row_fn fn, void *arg) {
  store_row_t row = {.key = store_event_key(e), .create = e->create, .mod = e->rev, .version = e->version};
  row.value = q->keys_only ? NULL : kg_doc_ref(e->value);
  return fn(arg, &row);
}

static int by_key_then_rev(const void *a, const void *b) {
  const store_event_t *x = *(store_event_t *const *)a, *y = *(store_event_t *const *)b;
  int c = kg_str_cmp(store_event_key(x), store_event_key(y));
  return c ? c : x->rev < y->rev ? -1 : 1;
}

/* The range as it was at an older revision: the last change of every key up to there. */
static int range_then(store_front_t *f, const store_query_t *q, store_row_fn fn, void *arg, kg_error_t *err) {
  memory_t *s = f->backend;
  if (q->rev < f->compacted)
    return kg_error_set(err, KG_EGONE, "revision %lld is compacted; the oldest is %lld", (long long)q->rev,
                        (long long)f->compacted);
  store_event_t **rows = calloc(s->nlog + 1, sizeof *rows);
  if (!rows) return kg_error_set(err, KG_EINTERNAL, "store-memory: out of memory");
  size_t n = 0;
  for (size_t i = 0; i < s->nlog && s->log[i]->rev <= q->rev; i++)
    if (store_in_range(store_event_key(s->log[i]), q->from, q->to)) rows[n++] = s->log[i];
  qsort(rows, n, sizeof *rows, by_key_then_rev);
  for (size_t i = 0; i < n; i++) {
    bool last = i + 1 == n || !kg_str_eq(store_event_key(rows[i]), store_event_key(rows[i + 1]));
    if (last && !rows[i]->deleted && !give_row(q, rows[i], fn, arg)) break;
  }
  free(rows);
  return 0;
}

static int range(store_front_t *f, const store_query_t *q, store_row_fn fn, void *arg, kg_error_t *err) {
  memory_t *s = f->backend;
  if (q->rev && q->rev < f->rev) return range_then(f, q, fn, arg, err);
  for (size_t i = find(s, q->from); i < s->nentries; i++)
    if (!store_in_range(store_event_key(s->entries[i]), q->from, q->to) || !give_row(q, s->entries[i], fn, arg)) break;
  return 0;
}

static int history(store_front_t *f, int64_t after, store_event_fn fn, void *arg, kg_error_t *err) {
  memory_t *s = f->backend;
  if (after < f->compacted)
    return kg_error_set(err, KG_EGONE, "revision %lld is compacted; the oldest is %lld", (long long)after,
                        (long long)f->compacted);
  for (size_t i = find_rev(s, after); i < s->nlog; i++)
    if (!fn(arg, s->log[i])) break;
  return 0;
}

static kg_doc_t *value(store_front_t *f, int64_t rev) {
  memory_t *s = f->backend;
  size_t i = find_rev(s, rev - 1);
  return i < s->nlog && s->log[i]->rev == rev ? kg_doc_ref(s->log[i]->value) : NULL;
}

static void stats(store_front_t *f, kg_pack_t *p) {
  memory_t *s = f->backend;
  kg_pack_kv_int(p, "keys", (int64_t)s->nentries);
  kg_pack_kv_int(p, "bytes", (int64_t)s->bytes);
}

static int64_t recent(store_front_t *f, int64_t n) {
  memory_t *s = f->backend;
  int64_t rev = (int64_t)s->nlog > n ? s->log[s->nlog - (size_t)n]->rev - 1 : 0;
  return rev > f->compacted ? rev : f->compacted;
}

static void destroy_memory(store_front_t *f) {
  memory_t *s = f->backend;
  for (size_t i = 0; i < s->nentries; i++) store_event_unref(s->entries[i]);
  for (size_t i = 0; i < s->nlog; i++) store_event_unref(s->log[i]);
  free(s->entries);
  free(s->log);
  free(s);
}

static const store_backend_t backend = {.name = "memory",
                                        .start = start,
                                        .stop = stop,
                                        .submit = submit,
                                        .range = range,
                                        .history = history,
                                        .value = value,
                                        .stats = stats,
                                        .recent = recent,
                                        .destroy = destroy_memory};

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx, (void)self, (void)state;
  return kg_error_set(err, KG_EDENIED,
                      "store-memory cannot be replaced while it runs: its entries live in this instance only");
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  memory_t *s = calloc(1, sizeof *s);
  *self = s ? store_front_new(ctx, &backend, s) : NULL;
  if (*self) return 0;
  free(s);
  return kg_error_set(err, KG_EINTERNAL, "store-memory: out of memory");
}

static const char *const services[] = {"store", NULL};

KG_PLUGIN(.name = "store-memory", .config_keys = "compaction", .role = "store", .version = "0.1.0",
          .summary = "Keeps the cluster's state in memory only.", .services = services, .handlers = store_handlers,
          .create = create, .start = store_front_start, .activate = store_front_activate, .drain = store_front_drain,
          .resume = store_front_resume, .hand_over = hand_over, .stats = store_front_stats,
          .destroy = store_front_destroy);
