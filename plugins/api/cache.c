/* All objects in memory, by reference, and the rings of their last changes. load.c fills them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "custom.h"
#include "rbac.h"

/* Who was away longer than five minutes lists again, as with etcd's compaction; a few changes stay whatever their age.
 */
enum { RING_START = 64, RING_MAX = 4096, RING_KEEPS = 100, RING_KEEPS_S = 300 };

/* --- collections ------------------------------------------------------------------------------------------------- */

static int by_prefix(const void *a, const void *b) {
  return strcmp((*(collection_t *const *)a)->prefix, (*(collection_t *const *)b)->prefix);
}

static collection_t *find_prefix(const api_t *api, kg_str_t prefix) {
  size_t low = 0, high = api->ncollections;
  while (low < high) {
    size_t mid = (low + high) / 2;
    collection_t *c = api->collections[mid];
    int order = kg_str_cmp((kg_str_t){c->prefix, c->nprefix}, prefix);
    if (!order) return c;
    if (order < 0)
      low = mid + 1;
    else
      high = mid;
  }
  return NULL;
}

collection_t *cache_find(const api_t *api, const char *group, const char *resource) {
  char prefix[512];
  int n = snprintf(prefix, sizeof prefix, ROOT "%s/%s/", group[0] ? group : "core", resource);
  return n < (int)sizeof prefix ? find_prefix(api, (kg_str_t){prefix, (size_t)n}) : NULL;
}

static size_t hash_pointer(const void *p) {
  return (size_t)(((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 20);
}

collection_t *cache_of(const api_t *api, const kube_resource_t *r) {
  if (r->structural) return custom_collection(api, r);
  size_t mask = api->by_resource_room - 1;
  for (size_t i = hash_pointer(r) & mask; api->by_resource[i].r; i = (i + 1) & mask)
    if (api->by_resource[i].r == r) return api->by_resource[i].c;
  return NULL;
}

static bool is_lazy(const kube_resource_t *r) {
  return is_resource(r, "coordination.k8s.io", "leases") || !strcmp(r->resource, "events");
}

static collection_t *add_collection(api_t *api, const kube_resource_t *r) {
  const kube_resource_t *stored =
      r->structural ? r : kube_resource_find(kg_str(r->storage_group), kg_str(r->storage_version), kg_str(r->resource));
  if (!stored) stored = r;
  collection_t *c = calloc(1, sizeof *c);
  int n = c ? asprintf(&c->prefix, ROOT "%s/%s/", stored->group[0] ? stored->group : "core", stored->resource) : -1;
  if (n < 0) {
    free(c);
    return NULL;
  }
  c->nprefix = (size_t)n;
  c->r = stored;
  c->lazy = is_lazy(stored);
  if (api->ncollections == api->collections_room) {
    size_t room = api->collections_room ? api->collections_room * 2 : 128;
    collection_t **more = realloc(api->collections, room * sizeof *more);
    if (!more) {
      free(c->prefix);
      free(c);
      return NULL;
    }
    api->collections = more;
    api->collections_room = room;
  }
  api->collections[api->ncollections++] = c;
  qsort(api->collections, api->ncollections, sizeof *api->collections, by_prefix);
  return c;
}

static int add_resource(api_t *api, const kube_resource_t *r) {
  const char *group = r->storage_version ? r->storage_group : r->group;
  collection_t *c = cache_find(api, group, r->resource);
  if (!c) c = add_collection(api, r);
  if (!c) return -1;
  size_t mask = api->by_resource_room - 1, i = hash_pointer(r) & mask;
  while (api->by_resource[i].r) i = (i + 1) & mask;
  api->by_resource[i].r = r;
  api->by_resource[i].c = c;
  return 0;
}

int cache_init(api_t *api, kg_error_t *err) {
  size_t n = 0;
  while (kube_resource_at(n)) n++;
  for (api->by_resource_room = 64; api->by_resource_room < 2 * n;) api->by_resource_room *= 2;
  api->by_resource = calloc(api->by_resource_room, sizeof *api->by_resource);
  if (!api->by_resource) return kg_error_set(err, KG_EINTERNAL, "api: out of memory");
  for (size_t i = 0; i < n; i++) {
    const kube_resource_t *r = kube_resource_at(i);
    if (!r->virtual_ && add_resource(api, r) < 0) return kg_error_set(err, KG_EINTERNAL, "api: out of memory");
  }
  return 0;
}

static void ring_drop(collection_t *c) {
  change_t *e = c->ring[c->ring_first];
  c->ring_after = e->rev;
  c->ring_first = (c->ring_first + 1) % c->ring_room;
  c->ring_count--;
  change_unref(e);
}

void cache_empty(collection_t *c) {
  sorted_free(&c->objects);
  while (c->ring_count) ring_drop(c);
}

collection_t *cache_add(api_t *api, const kube_resource_t *r) {
  collection_t *c = cache_find(api, r->group, r->resource);
  if (!c && (c = add_collection(api, r))) c->ring_after = api->rev;
  return c;
}

void cache_close(api_t *api, collection_t *c) {
  watch_free(c);
  cache_empty(c);
  for (size_t i = 0; i < api->ncollections; i++)
    if (api->collections[i] == c) {
      memmove(api->collections + i, api->collections + i + 1, (--api->ncollections - i) * sizeof *api->collections);
      break;
    }
}

void cache_drop(api_t *api, collection_t *c) {
  (void)api;
  if (!c) return;
  watch_free(c);
  cache_empty(c);
  free(c->ring);
  free(c->prefix);
  free(c);
}

const kube_resource_t *resource_find(const api_t *api, kg_str_t group, kg_str_t version, kg_str_t resource) {
  const kube_resource_t *r = kube_resource_find(group, version, resource);
  return r ? r : custom_find(api, group, version, resource);
}

void cache_free(api_t *api) {
  for (size_t i = 0; i < api->ncollections; i++) cache_drop(api, api->collections[i]);
  free(api->collections);
  free(api->by_resource);
  free(api->page);
}

/* --- resourceVersion --------------------------------------------------------------------------------------------- */

static size_t map_head(const uint8_t *p, size_t *count) {
  if ((p[0] & 0xf0) == 0x80) return *count = p[0] & 0x0f, 1;
  if (p[0] == 0xde) return *count = (size_t)p[1] << 8 | p[2], 3;
  return *count = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4], 5;
}

static uint8_t *put_map_head(uint8_t *p, size_t count) {
  if (count < 16) {
    *p++ = (uint8_t)(0x80 | count);
  } else if (count < 65536) {
    *p++ = 0xde, *p++ = (uint8_t)(count >> 8), *p++ = (uint8_t)count;
  } else {
    *p++ = 0xdf, *p++ = (uint8_t)(count >> 24), *p++ = (uint8_t)(count >> 16), *p++ = (uint8_t)(count >> 8),
    *p++ = (uint8_t)count;
  }
  return p;
}

static uint8_t *put(uint8_t *at, const void *p, size_t n) {
  memcpy(at, p, n);
  return at + n;
}

/* Splices the pair into the bytes: no tree is built, everything else is copied in one piece before and one after. */
kg_doc_t *stamp(kg_doc_t *doc, int64_t rev) {
  kg_view_t meta = kg_view_get(kg_view_of(doc), "metadata");
  if (kg_view_type(meta) != KG_V_MAP) return NULL;
  const uint8_t *start = kg_doc_data(doc), *stop = start + kg_doc_size(doc);
  const uint8_t *meta_end = meta.p + kg_view_span(meta), *at = meta_end, *cut = NULL, *cut_end = NULL;
  for (kg_iter_t it = kg_iter(meta); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    if (kg_str_is(key, "uid")) at = it.value.p + kg_view_span(it.value);
    if (kg_str_is(key, "resourceVersion")) cut = it.key.p, cut_end = it.value.p + kg_view_span(it.value);
  }
  if (cut) at = cut;
  char pair[48];
  int digits = snprintf(pair + 17, sizeof pair - 17, "%lld", (long long)rev);
  memcpy(pair,
         "\xaf"
         "resourceVersion",
         16);
  pair[16] = (char)(0xa0 | digits);
  size_t count, head = map_head(meta.p, &count);
  uint8_t *out = malloc(kg_doc_size(doc) + sizeof pair + 4), *end = out;
  if (!out) return NULL;
  end = put(end, start, (size_t)(meta.p - start));
  end = put_map_head(end, cut ? count : count + 1);
  end = put(end, meta.p + head, (size_t)(at - meta.p) - head);
  end = put(end, pair, 17 + (size_t)digits);
  end = put(end, cut ? cut_end : at, (size_t)(stop - (cut ? cut_end : at)));
  /* It lives long: in one piece, without the room that was left over. */
  kg_doc_t *stamped = kg_doc_copy(out, (size_t)(end - out));
  free(out);
  return stamped;
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

change_t *change_ref(change_t *e) {
  e->refs++;
  return e;
}

void change_unref(change_t *e) {
  if (--e->refs) return;
  object_unref(e->old);
  object_unref(e->now);
  kg_doc_unref(e->last);
  for (int i = 0; i < 3; i++) kg_doc_unref(e->args[i]);
  free(e);
}

/* The ring begins small and grows with use: most collections hardly change. */
static void ring_grow(collection_t *c) {
  size_t room = c->ring_room ? c->ring_room * 4 : RING_START;
  change_t **ring = room <= RING_MAX ? malloc(room * sizeof *ring) : NULL;
  if (!ring) return;
  for (size_t i = 0; i < c->ring_count; i++) ring[i] = c->ring[(c->ring_first + i) % c->ring_room];
  free(c->ring);
  c->ring = ring;
  c->ring_first = 0;
  c->ring_room = room;
}

/* Takes e over. False: there is no memory for a ring. */
static bool ring_add(collection_t *c, change_t *e) {
  if (c->ring_count == c->ring_room) ring_grow(c);
  if (!c->ring_room) return change_unref(e), false;
  if (c->ring_count == c->ring_room) ring_drop(c);
  while (c->ring_count > RING_KEEPS && e->at_s - c->ring[c->ring_first]->at_s > RING_KEEPS_S) ring_drop(c);
  c->ring[(c->ring_first + c->ring_count++) % c->ring_room] = e;
  return true;
}

/* Takes over old and now. */
static void changed(api_t *api, collection_t *c, int64_t rev, object_t *old, object_t *now) {
  if (!strcmp(c->r->resource, "services") && !c->r->group[0]) {
    if (old) services_seen(api, object_view(old), false);
    if (now) services_seen(api, object_view(now), true);
    if (!now) boot_missed(api, object_key(old));
  }
  if (!strcmp(c->r->resource, "clusterroles")) rbac_role_seen(api);
  if (is_resource(c->r, "apiextensions.k8s.io", "customresourcedefinitions"))
    custom_seen(api, now, object_key(now ? now : old));
  if (api->loaded) protect_seen(api, c, now);
  if (api->ending && c->r->structural && !now) definition_seen(api);
  change_t *e = api->following ? calloc(1, sizeof *e) : NULL;
  if (!e) {
    object_unref(old);
    object_unref(now);
    c->ring_after = rev;
    return;
  }
  *e = (change_t){.refs = 1, .at_s = (uint32_t)(kg_now_ms(api->ctx) / 1000), .rev = rev, .old = old, .now = now};
  if (api->loaded && c->lazy && !strcmp(c->r->resource, "events")) expire_arm(api);
  if (ring_add(c, e)) watch_publish(api, c, e);
}

/* The collection a store key belongs to, and the object's key in it. NULL: not one of ours. */
static collection_t *split_key(const api_t *api, kg_str_t key, kg_str_t *rest) {
  unsigned slashes = 0;
  for (size_t i = 0; i < key.n; i++)
    if (key.p[i] == '/' && ++slashes == 4) {
      *rest = (kg_str_t){key.p + i + 1, key.n - i - 1};
      return find_prefix(api, (kg_str_t){key.p, i + 1});
    }
  return NULL;
}

void cache_put(api_t *api, kg_str_t key, int64_t mod, int64_t create, kg_doc_t *doc) {
  kg_str_t rest;
  collection_t *c = split_key(api, key, &rest);
  if (!c) return;
  object_t *old = sorted_get(&c->objects, rest);
  if (old && old->rev >= mod) return;
  kg_doc_t *stamped = stamp(doc, mod), *bare = stamped;
  if (stamped && c->r->structural) {
    stamped = custom_defaulted(c->r, bare);
    kg_doc_unref(bare);
  }
  object_t *now = stamped ? object_new(rest, mod, create, stamped) : NULL;
  kg_doc_unref(stamped);
  if (!now || sorted_put(&c->objects, now, &old) < 0) {
    object_unref(now);
    kg_log(api->ctx, KG_LOG_ERROR, "what the store holds under " KG_STR_FMT " cannot be taken", KG_STR_ARG(key));
    return;
  }
  changed(api, c, mod, old, object_ref(now));
}

void cache_delete(api_t *api, kg_str_t key, int64_t rev) {
  kg_str_t rest;
  collection_t *c = split_key(api, key, &rest);
  object_t *old = c ? sorted_get(&c->objects, rest) : NULL;
  if (!old || old->rev >= rev) return;
  changed(api, c, rev, sorted_take(&c->objects, rest), NULL);
}

/* --- versions ------------------------------------------------------------------------------------------------------
 */

/* Custom objects keep the version they were last written in when another becomes the one that is stored. */
static bool has_version(const object_t *o, const kube_resource_t *r) {
  kg_str_t v = arg_str(object_view(o), "apiVersion");
  size_t group = strlen(r->group);
  return v.n > group && !memcmp(v.p, r->group, group) &&
         kg_str_is((kg_str_t){v.p + group + 1, v.n - group - 1}, r->version);
}

static kg_doc_t *converted(const object_t *o, const kube_resource_t *r) {
  kube_arena_t *a = kube_arena_new();
  kube_node_t *object = kube_as_shown(a, r, kube_tree_parse(a, object_view(o)));
  kube_set(a, object, "apiVersion", kube_strf(a, "%s/%s", r->group, r->version));
  kube_set(a, object, "kind", kube_str(a, r->kind));
  kg_doc_t *doc = kube_tree_doc(object);
  kube_arena_free(a);
  return doc;
}

/* A version that is not the stored one shows the same document under its own apiVersion, kind and names of fields. */
kg_doc_t *object_as(const object_t *o, const kube_resource_t *r, const collection_t *c) {
  if (r == c->r && (!r->structural || has_version(o, r))) return kg_doc_ref(o->doc);
  if (r->conversion) return converted(o, r);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (kg_iter_t it = kg_iter(object_view(o)); kg_iter_next(&it);) {
    kg_str_t key = kg_view_str(it.key);
    kg_pack_strn(&p, kube_shown_name(r, key));
    if (kg_str_is(key, "apiVersion"))
      kg_pack_fmt(&p, "%s%s%s", r->group, r->group[0] ? "/" : "", r->version);
    else if (kg_str_is(key, "kind"))
      kg_pack_str(&p, r->kind);
    else
      kg_pack_view(&p, it.value);
  }
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}
