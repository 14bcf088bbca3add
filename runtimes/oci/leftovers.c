/*
 * What a kogge that was killed left half done. A container that was made and never started has done nothing yet: it is
 * taken away, and made anew when it is asked for again. Files, name spaces and groups that no record speaks of go, too.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "oci.h"

/* --- containers that were not finished -----------------------------------------------------------------------------
 */

typedef struct undoing {
  char *id;
  char dir[PATH_SIZE];
} undoing_t;

static void forget(oci_t *o, container_t *c) {
  waiter_t *w = c->waiters;
  c->waiters = NULL;
  container_unuse_images(c);
  container_unlink(c);
  container_free(c);
  while (w) { /* who asked for it meanwhile */
    waiter_t *next = w->next;
    container_create(o->ctx, o, w->request);
    kg_msg_unref(w->request);
    free(w);
    w = next;
  }
}

static void files_gone(oci_t *o, const proc_end_t *end, void *arg) {
  (void)end;
  undoing_t *u = arg;
  container_t *c = container_find(o, kg_str(u->id));
  if (c) forget(o, c);
  free(u->id);
  free(u);
}

/* runc knows it no more. */
static void deleted(oci_t *o, const proc_end_t *end, void *arg) {
  (void)end;
  undoing_t *u = arg;
  char path[PATH_SIZE + 16], state[PATH_SIZE];
  snprintf(state, sizeof state, "%s/runc/%s", o->run, u->id);
  const char *const argv[] = {"rm", "-rf", "--one-file-system", "--", u->dir, state, NULL};
  container_mounts_drop(u->dir);
  snprintf(path, sizeof path, "%s/exits/%s", o->dir, u->id);
  unlink(path);
  if (proc_run(o, argv, NULL, files_gone, u, NULL) < 0) files_gone(o, NULL, u);
}

/* Its monitor may not have written down its own number yet. */
static void kill_monitor(const char *id) {
  char path[300];
  struct dirent *e;
  DIR *d = opendir("/proc");
  while (d && (e = readdir(d))) {
    size_t n = 0;
    if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
    snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
    char *text = read_whole(path, 8192, &n);
    if (text && memmem(text, n, "conmon\0-c", 10) && memmem(text, n, id, strlen(id))) kill(atoi(e->d_name), SIGKILL);
    free(text);
  }
  if (d) closedir(d);
}

static void undo(oci_t *o, const char *id) {
  char root[PATH_SIZE];
  undoing_t *u = calloc(1, sizeof *u);
  if (!u) return;
  u->id = strdup(id);
  container_dir(o, id, u->dir);
  snprintf(root, sizeof root, "%s/runc", o->run);
  const container_t *c = container_find(o, kg_str(id));
  const char *const argv[] = {c ? container_program(c) : o->runc, "--root", root, "delete", "--force", u->id, NULL};
  if (proc_run(o, argv, NULL, deleted, u, NULL) < 0) deleted(o, NULL, u);
}

void container_unfinished(container_t *c) {
  c->creating = true; /* nobody is told of it */
  kill_monitor(c->id);
  container_kill(c, SIGKILL);
  undo(c->oci, c->id);
}

/* --- what no record speaks of ---------------------------------------------------------------------------------------
 */

static void each(oci_t *o, const char *dir, void (*fn)(oci_t *o, const char *name)) {
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.') fn(o, e->d_name);
  if (d) closedir(d);
}

static void stray_container(oci_t *o, const char *id) {
  if (!container_find(o, kg_str(id))) undo(o, id);
}

static void stray_exit(oci_t *o, const char *id) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/exits/%s", o->dir, id);
  if (!container_find(o, kg_str(id))) unlink(path);
}

static void stray_namespaces(oci_t *o, const char *id) {
  if (!sandbox_find(o, kg_str(id))) sandbox_drop_namespaces(o, id);
}

static bool pod_known(const oci_t *o, const char *uid) {
  for (const sandbox_t *s = o->sandboxes; s; s = s->next)
    if (kg_str_is(kg_view_str(kg_view_get(kg_view_of(s->args), "uid")), uid) || !strcmp(s->id, uid)) return true;
  return false;
}

static void stray_group(oci_t *o, const char *name) {
  if (strncmp(name, "pod", 3) || pod_known(o, name + 3)) return;
  cgroup_kill(o, name + 3, NULL);
  cgroup_remove(o, name + 3);
}

void leftovers_remove(oci_t *o) {
  char dir[PATH_SIZE];
  snprintf(dir, sizeof dir, "%s/containers", o->dir);
  each(o, dir, stray_container);
  snprintf(dir, sizeof dir, "%s/runc", o->run);
  each(o, dir, stray_container);
  snprintf(dir, sizeof dir, "%s/exits", o->dir);
  each(o, dir, stray_exit);
  snprintf(dir, sizeof dir, "%s/ns", o->run);
  each(o, dir, stray_namespaces);
  snprintf(dir, sizeof dir, "/sys/fs/cgroup%s%s", o->unified ? "" : "/memory", o->cgroup_root);
  each(o, dir, stray_group);
}
