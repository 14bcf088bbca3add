/* The images of the node: what is known, its records, and the topics image.*. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci.h"
#include "image_store.h"
#include "registry.h"

/* --- records ----------------------------------------------------------------------------------------------------- */

static void pack_strings(kg_pack_t *p, const char *key, char **list, size_t n) {
  kg_pack_key(p, key);
  kg_pack_array(p);
  for (size_t i = 0; i < n; i++) kg_pack_str(p, list[i]);
  kg_pack_end(p);
}

static int write_record(const images_t *im, const stored_t *s, kg_error_t *err) {
  char path[IMAGE_PATH];
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  pack_strings(&p, "names", s->names, s->nnames);
  pack_strings(&p, "layers", s->layers, s->nlayers);
  kg_pack_kv_view(&p, "config", kg_view_of(s->config));
  kg_pack_kv_int(&p, "size", s->size);
  kg_pack_kv_int(&p, "created", s->created_us);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  snprintf(path, sizeof path, "%s/images/%s", im->dir, s->id + 7);
  int done = doc ? write_whole(path, kg_doc_data(doc), kg_doc_size(doc), 0600, err)
                 : kg_error_set(err, KG_EINTERNAL, "out of memory");
  kg_doc_unref(doc);
  return done;
}

static char **read_strings(kg_view_t list, size_t *n) {
  char **out = calloc(kg_view_count(list) + 1, sizeof *out);
  for (kg_iter_t it = kg_iter(list); out && kg_iter_next(&it);) out[(*n)++] = kg_str_dup(kg_view_str(it.value));
  return out;
}

stored_t *stored_read(const char *path) {
  size_t n;
  char *text = read_whole(path, 4 << 20, &n);
  stored_t *s = text && kg_doc_check(text, n, NULL) == 0 ? calloc(1, sizeof *s) : NULL;
  if (s) {
    kg_view_t v = kg_view_bytes(text, n), config = kg_view_get(v, "config");
    s->id = kg_str_dup(kg_view_str(kg_view_get(v, "id")));
    s->names = read_strings(kg_view_get(v, "names"), &s->nnames);
    s->layers = read_strings(kg_view_get(v, "layers"), &s->nlayers);
    s->config = kg_doc_copy(config.p, kg_view_span(config));
    s->size = kg_view_int(kg_view_get(v, "size"), 0);
    s->created_us = kg_view_int(kg_view_get(v, "created"), 0);
  }
  free(text);
  return s;
}

static bool layers_there(const images_t *im, const stored_t *s) {
  char path[IMAGE_PATH];
  for (size_t i = 0; i < s->nlayers; i++) {
    snprintf(path, sizeof path, "%s/layers/%s", im->dir, s->layers[i]);
    if (access(path, F_OK) < 0) return false;
  }
  return s->id && s->config && s->nlayers;
}

static void forget_all(images_t *im) {
  while (im->list) {
    stored_t *s = im->list;
    im->list = s->next;
    stored_free(s);
  }
}

void images_read(images_t *im) {
  char path[IMAGE_PATH];
  struct dirent *e;
  forget_all(im);
  snprintf(path, sizeof path, "%s/images", im->dir);
  DIR *d = opendir(path);
  while (d && (e = readdir(d))) {
    if (strlen(e->d_name) != HEX || !image_is_hex(e->d_name, HEX)) continue;
    snprintf(path, sizeof path, "%s/images/%s", im->dir, e->d_name);
    stored_t *s = stored_read(path);
    if (!s || !layers_there(im, s)) {
      kg_log(im->ctx, KG_LOG_WARN, "the record of image sha256:%s is damaged and is removed", e->d_name);
      unlink(path);
      stored_free(s);
      continue;
    }
    s->next = im->list;
    im->list = s;
  }
  if (d) closedir(d);
}

/* --- open, close ------------------------------------------------------------------------------------------------- */

images_t *images_open(kg_ctx_t *ctx, const char *dir, kg_error_t *err) {
  char path[IMAGE_PATH], real[PATH_MAX];
  static const char *const parts[] = {"layers", "images", "tmp"};
  images_t *im = calloc(1, sizeof *im);
  if (!im) {
    kg_error_set(err, KG_EINTERNAL, "out of memory");
    return NULL;
  }
  im->ctx = ctx;
  im->events = -1;
  int bad = strlen(dir) > IMAGE_PATH / 2 ? kg_error_set(err, KG_EINVAL, "the path %s is too long", dir) : 0;
  for (int i = 0; i < 3 && !bad; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, parts[i]);
    bad = make_dirs(path, 0700, err);
  }
  if (!bad && !(im->dir = realpath(dir, real) ? strdup(real) : NULL))
    bad = kg_error_set(err, KG_EINTERNAL, "%s: %s", dir, strerror(errno));
  if (bad || jobs_open(im, err) < 0) {
    images_close(im);
    return NULL;
  }
  images_read(im);
  return im;
}

void images_close(images_t *im) {
  if (!im) return;
  jobs_end(im);
  forget_all(im);
  free(im->dir);
  free(im);
}

/* --- finding ----------------------------------------------------------------------------------------------------- */

static stored_t *by_id(images_t *im, kg_str_t name) {
  if (name.n > 7 && !memcmp(name.p, "sha256:", 7)) name = (kg_str_t){name.p + 7, name.n - 7};
  if (name.n < 12 || name.n > HEX || !image_is_hex(name.p, name.n)) return NULL;
  for (stored_t *s = im->list; s; s = s->next)
    if (!memcmp(s->id + 7, name.p, name.n)) return s;
  return NULL;
}

static stored_t *by_full(images_t *im, const char *full) {
  for (stored_t *s = im->list; s; s = s->next)
    for (size_t i = 0; i < s->nnames; i++)
      if (!strcmp(s->names[i], full)) return s;
  return NULL;
}

stored_t *images_by_name(images_t *im, kg_str_t name) {
  char *full = image_name_full(name, NULL);
  stored_t *s = full ? by_full(im, full) : NULL;
  free(full);
  return s ? s : by_id(im, name);
}

int images_find(images_t *im, kg_str_t name, image_t *out) {
  char path[IMAGE_PATH];
  stored_t *s = images_by_name(im, name);
  if (!s) return -1;
  *out = (image_t){.id = strdup(s->id), .config = kg_doc_ref(s->config), .size = s->size};
  out->layers = calloc(s->nlayers + 1, sizeof *out->layers);
  for (size_t i = 0; out->layers && i < s->nlayers; i++) {
    /* The same layer again covers itself: overlayfs takes each once, the upper one counts. */
    bool again = false;
    for (size_t k = i + 1; k < s->nlayers; k++) again |= !strcmp(s->layers[i], s->layers[k]);
    if (again) continue;
    snprintf(path, sizeof path, "%s/layers/%s", im->dir, s->layers[i]);
    out->layers[out->nlayers++] = strdup(path);
  }
  return 0;
}

/* Both in full: "HOST/PATH:TAG" and "HOST/PATH@DIGEST". */
static bool same_repository(const char *full, const char *by_digest) {
  size_t n = full ? strcspn(full, "@") : 0;
  if (full && !full[n])
    while (n && full[n] != ':') n--;
  return n && !strncmp(full, by_digest, n) && by_digest[n] == '@';
}

char *images_reference(images_t *im, const char *id, kg_str_t name) {
  const stored_t *s = by_id(im, kg_str(id));
  char *full = image_name_full(name, NULL);
  const char *best = NULL;
  for (size_t i = 0; s && i < s->nnames; i++)
    if (strchr(s->names[i], '@') && (!best || same_repository(full, s->names[i]))) best = s->names[i];
  free(full);
  return strdup(best ? best : id);
}

void image_clear(image_t *i) {
  for (size_t k = 0; k < i->nlayers; k++) free(i->layers[k]);
  free(i->layers);
  free(i->id);
  kg_doc_unref(i->config);
  *i = (image_t){0};
}

void images_use(images_t *im, const char *id) {
  stored_t *s = by_id(im, kg_str(id));
  if (s) s->uses++, s->used_us = kg_wall_us(im->ctx);
}

void images_unuse(images_t *im, const char *id) {
  stored_t *s = by_id(im, kg_str(id));
  if (s && s->uses) s->uses--, s->used_us = kg_wall_us(im->ctx);
}

/* --- adding and removing ----------------------------------------------------------------------------------------- */

static void drop_name(stored_t *s, const char *name) {
  for (size_t i = 0; i < s->nnames; i++)
    if (!strcmp(s->names[i], name)) {
      free(s->names[i]);
      memmove(s->names + i, s->names + i + 1, (--s->nnames - i) * sizeof *s->names);
      return;
    }
}

/* A name belongs to one image: the newest that came by it. */
static int move_name(images_t *im, stored_t *to, const char *name, kg_error_t *err) {
  stored_t *from = by_full(im, name);
  if (from == to) return 0;
  if (from) {
    drop_name(from, name);
    if (write_record(im, from, err) < 0) return -1;
  }
  return stored_add_name(to, name) == 0 ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

int images_take(images_t *im, stored_t *image, kg_error_t *err) {
  stored_t *s = by_id(im, kg_str(image->id));
  if (!s) {
    s = calloc(1, sizeof *s);
    if (!s) return kg_error_set(err, KG_EINTERNAL, "out of memory");
    s->id = strdup(image->id);
    s->config = kg_doc_ref(image->config);
    s->size = image->size;
    s->created_us = kg_wall_us(im->ctx);
    s->layers = calloc(image->nlayers + 1, sizeof *s->layers);
    for (size_t i = 0; i < image->nlayers; i++) s->layers[s->nlayers++] = strdup(image->layers[i]);
    s->next = im->list;
    im->list = s;
  }
  for (size_t i = 0; i < image->nnames; i++)
    if (move_name(im, s, image->names[i], err) < 0) return -1;
  return write_record(im, s, err);
}

static void forget(images_t *im, stored_t *s) {
  char path[IMAGE_PATH];
  for (stored_t **at = &im->list; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
  snprintf(path, sizeof path, "%s/images/%s", im->dir, s->id + 7);
  unlink(path);
  stored_free(s);
}

static int64_t last_use(const stored_t *s) {
  return s->used_us > s->created_us ? s->used_us : s->created_us;
}

static stored_t *longest_unused(images_t *im, int64_t before_us) {
  stored_t *best = NULL;
  for (stored_t *s = im->list; s; s = s->next)
    if (!s->uses && last_use(s) <= before_us && (!best || last_use(s) < last_use(best))) best = s;
  return best;
}

size_t images_prune(images_t *im, int64_t bytes, int64_t min_age_us, int64_t *freed) {
  int64_t before = kg_wall_us(im->ctx) - min_age_us;
  size_t n = 0;
  *freed = 0;
  for (stored_t *s; (bytes < 0 || *freed < bytes) && (s = longest_unused(im, before)); n++) {
    *freed += s->size;
    forget(im, s);
  }
  return n;
}

static size_t tags_of(const stored_t *s) {
  size_t n = 0;
  for (size_t i = 0; i < s->nnames; i++) n += !strchr(s->names[i], '@');
  return n;
}

int images_remove(images_t *im, kg_str_t name, kg_error_t *err) {
  stored_t *s = images_by_name(im, name);
  if (!s) return kg_error_set(err, KG_ENOTFOUND, "image \"" KG_STR_FMT "\" is not here", KG_STR_ARG(name));
  bool whole = by_id(im, name) == s || tags_of(s) <= 1;
  if (whole && s->uses)
    return kg_error_set(err, KG_ECONFLICT, "image \"" KG_STR_FMT "\" is used by %u container%s", KG_STR_ARG(name),
                        s->uses, s->uses == 1 ? "" : "s");
  if (whole) {
    forget(im, s);
    return 0;
  }
  char *full = image_name_full(name, err);
  if (!full) return -1;
  drop_name(s, full);
  free(full);
  return write_record(im, s, err);
}

/* --- topics ------------------------------------------------------------------------------------------------------ */

/* Names by tag, or those by digest. */
static void pack_names(kg_pack_t *p, const char *key, const stored_t *s, bool digests) {
  kg_pack_key(p, key);
  kg_pack_array(p);
  for (size_t i = 0; i < s->nnames; i++)
    if (!strchr(s->names[i], '@') == !digests) kg_pack_str(p, s->names[i]);
  kg_pack_end(p);
}

static void pack_image(kg_pack_t *p, const stored_t *s) {
  kg_pack_map(p);
  kg_pack_kv_str(p, "id", s->id);
  pack_names(p, "tags", s, false);
  pack_names(p, "digests", s, true);
  kg_pack_kv_int(p, "size", s->size);
  kg_pack_kv_int(p, "created", s->created_us);
  kg_pack_kv_int(p, "containers", s->uses);
  kg_pack_end(p);
}

kg_doc_t *images_list_doc(images_t *im) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "images");
  kg_pack_array(&p);
  for (stored_t *s = im->list; s; s = s->next) pack_image(&p, s);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void reply(images_t *im, const kg_msg_t *m, kg_doc_t *args) {
  kg_reply(im->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void on_status(images_t *im, const kg_msg_t *m, kg_str_t name) {
  stored_t *s = images_by_name(im, name);
  if (!s) return kg_fail(im->ctx, m, KG_ENOTFOUND, "image \"" KG_STR_FMT "\" is not here", KG_STR_ARG(name));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "id", s->id);
  kg_pack_kv_int(&p, "size", s->size);
  kg_pack_kv_strn(&p, "user", kg_view_str(kg_view_get(kg_view_of(s->config), "User")));
  kg_pack_end(&p);
  reply(im, m, kg_pack_doc(&p));
}

/* Answered before the layers are swept: how much there will be. */
static void on_prune(images_t *im, const kg_msg_t *m) {
  kg_view_t args = kg_msg_args(m);
  int64_t freed;
  size_t n = images_prune(im, kg_view_int(kg_view_get(args, "bytes"), -1),
                          kg_view_int(kg_view_get(args, "min_age_ms"), 0) * 1000, &freed);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_int(&p, "images", (int64_t)n);
  kg_pack_kv_int(&p, "freed", freed);
  kg_pack_end(&p);
  reply(im, m, kg_pack_doc(&p));
  if (n) images_sweep(im, NULL, 0);
}

void images_handle(images_t *im, const kg_msg_t *m) {
  const char *topic = kg_msg_topic(m);
  kg_str_t name = kg_view_str(kg_view_get(kg_msg_args(m), "image"));
  kg_error_t err = {0};
  if (!strcmp(topic, "image.list")) return reply(im, m, images_list_doc(im));
  if (!strcmp(topic, "image.status")) return on_status(im, m, name);
  if (!strcmp(topic, "image.pull")) return job_start(im, m, false, pull_image, (kg_str_t){0}, name);
  if (!strcmp(topic, "image.import"))
    return job_start(im, m, false, import_archive, kg_view_str(kg_view_get(kg_msg_args(m), "path")), (kg_str_t){0});
  if (!strcmp(topic, "image.prune")) return on_prune(im, m);
  if (strcmp(topic, "image.remove")) return kg_fail(im->ctx, m, KG_ENOTFOUND, "the runtime does not answer %s", topic);
  if (images_remove(im, name, &err) < 0) return kg_fail(im->ctx, m, err.code, "%s", err.text);
  images_sweep(im, m, 0);
}
