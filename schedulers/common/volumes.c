/* What the claims of a pod say about nodes: VolumeRestrictions, VolumeBinding and VolumeZone of kube-scheduler. */
#include "volumes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/values.h"

bool sched_has_claims(kg_view_t pod) {
  char name[KUBE_CLAIM_NAME];
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "volumes", NULL)); kg_iter_next(&it);)
    if (kube_claim_of(pod, it.value, name)) return true;
  return false;
}

/* --- what there is: watched from the first pod with a claim on ---------------------------------------------------- */

static bool has_claim(const sched_pod_t *p, kg_str_t space, kg_str_t claim) {
  char name[KUBE_CLAIM_NAME];
  if (!p->claims || !kg_str_eq(p->space, space)) return false;
  for (kg_iter_t it = kg_iter(kg_view_get(p->spec, "volumes")); kg_iter_next(&it);)
    if (kube_claim_of(kg_view_of(p->doc), it.value, name) && kg_str_is(claim, name)) return true;
  return false;
}

/* A claim helps the pods that have it, a volume or a class any. */
static void unpark(kg_ctx_t *ctx, sched_t *s, bool is_claim, kg_str_t space, kg_str_t name) {
  for (sched_pod_t *p = s->parked.first; p; p = p->after)
    if (!is_claim || has_claim(p, space, name)) sched_unpark_pod(ctx, s, p, SCHED_WHY_VOLUME);
}

static void changed(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)change, (void)old, (void)arg;
  sched_t *s = self;
  kg_view_t ref = kg_view_path(now, "spec", "claimRef", NULL);
  bool is_claim = kube_namespace(now).n > 0; /* volumes and classes are in none */
  kg_str_t space = is_claim ? kube_namespace(now) : kg_view_str(kg_view_get(ref, "namespace")),
           name = is_claim ? kube_name(now) : kg_view_str(kg_view_get(ref, "name"));
  waits_look(s, space, name.p ? name : KG_STR(""), is_claim ? KG_STR("") : kube_name(now));
  unpark(ctx, s, is_claim, space, name);
}

static bool known(const struct sched_volumes *v) {
  return kube_informer_synced(v->claims) && kube_informer_synced(v->volumes) && kube_informer_synced(v->classes);
}

/* Those that only waited for this are tried at once. */
static void synced(kg_ctx_t *ctx, void *self, void *arg) {
  (void)arg;
  sched_t *s = self;
  if (!known(s->volumes)) return;
  for (sched_pod_t *p = s->parked.first, *after; p; p = after) {
    after = p->after;
    if (p->claims && !p->attempts) sched_enqueue(ctx, s, p);
  }
}

static kube_informer_t *watch(kg_ctx_t *ctx, const char *group, const char *resource) {
  return kube_informer_start(
      ctx, &(kube_informer_config_t){.gvr = {group, "v1", resource}, .on_change = changed, .on_synced = synced});
}

bool sched_volumes_known(kg_ctx_t *ctx, sched_t *s) {
  if (s->volumes) return known(s->volumes);
  struct sched_volumes *v = calloc(1, sizeof *v);
  if (!v) return false;
  v->timeout_ms = kg_view_int(kg_view_get(kg_config(ctx), "bindTimeoutSeconds"), 600) * 1000;
  v->claims = watch(ctx, "", "persistentvolumeclaims");
  v->volumes = watch(ctx, "", "persistentvolumes");
  v->classes = watch(ctx, "storage.k8s.io", "storageclasses");
  s->volumes = v;
  return false;
}

static void forget(struct sched_volumes *v) {
  for (size_t i = 0; i < v->n; i++) free(v->of[i].able);
  v->n = 0;
  free(v->sharers);
  v->sharers = NULL;
  v->n_sharers = 0;
}

void sched_free_volumes(kg_ctx_t *ctx, sched_t *s) {
  struct sched_volumes *v = s->volumes;
  if (!v) return;
  kube_informer_stop(ctx, v->claims);
  kube_informer_stop(ctx, v->volumes);
  kube_informer_stop(ctx, v->classes);
  forget(v);
  free(v->of);
  free(v);
  s->volumes = NULL;
}

/* --- one claim ---------------------------------------------------------------------------------------------------- */

static kg_str_t text(kg_view_t object, const char *part, const char *key) {
  return kg_view_str(kg_view_path(object, part, key, NULL));
}

static kg_view_t object_of(const kube_informer_t *inf, kg_str_t space, kg_str_t name) {
  return kg_view_of(kube_informer_get(inf, space, name));
}

static const char *barred(struct sched_volumes *v, const char *fmt, ...) KG_PRINTF(2, 3);
static const char *barred(struct sched_volumes *v, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(v->barred, sizeof v->barred, fmt, args);
  va_end(args);
  return v->barred;
}

/* Why a pod with such a claim goes nowhere; NULL: it may. */
static const char *bar(struct sched_volumes *v, kg_view_t pod, kg_view_t volume, kg_view_t claim, const char *name) {
  bool own = kg_view_there(kg_view_get(volume, "ephemeral"));
  if (!kg_view_there(claim) && own)
    return barred(v, "waiting for ephemeral volume controller to create the persistentvolumeclaim \"%s\"", name);
  if (!kg_view_there(claim)) return barred(v, "persistentvolumeclaim \"%s\" not found", name);
  if (kg_str_is(text(claim, "status", "phase"), "Lost"))
    return barred(v, "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume \"" KG_STR_FMT "\"", name,
                  KG_STR_ARG(text(claim, "spec", "volumeName")));
  if (kube_deleting(claim)) return barred(v, "persistentvolumeclaim \"%s\" is being deleted", name);
  if (own && !kube_claim_is_of_pod(claim, pod))
    return barred(v, "PVC " KG_STR_FMT "/%s was not created for pod " KG_STR_FMT "/" KG_STR_FMT " (pod is not owner)",
                  KG_STR_ARG(kube_namespace(pod)), name, KG_STR_ARG(kube_namespace(pod)), KG_STR_ARG(kube_name(pod)));
  return NULL;
}

/* Most volumes that are not everywhere are on one host: with a thousand of them no selector is made for each node. */
static kg_str_t only_host(kg_view_t volume) {
  kg_view_t terms = kg_view_path(volume, "spec", "nodeAffinity", "required", "nodeSelectorTerms", NULL),
            term = kg_view_at(terms, 0), wishes = kg_view_get(term, "matchExpressions"), wish = kg_view_at(wishes, 0),
            hosts = kg_view_get(wish, "values");
  bool one = kg_view_count(terms) == 1 && kg_view_count(wishes) == 1 && kg_view_count(hosts) == 1 &&
             !kg_view_count(kg_view_get(term, "matchFields")) &&
             kg_str_is(kg_view_str(kg_view_get(wish, "key")), SCHED_HOSTNAME) &&
             kg_str_is(kg_view_str(kg_view_get(wish, "operator")), "In");
  return one ? kg_view_str(kg_view_at(hosts, 0)) : (kg_str_t){0};
}

static bool reached(const able_t *a, const sched_node_t *node) {
  return a->host.p ? kg_str_eq(a->host, node->hostname) : kube_volume_reaches(a->volume, node->labels);
}

/* The smallest that is enough comes first, before it one that names the claim. */
static void add_able(claim_t *c, kg_view_t volume) {
  bool named = kube_volume_is_of(volume, c->object);
  int64_t bytes = kube_volume_bytes(volume);
  size_t i = c->n_able++;
  for (; i > 0; i--) {
    kg_view_t before = c->able[i - 1].volume;
    if (kube_volume_is_of(before, c->object) || (!named && kube_volume_bytes(before) <= bytes)) break;
    c->able[i] = c->able[i - 1];
  }
  c->able[i] = (able_t){volume, only_host(volume)};
}

/* The volumes there are that an unbound claim may get; one that is promised to it already is the only one. */
static bool find_able(const sched_t *s, claim_t *c, const wait_claim_t *promised) {
  struct sched_volumes *v = s->volumes;
  kg_str_t space = kube_namespace(c->object), name = kube_name(c->object);
  size_t n = kube_informer_count(v->volumes);
  if (c->selected.n || !n) return true;
  c->able = calloc(n, sizeof *c->able);
  for (size_t i = 0; c->able && i < n; i++) {
    kg_view_t volume = kg_view_of(kube_informer_at(v->volumes, i));
    bool right = promised ? kg_str_is(kube_name(volume), promised->volume)
                          : kube_volume_suits(volume, c->object) && !wait_has_volume(s, kube_name(volume), space, name);
    if (right) add_able(c, volume);
  }
  return c->able != NULL;
}

static bool waits_for_consumer(kg_view_t class) {
  return kg_str_is(kg_view_str(kg_view_get(class, "volumeBindingMode")), "WaitForFirstConsumer");
}

/* A claim of the pod; the smallest stand first. Returns why the pod goes nowhere, or NULL. */
static const char *read_claim(const sched_t *s, kg_view_t object) {
  struct sched_volumes *v = s->volumes;
  claim_t c = {.object = object, .bound = kube_claim_is_bound(object)};
  kg_str_t class = kube_storage_class_of(object), volume = text(object, "spec", "volumeName");
  const wait_t *by = NULL;
  const wait_claim_t *promised = c.bound ? NULL : wait_of_claim(s, kube_namespace(object), kube_name(object), &by);
  c.class = class.n ? object_of(v->classes, KG_STR(""), class) : (kg_view_t){0};
  if (c.bound) c.volume = object_of(v->volumes, KG_STR(""), volume);
  if (!c.bound && (!waits_for_consumer(c.class) || volume.n)) return "pod has unbound immediate PersistentVolumeClaims";
  c.selected = kg_view_str(kube_annotation(object, KUBE_SELECTED_NODE));
  if (promised && !*promised->volume) c.selected = kg_str(s->nodes[by->pod->node].name);
  if (!c.bound && !find_able(s, &c, promised)) return "the scheduler is out of memory";
  size_t i = v->n++;
  for (; i > 0 && kube_storage_bytes(v->of[i - 1].object) > kube_storage_bytes(object); i--) v->of[i] = v->of[i - 1];
  v->of[i] = c;
  return NULL;
}

/* --- a claim that only one pod may use ---------------------------------------------------------------------------- */

static bool for_one_pod(kg_view_t claim) {
  for (kg_iter_t it = kg_iter(kg_view_path(claim, "spec", "accessModes", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(it.value), "ReadWriteOncePod")) return true;
  return false;
}

static bool add_sharers(const sched_t *s, const sched_pod_t *pod, kg_str_t claim) {
  struct sched_volumes *v = s->volumes;
  for (size_t b = 0; b < SCHED_BUCKETS; b++)
    for (sched_pod_t *p = s->pods[b]; p; p = p->next) {
      if (p == pod || p->node < 0 || !has_claim(p, pod->space, claim)) continue;
      sched_pod_t **more = realloc(v->sharers, (v->n_sharers + 1) * sizeof *more);
      if (!more) return false;
      v->sharers = more;
      v->sharers[v->n_sharers++] = p;
    }
  return true;
}

/* --- all of a pod ------------------------------------------------------------------------------------------------- */

static bool make_room(struct sched_volumes *v, size_t n) {
  claim_t *of = n > v->room ? realloc(v->of, n * sizeof *of) : v->of;
  if (!of && n) return false;
  v->of = of;
  if (n > v->room) v->room = n;
  return true;
}

static bool is_read(const struct sched_volumes *v, kg_view_t claim) {
  for (size_t i = 0; i < v->n; i++)
    if (v->of[i].object.p == claim.p) return true;
  return false;
}

const char *sched_volumes_look(sched_t *s, const sched_pod_t *p) {
  struct sched_volumes *v = s->volumes;
  kg_view_t pod = kg_view_of(p->doc), volumes = kg_view_get(p->spec, "volumes");
  const char *why = NULL;
  char name[KUBE_CLAIM_NAME];
  forget(v);
  if (!make_room(v, kg_view_count(volumes))) return "the scheduler is out of memory";
  for (kg_iter_t it = kg_iter(volumes); !why && kg_iter_next(&it);)
    if (kube_claim_of(pod, it.value, name))
      why = bar(v, pod, it.value, object_of(v->claims, p->space, kg_str(name)), name);
  for (kg_iter_t it = kg_iter(volumes); !why && kg_iter_next(&it);) {
    if (!kube_claim_of(pod, it.value, name)) continue;
    kg_view_t claim = object_of(v->claims, p->space, kg_str(name));
    if (!is_read(v, claim)) why = read_claim(s, claim);
    if (!why && for_one_pod(claim) && !add_sharers(s, p, kg_str(name))) why = "the scheduler is out of memory";
  }
  return why;
}

/* --- a node ------------------------------------------------------------------------------------------------------- */

static bool taken(const struct sched_volumes *v, size_t n, kg_view_t volume) {
  for (size_t i = 0; i < n; i++)
    if (v->of[i].chosen.p == volume.p) return true;
  return false;
}

/* allowedTopologies of a class: one of the terms, all of whose labels the node has. */
static bool class_allows(kg_view_t class, kg_view_t labels) {
  kg_view_t terms = kg_view_get(class, "allowedTopologies");
  for (kg_iter_t t = kg_iter(terms); kg_iter_next(&t);) {
    kg_view_t wishes = kg_view_get(t.value, "matchLabelExpressions");
    bool all = kg_view_count(wishes) > 0;
    for (kg_iter_t e = kg_iter(wishes); kg_iter_next(&e);) {
      kg_str_t have = kg_view_str(kg_view_get_str(labels, kg_view_str(kg_view_get(e.value, "key"))));
      bool in = false;
      for (kg_iter_t x = kg_iter(kg_view_get(e.value, "values")); kg_iter_next(&x);)
        in |= have.p && kg_str_eq(have, kg_view_str(x.value));
      all &= in;
    }
    if (all) return true;
  }
  return !kg_view_count(terms);
}

static bool can_be_made(const claim_t *c, kg_view_t labels) {
  kg_str_t provisioner = kg_view_str(kg_view_get(c->class, "provisioner"));
  return provisioner.n && !kg_str_is(provisioner, KUBE_NO_PROVISIONER) && class_allows(c->class, labels);
}

bool volumes_choose(const sched_t *s, const sched_node_t *node) {
  struct sched_volumes *v = s->volumes;
  for (size_t i = 0; i < v->n; i++) {
    claim_t *c = &v->of[i];
    c->chosen = (kg_view_t){0};
    if (c->bound) continue;
    for (size_t k = 0; k < c->n_able && !c->chosen.p; k++)
      if (reached(&c->able[k], node) && !taken(v, i, c->able[k].volume)) c->chosen = c->able[k].volume;
    if (c->chosen.p) continue;
    if (c->selected.n ? !kg_str_is(c->selected, node->name) : !can_be_made(c, node->labels)) return false;
  }
  return true;
}

static const char *const zones[][2] = {{"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"},
                                       {"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}};

static bool in_set(kg_str_t set, kg_str_t value) {
  while (set.n) {
    const char *end = memmem(set.p, set.n, "__", 2);
    kg_str_t one = {set.p, end ? (size_t)(end - set.p) : set.n};
    if (kg_str_eq(one, value)) return true;
    size_t past = one.n + (end ? 2 : 0);
    set = (kg_str_t){set.p + past, set.n - past};
  }
  return false;
}

/* Labels of a volume say in which zones it is; a node that is in none is not asked. */
static bool zones_agree(kg_view_t volume, kg_view_t node_labels) {
  kg_str_t have[2];
  for (int i = 0; i < 2; i++) {
    have[i] = kg_view_str(kg_view_get(node_labels, zones[i][0]));
    if (!have[i].p) have[i] = kg_view_str(kg_view_get(node_labels, zones[i][1]));
  }
  for (int i = 0; i < 4 && (have[0].p || have[1].p); i++) {
    kg_str_t want = kg_view_str(kg_view_get(kube_labels(volume), zones[i / 2][i % 2]));
    if (want.p && !(have[i / 2].p && in_set(want, have[i / 2]))) return false;
  }
  return true;
}

bool sched_filter_volumes(const sched_t *s, const sched_pod_t *pod, const sched_node_t *node, sched_verdict_t *v) {
  const struct sched_volumes *all = s->volumes;
  bool near = true, there = true, agree = true;
  if (!pod->claims || !all) return true;
  for (size_t i = 0; i < all->n_sharers; i++)
    if (all->sharers[i]->node >= 0)
      return sched_refuse(
          v, SCHED_WHY_ROOM, false,
          "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode");
  for (size_t i = 0; i < all->n; i++) {
    const claim_t *c = &all->of[i];
    if (!c->bound) continue;
    there &= c->volume.p != NULL;
    near &= kube_volume_reaches(c->volume, node->labels);
    agree &= zones_agree(c->volume, node->labels);
  }
  bool fits = true;
  if (!near) fits = sched_refuse(v, SCHED_WHY_VOLUME, true, "node(s) didn't match PersistentVolume's node affinity");
  if (!volumes_choose(s, node))
    fits = sched_refuse(v, SCHED_WHY_VOLUME, true, "node(s) didn't find available persistent volumes to bind");
  if (!there)
    fits = sched_refuse(v, SCHED_WHY_VOLUME, true,
                        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
  if (fits && !agree) fits = sched_refuse(v, SCHED_WHY_VOLUME, true, "node(s) had no available volume zone");
  return fits;
}
