/* Where a proxied request goes: the pod's address, a ready endpoint of the service, the node's agent or another port of
 * it. */
#include <arpa/inet.h>

#include "proxy.h"

/* Loopback, link-local and the like are not reached through the API. */
static bool is_unicast4(struct in_addr four) {
  uint32_t a = ntohl(four.s_addr);
  return a && a != 0xffffffff && a >> 24 != 127 && a >> 28 != 14 && a >> 16 != 0xa9fe;
}

static bool is_unicast(const char *address) {
  struct in_addr four;
  struct in6_addr six;
  if (inet_pton(AF_INET, address, &four) == 1) return is_unicast4(four);
  if (inet_pton(AF_INET6, address, &six) != 1) return false;
  memcpy(&four, &six.s6_addr[12], sizeof four);
  if (IN6_IS_ADDR_V4MAPPED(&six)) return is_unicast4(four); /* the kernel reaches it as that */
  return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
         !IN6_IS_ADDR_MULTICAST(&six);
}

/* Asks for an object as the gateway itself: the user may the subresource, that is enough. */
static void get(gw_proxy_t *p, const char *resource, const char *ns, kg_str_t name, kg_reply_fn fn) {
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "g", "");
  kg_pack_kv_str(&k, "v", "v1");
  kg_pack_kv_str(&k, "r", resource);
  if (*ns) kg_pack_kv_str(&k, "ns", ns);
  kg_pack_kv_strn(&k, "name", name);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  gw_api_call(p->ex, "api.get", args, NULL, false, fn);
  kg_doc_unref(args);
}

/* The object that came; absent: the client was told why there is none. */
static kg_view_t object_of(gw_ex_t *ex, const kg_msg_t *m) {
  ex->call = 0;
  if (kg_msg_type(m) == KG_MSG_REPLY) return kg_view_of(kg_msg_doc(m, 0));
  gw_status_of(ex, m);
  return (kg_view_t){0};
}

static int number(const char *text) {
  char *end;
  long n = strtol(text, &end, 10);
  return *text && !*end && n > 0 && n < 65536 ? (int)n : -1;
}

static int usual_port(const gw_proxy_t *p) {
  return strcmp(p->scheme, "https") ? 80 : 443;
}

static void unavailable(gw_proxy_t *p, const char *name) {
  gw_status(p->ex, 503, "ServiceUnavailable", NULL, "no endpoints available for service \"%s\"", name);
}

/* --- pods --- */

static int first_port(kg_view_t pod) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "spec", "containers", NULL)); kg_iter_next(&it);) {
    kg_view_t ports = kg_view_get(it.value, "ports");
    if (kg_view_count(ports)) return (int)kg_view_int(kg_view_get(kg_view_at(ports, 0), "containerPort"), 0);
  }
  return 0;
}

static void on_pod(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  gw_proxy_t *p = ex->op;
  kg_view_t pod = object_of(ex, m);
  if (!kg_view_there(pod)) return;
  snprintf(p->address, sizeof p->address, KG_STR_FMT,
           KG_STR_ARG(kg_view_str(kg_view_path(pod, "status", "podIP", NULL))));
  int port = *p->port ? number(p->port) : first_port(pod);
  if (!is_unicast(p->address))
    gw_status(ex, 400, "BadRequest", NULL, "address not allowed");
  else if (port < 0)
    gw_status(ex, 503, "ServiceUnavailable", NULL,
              "error trying to reach service: dial tcp: lookup tcp/%s: unknown port", p->port);
  else
    gw_proxy_dial(p, p->address, port ? port : usual_port(p), !strcmp(p->scheme, "https"));
}

void gw_proxy_pod(gw_proxy_t *p) {
  get(p, "pods", p->ex->route.ns, kg_str(p->name), on_pod);
}

/* --- services --- */

/* The n-th of the ready addresses behind the port; its port too. Absent: there are no more. */
static kg_view_t candidate(const gw_proxy_t *p, size_t n, int *port) {
  for (kg_iter_t s = kg_iter(kg_view_get(kg_view_of(p->endpoints), "subsets")); kg_iter_next(&s);)
    for (kg_iter_t it = kg_iter(kg_view_get(s.value, "ports")); kg_iter_next(&it);) {
      kg_view_t addresses = kg_view_get(s.value, "addresses");
      if (!kg_str_eq(kg_view_str(kg_view_get(it.value, "name")), kg_str(p->port_name))) continue;
      *port = (int)kg_view_int(kg_view_get(it.value, "port"), 0);
      if (n < kg_view_count(addresses)) return kg_view_at(addresses, (uint32_t)n);
      n -= kg_view_count(addresses);
    }
  return (kg_view_t){0};
}

static size_t candidates(const gw_proxy_t *p) {
  int port;
  size_t n = 0;
  while (kg_view_there(candidate(p, n, &port))) n++;
  return n;
}

static void try_next(gw_proxy_t *p);

static bool has_address(kg_view_t pod, const char *address) {
  for (kg_iter_t it = kg_iter(kg_view_path(pod, "status", "podIPs", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "ip")), address)) return true;
  return kg_str_is(kg_view_str(kg_view_path(pod, "status", "podIP", NULL)), address);
}

/* Who may write Endpoints must not reach what is no pod's address. */
static void on_backend(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  gw_proxy_t *p = ex->op;
  int port = 0;
  ex->call = 0;
  candidate(p, (p->first + p->tried) % candidates(p), &port);
  if (kg_msg_type(m) == KG_MSG_REPLY && has_address(kg_view_of(kg_msg_doc(m, 0)), p->address) && is_unicast(p->address))
    return gw_proxy_dial(p, p->address, port, !strcmp(p->scheme, "https"));
  p->tried++;
  try_next(p);
}

/* From a random one on, each once. */
static void try_next(gw_proxy_t *p) {
  size_t n = candidates(p);
  int port;
  for (; p->tried < n; p->tried++) {
    kg_view_t a = candidate(p, (p->first + p->tried) % n, &port), pod = kg_view_get(a, "targetRef");
    kg_str_t name = kg_view_str(kg_view_get(pod, "name"));
    if (!kg_str_is(kg_view_str(kg_view_get(pod, "kind")), "Pod") || !name.n) continue;
    snprintf(p->address, sizeof p->address, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(a, "ip"))));
    return get(p, "pods", p->ex->route.ns, name, on_backend);
  }
  unavailable(p, p->ex->route.name);
}

static void on_endpoints(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)self;
  gw_ex_t *ex = arg;
  gw_proxy_t *p = ex->op;
  kg_view_t endpoints = object_of(ex, m);
  if (!kg_view_there(endpoints)) return;
  if (!kg_view_count(kg_view_get(endpoints, "subsets"))) return unavailable(p, p->name);
  p->endpoints = kg_doc_ref(kg_msg_doc(m, 0));
  size_t n = candidates(p);
  p->first = n ? kg_random(ctx) % n : 0;
  try_next(p);
}

static void ask_endpoints(gw_proxy_t *p) {
  get(p, "endpoints", p->ex->route.ns, kg_str(p->name), on_endpoints);
}

/* A port by its number is one by its name. */
static void on_service(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  gw_proxy_t *p = ex->op;
  int port = number(p->port);
  kg_view_t service = object_of(ex, m);
  if (!kg_view_there(service)) return;
  for (kg_iter_t it = kg_iter(kg_view_path(service, "spec", "ports", NULL)); kg_iter_next(&it);) {
    if (kg_view_int(kg_view_get(it.value, "port"), 0) != port) continue;
    free(p->port_name);
    p->port_name = kg_str_dup(kg_view_str(kg_view_get(it.value, "name")));
    return ask_endpoints(p);
  }
  gw_status(ex, 503, "ServiceUnavailable", NULL, "no service port %d found for service \"%s\"", port, p->name);
}

void gw_proxy_service(gw_proxy_t *p) {
  p->port_name = strdup(p->port);
  if (number(p->port) > 0)
    get(p, "services", p->ex->route.ns, kg_str(p->name), on_service);
  else
    ask_endpoints(p);
}

/* --- nodes --- */

static void on_page(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  kg_view_t args = kg_msg_args(m);
  kg_str_t data = kg_view_bin(kg_view_get(args, "body"));
  kube_buf_t body = {0};
  ex->call = 0;
  if (kg_msg_type(m) != KG_MSG_REPLY)
    return gw_status(ex, 503, "ServiceUnavailable", NULL, "error trying to reach service: %s", kg_msg_text(m));
  kube_buf_add(&body, data.p, data.n);
  char *type = kg_str_dup(kg_view_str(kg_view_get(args, "type")));
  gw_respond(ex, (int)kg_view_int(kg_view_get(args, "code"), 200), type, &body);
  free(type);
}

/* The agent has no port of its own: what a kubelet serves on 10250 is asked over the bus. */
static void ask_agent(gw_proxy_t *p) {
  char *service = NULL;
  if (asprintf(&service, "node/%s", p->name) < 0) service = NULL;
  char *path = strdup(p->path);
  ssize_t n = path ? gw_unescape(path, strlen(path), false) : -1;
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_kv_str(&k, "method", p->ex->method);
  kg_pack_kv_strn(&k, "path", (kg_str_t){path, n < 0 ? 0 : (size_t)n});
  kg_pack_kv_str(&k, "query", p->ex->query);
  kg_pack_end(&k);
  kg_doc_t *args = kg_pack_doc(&k);
  p->ex->call = kg_send(
      p->ex->conn->gw->ctx,
      &(kg_request_t){
          .service = service ? service : "node", .topic = "node.page", .args = args, .fn = on_page, .arg = p->ex});
  kg_doc_unref(args);
  free(service);
  free(path);
}

static void on_node(kg_ctx_t *ctx, void *self, const kg_msg_t *m, void *arg) {
  (void)ctx, (void)self;
  gw_ex_t *ex = arg;
  gw_proxy_t *p = ex->op;
  kg_view_t node = object_of(ex, m);
  if (!kg_view_there(node)) return;
  if (!*p->port || !strcmp(p->port, "10250")) return ask_agent(p);
  for (kg_iter_t it = kg_iter(kg_view_path(node, "status", "addresses", NULL)); kg_iter_next(&it);)
    if (kg_str_is(kg_view_str(kg_view_get(it.value, "type")), "InternalIP"))
      snprintf(p->address, sizeof p->address, KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(it.value, "address"))));
  if (number(p->port) < 0 || !is_unicast(p->address))
    return gw_status(ex, 400, "BadRequest", NULL, "address not allowed");
  gw_proxy_dial(p, p->address, number(p->port), !strcmp(p->scheme, "https"));
}

void gw_proxy_node(gw_proxy_t *p) {
  get(p, "nodes", "", kg_str(p->name), on_node);
}
