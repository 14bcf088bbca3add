/* runtime.disk: what directories and containers take on disk, counted in a thread. */
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "oci.h"

enum { DEEP = 64 /* directories open at a time */ };

typedef struct place {
  char *path, *container; /* container: its id, else one of the asked paths */
  int64_t bytes;
} place_t;

typedef struct counting {
  kg_msg_t *request;
  place_t *places;
  size_t n;
} counting_t;

/* nftw has no argument of its own. */
static _Thread_local int64_t sum;

static int add(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)path, (void)where;
  if (type != FTW_NS) sum += (int64_t)st->st_blocks * 512;
  return 0;
}

static int count_all(void *arg, char said[SAID_SIZE]) {
  (void)said;
  counting_t *c = arg;
  for (size_t i = 0; i < c->n; i++) {
    sum = 0;
    nftw(c->places[i].path, add, DEEP, FTW_PHYS | FTW_MOUNT);
    c->places[i].bytes = sum;
  }
  return 0;
}

static void pack_places(const counting_t *c, kg_pack_t *p, bool containers) {
  kg_pack_key(p, containers ? "containers" : "paths");
  kg_pack_map(p);
  for (size_t i = 0; i < c->n; i++)
    if (!c->places[i].container == !containers)
      kg_pack_kv_int(p, containers ? c->places[i].container : c->places[i].path, c->places[i].bytes);
  kg_pack_end(p);
}

static void counting_free(counting_t *c) {
  for (size_t i = 0; i < c->n; i++) free(c->places[i].path), free(c->places[i].container);
  free(c->places);
  kg_msg_unref(c->request);
  free(c);
}

static void counted(oci_t *o, const proc_end_t *end, void *arg) {
  (void)end;
  counting_t *c = arg;
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  pack_places(c, &p, false);
  pack_places(c, &p, true);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(o->ctx, c->request, args, NULL, 0);
  kg_doc_unref(args);
  counting_free(c);
}

/* The upper layer holds what the container wrote. */
static void add_container(counting_t *c, const oci_t *o, kg_str_t id) {
  char dir[PATH_SIZE], path[PATH_SIZE + 8];
  if (!id_is_safe(id)) return;
  place_t *at = &c->places[c->n++];
  at->container = kg_str_dup(id);
  container_dir(o, at->container, dir);
  snprintf(path, sizeof path, "%s/upper", dir);
  at->path = strdup(path);
}

void runtime_disk(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  oci_t *o = self;
  kg_error_t err = {0};
  kg_view_t paths = kg_view_get(kg_msg_args(m), "paths"), containers = kg_view_get(kg_msg_args(m), "containers");
  counting_t *c = calloc(1, sizeof *c);
  if (c) c->places = calloc(kg_view_count(paths) + kg_view_count(containers) + 1, sizeof *c->places);
  if (!c || !c->places) {
    free(c);
    return kg_fail(ctx, m, KG_EINTERNAL, "out of memory");
  }
  c->request = kg_msg_ref(m);
  for (kg_iter_t it = kg_iter(paths); kg_iter_next(&it);) c->places[c->n++].path = kg_str_dup(kg_view_str(it.value));
  for (kg_iter_t it = kg_iter(containers); kg_iter_next(&it);) add_container(c, o, kg_view_str(it.value));
  if (proc_thread(o, count_all, counted, c, &err) == 0) return;
  kg_fail(ctx, m, err.code, "%s", err.text);
  counting_free(c);
}
