/* Who runs in a container: names are looked up in the image's own files, which may lie. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci.h"

/* The file under root, with every link resolved inside it; NULL if it is not there. */
static char *read_inside(const char *root, const char *path) {
  int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                         .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
  if (dir >= 0) close(dir);
  if (fd < 0) return NULL;
  size_t room = 1 << 20, n = 0;
  char *text = malloc(room + 1);
  ssize_t got;
  while (text && n < room && (got = read(fd, text + n, room - n)) > 0) n += (size_t)got;
  close(fd);
  if (text) text[n] = '\0';
  return text;
}

/* Field i of a line "a:b:c", up to its end. */
static kg_str_t field(const char *line, size_t n, int i) {
  const char *end = line + n;
  for (; i > 0; i--) {
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon) return (kg_str_t){0};
    line = colon + 1;
  }
  const char *colon = memchr(line, ':', (size_t)(end - line));
  return (kg_str_t){line, (size_t)((colon ? colon : end) - line)};
}

static bool number(kg_str_t s, uint32_t *v) {
  uint64_t n = 0;
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9' || n > UINT32_MAX) return false;
    n = n * 10 + (uint64_t)(s.p[i] - '0');
  }
  *v = (uint32_t)n;
  return s.n && n < UINT32_MAX;
}

typedef bool (*line_fn)(const char *line, size_t n, void *arg); /* true: enough */

static bool each_line(const char *text, line_fn fn, void *arg) {
  while (text && *text) {
    size_t n = strcspn(text, "\n");
    if (fn(text, n, arg)) return true;
    text += n + (text[n] == '\n');
  }
  return false;
}

typedef struct search {
  kg_str_t name; /* or a number in text */
  user_t *u;
} search_t;

static bool passwd_line(const char *line, size_t n, void *arg) {
  search_t *s = arg;
  if (!kg_str_eq(field(line, n, 0), s->name) && !kg_str_eq(field(line, n, 2), s->name)) return false;
  if (!number(field(line, n, 2), &s->u->uid) || !number(field(line, n, 3), &s->u->gid)) return false;
  snprintf(s->u->home, sizeof s->u->home, KG_STR_FMT, KG_STR_ARG(field(line, n, 5)));
  return true;
}

static bool group_line(const char *line, size_t n, void *arg) {
  search_t *s = arg;
  if (!kg_str_eq(field(line, n, 0), s->name) && !kg_str_eq(field(line, n, 2), s->name)) return false;
  return number(field(line, n, 2), &s->u->gid);
}

/* Is the name (of w->name) in this line's list of members? */
static bool member_line(const char *line, size_t n, void *arg) {
  search_t *s = arg;
  kg_str_t members = field(line, n, 3);
  uint32_t gid;
  for (size_t i = 0, end; i < members.n; i = end + 1) {
    for (end = i; end < members.n && members.p[end] != ','; end++) {
    }
    bool mine = kg_str_eq((kg_str_t){members.p + i, end - i}, s->name);
    if (mine && number(field(line, n, 2), &gid) && s->u->ngroups < 64) s->u->groups[s->u->ngroups++] = gid;
  }
  return false;
}

static bool name_line(const char *line, size_t n, void *arg) {
  kg_str_t *name = arg;
  uint32_t uid, wanted;
  if (!number(field(line, n, 2), &uid) || !number(*name, &wanted) || uid != wanted) return false;
  *name = field(line, n, 0);
  return true;
}

/* Further groups that the image's own files put the user in. */
static void find_memberships(const char *passwd, const char *groups, kg_str_t user, user_t *u) {
  each_line(passwd, name_line, &user); /* a number's name */
  if (user.n) each_line(groups, member_line, &(search_t){user, u});
}

int user_find(const char *root, kg_str_t text, user_t *u, kg_error_t *err) {
  *u = (user_t){.home = "/"};
  kg_str_t user = field(text.p ? text.p : "", text.n, 0), group = field(text.p ? text.p : "", text.n, 1);
  if (!user.n) user = KG_STR("0");
  char *passwd = read_inside(root, "etc/passwd");
  bool found = each_line(passwd, passwd_line, &(search_t){user, u});
  char *groups = read_inside(root, "etc/group");
  find_memberships(passwd, groups, user, u);
  free(passwd);
  if (!found && !number(user, &u->uid)) {
    free(groups);
    return kg_error_set(err, KG_EINVAL, "unable to find user " KG_STR_FMT ": no matching entries in passwd file",
                        KG_STR_ARG(user));
  }
  found = !group.n || each_line(groups, group_line, &(search_t){group, u});
  free(groups);
  if (!found && !number(group, &u->gid))
    return kg_error_set(err, KG_EINVAL, "unable to find group " KG_STR_FMT ": no matching entries in group file",
                        KG_STR_ARG(group));
  return 0;
}
