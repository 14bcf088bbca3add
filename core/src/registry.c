#include "registry.h"

#include <stdlib.h>
#include <string.h>

#include "shade.h"

void kg_registry_init(kg_registry_t *r) {
  pthread_rwlockattr_t a;
  pthread_rwlockattr_init(&a);
  /* Senders never stop coming: without this a swap could wait for ever. */
  pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(&r->lock, &a);
  pthread_rwlockattr_destroy(&a);
}

void kg_registry_free(kg_registry_t *r) {
  for (size_t i = 0; i < 256; i++)
    for (kg_name_t *n = r->names[i], *next; n; n = next) {
      next = n->next;
      kg_ctx_unref(n->owner);
      kg_queue_free(&n->queue);
      free(n->name);
      free(n);
    }
  for (size_t i = 0; i < r->nsubs; i++) free(r->subs[i].prefix);
  free(r->subs);
  pthread_rwlock_destroy(&r->lock);
}

static unsigned bucket(const char *name) {
  uint64_t h = kg_hash_str(KG_HASH_START, kg_str(name));
  return (h ^ (h >> 8)) & 255;
}

static kg_name_t *find(kg_registry_t *r, const char *name) {
  kg_name_t *n = r->names[bucket(name)];
  while (n && strcmp(n->name, name) != 0) n = n->next;
  return n;
}

kg_name_t *kg_name_find(kg_registry_t *r, const char *name, bool make) {
  pthread_rwlock_wrlock(&r->lock);
  kg_name_t *n = find(r, name);
  if (!n && make && (n = calloc(1, sizeof *n)) != NULL) {
    n->name = strdup(name);
    kg_name_t **head = &r->names[bucket(name)];
    n->next = *head;
    *head = n;
  }
  pthread_rwlock_unlock(&r->lock);
  return n;
}

kg_routed_t kg_route(kg_ctx_t *from, const char *service, kg_name_t **name, kg_msg_t *m, kg_ctx_t **server) {
  kg_registry_t *r = &from->k->registry;
  kg_parcel_t p = {.m = m};
  if (server) *server = NULL;
  if (from->k->link) { /* a process of its own: the kernel knows who serves what */
    if (!*name) *name = kg_name_find(r, service, true);
    if (server) *server = kg_ctx_ref(from->k->link);
    p.from = kg_ctx_ref(from);
    p.to = kg_ctx_ref(from->k->link);
    kg_lane_post(from->lane, p);
    return KG_ROUTED;
  }
  pthread_rwlock_rdlock(&r->lock);
  kg_name_t *n = *name ? *name : find(r, service);
  if (n && n->held) { /* only a writer may touch the queue; the name may be free again by then */
    pthread_rwlock_unlock(&r->lock);
    pthread_rwlock_wrlock(&r->lock);
  }
  kg_routed_t routed = !n || !n->owner ? KG_NOBODY : n->held ? KG_HELD : KG_ROUTED;
  if (routed == KG_HELD && n->queue.count >= KG_MAX_HELD && kg_msg_type(m) == KG_MSG_REQUEST) routed = KG_FULL;
  if (n) *name = n;
  if (routed != KG_NOBODY && routed != KG_FULL) p.from = kg_ctx_ref(from);
  if (routed == KG_HELD) kg_queue_push(&n->queue, p);
  if (routed == KG_ROUTED) {
    p.to = kg_ctx_ref(n->owner);
    if (server) *server = kg_ctx_ref(n->owner);
    kg_lane_post(from->lane, p);
  }
  pthread_rwlock_unlock(&r->lock);
  if (routed == KG_NOBODY || routed == KG_FULL) kg_parcel_free(&p);
  return routed;
}

static int check(kg_name_t *n, kg_ctx_t *ctx, kg_error_t *err) {
  if (!n->owner || n->owner == ctx || (ctx->predecessor && n->owner == ctx->predecessor)) return 0;
  return kg_error_set(err, KG_ECONFLICT, "%s cannot serve %s: %s does", ctx->name, n->name, n->owner->name);
}

int kg_name_check(kg_registry_t *r, kg_name_t *n, kg_ctx_t *ctx, kg_error_t *err) {
  pthread_rwlock_rdlock(&r->lock);
  int rc = check(n, ctx, err);
  pthread_rwlock_unlock(&r->lock);
  return rc;
}

int kg_name_claim(kg_registry_t *r, kg_name_t *n, kg_ctx_t *ctx, kg_error_t *err) {
  pthread_rwlock_wrlock(&r->lock);
  int rc = check(n, ctx, err);
  if (rc == 0 && n->owner != ctx) {
    kg_ctx_unref(n->owner);
    n->owner = kg_ctx_ref(ctx);
  }
  pthread_rwlock_unlock(&r->lock);
  return rc;
}

/* Calls fn for each name of ctx; the lock is held. */
#define EACH_NAME(r, n)                                                                                                \
  for (size_t bucket_ = 0; bucket_ < 256; bucket_++)                                                                   \
    for (kg_name_t *n = (r)->names[bucket_]; n; n = n->next)

kg_name_t **kg_names_of(kg_registry_t *r, kg_ctx_t *ctx) {
  size_t count = 0;
  pthread_rwlock_rdlock(&r->lock);
  EACH_NAME(r, n) count += n->owner == ctx;
  kg_name_t **names = calloc(count + 1, sizeof *names);
  count = 0;
  if (names) EACH_NAME(r, n) if (n->owner == ctx) names[count++] = n;
  pthread_rwlock_unlock(&r->lock);
  return names;
}

void kg_names_hold(kg_registry_t *r, kg_ctx_t *ctx) {
  pthread_rwlock_wrlock(&r->lock);
  EACH_NAME(r, n) if (n->owner == ctx) n->held = true;
  pthread_rwlock_unlock(&r->lock);
}

static void own(kg_name_t *n, kg_ctx_t *ctx) {
  kg_ctx_ref(ctx);
  kg_ctx_unref(n->owner);
  n->owner = ctx;
}

static void release_held(kg_name_t *n) {
  n->held = false;
  for (kg_parcel_t p; kg_queue_pop(&n->queue, &p);) {
    p.to = kg_ctx_ref(n->owner);
    kg_queue_push(&n->owner->lane->queue, p);
  }
}

int kg_names_take(kg_registry_t *r, kg_ctx_t *from, kg_ctx_t *to, kg_name_t **names, size_t count, kg_error_t *err) {
  int rc = 0;
  pthread_rwlock_wrlock(&r->lock);
  for (size_t i = 0; rc == 0 && i < count; i++) rc = check(names[i], to, err);
  if (rc == 0) {
    for (size_t i = 0; i < count; i++) own(names[i], to);
    EACH_NAME(r, n) {
      if (from && n->owner == from) own(n, to);
      if (n->owner == to && n->held) release_held(n);
    }
  }
  pthread_rwlock_unlock(&r->lock);
  return rc;
}

void kg_names_release(kg_registry_t *r, kg_ctx_t *ctx, kg_queue_t *left) {
  pthread_rwlock_wrlock(&r->lock);
  EACH_NAME(r, n) {
    if (n->owner != ctx) continue;
    kg_ctx_unref(n->owner);
    n->owner = NULL;
    n->held = false;
    for (kg_parcel_t p; kg_queue_pop(&n->queue, &p);) kg_queue_push(left, p);
  }
  pthread_rwlock_unlock(&r->lock);
}

void kg_subscription_add(kg_registry_t *r, kg_ctx_t *ctx, const char *prefix) {
  pthread_rwlock_wrlock(&r->lock);
  kg_subscription_t *subs = realloc(r->subs, (r->nsubs + 1) * sizeof *subs);
  if (subs) {
    r->subs = subs;
    subs[r->nsubs] = (kg_subscription_t){ctx, strdup(prefix), strlen(prefix)};
    if (subs[r->nsubs].prefix) r->nsubs++;
  }
  pthread_rwlock_unlock(&r->lock);
}

void kg_subscriptions_remove(kg_registry_t *r, kg_ctx_t *ctx) {
  pthread_rwlock_wrlock(&r->lock);
  size_t kept = 0;
  for (size_t i = 0; i < r->nsubs; i++) {
    if (r->subs[i].ctx == ctx)
      free(r->subs[i].prefix);
    else
      r->subs[kept++] = r->subs[i];
  }
  r->nsubs = kept;
  pthread_rwlock_unlock(&r->lock);
}

/* True if an earlier subscription of the same instance matches already. */
static bool served_before(const kg_registry_t *r, size_t i, const char *topic) {
  for (size_t j = 0; j < i; j++)
    if (r->subs[j].ctx == r->subs[i].ctx && strncmp(topic, r->subs[j].prefix, r->subs[j].n) == 0) return true;
  return false;
}

/* Room for one more; who floods its subscribers loses, and is named. */
static bool has_room(kg_ctx_t *to, const kg_ctx_t *from, const char *topic) {
  if (to->k->sim || atomic_fetch_add_explicit(&to->events_waiting, 1, memory_order_relaxed) < KG_MAX_EVENTS)
    return true;
  atomic_fetch_sub_explicit(&to->events_waiting, 1, memory_order_relaxed);
  uint64_t lost = atomic_fetch_add_explicit(&to->events_lost, 1, memory_order_relaxed) + 1;
  if ((lost & (lost - 1)) == 0)
    kg_logf(to->k, KG_LOG_WARN, to->name, "%llu events were lost, the last one %s of %s: %d wait already",
            (unsigned long long)lost, topic, from->name, KG_MAX_EVENTS);
  return false;
}

void kg_route_event(kg_ctx_t *from, kg_msg_t *m) {
  kg_registry_t *r = &from->k->registry;
  const char *topic = kg_msg_topic(m);
  if (from->shadow) kg_tap(from, m, true);
  if (from->k->link) {
    kg_lane_post(from->lane,
                 (kg_parcel_t){.to = kg_ctx_ref(from->k->link), .from = kg_ctx_ref(from), .m = kg_msg_ref(m)});
    return;
  }
  pthread_rwlock_rdlock(&r->lock);
  for (size_t i = 0; i < r->nsubs; i++) {
    const kg_subscription_t *s = &r->subs[i];
    if (strncmp(topic, s->prefix, s->n) != 0 || served_before(r, i, topic)) continue;
    if (!has_room(s->ctx, from, topic)) continue;
    kg_lane_post(from->lane, (kg_parcel_t){.to = kg_ctx_ref(s->ctx), .from = kg_ctx_ref(from), .m = kg_msg_ref(m)});
  }
  pthread_rwlock_unlock(&r->lock);
}
