/* A pod has found its node: its claims are told, and when they are bound, the pod is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "kube/values.h"
#include "volumes.h"

static kg_view_t claim_of(const wait_t *w, const wait_claim_t *c) {
  return kg_view_of(kube_informer_get(w->s->volumes->claims, w->pod->space, kg_str(c->name)));
}

static kg_view_t volume_named(const sched_t *s, kg_str_t name) {
  return kg_view_of(kube_informer_get(s->volumes->volumes, KG_STR(""), name));
}

static int64_t version_of(kg_view_t object) {
  char text[32];
  snprintf(text, sizeof text, KG_STR_FMT,
           KG_STR_ARG(kg_view_str(kg_view_path(object, "metadata", "resourceVersion", NULL))));
  return strtoll(text, NULL, 10);
}

const wait_claim_t *wait_of_claim(const sched_t *s, kg_str_t space, kg_str_t name, const wait_t **by) {
  for (const wait_t *w = s->volumes->waits; w; w = w->next)
    for (size_t i = 0; i < w->n; i++)
      if (kg_str_eq(w->pod->space, space) && kg_str_is(name, w->of[i].name)) return *by = w, &w->of[i];
  return NULL;
}

bool wait_has_volume(const sched_t *s, kg_str_t volume, kg_str_t space, kg_str_t claim) {
  for (const wait_t *w = s->volumes->waits; w; w = w->next)
    for (size_t i = 0; i < w->n; i++)
      if (kg_str_is(volume, w->of[i].volume) && !(kg_str_eq(w->pod->space, space) && kg_str_is(claim, w->of[i].name)))
        return true;
  return false;
}

/* --- the end of a wait -------------------------------------------------------------------------------------------- */

static void leave(wait_t *w) {
  sched_t *s = w->s;
  sched_pod_t *p = w->pod;
  if (w->prev)
    w->prev->next = w->next;
  else
    s->volumes->waits = w->next;
  if (w->next) w->next->prev = w->prev;
  for (size_t i = 0; i < w->n; i++) kg_cancel(w->ctx, w->of[i].call);
  kg_timer_cancel(w->ctx, w->timer);
  free(w);
  p->wait = NULL;
  p->state = SCHED_IDLE;
}

void sched_volumes_leave(sched_t *s, sched_pod_t *p) {
  if (!p->wait) return;
  leave(p->wait);
  sched_count(s, p, -1);
}

static void fail(wait_t *w, const char *why) {
  sched_t *s = w->s;
  sched_pod_t *p = w->pod;
  kg_ctx_t *ctx = w->ctx;
  char message[1024];
  snprintf(message, sizeof message, "running PreBind plugin \"VolumeBinding\": binding volumes: %s", why);
  sched_volumes_leave(s, p);
  s->failed++;
  p->attempts++;
  sched_park(ctx, s, p, SCHED_WHY_ANY);
  sched_unpark(ctx, s, SCHED_WHY_ANY); /* and what it had taken is free again */
  sched_explain(ctx, s, p, SCHEDULER_ERROR, message, NULL);
}

static void too_late(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx;
  ((wait_t *)arg)->timer = 0;
  fail(arg, "context deadline exceeded");
  waits_look(self, (kg_str_t){0}, (kg_str_t){0}, (kg_str_t){0});
}

void sched_volumes_release(kg_ctx_t *ctx, sched_t *s) {
  while (s->volumes && s->volumes->waits) {
    sched_pod_t *p = s->volumes->waits->pod;
    sched_volumes_leave(s, p);
    sched_enqueue(ctx, s, p);
  }
}

/* --- is it so? ---------------------------------------------------------------------------------------------------- */

/* Somebody who was earlier has promised this claim the same, and looks after it. */
static bool follows(const wait_t *w, const wait_claim_t *c) {
  for (const wait_t *e = w->next; e; e = e->next)
    for (size_t i = 0; i < e->n && kg_str_eq(e->pod->space, w->pod->space); i++)
      if (!strcmp(e->of[i].name, c->name)) return true;
  return false;
}

/* A volume that cannot be reached from the node it is for; of one that is not known yet nothing is said. */
static void check_reach(const wait_t *w, kg_view_t volume, char *why, size_t size) {
  const sched_node_t *node = &w->s->nodes[w->pod->node];
  if (!node->doc)
    snprintf(why, size, "node \"%s\" not found", node->name);
  else if (kg_view_there(volume) && !kube_volume_reaches(volume, node->labels))
    snprintf(why, size, "pv \"" KG_STR_FMT "\" node affinity doesn't match node \"%s\": no matching NodeSelectorTerms",
             KG_STR_ARG(kube_name(volume)), node->name);
}

/* A volume was promised to the claim. */
static void check_static(const wait_t *w, const wait_claim_t *c, char *why, size_t size) {
  kg_view_t volume = volume_named(w->s, kg_str(c->volume));
  if (!kg_view_there(volume))
    snprintf(why, size, "failed to check binding: persistentvolume \"%s\" not found", c->volume);
  else if (version_of(volume) >= c->version && !kube_volume_is_of(volume, claim_of(w, c)))
    snprintf(why, size, "ClaimRef got reset for pv \"%s\"", c->volume);
  else
    check_reach(w, volume, why, size);
}

/* One is to be made: who cannot takes the promise back. */
static void check_made(const wait_t *w, const wait_claim_t *c, kg_view_t claim, char *why, size_t size) {
  kg_str_t node = kg_view_str(kube_annotation(claim, KUBE_SELECTED_NODE)),
           volume = kg_view_str(kg_view_path(claim, "spec", "volumeName", NULL));
  if (version_of(claim) < c->version) return;
  if (!kg_str_is(node, w->s->nodes[w->pod->node].name))
    snprintf(why, size, "provisioning failed for PVC \"%s\"", c->name);
  else if (volume.n)
    check_reach(w, volume_named(w->s, volume), why, size);
}

/* True: all of the pod's claims are bound. why: not "": they never will be. */
static bool all_bound(const wait_t *w, char *why, size_t size) {
  bool all = true;
  for (size_t i = 0; i < w->n && !*why; i++) {
    const wait_claim_t *c = &w->of[i];
    kg_view_t claim = claim_of(w, c);
    if (!kg_view_there(claim))
      snprintf(why, size, "failed to check provisioning pvc: persistentvolumeclaim \"%s\" not found", c->name);
    else if (c->call || follows(w, c))
      all = false;
    else if (*c->volume)
      check_static(w, c, why, size);
    else
      check_made(w, c, claim, why, size);
    all &= kube_claim_is_bound(claim) && version_of(claim) >= (*c->volume ? 0 : c->version);
  }
  return all && !*why;
}

/* True: the wait is over. */
static bool look(wait_t *w) {
  char why[900] = "";
  sched_t *s = w->s;
  sched_pod_t *p = w->pod;
  kg_ctx_t *ctx = w->ctx;
  if (all_bound(w, why, sizeof why)) {
    leave(w);
    sched_bind(ctx, s, p, (uint32_t)p->node);
    return true;
  }
  if (*why) fail(w, why);
  return *why;
}

static bool is_about(const wait_t *w, kg_str_t space, kg_str_t claim, kg_str_t volume) {
  bool same = !claim.p || kg_str_eq(w->pod->space, space);
  for (size_t i = 0; i < w->n; i++)
    if ((same && (!claim.p || kg_str_is(claim, w->of[i].name))) || (volume.n && kg_str_is(volume, w->of[i].volume)))
      return true;
  return false;
}

void waits_look(sched_t *s, kg_str_t space, kg_str_t claim, kg_str_t volume) {
  for (wait_t *w = s->volumes->waits; w;) /* when one ends, others may have followed it */
    w = is_about(w, space, claim, volume) && look(w) ? s->volumes->waits : w->next;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

static void told(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx;
  sched_t *s = self;
  wait_claim_t *c = arg;
  wait_t *w = s->volumes->waits;
  while (w && !(c >= w->of && c < w->of + w->n)) w = w->next;
  if (!w) return;
  char name[KUBE_CLAIM_NAME], space[256];
  snprintf(name, sizeof name, "%s", c->name);
  snprintf(space, sizeof space, KG_STR_FMT, KG_STR_ARG(w->pod->space));
  c->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY)
    c->version = version_of(kg_view_of(kg_msg_doc(m, 0)));
  else
    fail(w, kg_msg_text(m));
  waits_look(s, kg_str(space), kg_str(name), (kg_str_t){0});
}

/* same: the field of the metadata that must be what it was, "uid" or "resourceVersion". */
static void pack_annotation(kg_pack_t *p, kg_view_t object, const char *same, const char *key, const char *value) {
  kg_pack_key(p, "metadata");
  kg_pack_map(p);
  kg_pack_kv_view(p, same, kg_view_path(object, "metadata", same, NULL));
  if (key) {
    kg_pack_key(p, "annotations");
    kg_pack_map(p);
    kg_pack_kv_str(p, key, value);
    kg_pack_end(p);
  }
  kg_pack_end(p);
}

static void tell(wait_t *w, wait_claim_t *c, const char *resource, const char *name, kg_pack_t *p) {
  char space[256] = "";
  if (!*c->volume) snprintf(space, sizeof space, KG_STR_FMT, KG_STR_ARG(w->pod->space));
  kg_doc_t *patch = kg_pack_doc(p);
  c->call = kube_api_patch(w->ctx,
                           &(kube_call_t){.gvr = {"", "v1", resource},
                                          .ns = space,
                                          .name = name,
                                          .patch_type = "merge",
                                          .object = patch,
                                          .field_manager = "kube-scheduler"},
                           told, c);
  kg_doc_unref(patch);
}

/* A claim that is new gets an owner, a finalizer: the node is told whatever was changed meanwhile. */
static void tell_claim(wait_t *w, wait_claim_t *c, kg_view_t claim) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_annotation(&p, claim, "uid", KUBE_SELECTED_NODE, w->s->nodes[w->pod->node].name);
  kg_pack_end(&p);
  tell(w, c, "persistentvolumeclaims", c->name, &p);
}

/* A volume is nobody's still, or the claim would have two. */
static void tell_volume(wait_t *w, wait_claim_t *c, kg_view_t claim, kg_view_t volume) {
  bool named = kube_volume_is_of(volume, claim);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_annotation(&p, volume, "resourceVersion", named ? NULL : KUBE_BOUND_BY_CONTROLLER, "yes");
  kg_pack_key(&p, "spec");
  kg_pack_map(&p);
  kg_pack_key(&p, "claimRef");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "apiVersion", "v1");
  kg_pack_kv_str(&p, "kind", "PersistentVolumeClaim");
  kg_pack_kv_strn(&p, "namespace", kube_namespace(claim));
  kg_pack_kv_strn(&p, "name", kube_name(claim));
  kg_pack_kv_strn(&p, "uid", kube_uid(claim));
  kg_pack_kv_view(&p, "resourceVersion", kg_view_path(claim, "metadata", "resourceVersion", NULL));
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_pack_end(&p);
  tell(w, c, "persistentvolumes", c->volume, &p);
}

static bool says_already(const claim_t *claim, const char *node) {
  kg_view_t uid = kg_view_path(claim->chosen, "spec", "claimRef", "uid", NULL);
  if (!kg_view_there(claim->chosen))
    return kg_str_is(kg_view_str(kube_annotation(claim->object, KUBE_SELECTED_NODE)), node);
  return kg_view_str(uid).n && kube_volume_is_of(claim->chosen, claim->object);
}

static void tell_all(wait_t *w) {
  struct sched_volumes *v = w->s->volumes;
  for (size_t i = 0, k = 0; i < v->n; i++) {
    const claim_t *claim = &v->of[i];
    if (claim->bound) continue;
    wait_claim_t *c = &w->of[k++];
    if (follows(w, c) || says_already(claim, w->s->nodes[w->pod->node].name)) continue;
    if (*c->volume)
      tell_volume(w, c, claim->object, claim->chosen);
    else
      tell_claim(w, c, claim->object);
  }
}

static wait_t *wait_new(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, size_t n) {
  struct sched_volumes *v = s->volumes;
  wait_t *w = calloc(1, sizeof *w + n * sizeof *w->of);
  if (!w) return NULL;
  *w = (wait_t){.next = v->waits, .ctx = ctx, .s = s, .pod = p, .n = n};
  for (size_t i = 0, k = 0; i < v->n; i++) {
    if (v->of[i].bound) continue;
    wait_claim_t *c = &w->of[k++];
    snprintf(c->name, sizeof c->name, KG_STR_FMT, KG_STR_ARG(kube_name(v->of[i].object)));
    snprintf(c->volume, sizeof c->volume, KG_STR_FMT, KG_STR_ARG(kube_name(v->of[i].chosen)));
  }
  if (w->next) w->next->prev = w;
  v->waits = p->wait = w;
  w->timer = kg_timer(ctx, v->timeout_ms, 0, too_late, w);
  return w;
}

void sched_settle(kg_ctx_t *ctx, sched_t *s, sched_pod_t *p, uint32_t node) {
  size_t unbound = 0;
  for (size_t i = 0; p->claims && i < s->volumes->n; i++) unbound += !s->volumes->of[i].bound;
  if (!unbound) return sched_bind(ctx, s, p, node);
  volumes_choose(s, &s->nodes[node]);
  sched_dequeue(s, p);
  wait_t *w = wait_new(ctx, s, p, unbound);
  if (!w) return sched_park(ctx, s, p, SCHED_WHY_ANY);
  sched_count(s, p, (int32_t)node);
  p->state = SCHED_BINDING;
  tell_all(w);
  look(w);
}
