#include "node.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

atomic_int attached, detached;

/* --- a network ---------------------------------------------------------------------------------------------------- */

static void attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  kg_pack_t p = kg_pack();
  attached++;
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "ip", "10.99.0.2");
  kg_pack_key(&p, "ips");
  kg_pack_array(&p);
  kg_pack_str(&p, "10.99.0.2");
  kg_pack_end(&p);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  kg_reply(ctx, m, args, NULL, 0);
  kg_doc_unref(args);
}

static void detach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)self;
  detached++;
  kg_reply(ctx, m, NULL, NULL, 0);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  (void)ctx, (void)err;
  *self = &attached;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_ready(ctx);
  return 0;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  (void)ctx, (void)self;
}

static const char *const services[] = {"network", NULL};
static const kg_handler_t handlers[] = {{"network.attach", attach}, {"network.detach", detach}, {0}};
static const kg_plugin_t network = {.magic = KG_PLUGIN_MAGIC,
                                    .abi = KG_PLUGIN_ABI,
                                    .size = sizeof(kg_plugin_t),
                                    .name = "network-test",
                                    .role = "network",
                                    .version = "1",
                                    .summary = "Counts.",
                                    .services = services,
                                    .handlers = handlers,
                                    .create = create,
                                    .start = start,
                                    .destroy = destroy};

/* --- the node ----------------------------------------------------------------------------------------------------- */

static void begin(node_t *n) {
  char data[96], run[96];
  kg_error_t err = {0};
  snprintf(data, sizeof data, "%s/data", n->dir);
  snprintf(run, sizeof run, "%s/run", n->dir);
  mkdir(data, 0700);
  mkdir(run, 0700);
  n->d = driver_new(data, run);
  kg_plugin_spec_t spec = {.name = "network", .lane = "main", .descriptor = &network};
  cr_assert(kg_kernel_load(driver_kernel(n->d), &spec, &err) == 0, "%s", err.text);
  driver_load(n->d, "runtime", "runtime-oci.so", n->config);
}

node_t *node_new(void) {
  return node_with(NULL);
}

node_t *node_with(const char *config) {
  node_t *n = calloc(1, sizeof *n);
  n->config = config;
  if (geteuid()) cr_skip_test("root is needed");
  strcpy(n->dir, "/tmp/unit-oci-XXXXXX");
  cr_assert(mkdtemp(n->dir));
  begin(n);
  return n;
}

void node_restart(node_t *n) {
  driver_free(n->d);
  begin(n);
}

int shell(const char *fmt, ...) {
  char line[4096];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  return system(line);
}

void node_free(node_t *n) {
  const char *name = n->dir + strlen("/tmp/");
  driver_free(n->d);
  cr_expect(shell("grep %s /proc/self/mountinfo", name) != 0, "mounts are left");
  cr_expect(shell("find /sys/fs/cgroup -path '*%s*pod*' | grep .", name) != 0, "control groups are left");
  cr_expect(shell("sleep 0.2; ps -eo pid,args | grep -v grep | grep '%s/'", n->dir) != 0, "processes are left");
  cr_expect(shell("ls -A %s/data/runtime/containers %s/data/runtime/sandboxes %s/data/runtime/exits %s/run/ns "
                  "%s/run/runc 2>/dev/null | grep -v : | grep .",
                  n->dir, n->dir, n->dir, n->dir, n->dir) != 0,
            "files are left");
  shell("find /sys/fs/cgroup -depth -type d -path '*%s*' -exec rmdir {} + 2>/dev/null", name);
  shell("rm -rf --one-file-system %s", n->dir);
  free(n);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static kg_msg_t *ask_list(node_t *n, const char *topic, const char *fmt, va_list ap) {
  char *json;
  cr_assert(vasprintf(&json, fmt, ap) >= 0);
  for (char *p = json; *p; p++)
    if (*p == '\'') *p = '"';
  kg_msg_t *m = driver_call(n->d, "runtime", topic, json, NULL);
  free(json);
  return m;
}

kg_msg_t *ask(node_t *n, const char *topic, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_msg_t *m = ask_list(n, topic, fmt, ap);
  va_end(ap);
  return m;
}

kg_msg_t *ask_good(node_t *n, const char *topic, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_msg_t *m = ask_list(n, topic, fmt, ap);
  va_end(ap);
  cr_assert(kg_msg_type(m) == KG_MSG_REPLY, "%s: %s", topic, kg_msg_text(m));
  return m;
}

void must(node_t *n, const char *topic, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_msg_t *m = ask_list(n, topic, fmt, ap);
  va_end(ap);
  cr_assert(kg_msg_type(m) == KG_MSG_REPLY, "%s: %s", topic, kg_msg_text(m));
  kg_msg_unref(m);
}

char *must_fail(node_t *n, int code, const char *topic, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_msg_t *m = ask_list(n, topic, fmt, ap);
  va_end(ap);
  cr_assert(kg_msg_type(m) == KG_MSG_ERROR, "%s was to fail", topic);
  cr_assert(kg_msg_code(m) == code, "%s: %d %s", topic, kg_msg_code(m), kg_msg_text(m));
  char *text = strdup(kg_msg_text(m));
  kg_msg_unref(m);
  return text;
}

char *image_command(node_t *n, const char *words, int *code) {
  kube_buf_t args = {0}, out = {0};
  char *list = strdup(words), *save;
  kube_buf_addz(&args, "{\"cwd\": \"/\", \"argv\": [");
  for (char *w = strtok_r(list, " ", &save), *sep = ""; w; w = strtok_r(NULL, " ", &save), sep = ", ")
    kube_buf_fmt(&args, "%s\"%s\"", sep, w);
  kube_buf_addz(&args, "]}");
  kube_buf_add(&args, "", 1);
  stream_t *s = driver_stream(n->d, "cli/image", "cli.run", args.p, 0, false);
  bool more = true;
  for (kg_msg_t *m; more && (m = stream_next(s, 30000)); kg_msg_unref(m)) {
    more = kg_msg_type(m) == KG_MSG_ITEM;
    cr_assert(kg_msg_type(m) != KG_MSG_ERROR, "%s", kg_msg_text(m));
    kg_view_t v = kg_msg_args(m);
    kg_str_t o = kg_view_bin(kg_view_get(v, "out")), e = kg_view_bin(kg_view_get(v, "err"));
    if (o.n) kube_buf_add(&out, o.p, o.n);
    if (e.n) kube_buf_add(&out, e.p, e.n);
    if (kg_view_there(kg_view_get(v, "exit"))) *code = (int)kg_view_int(kg_view_get(v, "exit"), -1);
  }
  cr_assert(!more, "kogge image %s did not end", words);
  stream_close(s);
  kube_buf_add(&out, "", 1);
  kube_buf_free(&args);
  free(list);
  return out.p;
}

/* --- pods --------------------------------------------------------------------------------------------------------- */

void sandbox(node_t *n, const char *id) {
  int code = -1;
  char *out = image_command(n, "build-rootfs test/busybox", &code);
  cr_assert(code == 0, "%s", out);
  free(out);
  must(n, "runtime.sandbox.run",
       "{'id': '%s', 'uid': 'uid-%s', 'name': '%s', 'namespace': 'default', 'hostname': '%s'}", id, id, id, id);
}

void container(node_t *n, const char *id, const char *sandbox, const char *script, const char *more) {
  must(n, "runtime.container.create",
       "{'id': '%s', 'sandbox': '%s', 'name': '%s', 'image': 'test/busybox', 'command': ['sh', '-c', '%s'], "
       "'logPath': '%s/logs/%s/0.log'%s}",
       id, sandbox, id, script, n->dir, id, more);
  must(n, "runtime.container.start", "{'id': '%s'}", id);
}

char *listed(node_t *n, const char *kind, const char *id) {
  char *json = NULL;
  kg_msg_t *m = ask_good(n, "runtime.list", "{}");
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), kind)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "id")), id)) json = kg_view_to_json(it.value);
  kg_msg_unref(m);
  return json;
}

void await(node_t *n, const char *id, const char *text) {
  char *json = NULL;
  for (int i = 0; i < 500; i++) {
    free(json);
    json = listed(n, "containers", id);
    if (json && strstr(json, text)) {
      free(json);
      return;
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
  cr_assert(false, "%s: %s was awaited, it is %s", id, text, json ? json : "not there");
}

void stop_all(node_t *n, const char *sandbox, const char *container) {
  must(n, "runtime.container.stop", "{'id': '%s', 'grace_ms': 0}", container);
  must(n, "runtime.container.remove", "{'id': '%s'}", container);
  must(n, "runtime.sandbox.stop", "{'id': '%s'}", sandbox);
  must(n, "runtime.sandbox.remove", "{'id': '%s'}", sandbox);
}

char *slurp(const char *path) {
  FILE *f = fopen(path, "re");
  char *text = calloc(1, 65536);
  size_t n = f ? fread(text, 1, 65535, f) : 0;
  if (f) fclose(f);
  text[n] = '\0';
  return text;
}
