/* What a killed import left, and layers that no image needs any more. */
#include <dirent.h>
#include <stdio.h>

#include "image_store.h"

typedef struct needed { /* layers of all records, as they are on disk */
  char **hex;
  size_t n;
} needed_t;

static int need(needed_t *to, const char *hex) {
  char **grown = realloc(to->hex, (to->n + 1) * sizeof *grown);
  if (!grown) return -1;
  to->hex = grown;
  return (to->hex[to->n] = strdup(hex)) ? (to->n++, 0) : -1;
}

/* -1: a record cannot be read; then nothing may go. */
static int read_needed(const char *dir, needed_t *out) {
  char path[IMAGE_PATH + 300];
  struct dirent *e;
  int done = 0;
  snprintf(path, sizeof path, "%s/images", dir);
  DIR *d = opendir(path);
  while (d && done == 0 && (e = readdir(d))) {
    if (strlen(e->d_name) != HEX || !image_is_hex(e->d_name, HEX)) continue;
    snprintf(path, sizeof path, "%s/images/%s", dir, e->d_name);
    stored_t *s = stored_read(path);
    if (!s) done = -1;
    for (size_t i = 0; s && done == 0 && i < s->nlayers; i++) done = need(out, s->layers[i]);
    stored_free(s);
  }
  if (d) closedir(d);
  return d ? done : -1;
}

static bool is_needed(const needed_t *by, const char *name) {
  for (size_t i = 0; i < by->n; i++)
    if (!strcmp(by->hex[i], name)) return true;
  return false;
}

static void sweep_dir(const char *dir, const char *sub, const needed_t *keep) {
  char path[IMAGE_PATH + 300];
  struct dirent *e;
  snprintf(path, sizeof path, "%s/%s", dir, sub);
  DIR *d = opendir(path);
  while (d && (e = readdir(d))) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || is_needed(keep, e->d_name)) continue;
    snprintf(path, sizeof path, "%s/%s/%s", dir, sub, e->d_name);
    tree_remove(path);
  }
  if (d) closedir(d);
}

/* A layer half removed must not pass for a whole one: it leaves its place first. */
static void sweep_layers(const char *dir, const needed_t *keep) {
  char path[IMAGE_PATH + 300], dead[IMAGE_PATH + 300];
  struct dirent *e;
  snprintf(path, sizeof path, "%s/layers", dir);
  DIR *d = opendir(path);
  while (d && (e = readdir(d))) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || is_needed(keep, e->d_name)) continue;
    snprintf(path, sizeof path, "%s/layers/%s", dir, e->d_name);
    snprintf(dead, sizeof dead, "%s/tmp/%s", dir, e->d_name);
    tree_remove(rename(path, dead) == 0 ? dead : path);
  }
  if (d) closedir(d);
}

int sweep_store(job_t *j, kg_error_t *err) {
  static const needed_t nothing;
  needed_t keep = {0};
  (void)err;
  sweep_dir(j->im->dir, "tmp", &nothing);
  if (read_needed(j->im->dir, &keep) == 0) sweep_layers(j->im->dir, &keep);
  for (size_t i = 0; i < keep.n; i++) free(keep.hex[i]);
  free(keep.hex);
  return 0;
}
