/* Which system calls a container may make: none of ours to forbid, the usual ones, or what a profile file says. */
#include <stdio.h>

#include "oci.h"

#include "seccomp.gen.h" /* seccomp_usual: seccomp.txt */

enum { MOST_PROFILE = 1 << 20, ENOSYS_CODE = 38 };

static bool has_cap(const kube_node_t *caps, kg_str_t name) {
  for (uint32_t i = 0; i < caps->c.n; i++)
    if (kg_str_eq(kube_node_str(caps->c.items[i]), name)) return true;
  return false;
}

/* The next word of a line; empty at its end. */
static kg_str_t word(const char **at) {
  const char *p = *at + strspn(*at, " ");
  size_t n = strcspn(p, " \n");
  *at = p + n;
  return (kg_str_t){p, n};
}

static kube_node_t *rule(kube_arena_t *a, kube_node_t *rules, const char *action) {
  kube_node_t *r = kube_map(a);
  kube_set(a, r, "names", kube_array(a));
  kube_set(a, r, "action", kube_str(a, action));
  kube_push(a, rules, r);
  return r;
}

static void add_names(kube_arena_t *a, kube_node_t *r, const char *at) {
  for (kg_str_t w; (w = word(&at)).n;) kube_push(a, kube_get(r, "names"), kube_strn(a, w));
}

/* NAME INDEX OP VALUE */
static void add_arg(kube_arena_t *a, kube_node_t *rules, const char *at) {
  kg_str_t name = word(&at), index = word(&at), op = word(&at), value = word(&at);
  kube_node_t *r = rule(a, rules, "SCMP_ACT_ALLOW"), *args = kube_array(a), *arg = kube_map(a);
  bool none = kg_str_is(op, "none");
  kube_push(a, kube_get(r, "names"), kube_strn(a, name));
  kube_set(a, arg, "index", kube_int(a, strtoll(index.p, NULL, 0)));
  kube_set(a, arg, "value", kube_int(a, strtoll(value.p, NULL, 0)));
  if (none) kube_set(a, arg, "valueTwo", kube_int(a, 0));
  kube_set(a, arg, "op",
           kube_str(a, none                  ? "SCMP_CMP_MASKED_EQ"
                       : kg_str_is(op, "ne") ? "SCMP_CMP_NE"
                                             : "SCMP_CMP_EQ"));
  kube_push(a, args, arg);
  kube_set(a, r, "args", args);
}

static void add_line(kube_arena_t *a, const kube_node_t *caps, kube_node_t *rules, kube_node_t *allowed,
                     const char *at) {
  kg_str_t what = word(&at);
  if (kg_str_is(what, "without")) {
    if (has_cap(caps, word(&at))) return;
    what = word(&at);
  }
  if (kg_str_is(what, "with") && !has_cap(caps, word(&at))) return;
  if (kg_str_is(what, "arg")) return add_arg(a, rules, at);
  if (!kg_str_is(what, "enosys")) return add_names(a, allowed, at);
  kube_node_t *r = rule(a, rules, "SCMP_ACT_ERRNO");
  kube_set(a, r, "errnoRet", kube_int(a, ENOSYS_CODE));
  add_names(a, r, at);
}

static kube_node_t *usual(kube_arena_t *a, const kube_node_t *caps) {
  kube_node_t *profile = kube_map(a), *rules = kube_array(a), *archs = kube_array(a);
#if defined(__x86_64__)
  static const char *const names[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
  static const char *const names[] = {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#else
  static const char *const names[] = {"SCMP_ARCH_NATIVE"};
#endif
  kube_node_t *allowed = rule(a, rules, "SCMP_ACT_ALLOW");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) kube_push(a, archs, kube_str(a, names[i]));
  for (const char *line = seccomp_usual; *line; line = strchr(line, '\n') + 1) add_line(a, caps, rules, allowed, line);
  kube_set(a, profile, "defaultAction", kube_str(a, "SCMP_ACT_ERRNO"));
  kube_set(a, profile, "architectures", archs);
  kube_set(a, profile, "syscalls", rules);
  return profile;
}

/* A profile file as the runtime specification has it. */
static kube_node_t *from_file(kube_arena_t *a, kg_str_t path, kg_error_t *err) {
  char file[PATH_SIZE];
  size_t n = 0;
  snprintf(file, sizeof file, KG_STR_FMT, KG_STR_ARG(path));
  char *text = read_whole(file, MOST_PROFILE, &n);
  if (!text) {
    kg_error_set(err, KG_EINVAL, "cannot load seccomp profile \"%s\": no such file or directory", file);
    return NULL;
  }
  kg_error_t why = {0};
  kg_doc_t *doc = kube_json_parse(text, n, NULL, NULL, &why);
  free(text);
  void *bytes = doc ? kube_arena_alloc(a, kg_doc_size(doc)) : NULL; /* the tree's strings lie in it */
  kube_node_t *own = NULL;
  if (bytes) {
    memcpy(bytes, kg_doc_data(doc), kg_doc_size(doc));
    own = kube_tree_parse(a, kg_view_bytes(bytes, kg_doc_size(doc)));
  }
  kg_doc_unref(doc);
  if (!own || own->type != KG_V_MAP) {
    kg_error_set(err, KG_EINVAL, "seccomp profile \"%s\" is no JSON object: %s", file, why.text);
    return NULL;
  }
  return own;
}

int seccomp_profile(kube_arena_t *a, kg_view_t security, const kube_node_t *caps, kube_node_t **profile,
                    kg_error_t *err) {
  kg_view_t want = kg_view_get(security, "seccomp");
  kg_str_t type = kg_view_str(kg_view_get(want, "type"));
  *profile = NULL;
  if (kg_view_bool(kg_view_get(security, "privileged"), false)) return 0;
  if (kg_str_is(type, "RuntimeDefault")) *profile = usual(a, caps);
  if (!kg_str_is(type, "Localhost")) return 0;
  *profile = from_file(a, kg_view_str(kg_view_get(want, "path")), err);
  return *profile ? 0 : -1;
}
