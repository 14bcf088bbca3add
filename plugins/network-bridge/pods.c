/* Attach and detach: the state and the records; the worker does the rest. */
#include <stdio.h>

#include "network.h"

enum { SWEEP_MS = 300 };

pod_t *pod_find(const network_t *n, kg_str_t id) {
  for (pod_t *p = n->pods; p; p = p->next)
    if (kg_str_is(id, p->id)) return p;
  return NULL;
}

void pod_free(pod_t *p) {
  kg_doc_unref(p->ports);
  free(p->id);
  free(p->netns);
  free(p);
}

/* Good as a file name. */
static bool id_is_safe(kg_str_t id) {
  if (!id.n || id.n > 200 || id.p[0] == '.') return false;
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    bool fine =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!fine) return false;
  }
  return true;
}

/* A hash of bridge and id: the kernel takes 15 letters. */
static void link_name(const network_t *n, const pod_t *p, char name[IFNAMSIZ]) {
  uint64_t h = kg_hash_str(kg_hash_str(KG_HASH_START, kg_str(n->bridge)), KG_STR("/"));
  h = kg_hash_str(h, kg_str(p->id));
  snprintf(name, IFNAMSIZ, "kgp%012llx", (unsigned long long)(h >> 16));
}

static void drop(network_t *n, pod_t *p) {
  for (pod_t **at = &n->pods; *at; at = &(*at)->next)
    if (*at == p) {
      *at = p->next;
      break;
    }
  addresses_give(&n->addresses, p->ip);
  record_remove(n, p->id);
  pod_free(p);
}

static void reply_ip(network_t *n, const kg_msg_t *m, uint32_t address) {
  char ip[16], gateway[16];
  ip_text(address, ip);
  ip_text(cidr_gateway(&n->cidr), gateway);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "ip", ip);
  kg_pack_key(&p, "ips");
  kg_pack_array(&p);
  kg_pack_str(&p, ip);
  kg_pack_end(&p);
  kg_pack_kv_str(&p, "gateway", gateway);
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  kg_reply(n->ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}

/* --- the sweep: links whose namespace did not take them away ----------------------------------------------------- */

static void swept(network_t *n, job_t *j) {
  (void)n, (void)j;
}

static void sweep(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)arg;
  network_t *n = self;
  job_t *j = job_new(JOB_SWEEP, NULL, swept);
  n->sweep_timer = 0;
  if (!j) return;
  j->links = n->leaving;
  j->nlinks = n->nleaving;
  n->leaving = NULL;
  n->nleaving = 0;
  network_give(n, j);
}

/* Removing a link by itself costs the kernel 20 ms, with its namespace next to nothing: give that some time. */
static void sweep_later(network_t *n, const char *link) {
  void *more = realloc(n->leaving, (n->nleaving + 1) * IFNAMSIZ);
  if (!more) return; /* the next start removes it */
  n->leaving = more;
  memcpy(n->leaving[n->nleaving++], link, IFNAMSIZ);
  if (!n->sweep_timer) n->sweep_timer = kg_timer(n->ctx, SWEEP_MS, 0, sweep, NULL);
}

static void do_not_sweep(network_t *n, const char *link) {
  for (size_t i = 0; i < n->nleaving; i++)
    if (!strcmp(n->leaving[i], link)) memcpy(n->leaving[i], n->leaving[--n->nleaving], IFNAMSIZ);
}

/* --- attach ------------------------------------------------------------------------------------------------------ */

static void attached(network_t *n, job_t *j) {
  pod_t *p = pod_find(n, kg_str(j->id));
  if (!p || p->ip != j->ip) {
    sweep_later(n, j->link);
    return kg_fail(n->ctx, j->request, KG_ECONFLICT, "network.attach %s: it was detached meanwhile", j->id);
  }
  if (!j->err.code) {
    flows_check(n->ctx, &n->flows, &j->udp);
    return reply_ip(n, j->request, j->ip);
  }
  kg_fail(n->ctx, j->request, j->err.code, "network.attach %s: %s", j->id, j->err.text);
  drop(n, p);
}

static pod_t *pod_new(network_t *n, kg_view_t args, kg_error_t *err) {
  kg_view_t ports = kg_view_get(args, "ports");
  pod_t *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->id = kg_str_dup(kg_view_str(kg_view_get(args, "id")));
  p->netns = kg_str_dup(kg_view_str(kg_view_get(args, "netns")));
  p->ip = addresses_take(&n->addresses);
  p->number = ++n->number;
  if (kg_view_count(ports)) p->ports = kg_doc_copy(ports.p, kg_view_span(ports));
  if (p->ports && !pod_has_host_port(p)) kg_doc_clear(&p->ports);
  if (!p->ip) kg_error_set(err, KG_EFULL, "all addresses of the pod network are taken");
  if (p->id && p->netns && p->ip) link_name(n, p, p->link);
  if (p->link[0] && record_write(n, p, err) == 0) {
    p->next = n->pods;
    return n->pods = p;
  }
  if (p->ip) addresses_give(&n->addresses, p->ip);
  pod_free(p);
  return NULL;
}

void pods_attach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  network_t *n = self;
  kg_view_t args = kg_msg_args(m);
  kg_str_t id = kg_view_str(kg_view_get(args, "id")), netns = kg_view_str(kg_view_get(args, "netns"));
  kg_error_t err = {.code = KG_EINTERNAL, .text = "out of memory"};
  if (!id_is_safe(id) || !netns.n)
    return kg_fail(ctx, m, KG_EINVAL, "network.attach: id (letters, digits, '-', '_', '.') and netns are needed");
  if (!n->cidr.bits)
    return kg_fail(ctx, m, KG_EUNAVAILABLE, "network.attach: the pod network is not known yet (network.configure)");
  pod_t *p = pod_find(n, id);
  if (p && !kg_str_is(netns, p->netns)) { /* its sandbox was made anew */
    sweep_later(n, p->link);
    drop(n, p);
    p = NULL;
  }
  if (!p) p = pod_new(n, args, &err);
  job_t *j = p ? job_new(JOB_ATTACH, m, attached) : NULL;
  if (!j) return kg_fail(ctx, m, err.code, "network.attach " KG_STR_FMT ": %s", KG_STR_ARG(id), err.text);
  do_not_sweep(n, p->link);
  j->id = kg_str_dup(id);
  j->netns = kg_str_dup(netns);
  j->ip = p->ip;
  j->mtu = n->mtu;
  memcpy(j->link, p->link, sizeof j->link);
  if (p->ports) {
    j->rules = rules_ports(n);
    pod_udp_ports(p, true, &j->udp);
  }
  network_give(n, j);
}

/* --- detach, list ------------------------------------------------------------------------------------------------ */

static void detached(network_t *n, job_t *j) {
  flows_check(n->ctx, &n->flows, &j->udp);
  if (j->err.code)
    kg_fail(n->ctx, j->request, j->err.code, "network.detach %s: %s", j->id, j->err.text);
  else
    kg_reply(n->ctx, j->request, NULL, NULL, 0);
}

void pods_detach(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  network_t *n = self;
  pod_t *p = pod_find(n, kg_view_str(kg_view_get(kg_msg_args(m), "id")));
  if (!p) return kg_reply(ctx, m, NULL, NULL, 0);
  job_t *j = p->ports ? job_new(JOB_RULES, m, detached) : NULL;
  if (j) {
    j->id = strdup(p->id);
    pod_udp_ports(p, false, &j->udp);
  }
  sweep_later(n, p->link);
  drop(n, p);
  if (!j) return kg_reply(ctx, m, NULL, NULL, 0);
  j->rules = rules_ports(n);
  network_give(n, j);
}

void pods_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  network_t *n = self;
  char ip[16];
  kg_pack_t k = kg_pack();
  kg_pack_map(&k);
  kg_pack_key(&k, "attached");
  kg_pack_array(&k);
  for (const pod_t *p = n->pods; p; p = p->next) {
    ip_text(p->ip, ip);
    kg_pack_map(&k);
    kg_pack_kv_str(&k, "id", p->id);
    kg_pack_kv_str(&k, "ip", ip);
    kg_pack_end(&k);
  }
  kg_pack_end(&k);
  kg_pack_end(&k);
  kg_doc_t *doc = kg_pack_doc(&k);
  kg_reply(ctx, m, doc, NULL, 0);
  kg_doc_unref(doc);
}
