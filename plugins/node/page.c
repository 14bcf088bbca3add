/*
 * node.page: what a kubelet serves over HTTP on its port. There is no such port here; the API server's proxy of nodes
 * asks over the bus (nodes/NAME/proxy/PATH).
 */
#include <stdio.h>

#include "node.h"

#define TEXT "text/plain; charset=utf-8"
#define METRICS "text/plain; version=0.0.4; charset=utf-8"

void page_reply(agent_t *a, const kg_msg_t *m, int code, const char *type, kube_buf_t *body) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_int(&k, "code", body->failed ? 500 : code);
  kg_pack_kv_str(&k, "type", type);
  kg_pack_key(&k, "body");
  kg_pack_bin(&k, body->failed ? "" : body->p, body->failed ? 0 : body->n);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  kg_reply(a->ctx, m, args, NULL, 0);
  kg_doc_unref(args);
  kube_buf_free(body);
}

static void text(agent_t *a, const kg_msg_t *m, int code, const char *words) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, words);
  page_reply(a, m, code, TEXT, &b);
}

/* Whether a query has a parameter of this name. */
static bool has_key(kg_str_t query, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i + n <= query.n; i++)
    if ((!i || query.p[i - 1] == '&') && !memcmp(query.p + i, name, n) &&
        (i + n == query.n || query.p[i + n] == '=' || query.p[i + n] == '&'))
      return true;
  return false;
}

/* --- pages ------------------------------------------------------------------------------------------------------- */

/* All of it, or one of its checks: /healthz/NAME. */
static void healthz(agent_t *a, const kg_msg_t *m) {
  bool verbose = has_key(VIEW_STR(kg_msg_args(m), "query"), "verbose");
  text(a, m, 200, verbose ? "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n" : "ok");
}

static void pods(agent_t *a, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
  bool first = true;
  for (const pod_t *p = a->list; p; p = p->next) {
    if (!p->doc || p->gone) continue;
    if (!first) kube_buf_addz(&b, ",");
    kube_json_write(&b, pod_object(p));
    first = false;
  }
  kube_buf_addz(&b, "]}");
  page_reply(a, m, 200, "application/json", &b);
}

static void running_pods(agent_t *a, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kube_buf_addz(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
  bool first = true;
  for (const pod_t *p = a->list; p; p = p->next) {
    if (p->sandbox != SB_READY) continue;
    kube_buf_fmt(&b, "%s{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"spec\":{\"containers\":[",
                 first ? "" : ",", p->name, p->ns, p->uid);
    bool comma = first = false;
    for (size_t i = 0; i < p->nboxes; i++) {
      if (p->boxes[i]->state != BOX_RUNNING) continue;
      kube_buf_fmt(&b, "%s{\"name\":\"%s\",\"resources\":{}}", comma ? "," : "", p->boxes[i]->name);
      comma = true;
    }
    kube_buf_addz(&b, "]},\"status\":{}}");
  }
  kube_buf_addz(&b, "]}");
  page_reply(a, m, 200, "application/json", &b);
}

static void metrics(agent_t *a, const kg_msg_t *m) {
  kube_buf_t b = {0};
  int64_t sandboxes = 0, states[3] = {0};
  for (const pod_t *p = a->list; p; p = p->next) {
    sandboxes += p->sandbox == SB_READY;
    for (size_t i = 0; i < p->nboxes; i++)
      states[p->boxes[i]->state == BOX_RUNNING ? 0 : p->boxes[i]->state == BOX_EXITED ? 1 : 2]++;
  }
  kube_buf_fmt(&b,
               "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n"
               "# TYPE kubelet_running_pods gauge\nkubelet_running_pods %lld\n"
               "# HELP kubelet_running_containers Number of containers by state\n"
               "# TYPE kubelet_running_containers gauge\n",
               (long long)sandboxes);
  static const char *const names[] = {"running", "exited", "unknown"};
  for (int i = 0; i < 3; i++)
    kube_buf_fmt(&b, "kubelet_running_containers{container_state=\"%s\"} %lld\n", names[i], (long long)states[i]);
  kube_buf_fmt(&b, "# TYPE kubelet_node_name gauge\nkubelet_node_name{node=\"%s\"} 1\n", a->name);
  page_reply(a, m, 200, METRICS, &b);
}

static void configz(agent_t *a, const kg_msg_t *m) {
  kube_buf_t b = {0};
  kube_buf_fmt(&b,
               "{\"kubeletconfig\":{\"kind\":\"KubeletConfiguration\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\","
               "\"maxPods\":%lld,\"podCIDR\":\"%s\",\"clusterDomain\":\"%s\",\"clusterDNS\":[\"%s\"],"
               "\"nodeLeaseDurationSeconds\":40,\"cgroupsPerQOS\":false,\"enableSystemLogHandler\":true}}",
               (long long)a->max_pods, a->pod_cidr, a->cluster_domain, a->cluster_dns ? a->cluster_dns : "");
  page_reply(a, m, 200, "application/json", &b);
}

/* --- pages that need readings --------------------------------------------------------------------------------------
 */

typedef enum { P_SUMMARY, P_RESOURCE, P_CADVISOR } reading_t;
typedef struct page {
  kg_msg_t *request;
  reading_t what;
} page_t;

static void read_done(agent_t *a, const sample_t *then, const sample_t *now, const char *error, void *arg) {
  page_t *p = arg;
  kube_buf_t b = {0};
  if (error)
    text(a, p->request, 500, error);
  else if (p->what == P_SUMMARY)
    page_summary(a, then, now, &b);
  else
    page_usage(a, now, p->what == P_CADVISOR, &b);
  if (!error) page_reply(a, p->request, 200, p->what == P_SUMMARY ? "application/json" : METRICS, &b);
  kg_msg_unref(p->request);
  free(p);
}

static void read_first(agent_t *a, const kg_msg_t *m, reading_t what) {
  page_t *p = calloc(1, sizeof *p);
  if (!p) return text(a, m, 500, "out of memory");
  *p = (page_t){kg_msg_ref(m), what};
  stats_ask(a, read_done, p);
}

static void summary(agent_t *a, const kg_msg_t *m) {
  read_first(a, m, P_SUMMARY);
}

static void resource(agent_t *a, const kg_msg_t *m) {
  read_first(a, m, P_RESOURCE);
}

static void cadvisor(agent_t *a, const kg_msg_t *m) {
  read_first(a, m, P_CADVISOR);
}

/* --- which ------------------------------------------------------------------------------------------------------- */

void node_page(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx;
  static const struct {
    const char *path;
    void (*fn)(agent_t *a, const kg_msg_t *m);
  } pages[] = {{"/healthz", healthz},
               {"/healthz/ping", healthz},
               {"/healthz/log", healthz},
               {"/healthz/syncloop", healthz},
               {"/pods", pods},
               {"/runningpods", running_pods},
               {"/metrics", metrics},
               {"/metrics/resource", resource},
               {"/metrics/cadvisor", cadvisor},
               {"/stats/summary", summary},
               {"/configz", configz}};
  agent_t *a = self;
  char *path = kg_str_dup(VIEW_STR(kg_msg_args(m), "path"));
  kg_str_t method = VIEW_STR(kg_msg_args(m), "method");
  size_t n = path ? strlen(path) : 0;
  if (path && !strncmp(path, "/logs", 5) && (path[5] == '/' || !path[5])) {
    page_logs(a, m, path + 5);
    return free(path);
  }
  while (n > 1 && path[n - 1] == '/') path[--n] = 0;
  for (size_t i = 0; path && i < sizeof pages / sizeof *pages; i++) {
    if (strcmp(path, pages[i].path)) continue;
    if (kg_str_is(method, "GET") || kg_str_is(method, "HEAD"))
      pages[i].fn(a, m);
    else
      text(a, m, 405, "405: Method Not Allowed");
    return free(path);
  }
  free(path);
  text(a, m, 404, "404 page not found\n");
}
