#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/client.h"
#include "kube/values.h"

/* Events of the last ten minutes, so that a repetition becomes a count: sets of four, of which the oldest makes room.
 */
enum { KEPT = 256, SEEN = 1024, WAYS = 4, SAME_WITHIN_US = 600 * 1000000 };
/* From the tenth message on those of one object, type and reason are told as one; an object may have 25 at once and one
 * more every five minutes, all told. (EventCorrelator of client-go) */
enum { MESSAGES = 10, BURST = 25, REFILL_US = 300 * 1000000 };

typedef struct {
  uint64_t hash;
  int64_t first_us, last_us;
  unsigned count, chance; /* the Event is named after its object, first_us and chance (below 1,000) */
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
  seen_t seen[SEEN];
  alike_t alike[KEPT];
  budget_t budgets[KEPT];
} memory_t;

/* A repetition that was sent as a patch: if somebody has deleted the Event, all of it is sent. */
typedef struct again {
  kube_recorder_t *recorder;
  kg_doc_t *event;
  struct again *next, **at; /* in the recorder's list */
} again_t;

struct kube_recorder {
  char *component, *host;
  again_t *again;
  memory_t *memory; /* made at the first event: most recorders never tell one */
};

static void again_free(again_t *a) {
  *a->at = a->next;
  if (a->next) a->next->at = a->at;
  kg_doc_unref(a->event);
  free(a);
}

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
  while (r->again) again_free(r->again);
  free(r->component);
  free(r->host);
  free(r->memory);
  free(r);
}

static uint64_t mix(uint64_t h, kg_str_t s) {
  return kg_hash_str(kg_hash_str(h, s), KG_STR("\xff"));
}

/* The slot of this event; a fresh one (count 1) takes the place of the oldest of its set. */
static seen_t *slot_of(kg_ctx_t *ctx, memory_t *m, uint64_t hash, int64_t now) {
  seen_t *set = &m->seen[hash % (SEEN / WAYS) * WAYS], *s = set;
  for (int i = 0; i < WAYS; i++) {
    if (set[i].hash == hash) {
      s = &set[i];
      break;
    }
    if (set[i].last_us < s->last_us) s = &set[i];
  }
  if (s->hash == hash && now - s->last_us < SAME_WITHIN_US)
    s->count++;
  else
    *s = (seen_t){hash, now, .count = 1, .chance = (unsigned)(kg_random(ctx) % 1000)};
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

static void patched(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  again_t *a = arg;
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) == 404) {
    char *ns = kg_str_dup(kube_namespace(kg_view_of(a->event)));
    kube_api_create(
        ctx,
        &(kube_call_t){
            .gvr = {"", "v1", "events"}, .ns = ns, .object = a->event, .field_manager = a->recorder->component},
        NULL, NULL);
    free(ns);
  }
  again_free(a);
}

static again_t *again_new(kube_recorder_t *r, kg_doc_t *event) {
  again_t *a = malloc(sizeof *a);
  if (!a) return NULL;
  *a = (again_t){r, kg_doc_ref(event), r->again, &r->again};
  if (a->next) a->next->at = &a->next;
  return r->again = a;
}

static void send(kg_ctx_t *ctx, kube_recorder_t *r, const seen_t *s, kg_doc_t *event, const char *name, const char *ns,
                 const char *message) {
  kube_call_t call = {.gvr = {"", "v1", "events"}, .ns = ns, .object = event, .field_manager = r->component};
  if (s->count == 1) {
    kube_api_create(ctx, &call, NULL, NULL);
    return;
  }
  kg_pack_t p = kg_pack();
  repeated(s, message, &p);
  call.name = name;
  call.patch_type = "merge";
  call.object = kg_pack_doc(&p);
  again_t *a = again_new(r, event);
  kube_api_patch(ctx, &call, a ? patched : NULL, a);
  kg_doc_unref(call.object);
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
           (unsigned long long)s->first_us * 1000 + s->chance);
  kg_doc_t *event = event_doc(r, s, object, name, ns, type, reason, message);
  send(ctx, r, s, event, name, ns, message);
  kg_doc_unref(event);
}
