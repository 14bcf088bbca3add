/*
 * Static pods: manifests in a directory of this node (staticPodPath). The API shows each as a mirror pod; what runs is
 * the manifest, under an identity of its own (a hash of it), whatever becomes of the mirror: one that is deleted is
 * made again.
 */
#include <dirent.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "kogge/yaml.h"
#include "node.h"

enum { MOST_BYTES = 1 << 20, SETTLE_MS = 100, RETRY_MS = 1000 };

#define CONFIG "kubernetes.io/config."
static const kube_gvr_t PODS = {"", "v1", "pods"};

struct fixed {
  fixed_t *next;
  agent_t *agent;
  char *file, *ns, *name, uid[33];
  kg_doc_t *object; /* the mirror pod as it is to be created */
  pod_t *pod;       /* NULL: not yet */
  bool seen, asked; /* asked: the API has answered */
  uint64_t call, timer;
};

static void ensure(fixed_t *s);

static void fixed_free(fixed_t *s) {
  agent_t *a = s->agent;
  for (fixed_t **at = &a->fixed; *at; at = &(*at)->next)
    if (*at == s) {
      *at = s->next;
      break;
    }
  if (s->call) kg_cancel(a->ctx, s->call);
  kg_timer_cancel(a->ctx, s->timer);
  kg_doc_unref(s->object);
  free(s->file), free(s->ns), free(s->name);
  free(s);
}

/* --- the mirror ----------------------------------------------------------------------------------------------------
 */

static kg_str_t mirror_of(kg_view_t object) {
  return VIEW_STR(object, "metadata", "annotations", CONFIG "mirror");
}

bool static_is_mirror(kg_view_t object) {
  return mirror_of(object).n > 0;
}

static void ignored(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self, (void)m, (void)arg;
}

static void delete_mirror(agent_t *a, kg_view_t object, kg_reply_fn fn, void *arg) {
  char *ns = kg_str_dup(kube_namespace(object)), *name = kg_str_dup(kube_name(object));
  char *uid = kg_str_dup(kube_uid(object));
  kube_call_t call = {.gvr = PODS, .ns = ns, .name = name, .grace_seconds = 0, .precondition_uid = uid};
  kube_api_delete(a->ctx, &call, fn, arg);
  free(ns), free(name), free(uid);
}

/* Deletion takes a moment; so does a pod of the same name that is still ending. */
static void on_again(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  fixed_t *s = arg;
  s->timer = 0;
  ensure(s);
}

static void again(fixed_t *s, int64_t ms) {
  if (!s->timer) s->timer = kg_timer(s->agent->ctx, ms, 0, on_again, s);
}

/* The node's other pods need not wait for it. */
static void refused(fixed_t *s, const char *why) {
  if (!s->asked) kg_log(s->agent->ctx, KG_LOG_WARN, "static pod %s: %s", s->file, why);
  s->asked = true;
  again(s, 10 * RETRY_MS);
  static_settled(s->agent);
}

/* The API's object, with defaults, under our identity. */
static kg_doc_t *own_object(const fixed_t *s, kg_view_t mirror) {
  kube_arena_t *ar = kube_arena_new();
  kube_node_t *object = kube_tree_parse(ar, mirror), *meta = kube_get(object, "metadata");
  kube_set(ar, meta, "uid", kube_str(ar, s->uid));
  kube_del(meta, "ownerReferences");
  kube_del(meta, "deletionTimestamp");
  kube_del(meta, "deletionGracePeriodSeconds");
  kube_del(kube_get(meta, "annotations"), CONFIG "mirror");
  kube_del(object, "status");
  kg_doc_t *doc = kube_tree_doc(object);
  kube_arena_free(ar);
  return doc;
}

static void mirrored(fixed_t *s, kg_view_t mirror) {
  agent_t *a = s->agent;
  s->asked = true;
  if (!s->pod) {
    kg_doc_t *doc = own_object(s, mirror);
    s->pod = pod_new(a, kg_view_of(doc), doc);
    kg_doc_unref(doc);
    if (s->pod) s->pod->is_static = true;
  }
  if (s->pod) {
    set_str(&s->pod->mirror_uid, kg_str_dup(kube_uid(mirror)));
    kg_doc_clear(&s->pod->sent); /* a new object knows no status */
    pod_kick(s->pod);
  }
  static_settled(a);
}

static void found(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  fixed_t *s = arg;
  kg_view_t object = kg_view_of(kg_msg_doc(m, 0));
  s->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY) return again(s, RETRY_MS);
  if (kg_str_is(mirror_of(object), s->uid) && !kube_deleting(object)) return mirrored(s, object);
  if (!static_is_mirror(object)) return refused(s, "there is another pod of its name");
  delete_mirror(s->agent, object, ignored, NULL); /* of an earlier manifest, or on its way */
  again(s, SETTLE_MS);
}

static void created(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  fixed_t *s = arg;
  s->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY) return mirrored(s, kg_view_of(kg_msg_doc(m, 0)));
  if (kg_msg_code(m) == KG_ECONFLICT) {
    s->call = kube_api_get(ctx, &(kube_call_t){.gvr = PODS, .ns = s->ns, .name = s->name}, found, s);
    return;
  }
  refused(s, kg_msg_text(m)); /* its name space may come */
}

/* One of that name and of an earlier manifest still ends. */
static bool name_is_taken(const fixed_t *s) {
  for (const pod_t *p = s->agent->list; p; p = p->next)
    if (p != s->pod && !strcmp(p->name, s->name) && !strcmp(p->ns, s->ns) && p->is_static) return true;
  return false;
}

static void ensure(fixed_t *s) {
  if (s->call) return;
  if (name_is_taken(s)) return again(s, SETTLE_MS);
  s->call = kube_api_create(s->agent->ctx, &(kube_call_t){.gvr = PODS, .ns = s->ns, .object = s->object}, created, s);
}

/* --- manifests -----------------------------------------------------------------------------------------------------
 */

/* Twice, from different beginnings. */
static void hash_of(const char *const *parts, size_t n, char out[33]) {
  uint64_t h[2] = {KG_HASH_START, 0x9ae16a3b2f90404fu};
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) h[k] = kg_hash(h[k], parts[i], strlen(parts[i]) + 1);
  snprintf(out, 33, "%016llx%016llx", (unsigned long long)h[0], (unsigned long long)h[1]);
}

static void set_owner(const agent_t *a, kube_arena_t *ar, kube_node_t *meta) {
  kube_node_t *owners = kube_array(ar), *o = kube_map(ar);
  kube_set(ar, o, "apiVersion", kube_str(ar, "v1"));
  kube_set(ar, o, "kind", kube_str(ar, "Node"));
  kube_set(ar, o, "name", kube_str(ar, a->name));
  kube_set(ar, o, "uid", kube_str(ar, a->node_uid));
  kube_set(ar, o, "controller", kube_bool(ar, true));
  kube_push(ar, owners, o);
  kube_set(ar, meta, "ownerReferences", owners);
}

/* What a kubelet makes of a manifest. */
static void dress(fixed_t *s, kube_arena_t *ar, kube_node_t *object) {
  agent_t *a = s->agent;
  kube_node_t *meta = kube_sub(ar, object, "metadata"), *spec = kube_sub(ar, object, "spec");
  kube_node_t *notes = kube_sub(ar, meta, "annotations"), *tolerations = kube_get(spec, "tolerations"),
              *t = kube_map(ar);
  char now[32];
  now_text(a, now);
  kube_set(ar, meta, "name", kube_str(ar, s->name));
  kube_set(ar, meta, "namespace", kube_str(ar, s->ns));
  kube_del(meta, "uid");
  kube_set(ar, notes, CONFIG "hash", kube_str(ar, s->uid));
  kube_set(ar, notes, CONFIG "mirror", kube_str(ar, s->uid));
  kube_set(ar, notes, CONFIG "source", kube_str(ar, "file"));
  kube_set(ar, notes, CONFIG "seen", kube_str(ar, now));
  if (a->node_uid) set_owner(a, ar, meta);
  kube_set(ar, spec, "nodeName", kube_str(ar, a->name));
  if (!tolerations || tolerations->type != KG_V_ARRAY) kube_set(ar, spec, "tolerations", tolerations = kube_array(ar));
  kube_set(ar, t, "operator", kube_str(ar, "Exists"));
  kube_set(ar, t, "effect", kube_str(ar, "NoExecute"));
  kube_push(ar, tolerations, t);
}

static bool read_manifest(fixed_t *s, const char *text, kg_error_t *err) {
  kg_doc_t *doc = kg_yaml_doc(s->file, text, strlen(text), err);
  kg_view_t v = kg_view_of(doc);
  kg_str_t ns = VIEW_STR(v, "metadata", "namespace"), name = VIEW_STR(v, "metadata", "name");
  if (doc && (!kg_str_is(VIEW_STR(v, "kind"), "Pod") || !name.n))
    kg_error_set(err, KG_EINVAL, "%s: a Pod with a name is needed", s->file);
  bool good = doc && kg_str_is(VIEW_STR(v, "kind"), "Pod") && name.n;
  if (good) {
    kube_arena_t *ar = kube_arena_new();
    kube_node_t *object = kube_tree_parse(ar, v);
    s->ns = ns.n ? kg_str_dup(ns) : strdup("default");
    s->name = format(KG_STR_FMT "-%s", KG_STR_ARG(name), s->agent->name);
    dress(s, ar, object);
    s->object = kube_tree_doc(object);
    kube_arena_free(ar);
  }
  kg_doc_unref(doc);
  return good;
}

static char *read_file(const char *path) {
  FILE *f = fopen(path, "re");
  char *text = f ? calloc(1, MOST_BYTES) : NULL;
  if (text && !fread(text, 1, MOST_BYTES - 1, f)) *text = 0;
  if (f) fclose(f);
  return text;
}

static fixed_t *by_uid(agent_t *a, const char *uid) {
  for (fixed_t *s = a->fixed; s; s = s->next)
    if (!strcmp(s->uid, uid)) return s;
  return NULL;
}

static void take_file(agent_t *a, const char *path) {
  kg_error_t err = {0};
  char *text = read_file(path), uid[33];
  if (!text || !*text) return free(text);
  hash_of((const char *const[]){a->name, path, text}, 3, uid);
  fixed_t *s = by_uid(a, uid);
  bool fresh = !s;
  if (fresh && (s = calloc(1, sizeof *s))) {
    *s = (fixed_t){.next = a->fixed, .agent = a, .file = strdup(path)};
    memcpy(s->uid, uid, sizeof uid);
    a->fixed = s;
  }
  if (s) s->seen = true;
  if (fresh && s && !read_manifest(s, text, &err)) {
    kg_log(a->ctx, KG_LOG_WARN, "static pod: %s", err.text);
    fixed_free(s);
  } else if (fresh && s) {
    ensure(s);
  }
  free(text);
}

/* Its pod ends; its mirror goes at once. */
static void drop(fixed_t *s) {
  agent_t *a = s->agent;
  kg_doc_t *mirror = kube_informer_get(a->pods, kg_str(s->ns), kg_str(s->name));
  if (mirror && kg_str_is(mirror_of(kg_view_of(mirror)), s->uid)) delete_mirror(a, kg_view_of(mirror), ignored, NULL);
  if (s->pod) {
    s->pod->gone = true;
    pod_kick(s->pod);
  }
  fixed_free(s);
}

static void scan(agent_t *a) {
  char path[4096];
  for (fixed_t *s = a->fixed; s; s = s->next) s->seen = false;
  DIR *d = opendir(a->static_dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    if (e->d_name[0] == '.' || e->d_type == DT_DIR) continue;
    snprintf(path, sizeof path, "%s/%s", a->static_dir, e->d_name);
    take_file(a, path);
  }
  if (d) closedir(d);
  for (fixed_t *s = a->fixed, *next; s; s = next) {
    next = s->next;
    if (!s->seen) drop(s);
  }
}

/* --- life ----------------------------------------------------------------------------------------------------------
 */

static void on_scan(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  agent_t *a = self;
  a->static_timer = 0;
  if (a->active) scan(a);
}

static void on_change(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)events, (void)arg;
  agent_t *a = self;
  char buf[4096];
  while (read(fd, buf, sizeof buf) > 0) continue;
  if (!a->static_timer) a->static_timer = kg_timer(ctx, SETTLE_MS, 0, on_scan, NULL);
}

void static_start(agent_t *a) {
  kg_str_t dir = VIEW_STR(kg_config(a->ctx), "staticPodPath");
  kg_error_t err = {0};
  if (!dir.n || a->static_dir) return;
  a->static_dir = kg_str_dup(dir);
  if (make_dirs(a->static_dir, 0755, &err)) return kg_log(a->ctx, KG_LOG_WARN, "staticPodPath: %s", err.text);
  a->static_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  uint32_t what = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if (a->static_fd < 0 || inotify_add_watch(a->static_fd, a->static_dir, what) < 0 ||
      kg_fd_watch(a->ctx, a->static_fd, EPOLLIN, on_change, NULL, &err))
    kg_log(a->ctx, KG_LOG_WARN, "staticPodPath: %s is not watched for changes", a->static_dir);
  scan(a);
}

void static_stop(agent_t *a) {
  while (a->fixed) fixed_free(a->fixed);
  kg_timer_cancel(a->ctx, a->static_timer);
  a->static_timer = 0;
  if (a->static_dir && a->static_fd >= 0) {
    kg_fd_forget(a->ctx, a->static_fd);
    close(a->static_fd);
  }
  set_str(&a->static_dir, NULL);
}

bool static_known(const agent_t *a) {
  if (!a->static_dir && VIEW_STR(kg_config(a->ctx), "staticPodPath").n) return false;
  for (const fixed_t *s = a->fixed; s; s = s->next)
    if (!s->asked) return false;
  return true;
}

void static_adopt(agent_t *a, kg_view_t list) {
  for (fixed_t *s = a->fixed; s; s = s->next)
    if (s->pod) pod_adopt(s->pod, list);
}

void static_mirror_seen(agent_t *a, kg_view_t object, bool deleted) {
  char uid[33] = "";
  kg_str_t hash = mirror_of(object);
  snprintf(uid, sizeof uid, KG_STR_FMT, KG_STR_ARG(hash));
  fixed_t *s = by_uid(a, uid);
  if (deleted) {
    if (s && s->pod && kg_str_is(kube_uid(object), s->pod->mirror_uid ? s->pod->mirror_uid : "")) {
      set_str(&s->pod->mirror_uid, NULL);
      ensure(s);
    }
  } else if (!s || kube_deleting(object)) {
    delete_mirror(a, object, ignored, NULL); /* nobody's, or asked to go: it has nothing of its own to end */
  }
}

void static_forget(const pod_t *p) {
  for (fixed_t *s = p->agent->fixed; s; s = s->next)
    if (s->pod == p) s->pod = NULL;
}
