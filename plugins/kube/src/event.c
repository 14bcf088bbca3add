#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "correlate.h"
#include "kube/client.h"
#include "kube/values.h"

typedef struct again again_t;

struct kube_recorder {
  char *component, *host;
  correlator_t *memory; /* made at the first event: most recorders never tell one */
  again_t *again;
};

/* A repetition under way: if its Event is there no more, it is made anew. */
struct again {
  again_t *next;
  kube_recorder_t *recorder;
  kg_ctx_t *ctx;
  uint64_t call;
  kg_doc_t *event;
};

static void again_free(again_t *again) {
  again_t **at = &again->recorder->again;
  while (*at != again) at = &(*at)->next;
  *at = again->next;
  kg_doc_unref(again->event);
  free(again);
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
  while (r->again) {
    kg_cancel(r->again->ctx, r->again->call);
    again_free(r->again);
  }
  free(r->component);
  free(r->host);
  correlator_free(r->memory);
  free(r);
}

static uint64_t mix(uint64_t h, kg_str_t s) {
  return kg_hash_str(kg_hash_str(h, s), KG_STR("\xff"));
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

static kg_doc_t *event_doc(const kube_recorder_t *r, const told_t *s, kg_view_t object, const char *name,
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

static kg_doc_t *repeated(const told_t *s, const char *message) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "message", message);
  kg_pack_kv_int(&p, "count", s->count);
  pack_time(&p, "lastTimestamp", s->last_us);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void create(kg_ctx_t *ctx, const kube_recorder_t *r, kg_doc_t *event, const char *ns) {
  kube_api_create(ctx,
                  &(kube_call_t){.gvr = {"", "v1", "events"}, .ns = ns, .object = event, .field_manager = r->component},
                  NULL, NULL);
}

static void counted(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  again_t *again = arg;
  char *ns = kg_str_dup(kube_namespace(kg_view_of(again->event)));
  if (kg_msg_type(m) == KG_MSG_ERROR && kg_msg_code(m) == KG_ENOTFOUND && ns)
    create(ctx, again->recorder, again->event, ns);
  free(ns);
  again_free(again);
}

/* Takes event: as it is to be, whole. */
static void count(kg_ctx_t *ctx, kube_recorder_t *r, const told_t *s, kg_doc_t *event, const char *name, const char *ns,
                  const char *message) {
  again_t *again = calloc(1, sizeof *again);
  kg_doc_t *patch = again ? repeated(s, message) : NULL;
  if (!patch) {
    free(again);
    return kg_doc_unref(event);
  }
  *again = (again_t){r->again, r, ctx, 0, event};
  r->again = again;
  kube_call_t call = {.gvr = {"", "v1", "events"},
                      .ns = ns,
                      .name = name,
                      .object = patch,
                      .patch_type = "merge",
                      .field_manager = r->component};
  again->call = kube_api_patch(ctx, &call, counted, again);
  kg_doc_unref(patch);
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
  event_key_t k = {.object = mix(mix(mix(KG_HASH_START, kube_uid(object)), kube_name(object)), kg_str(ns))};
  k.alike = mix(mix(k.object, kg_str(type)), kg_str(reason));
  k.message = mix(KG_HASH_START, kg_str(message));
  k.same = mix(mix(k.alike, kg_view_str(kg_view_get(object, "fieldPath"))), kg_str(message));
  told_t told;
  if (!r->memory && !(r->memory = correlator_new())) return;
  if (!correlate(r->memory, &k, now, (uint64_t)now * 1000 + kg_random(ctx) % 1000, &told)) return;
  if (told.combined) message = text;
  kg_str_t about = kube_name(object);
  char name[300];
  snprintf(name, sizeof name, "%.*s.%016llx", (int)(about.n < 253 ? about.n : 253), about.p ? about.p : "",
           (unsigned long long)told.suffix);
  kg_doc_t *event = event_doc(r, &told, object, name, ns, type, reason, message);
  if (told.count > 1) return count(ctx, r, &told, event, name, ns, message);
  create(ctx, r, event, ns);
  kg_doc_unref(event);
}
