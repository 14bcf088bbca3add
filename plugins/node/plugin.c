#include <stdio.h>
#include <unistd.h>

#include "node.h"

enum { MAX_PODS = 110 };

static char *text_of(kg_view_t config, const char *key, const char *fallback) {
  kg_str_t s = kg_view_str(kg_view_get(config, key));
  return s.n ? kg_str_dup(s) : fallback ? strdup(fallback) : NULL;
}

static void destroy(kg_ctx_t *ctx, void *self) {
  agent_t *a = self;
  agent_stop(a);
  kube_informer_t *const informers[] = {a->pods,    a->services, a->node,   a->configmaps,
                                        a->secrets, a->classes,  a->claims, a->persistent};
  for (size_t i = 0; i < sizeof informers / sizeof informers[0]; i++) kube_informer_stop(ctx, informers[i]);
  kube_recorder_free(a->recorder);
  kg_doc_unref(a->images);
  kg_doc_unref(a->handed);
  kg_doc_unref(a->node_sent);
  char *const owned[] = {a->name,
                         a->runtime,
                         a->network,
                         a->pod_cidr,
                         a->log_dir,
                         a->claims_dir,
                         a->pods_dir,
                         a->ip,
                         a->cgroup_root,
                         a->cluster_domain,
                         a->cluster_dns,
                         a->runtime_name,
                         a->runtime_version,
                         a->network_error,
                         a->node_uid};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) free(owned[i]);
  free(a);
}

static void read_config(agent_t *a, kg_view_t c) {
  char host[KUBE_HOST_NAME_SIZE];
  a->name = text_of(c, "nodeName", kube_host_name(host));
  a->runtime = text_of(c, "runtime", "runtime");
  a->network = text_of(c, "network", "network");
  a->pod_cidr = text_of(c, "podCIDR", "10.42.0.0/24");
  a->cluster_domain = text_of(c, "clusterDomain", "cluster.local");
  a->cluster_dns = text_of(c, "clusterDNS", NULL);
  char dns[16];
  if (!a->cluster_dns && kube_dns_address(kg_view_str(kg_view_get(c, "serviceCIDR")), dns) == 0)
    a->cluster_dns = strdup(dns);
  a->max_pods = kg_view_int(kg_view_get(c, "maxPods"), MAX_PODS);
  a->log_dir = text_of(c, "podLogsDir", "/var/log/pods");
  a->ip = text_of(c, "nodeIP", NULL);
  if (!a->ip) a->ip = host_ip();
}

static bool overlap(uint32_t a, unsigned a_bits, uint32_t b, unsigned b_bits) {
  unsigned bits = a_bits < b_bits ? a_bits : b_bits;
  return !bits || (a ^ b) >> (32 - bits) == 0;
}

/* What would let no pod, or the pods of no service, be reached is said at the start. */
static int check_addresses(const agent_t *a, kg_str_t services, kg_error_t *err) {
  uint32_t first, count, pods, cluster;
  unsigned bits, cluster_bits;
  if (kube_pod_addresses(kg_str(a->pod_cidr), &first, &count, err) < 0) return -1;
  kube_ipv4_range(kg_str(a->pod_cidr), &pods, &bits);
  if (kube_ipv4_range(services, &cluster, &cluster_bits) == 0 && overlap(pods, bits, cluster, cluster_bits))
    return kg_error_set(err, KG_EINVAL, "podCIDR %s overlaps the addresses of Services (serviceCIDR " KG_STR_FMT ")",
                        a->pod_cidr, KG_STR_ARG(services));
  return 0;
}

static int check_log_dir(const agent_t *a, kg_error_t *err) {
  const char *dir = a->log_dir;
  if (dir[0] == '/' && path_is_local(kg_str(dir + 1)) && strrchr(dir, '/')[1]) return 0;
  return kg_error_set(err, KG_EINVAL, "podLogsDir %s: an absolute path without .. is needed", dir);
}

/* Several pretended nodes of one kernel have directories of their own. */
static void set_dirs(agent_t *a) {
  const char *data = kg_data_dir(a->ctx), *own = kg_name(a->ctx);
  bool only = !strcmp(own, "node");
  a->claims_dir = format("%s/logs%s%s", data, only ? "" : "/", only ? "" : own);
  a->pods_dir = format("%s/pods%s%s", data, only ? "" : "/", only ? "" : own);
}

static int create(kg_ctx_t *ctx, void **self, kg_error_t *err) {
  agent_t *a = calloc(1, sizeof *a);
  if (!a) return kg_error_set(err, KG_EINTERNAL, "out of memory");
  a->ctx = ctx;
  read_config(a, kg_config(ctx));
  set_dirs(a);
  a->recorder = kube_recorder_new("kubelet", a->name);
  char *service = a->log_dir ? format("node/%s", a->name) : NULL;
  int bad = service ? check_log_dir(a, err) : kg_error_set(err, KG_EINTERNAL, "out of memory");
  if (!bad) bad = check_addresses(a, kg_view_str(kg_view_get(kg_config(ctx), "serviceCIDR")), err);
  if (!bad) bad = kg_serve(ctx, service, err);
  free(service);
  if (bad) {
    destroy(ctx, a);
    return -1;
  }
  *self = a;
  return 0;
}

static int start(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)ctx, (void)err;
  agent_watch_pods(self);
  return 0;
}

/* Only the owner of the node's name acts for it. */
static void activate(kg_ctx_t *ctx, void *self) {
  (void)ctx;
  agent_t *a = self;
  a->active = true;
  volumes_sweep(a);
  node_register(a);
  lease_start(a);
  agent_connect(a);
}

static void drain(kg_ctx_t *ctx, void *self) {
  agent_t *a = self;
  kg_doc_unref(a->handed);
  a->handed = backoffs_pack(a);
  agent_stop(a);
  kg_drained(ctx);
}

static int hand_over(kg_ctx_t *ctx, void *self, kg_doc_t **state, kg_error_t *err) {
  (void)ctx, (void)err;
  *state = kg_doc_ref(((agent_t *)self)->handed);
  return 0;
}

static int accept_state(kg_ctx_t *ctx, void *self, kg_view_t state, kg_error_t *err) {
  (void)ctx, (void)err;
  agent_t *a = self;
  if (kg_view_there(state)) a->handed = kg_doc_copy(state.p, kg_view_span(state));
  return 0;
}

static void stats(kg_ctx_t *ctx, void *self, kg_pack_t *p) {
  (void)ctx;
  const agent_t *a = self;
  int64_t pods = 0, running = 0;
  for (const pod_t *pod = a->list; pod; pod = pod->next) {
    pods++;
    for (size_t i = 0; i < pod->nboxes; i++) running += pod->boxes[i]->state == BOX_RUNNING;
  }
  kg_pack_kv_str(p, "node", a->name);
  kg_pack_kv_int(p, "pods", pods);
  kg_pack_kv_int(p, "running", running);
  kg_pack_kv_bool(p, "runtime", a->runtime_up);
  kg_pack_kv_bool(p, "network", a->network_up);
}

static const char *const services[] = {NULL}; /* node/NAME: its name is known only at run time */
static const kg_handler_t handlers[] = {{"node.logs", node_logs},
                                        {"node.exec", node_exec},
                                        {"node.attach", node_attach},
                                        {"node.portforward", node_portforward},
                                        {"node.stats", node_stats},
                                        {"node.page", node_page},
                                        {0}};
KG_PLUGIN(.name = "node",
          .config_keys = "nodeName nodeIP runtime network podCIDR serviceCIDR clusterDomain clusterDNS "
                         "maxPods staticPodPath nodeLabels allowedUnsafeSysctls evictionHard "
                         "runtimeHandlers localStorageMonitorInterval imageGCHighThresholdPercent "
                         "imageGCLowThresholdPercent imageMinimumGCAge containerLogMaxSize "
                         "containerLogMaxFiles containerLogMonitorInterval podLogsDir",
          .role = "node", .version = "0.1.0", .summary = "Runs the pods of one node", .services = services,
          .handlers = handlers, .create = create, .start = start, .activate = activate, .drain = drain,
          .hand_over = hand_over, .accept = accept_state, .resume = activate, .stats = stats, .destroy = destroy);
