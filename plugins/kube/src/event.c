#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/client.h"
#include "kube/values.h"

/* Events of the last ten minutes, so that a repetition becomes a count. */
enum { KEPT = 256, SAME_WITHIN_US = 600 * 1000000 };
/* From the tenth message on those of one object, type and reason are told as one; an object may have 25 at once and one
 * more every five minutes, all told. (EventCorrelator of client-go) */
enum { MESSAGES = 10, BURST = 25, REFILL_US = 300 * 1000000 };

typedef struct {
  uint64_t hash, suffix; /* the Event is named after its object and the suffix */
  int64_t first_us, last_us;
  unsigned count;
} seen_t;

typedef struct { /* messages of one object, type and reason */
  uint64_t hash, messages[MESSAGES];
  int64_t last_us;
  unsigned n;
} alike_t;

typedef struct { /* what an object may still tell */
  uint64_t hash;
  int64_t since_us;
  double tokens;
} budget_t;

typedef struct {
  seen_t seen[KEPT];
  alike_t alike[KEPT];
  budget_t budgets[KEPT];
} memory_t;

struct kube_recorder {
  char *component, *host;
  memory_t *memory; /* made at the first event: most recorders never tell one */
};

kube_recorder_t *kube_recorder_new(const char *component, const char *host) {
  kube_recorder_t *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->component = strdup(component);
  r->host = strdup(host ? host : "");
  if (r->component && r->host) return r;
  kube_recorder_free(r);
  return NULL;
}

void kube_recorder_free(kube_recorder_t *r) {
  if (!r) return;
  free(r->component);
  free(r->host);
  free(r->memory);
  free(r);
}

static uint64_t mix(uint64_t h, kg_str_t s) {
  return kg_hash_str(kg_hash_str(h, s), KG_STR("\xff"));
}

/* The slot of this event; a fresh one (count 1) takes the place of whatever was there. */
static seen_t *slot_of(kg_ctx_t *ctx, memory_t *m, uint64_t hash, int64_t now) {
  seen_t *s = &m->seen[hash % KEPT];
  if (s->hash == hash && now - s->last_us < SAME_WITHIN_US)
    s->count++;
  else
    *s = (seen_t){hash, (uint64_t)now * 1000 + kg_random(ctx) % 1000, .first_us = now, .count = 1};
  s->last_us = now;
  return s;
}

/* Whether so many other messages were alike that this one is told with them. */
static bool is_one_of_many(memory_t *m, uint64_t hash, uint64_t message, int64_t now) {
  alike_t *a = &m->alike[hash % KEPT];
  unsigned i = 0;
  if (a->hash != hash || now - a->last_us > SAME_WITHIN_US) *a = (alike_t){.hash = hash};
  a->last_us = now;
  while (i < a->n && a->messages[i] != message) i++;
  if (i == a->n) a->messages[a->n++] = message;
  if (a->n < MESSAGES) return false;
  a->n--;
  return true;
}

static bool may_tell(memory_t *m, uint64_t object, int64_t now) {
  budget_t *b = &m->budgets[object % KEPT];
  if (b->hash != object) *b = (budget_t){object, now, BURST};
  if (now > b->since_us) b->tokens += (double)(now - b->since_us) / REFILL_US; /* else the clock was put back */
  if (b->tokens > BURST) b->tokens = BURST;
  b->since_us = now;
  if (b->tokens < 1) return false;
  b->tokens--;
  return true;
}

static void pack_time(kg_pack_t *p, const char *key, int64_t us) {
  char z[32];
  kube_time_format(us, z);
  kg_pack_kv_str(p, key, z);
}

static void pack_involved(kg_pack_t *p, kg_view_t object) {
  kg_view_t meta = kg_view_get(object, "metadata");
  kg_pack_key(p, "involvedObject");
  kg_pack_map(p);
  static const char *const top[] = {"apiVersion", "kind", "fieldPath"}, *const inner[] = {"name", "namespace", "uid",
                                                                                          "resourceVersion"};
  for (size_t i = 0; i < 3; i++)
    if (kg_view_there(kg_view_get(object, top[i]))) kg_pack_kv_view(p, top[i], kg_view_get(object, top[i]));
  for (size_t i = 0; i < 4; i++)
    if (kg_view_there(kg_view_get(meta, inner[i]))) kg_pack_kv_view(p, inner[i], kg_view_get(meta, inner[i]));
  kg_pack_end(p);
}

static kg_doc_t *event_doc(const kube_recorder_t *r, const seen_t *s, kg_view_t object, const char *name,
                           const char *ns, const char *type, const char *reason, const char *message) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "Event");
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", name);
  kg_pack_kv_str(&p, "namespace", ns);
  kg_pack_end(&p);
  pack_involved(&p, object);
  kg_pack_kv_str(&p, "type", type);
  kg_pack_kv_str(&p, "reason", reason);
  kg_pack_kv_str(&p, "message", message);
  kg_pack_key(&p, "source");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "component", r->component);
  if (*r->host) kg_pack_kv_str(&p, "host", r->host);
  kg_pack_end(&p);
  pack_time(&p, "firstTimestamp", s->first_us);
  pack_time(&p, "lastTimestamp", s->last_us);
  kg_pack_kv_int(&p, "count", s->count);
  kg_pack_kv_str(&p, "reportingComponent", r->component);
  kg_pack_kv_str(&p, "reportingInstance", r->host);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void repeated(const seen_t *s, const char *message, kg_pack_t *p) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "message", message);
  kg_pack_kv_int(p, "count", s->count);
  pack_time(p, "lastTimestamp", s->last_us);
  kg_pack_end(p);
}

static void send(kg_ctx_t *ctx, const kube_recorder_t *r, const seen_t *s, kg_doc_t *event, const char *name,
                 const char *ns) {
  kube_call_t call = {.gvr = {"", "v1", "events"}, .ns = ns, .object = event, .field_manager = r->component};
  if (s->count == 1) {
    kube_api_create(ctx, &call, NULL, NULL);
  } else {
    call.name = name;
    call.patch_type = "merge";
    kube_api_patch(ctx, &call, NULL, NULL);
  }
}

void kube_event(kg_ctx_t *ctx, kube_recorder_t *r, kg_view_t object, const char *type, const char *reason,
                const char *fmt, ...) {
  static const char many[] = "(combined from similar events): ";
  char text[sizeof many + 1024], *message = text + sizeof many - 1, ns[256];
  va_list ap;
  va_start(ap, fmt);
  memcpy(text, many, sizeof many - 1);
  vsnprintf(message, 1024, fmt, ap);
  va_end(ap);
  int64_t now = kg_wall_us(ctx);
  kg_str_t space = kube_namespace(object);
  snprintf(ns, sizeof ns, KG_STR_FMT, KG_STR_ARG(space.n ? space : KG_STR("default")));
  uint64_t of = mix(mix(mix(KG_HASH_START, kube_uid(object)), kube_name(object)), kg_str(ns));
  uint64_t alike = mix(mix(of, kg_str(type)), kg_str(reason));
  uint64_t same = mix(mix(alike, kg_view_str(kg_view_get(object, "fieldPath"))), kg_str(message));
  if (!r->memory && !(r->memory = calloc(1, sizeof *r->memory))) return;
  if (!may_tell(r->memory, of, now)) return;
  if (is_one_of_many(r->memory, alike, mix(KG_HASH_START, kg_str(message)), now)) {
    message = text;
    same = alike;
  }
  const seen_t *s = slot_of(ctx, r->memory, same, now);
  kg_str_t about = kube_name(object);
  char name[300];
  snprintf(name, sizeof name, "%.*s.%016llx", (int)(about.n < 253 ? about.n : 253), about.p ? about.p : "",
           (unsigned long long)s->suffix);
  kg_pack_t p = kg_pack();
  if (s->count > 1) repeated(s, message, &p);
  kg_doc_t *doc = s->count > 1 ? kg_pack_doc(&p) : event_doc(r, s, object, name, ns, type, reason, message);
  send(ctx, r, s, doc, name, ns);
  kg_doc_unref(doc);
}
