/* /metrics: Prometheus text, with the names and labels dashboards of Kubernetes look for. */
#include <ctype.h>
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway.h"

/* --- what is counted of requests --------------------------------------------------------------------------------- */

static const double bounds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60};
enum { BOUNDS = sizeof bounds / sizeof *bounds, CODES = 12, ROOM = 4096 /* of the table */, MOST = ROOM / 2 };

/* One combination of verb, resource, scope. */
struct gw_series {
  uint64_t hash;
  char labels[420]; /* group="...",...: as they are written */
  struct {
    int code;
    uint64_t n;
  } codes[CODES];
  uint64_t in[BOUNDS + 1], us;
  size_t open; /* streams now */
  bool watch;
};

static const char *verb_label(const gw_ex_t *ex) {
  const char *type = gw_header(ex, "content-type");
  static const char *const names[][2] = {
      {"get", "GET"},    {"list", "LIST"},   {"watch", "WATCH"},   {"create", "POST"},
      {"update", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}, {"deletecollection", "DELETECOLLECTION"}};
  if (!strcmp(ex->verb, "patch") && type && !strncmp(type, "application/apply-patch", 23)) return "APPLY";
  if (ex->state == GW_UPGRADED || ex->upgrade) return "CONNECT";
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(ex->verb, names[i][0])) return names[i][1];
  return !strcmp(ex->method, "GET") || !strcmp(ex->method, "HEAD") ? ex->method : "other";
}

/* Labels must not grow with what anybody puts into URLs: names that can be none are not told. */
static const char *plain(const char *s) {
  for (const char *c = s; *c; c++)
    if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '.' && *c != '-') return "";
  return strlen(s) < 64 ? s : "";
}

static void labels_of(const gw_ex_t *ex, int code, char out[420]) {
  const gw_route_t *r = &ex->route;
  bool known = r->resource &&
               (code != 404 || kube_resource_find(kg_str(r->group), kg_str(r->version), kg_str(r->resource_name)));
  bool dry = gw_query_bool(ex, "dryRun");
  const char *scope = !known ? "" : *r->name ? "resource" : *r->ns ? "namespace" : "cluster";
  snprintf(
      out, 420,
      "component=\"apiserver\",dry_run=\"%s\",group=\"%s\",resource=\"%s\",scope=\"%s\",subresource=\"%s\",verb=\"%s\","
      "version=\"%s\"",
      dry ? "All" : "", known ? plain(r->group) : "", known ? plain(r->resource_name) : "", scope,
      known ? plain(r->sub) : "", verb_label(ex), known ? plain(r->version) : "");
}

static gw_series_t *series_of(gw_t *gw, const char *labels) {
  uint64_t h = kg_hash_str(KG_HASH_START, kg_str(labels));
  if (!gw->series && !(gw->series = calloc(ROOM, sizeof *gw->series))) return NULL;
  for (size_t i = h % ROOM;; i = (i + 1) % ROOM) {
    gw_series_t *s = gw->series[i];
    if (s && s->hash == h && !strcmp(s->labels, labels)) return s;
    if (s) continue;
    if (gw->nseries == MOST || !(s = calloc(1, sizeof *s))) return NULL;
    s->hash = h;
    strcpy(s->labels, labels);
    gw->series[i] = s;
    gw->nseries++;
    return s;
  }
}

static void count_code(gw_series_t *s, int code) {
  for (int i = 0; i < CODES; i++) {
    if (s->codes[i].code && s->codes[i].code != code && i + 1 < CODES) continue;
    s->codes[i].code = code;
    s->codes[i].n++;
    return;
  }
}

void gw_count(gw_ex_t *ex, int code) {
  gw_t *gw = ex->conn->gw;
  char labels[420];
  if (ex->counted || !ex->verb || !*ex->verb || !ex->path) return;
  ex->counted = true;
  labels_of(ex, code, labels);
  gw_series_t *s = series_of(gw, labels);
  if (!s) return;
  int64_t us = kg_now_us(gw->ctx) - ex->started_us;
  int i = 0;
  while (i < BOUNDS && (double)us > bounds[i] * 1e6) i++;
  count_code(s, code);
  s->in[i]++;
  s->us += (uint64_t)us;
  if (ex->state != GW_STREAMING) return;
  s->watch = true;
  s->open++;
  ex->series = s;
}

void gw_uncount(gw_ex_t *ex) {
  if (ex->series) ex->series->open--;
  ex->series = NULL;
}

void gw_series_free(gw_t *gw) {
  for (size_t i = 0; gw->series && i < ROOM; i++) free(gw->series[i]);
  free(gw->series);
}

/* --- the page ---------------------------------------------------------------------------------------------------- */

static void family(kube_buf_t *b, const char *name, const char *type, const char *help) {
  kube_buf_fmt(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_counts(kube_buf_t *b, const gw_series_t *s) {
  for (int i = 0; i < CODES && s->codes[i].code; i++)
    kube_buf_fmt(b, "apiserver_request_total{code=\"%d\",%s} %llu\n", s->codes[i].code, s->labels,
                 (unsigned long long)s->codes[i].n);
}

static void write_durations(kube_buf_t *b, const gw_series_t *s) {
  static const char name[] = "apiserver_request_duration_seconds";
  unsigned long long n = 0;
  for (int i = 0; i < BOUNDS; i++) {
    n += s->in[i];
    kube_buf_fmt(b, "%s_bucket{%s,le=\"%g\"} %llu\n", name, s->labels, bounds[i], n);
  }
  n += s->in[BOUNDS];
  kube_buf_fmt(b, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, s->labels, n, name,
               s->labels, (double)s->us / 1e6, name, s->labels, n);
}

static void write_open(kube_buf_t *b, const gw_series_t *s) {
  if (s->watch) kube_buf_fmt(b, "apiserver_longrunning_requests{%s} %zu\n", s->labels, s->open);
}

static void each_series(kube_buf_t *b, const gw_t *gw, void (*write)(kube_buf_t *b, const gw_series_t *s)) {
  for (size_t i = 0; gw->series && i < ROOM; i++)
    if (gw->series[i]) write(b, gw->series[i]);
}

static void write_inflight(kube_buf_t *b, const gw_t *gw) {
  size_t n[2] = {0, 0};
  for (const gw_conn_t *c = gw->conns; c; c = c->next)
    for (const gw_ex_t *ex = c->exchanges; ex; ex = ex->next)
      if (ex->verb && *ex->verb && !ex->counted)
        n[!strcmp(ex->verb, "get") || !strcmp(ex->verb, "list") || !strcmp(ex->verb, "watch")]++;
  family(b, "apiserver_current_inflight_requests", "gauge", "Requests that are being worked on.");
  kube_buf_fmt(b,
               "apiserver_current_inflight_requests{request_kind=\"mutating\"} %zu\n"
               "apiserver_current_inflight_requests{request_kind=\"readOnly\"} %zu\n",
               n[0], n[1]);
}

static void write_requests(kube_buf_t *b, const gw_t *gw) {
  family(b, "apiserver_request_total", "counter", "Requests by verb, resource and code of the answer.");
  each_series(b, gw, write_counts);
  family(b, "apiserver_request_duration_seconds", "histogram", "Time from a request to the beginning of its answer.");
  each_series(b, gw, write_durations);
  family(b, "apiserver_longrunning_requests", "gauge", "Watches and other streams that are open.");
  each_series(b, gw, write_open);
  write_inflight(b, gw);
  family(b, "kogge_gateway_connections", "gauge", "Open connections.");
  kube_buf_fmt(b, "kogge_gateway_connections %zu\n", gw->nconns);
  family(b, "kogge_gateway_bad_requests_total", "counter", "Requests that were no HTTP.");
  kube_buf_fmt(b, "kogge_gateway_bad_requests_total %llu\n", (unsigned long long)gw->bad_requests);
  family(b, "kogge_gateway_refused_total", "counter", "Requests refused before they were looked at, and floods.");
  kube_buf_fmt(b, "kogge_gateway_refused_total %llu\n", (unsigned long long)gw->refused);
  family(b, "kogge_gateway_request_bytes", "gauge", "Bytes of requests that are not answered yet.");
  kube_buf_fmt(b, "kogge_gateway_request_bytes %zu\n", gw->held);
}

static double started_at(void) {
  unsigned long long ticks = 0;
  double boot = 0;
  char line[1024];
  FILE *f = fopen("/proc/self/stat", "re");
  if (f && fgets(line, sizeof line, f)) {
    char *s = strrchr(line, ')');
    if (!s ||
        sscanf(s + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
      ticks = 0;
  }
  if (f) fclose(f);
  f = fopen("/proc/stat", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "btime %lf", &boot) == 1) break;
  if (f) fclose(f);
  return boot + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static size_t open_files(void) {
  size_t n = 0;
  DIR *d = opendir("/proc/self/fd");
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n > 3 ? n - 3 : 0;
}

static void number(kube_buf_t *b, const char *name, const char *type, const char *help, double value) {
  family(b, name, type, help);
  kube_buf_fmt(b, value == (double)(long long)value ? "%s %.0f\n" : "%s %.6f\n", name, value);
}

static void write_process(kube_buf_t *b) {
  struct rusage ru = {0};
  struct rlimit files = {0};
  unsigned long size = 0, resident = 0;
  double page = (double)sysconf(_SC_PAGESIZE);
  getrusage(RUSAGE_SELF, &ru);
  getrlimit(RLIMIT_NOFILE, &files);
  FILE *f = fopen("/proc/self/statm", "re");
  if (f && fscanf(f, "%lu %lu", &size, &resident) != 2) size = resident = 0;
  if (f) fclose(f);
  number(b, "process_cpu_seconds_total", "counter", "Processor time of user and system.",
         (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6);
  number(b, "process_max_fds", "gauge", "Files that may be open.", (double)files.rlim_cur);
  number(b, "process_open_fds", "gauge", "Files that are open.", (double)open_files());
  number(b, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)resident * page);
  number(b, "process_start_time_seconds", "gauge", "Start of the process since the epoch.", started_at());
  number(b, "process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)size * page);
  family(b, "kubernetes_build_info", "gauge", "The version this is.");
  kube_buf_addz(b,
                "kubernetes_build_info{git_version=\"v1.37.0+kogge\",major=\"1\",minor=\"37\",compiler=\"gcc\"} 1\n");
}

/* --- what other plugins count: all of them are asked, and those that do not answer in time are left out ----------- */

enum { ASK_MS = 1000, MOST_PLUGINS = 128 };
typedef struct page {
  gw_ex_t *ex;
  unsigned left;
  kube_buf_t queues[3], plugins[3], storage;
  struct asked {
    struct page *page;
    char name[64];
    uint64_t call;
  } asked[MOST_PLUGINS];
  size_t n;
} page_t;

static void page_gone(gw_ex_t *ex) {
  page_t *p = ex->op;
  for (size_t i = 0; i < p->n; i++)
    if (p->asked[i].call) kg_cancel(ex->conn->gw->ctx, p->asked[i].call);
  for (int i = 0; i < 3; i++) kube_buf_free(&p->queues[i]), kube_buf_free(&p->plugins[i]);
  kube_buf_free(&p->storage);
  free(p);
  ex->op = NULL;
}

static void section(kube_buf_t *b, const char *name, const char *type, const char *help, const kube_buf_t *lines) {
  if (!lines->n) return;
  family(b, name, type, help);
  kube_buf_add(b, lines->p, lines->n);
}

static void write_page(page_t *p) {
  gw_ex_t *ex = p->ex;
  kube_buf_t b = {0};
  write_requests(&b, ex->conn->gw);
  section(&b, "apiserver_storage_objects", "gauge", "Objects of each resource.", &p->storage);
  section(&b, "workqueue_depth", "gauge", "Keys a controller has to work on.", &p->queues[0]);
  section(&b, "workqueue_adds_total", "counter", "Keys a controller worked on.", &p->queues[1]);
  section(&b, "workqueue_retries_total", "counter", "Keys a controller has to work on again.", &p->queues[2]);
  section(&b, "kogge_plugin_requests_total", "counter", "Requests a plugin got.", &p->plugins[0]);
  section(&b, "kogge_plugin_busy_seconds_total", "counter", "Time a plugin's handlers took.", &p->plugins[1]);
  section(&b, "kogge_plugin_failed_total", "counter", "Requests a plugin refused.", &p->plugins[2]);
  write_process(&b);
  gw_respond(ex, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

static void take_own(page_t *p, const char *name, kg_view_t own) {
  const char *queue = strncmp(name, "controller-", 11) ? name : name + 11;
  static const char *const keys[] = {"queue", "passes", "failures"};
  static const char *const metrics[] = {"workqueue_depth", "workqueue_adds_total", "workqueue_retries_total"};
  for (int i = 0; i < 3; i++) {
    kg_view_t v = kg_view_get(own, keys[i]);
    if (kg_view_type(v) == KG_V_INT)
      kube_buf_fmt(&p->queues[i], "%s{name=\"%s\"} %lld\n", metrics[i], queue, (long long)kg_view_int(v, 0));
  }
  for (kg_iter_t it = kg_iter(kg_view_get(own, "kinds")); kg_iter_next(&it);)
    kube_buf_fmt(&p->storage, "apiserver_storage_objects{resource=\"" KG_STR_FMT "\"} %lld\n",
                 KG_STR_ARG(kg_view_str(it.key)), (long long)kg_view_int(it.value, 0));
}

static void on_stats(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  struct asked *a = arg;
  page_t *p = a->page;
  kg_view_t v = kg_msg_args(m);
  a->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY) {
    kube_buf_fmt(&p->plugins[0], "kogge_plugin_requests_total{plugin=\"%s\"} %lld\n", a->name,
                 (long long)kg_view_int(kg_view_get(v, "requests"), 0));
    kube_buf_fmt(&p->plugins[1], "kogge_plugin_busy_seconds_total{plugin=\"%s\"} %.6f\n", a->name,
                 (double)kg_view_int(kg_view_get(v, "busy_us"), 0) / 1e6);
    kube_buf_fmt(&p->plugins[2], "kogge_plugin_failed_total{plugin=\"%s\"} %lld\n", a->name,
                 (long long)kg_view_int(kg_view_get(v, "failed"), 0));
    take_own(p, a->name, kg_view_get(v, "own"));
  }
  if (!--p->left) write_page(p);
}

static void ask_plugin(page_t *p, kg_str_t name) {
  struct asked *a = &p->asked[p->n];
  char service[80];
  if (p->n == MOST_PLUGINS || name.n >= sizeof a->name) return;
  a->page = p;
  snprintf(a->name, sizeof a->name, KG_STR_FMT, KG_STR_ARG(name));
  snprintf(service, sizeof service, "plugin/%s", a->name);
  p->n++;
  p->left++;
  a->call = kg_send(
      p->ex->conn->gw->ctx,
      &(kg_request_t){.service = service, .topic = "plugin.stats", .timeout_ms = ASK_MS, .fn = on_stats, .arg = a});
}

static void on_plugins(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  page_t *p = ex->op;
  ex->call = 0;
  p->left = 1;
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), "plugins")); kg_iter_next(&it);)
    ask_plugin(p, kg_view_str(kg_view_get(it.value, "name")));
  if (!--p->left) write_page(p);
}

void gw_metrics_page(gw_ex_t *ex) {
  page_t *p = calloc(1, sizeof *p);
  if (!p) {
    gw_status(ex, 503, "ServiceUnavailable", NULL, "out of memory");
    return;
  }
  p->ex = ex;
  ex->op = p;
  ex->on_gone = page_gone;
  ex->call = kg_send(
      ex->conn->gw->ctx,
      &(kg_request_t){.service = "kernel", .topic = "kernel.list", .timeout_ms = ASK_MS, .fn = on_plugins, .arg = ex});
}
