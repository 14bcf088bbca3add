/* /logs/: the host's /var/log, directories as lists of links, files as they are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node.h"

#define LOGS "/var/log"
enum { MOST = 2 << 20 }; /* of a file: its last so many bytes */

static void not_found(agent_t *a, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, "404 page not found\n");
  page_reply(a, m, 404, "text/plain; charset=utf-8", &b);
}

static void escaped(kube_buf_t *b, const char *s) {
  for (; *s; s++) {
    const char *as = *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '&' ? "&amp;" : *s == '"' ? "&#34;" : NULL;
    if (as)
      kube_buf_addz(b, as);
    else
      kube_buf_add(b, s, 1);
  }
}

static void list(agent_t *a, const kg_msg_t *m, const char *path) {
  struct dirent **names;
  kube_buf_t b = {0};
  int n = scandir(path, &names, NULL, alphasort);
  if (n < 0) return not_found(a, m);
  kube_buf_addz(&b, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
  for (int i = 0; i < n; i++) {
    const char *end = names[i]->d_type == DT_DIR ? "/" : "";
    if (names[i]->d_name[0] != '.' || (names[i]->d_name[1] && strcmp(names[i]->d_name, ".."))) {
      kube_buf_addz(&b, "<a href=\"");
      escaped(&b, names[i]->d_name);
      kube_buf_fmt(&b, "%s\">", end);
      escaped(&b, names[i]->d_name);
      kube_buf_fmt(&b, "%s</a>\n", end);
    }
    free(names[i]);
  }
  free(names);
  kube_buf_addz(&b, "</pre>\n");
  page_reply(a, m, 200, "text/html; charset=utf-8", &b);
}

static void file(agent_t *a, const kg_msg_t *m, const char *path, off_t size) {
  kube_buf_t b = {0};
  char part[32 << 10];
  ssize_t n;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return not_found(a, m);
  if (size > MOST) lseek(fd, size - MOST, SEEK_SET);
  while (b.n < MOST && (n = read(fd, part, sizeof part)) > 0) kube_buf_add(&b, part, (size_t)n);
  close(fd);
  page_reply(a, m, 200, "text/plain; charset=utf-8", &b);
}

void page_logs(agent_t *a, const kg_msg_t *m, const char *path) {
  char asked[PATH_MAX], real[PATH_MAX];
  struct stat st;
  snprintf(asked, sizeof asked, LOGS "%s", path);
  if (!realpath(asked, real) || strncmp(real, LOGS, sizeof LOGS - 1) ||
      (real[sizeof LOGS - 1] && real[sizeof LOGS - 1] != '/') || stat(real, &st))
    return not_found(a, m);
  if (S_ISDIR(st.st_mode))
    list(a, m, real);
  else if (S_ISREG(st.st_mode))
    file(a, m, real, st.st_size);
  else
    not_found(a, m);
}
