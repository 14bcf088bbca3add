/* The ReplicaSet of the present template: its revision, its annotations, its making. */
#include <stdio.h>
#include <string.h>

#include "deployment.h"

#define CREATE_ERROR "ReplicaSetCreateError"

kube_node_t *set_notes(pass_t *p, set_t *s) {
  if (s->notes) return s->notes;
  kg_view_t v = kg_view_path(s->object, "metadata", "annotations", NULL);
  s->notes = kg_view_count(v) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, v)) : kube_map(p->arena);
  return s->notes;
}

static void put(pass_t *p, set_t *s, const char *key, kg_str_t value) {
  if (kg_str_eq(kg_view_str(kube_annotation(s->object, key)), value) && !s->notes) return;
  kube_set(p->arena, set_notes(p, s), key, kube_strn(p->arena, value));
}

void set_note(pass_t *p, set_t *s, const char *key, int64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)value);
  put(p, s, key, kg_str(text));
}

static bool own_note(kg_str_t key) {
  static const char *const names[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                      NOTE_REVISION,
                                      NOTE_HISTORY,
                                      NOTE_DESIRED,
                                      NOTE_MAX,
                                      "deprecated.deployment.rollback.to"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (kg_str_is(key, names[i])) return true;
  return false;
}

static int64_t max_old_revision(const pass_t *p) {
  int64_t most = 0;
  for (size_t i = 0; i < p->n; i++)
    if (&p->sets[i] != p->newest && p->sets[i].revision > most) most = p->sets[i].revision;
  return most;
}

/* A set that becomes the newest again gets a new revision; the one it had goes into its history. */
static void update_revision(pass_t *p, set_t *s, int64_t revision) {
  if (s->revision >= revision) return;
  if (s->revision) {
    kg_str_t history = kg_view_str(kube_annotation(s->object, NOTE_HISTORY));
    char *text = history.n ? kube_arena_fmt(p->arena, KG_STR_FMT ",%lld", KG_STR_ARG(history), (long long)s->revision)
                           : kube_arena_fmt(p->arena, "%lld", (long long)s->revision);
    kube_set(p->arena, set_notes(p, s), NOTE_HISTORY, kube_str(p->arena, text));
  }
  set_note(p, s, NOTE_REVISION, revision);
  s->revision = revision;
}

static void update_newest(pass_t *p) {
  set_t *s = p->newest;
  update_revision(p, s, max_old_revision(p) + 1);
  for (kg_iter_t it = kg_iter(kg_view_path(p->object, "metadata", "annotations", NULL)); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (own_note(key)) continue;
    kg_str_t has = kg_view_str(kg_view_get_str(kg_view_path(s->object, "metadata", "annotations", NULL), key));
    if (has.p && kg_str_eq(has, kg_view_str(it.value))) continue;
    kube_setn(p->arena, set_notes(p, s), key, kube_strn(p->arena, kg_view_str(it.value)));
  }
  int64_t min_ready = kg_view_int(kg_view_get(p->spec, "minReadySeconds"), 0);
  if (kg_view_int(kg_view_path(s->object, "spec", "minReadySeconds", NULL), 0) != min_ready) s->min_ready = min_ready;
  p->revision_note = s->revision;
  if (!ctl_condition(p->conditions, "Progressing") && has_deadline(p))
    progress_set(p, "True", "FoundNewReplicaSet",
                 kube_arena_fmt(p->arena, "Found new replica set \"%s\"", set_name(p, s)));
}

/* --- making one
 * -------------------------------------------------------------------------------------------------------- */

static kube_node_t *subtree(pass_t *p, kg_view_t v) {
  return kg_view_there(v) ? kube_tree_clone(p->arena, kube_tree_parse(p->arena, v)) : kube_map(p->arena);
}

static kube_node_t *new_set_meta(pass_t *p, const char *hash, int64_t revision) {
  kube_arena_t *a = p->arena;
  kube_node_t *meta = kube_map(a), *refs = kube_array(a), *notes = kube_map(a);
  kube_set(a, meta, "name", kube_strf(a, KG_STR_FMT "-%s", KG_STR_ARG(kube_name(p->object)), hash));
  kube_set(a, meta, "namespace", kube_strn(a, kube_namespace(p->object)));
  kube_node_t *labels = subtree(p, kg_view_path(p->template, "metadata", "labels", NULL));
  kube_set(a, labels, HASH_LABEL, kube_str(a, hash));
  kube_set(a, meta, "labels", labels);
  for (kg_iter_t it = kg_iter(kg_view_path(p->object, "metadata", "annotations", NULL)); kg_iter_next(&it);)
    if (!own_note(kg_view_str(it.key))) kube_setn(a, notes, kg_view_str(it.key), kube_strn(a, kg_view_str(it.value)));
  kube_set(a, notes, NOTE_DESIRED, kube_strf(a, "%lld", (long long)p->replicas));
  kube_set(a, notes, NOTE_MAX, kube_strf(a, "%lld", (long long)(p->replicas + p->surge)));
  kube_set(a, notes, NOTE_REVISION, kube_strf(a, "%lld", (long long)revision));
  kube_set(a, meta, "annotations", notes);
  kube_push(a, refs, ctl_owner_ref(a, p->object, "apps/v1", "Deployment"));
  kube_set(a, meta, "ownerReferences", refs);
  return meta;
}

static kube_node_t *new_set_spec(pass_t *p, const char *hash, int64_t replicas) {
  kube_arena_t *a = p->arena;
  kube_node_t *spec = kube_map(a), *selector = subtree(p, kg_view_get(p->spec, "selector"));
  kube_node_t *template = subtree(p, p->template);
  kube_set(a, kube_sub(a, selector, "matchLabels"), HASH_LABEL, kube_str(a, hash));
  kube_set(a, kube_sub(a, kube_sub(a, template, "metadata"), "labels"), HASH_LABEL, kube_str(a, hash));
  kube_set(a, spec, "replicas", kube_int(a, replicas));
  int64_t min_ready = kg_view_int(kg_view_get(p->spec, "minReadySeconds"), 0);
  if (min_ready) kube_set(a, spec, "minReadySeconds", kube_int(a, min_ready));
  kube_set(a, spec, "selector", selector);
  kube_set(a, spec, "template", template);
  return spec;
}

typedef struct making {
  kg_doc_t *deployment;
  const char *set;
  int64_t replicas, collisions;
  kube_node_t *conditions; /* with a deadline for progress; else NULL */
} making_t;

/* Only the condition: of all else the pass has told what it knows. */
static void tell_progress(kg_ctx_t *ctx, ctl_sync_t *s, const making_t *x, bool good, const char *message) {
  kube_arena_t *a = ctl_arena(s);
  kg_view_t deployment = kg_view_of(x->deployment), status = kg_view_get(deployment, "status");
  if (!x->conditions) return;
  kube_node_t *to = kg_view_there(status) ? kube_tree_clone(a, kube_tree_parse(a, status)) : kube_map(a);
  ctl_condition_set(a, x->conditions, "Progressing", good ? "True" : "False",
                    good ? "NewReplicaSetCreated" : CREATE_ERROR, message, kg_wall_us(ctx), true);
  kube_set(a, to, "conditions", x->conditions);
  ctl_send_status(ctx, s, GVR_DEPLOYMENTS, deployment, to);
}

/* A set of that name that is not ours: the next pass hashes with a higher count. */
static void count_collision(kg_ctx_t *ctx, ctl_sync_t *s, const making_t *x) {
  kube_arena_t *a = ctl_arena(s);
  kg_view_t deployment = kg_view_of(x->deployment), status = kg_view_get(deployment, "status");
  kube_node_t *to = kg_view_there(status) ? kube_tree_clone(a, kube_tree_parse(a, status)) : kube_map(a);
  kube_set(a, to, "collisionCount", kube_int(a, x->collisions + 1));
  ctl_send_status(ctx, s, GVR_DEPLOYMENTS, deployment, to);
}

static void made(kg_ctx_t *ctx, void *self, ctl_sync_t *s, const kg_msg_t *m, void *arg) {
  dc_t *c = self;
  const making_t *x = arg;
  kg_view_t deployment = kg_view_of(x->deployment);
  if (kg_msg_type(m) != KG_MSG_ERROR) {
    const kube_node_t *was = ctl_condition(x->conditions, "Progressing");
    if (kg_str_is(kube_node_str(kube_get(was, "reason")), CREATE_ERROR))
      tell_progress(ctx, s, x, true, kube_arena_fmt(ctl_arena(s), "Created new replica set \"%s\"", x->set));
    if (x->replicas > 0)
      kube_event(ctx, c->recorder, deployment, "Normal", "ScalingReplicaSet", "Scaled up replica set %s from 0 to %lld",
                 x->set, (long long)x->replicas);
    return;
  }
  kg_doc_t *there = kube_informer_get(c->sets, kube_namespace(deployment), kg_str(x->set));
  if (kg_msg_code(m) == KG_ECONFLICT) {
    /* Ours, and the cache was behind: the retry finds it. */
    if (there && !ctl_owned_by(kg_view_of(there), deployment)) count_collision(ctx, s, x);
    return;
  }
  char *text = kube_arena_fmt(ctl_arena(s), "Failed to create new replica set \"%s\": %s", x->set, kg_msg_text(m));
  kube_event(ctx, c->recorder, deployment, "Warning", CREATE_ERROR, "%s", text);
  tell_progress(ctx, s, x, false, text);
}

static void make_set(pass_t *p) {
  kube_arena_t *a = p->arena;
  char hash[16];
  int64_t revision = max_old_revision(p) + 1, replicas = new_set_size(p, 0);
  ctl_template_hash(a, p->template, p->collisions, hash);
  kube_node_t *object = kube_map(a);
  kube_set(a, object, "apiVersion", kube_str(a, "apps/v1"));
  kube_set(a, object, "kind", kube_str(a, "ReplicaSet"));
  kube_set(a, object, "metadata", new_set_meta(p, hash, revision));
  kube_set(a, object, "spec", new_set_spec(p, hash, replicas));
  making_t *x = kube_arena_alloc(a, sizeof *x);
  kg_str_t name = kube_node_str(kube_path(object, "metadata", "name", NULL));
  *x = (making_t){p->doc, ctl_text(a, name), replicas, p->collisions, has_deadline(p) ? p->conditions : NULL};
  kg_doc_t *doc = kube_tree_doc(object);
  ctl_send(
      p->ctx, p->sync, CTL_CREATE,
      &(kube_call_t){.gvr = GVR_SETS, .ns = ctl_text(a, kube_namespace(p->object)), .object = doc, .grace_seconds = -1},
      made, x);
  kg_doc_unref(doc);
  p->revision_note = revision;
  const kube_node_t *was = ctl_condition(p->conditions, "Progressing");
  if (has_deadline(p) && !kg_str_is(kube_node_str(kube_get(was, "reason")), CREATE_ERROR))
    progress_set(p, "True", "NewReplicaSetCreated", kube_arena_fmt(a, "Created new replica set \"%s\"", x->set));
}

bool revision_sync(pass_t *p, bool create) {
  if (p->newest) {
    update_newest(p);
    return false;
  }
  if (!create) return false;
  make_set(p);
  return true;
}
