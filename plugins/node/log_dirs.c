/*
 * Where the logs of pods stand, as with a kubelet: podLogsDir/NAMESPACE_POD_UID/CONTAINER/N.log, and beside podLogsDir
 * containers/POD_NAMESPACE_CONTAINER-ID.log, which leads there. Others may have theirs in the same place: what is ours
 * a link of the same name in DATA/logs says, made before the directory and gone after it.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

/* Where a link leads, if that has the link's own name; false: it is none of those made here. */
static bool leads_to(const char *link, char to[PATH_MAX]) {
  ssize_t n = readlink(link, to, PATH_MAX - 1);
  if (n <= 0) return false;
  to[n] = 0;
  const char *own = strrchr(link, '/'), *name = strrchr(to, '/');
  return own && name && name > to && !strcmp(own, name);
}

static int first_claim(const agent_t *a) {
  char note[PATH_MAX];
  snprintf(note, sizeof note, "%s/podLogsDir", a->claims_dir);
  if (make_dirs(a->claims_dir, 0755, NULL)) return -1;
  return symlink(a->log_dir, note) && errno != EEXIST ? -1 : 0; /* for scripts/down */
}

/* One that has its logs already keeps them where they are, also in DATA/logs itself, as it once was. */
char *pod_log_dir(const pod_t *p) {
  const agent_t *a = p->agent;
  char claim[PATH_MAX], at[PATH_MAX];
  snprintf(claim, sizeof claim, "%s/%s_%s_%s", a->claims_dir, p->ns, p->name, p->uid);
  if (leads_to(claim, at)) return strdup(at);
  snprintf(at, sizeof at, "%s%s", a->log_dir, strrchr(claim, '/'));
  if (!strcmp(at, claim)) return strdup(claim); /* podLogsDir is DATA/logs */
  bool made = !symlink(at, claim) || (errno == ENOENT && !first_claim(a) && !symlink(at, claim));
  return strdup(made ? at : claim);
}

void log_dir_remove(const char *claim) {
  char to[PATH_MAX];
  if (leads_to(claim, to)) kube_remove_tree(to);
}

/* --- links of containers
 * ----------------------------------------------------------------------------------------------- */

static void links_dir(const agent_t *a, char *buf, size_t n) {
  const char *slash = strrchr(a->log_dir, '/');
  snprintf(buf, n, "%.*s/containers", (int)(slash - a->log_dir), a->log_dir);
}

static void link_of(const box_t *b, const char *id, char *buf, size_t n) {
  char dir[PATH_MAX / 2], name[NAME_MAX], shown[SHOWN_ID];
  links_dir(b->pod->agent, dir, sizeof dir);
  snprintf(name, sizeof name - 3, "%s_%s_%s-%s", b->pod->name, b->pod->ns, b->name, box_shown_id(id, shown));
  snprintf(buf, n, "%s/%s.log", dir, name);
}

void log_link(const box_t *b) {
  const agent_t *a = b->pod->agent;
  char path[PATH_MAX], link[PATH_MAX], dir[PATH_MAX / 2];
  size_t n = strlen(a->log_dir);
  box_log_path(b, b->attempt, path, sizeof path);
  if (!b->id || strncmp(path, a->log_dir, n) != 0 || access(path, F_OK)) return;
  link_of(b, b->id, link, sizeof link);
  if (!symlink(path, link) || errno != ENOENT) return;
  links_dir(a, dir, sizeof dir);
  if (make_dirs(dir, 0755, NULL) || symlink(path, link))
    kg_log(a->ctx, KG_LOG_WARN, "the link %s could not be made: %s", link, strerror(errno));
}

void log_unlink(const box_t *b, const char *id) {
  char link[PATH_MAX];
  link_of(b, id, link, sizeof link);
  unlink(link);
}

/* Whether it leads into the directory of a pod that has gone. A file alone may be missing while a log is rotated. */
static bool is_dead(const agent_t *a, const char *link) {
  char to[PATH_MAX];
  size_t n = strlen(a->log_dir);
  ssize_t len = readlink(link, to, sizeof to - 1);
  if (len <= (ssize_t)n) return false;
  to[len] = 0;
  if (strncmp(to, a->log_dir, n) != 0 || to[n] != '/') return false;
  to[n + 1 + strcspn(to + n + 1, "/")] = 0;
  return access(to, F_OK) != 0;
}

void log_links_sweep(const agent_t *a, const pod_t *p) {
  char dir[PATH_MAX / 2], link[PATH_MAX], first[NAME_MAX] = "";
  links_dir(a, dir, sizeof dir);
  if (p) snprintf(first, sizeof first, "%s_%s_", p->name, p->ns);
  DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    if (strncmp(e->d_name, first, strlen(first)) != 0) continue;
    snprintf(link, sizeof link, "%s/%s", dir, e->d_name);
    if (is_dead(a, link)) unlink(link);
  }
  if (d) closedir(d);
}

void pod_logs_remove(const pod_t *p) {
  char claim[PATH_MAX];
  kube_remove_tree(p->logs);
  log_links_sweep(p->agent, p);
  snprintf(claim, sizeof claim, "%s%s", p->agent->claims_dir, strrchr(p->logs, '/'));
  unlink(claim);
}
