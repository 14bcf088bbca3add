/* The pod's own files in /etc: hosts, hostname, resolv.conf. */
#include <stdio.h>
#include <unistd.h>

#include "node.h"

enum { PATH_SIZE = 4096, MOST_SERVERS = 3, MOST_SEARCHES = 32, HOST_NAME = 63, FILE_SIZE = 65536 };

static bool host_network(const pod_t *p) {
  return kg_view_bool(kg_view_get(pod_spec(p), "hostNetwork"), false);
}

/* "x.subdomain.namespace.svc.domain" without the x; "" if the pod has no subdomain, or a name that overrides all. */
static void pod_domain(const pod_t *p, char *buf, size_t n) {
  kg_str_t sub = VIEW_STR(pod_spec(p), "subdomain");
  const char *domain = p->agent->cluster_domain;
  *buf = 0;
  if (sub.n && !VIEW_STR(pod_spec(p), "hostnameOverride").n)
    snprintf(buf, n, KG_STR_FMT ".%s.svc.%s", KG_STR_ARG(sub), p->ns, domain ? domain : "cluster.local");
}

static void short_name(const pod_t *p, char buf[256]) {
  kg_view_t spec = pod_spec(p);
  kg_str_t own = VIEW_STR(spec, "hostnameOverride");
  if (own.n) {
    snprintf(buf, 256, KG_STR_FMT, KG_STR_ARG(own));
    return;
  }
  own = VIEW_STR(spec, "hostname");
  if (!own.n) own = kg_str(p->name);
  if (own.n > HOST_NAME) own.n = HOST_NAME;
  while (own.n && (own.p[own.n - 1] == '-' || own.p[own.n - 1] == '.')) own.n--;
  snprintf(buf, 256, KG_STR_FMT, KG_STR_ARG(own));
}

void pod_hostname(const pod_t *p, char buf[256]) {
  char domain[512];
  if (host_network(p) && !VIEW_STR(pod_spec(p), "hostnameOverride").n) {
    if (gethostname(buf, 256)) snprintf(buf, 256, "%s", p->agent->name);
    buf[255] = 0;
    return;
  }
  short_name(p, buf);
  pod_domain(p, domain, sizeof domain);
  size_t n = strlen(buf);
  if (*domain && kg_view_bool(kg_view_get(pod_spec(p), "setHostnameAsFQDN"), false))
    snprintf(buf + n, 256 - n, ".%s", domain);
}

/* Whole small file with a NUL after it, malloc'ed; "" if it cannot be read. */
static char *read_text(const char *path) {
  char *text = calloc(1, FILE_SIZE);
  FILE *f = text ? fopen(path, "re") : NULL;
  if (!f) return text;
  text[fread(text, 1, FILE_SIZE - 1, f)] = 0;
  fclose(f);
  return text;
}

/* --- hosts
 * --------------------------------------------------------------------------------------------------------------- */

static void own_hosts(const pod_t *p, kube_buf_t *b) {
  static const char *const usual[] = {"127.0.0.1\tlocalhost",  "::1\tlocalhost ip6-localhost ip6-loopback",
                                      "fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix",
                                      "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters"};
  char name[256], domain[512];
  kube_buf_addz(b, "# Kubernetes-managed hosts file.\n");
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) kube_buf_fmt(b, "%s\n", usual[i]);
  short_name(p, name);
  pod_domain(p, domain, sizeof domain);
  if (p->ip && *domain)
    kube_buf_fmt(b, "%s\t%s.%s\t%s\n", p->ip, name, domain, name);
  else if (p->ip)
    kube_buf_fmt(b, "%s\t%s\n", p->ip, name);
}

static void hosts(const pod_t *p, kube_buf_t *b) {
  kg_view_t aliases = kg_view_get(pod_spec(p), "hostAliases");
  if (host_network(p)) {
    char *text = read_text("/etc/hosts");
    kube_buf_fmt(b, "# Kubernetes-managed hosts file (host network).\n%s", text ? text : "");
    free(text);
  } else
    own_hosts(p, b);
  if (kg_view_count(aliases)) kube_buf_addz(b, "\n# Entries added by HostAliases.\n");
  for (kg_iter_t it = kg_iter(aliases); kg_iter_next(&it);) {
    kube_buf_fmt(b, KG_STR_FMT, KG_STR_ARG(VIEW_STR(it.value, "ip")));
    for (kg_iter_t n = kg_iter(kg_view_get(it.value, "hostnames")); kg_iter_next(&n);)
      kube_buf_fmt(b, "\t" KG_STR_FMT, KG_STR_ARG(kg_view_str(n.value)));
    kube_buf_addz(b, "\n");
  }
}

/* --- resolv.conf
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct resolver {
  char *servers[MOST_SERVERS], *searches[MOST_SEARCHES], *options[MOST_SEARCHES];
  size_t nservers, nsearches, noptions;
} resolver_t;

static void add_to(char **list, size_t *n, size_t most, kg_str_t text) {
  for (size_t i = 0; i < *n; i++)
    if (kg_str_is(text, list[i])) return;
  if (*n < most && text.n) list[(*n)++] = kg_str_dup(text);
}

/* "name:value" and "name" are the same option; the later one counts. */
static void add_option(resolver_t *r, kg_str_t text) {
  size_t n = 0;
  while (n < text.n && text.p[n] != ':') n++;
  for (size_t i = 0; i < r->noptions; i++)
    if (!strncmp(r->options[i], text.p, n) && (!r->options[i][n] || r->options[i][n] == ':')) {
      set_str(&r->options[i], kg_str_dup(text));
      return;
    }
  add_to(r->options, &r->noptions, MOST_SEARCHES, text);
}

static void host_word(resolver_t *r, kg_str_t what, kg_str_t word) {
  if (kg_str_is(what, "nameserver"))
    add_to(r->servers, &r->nservers, MOST_SERVERS, word);
  else if (kg_str_is(what, "search") || kg_str_is(what, "domain"))
    add_to(r->searches, &r->nsearches, MOST_SEARCHES, word);
  else if (kg_str_is(what, "options"))
    add_option(r, word);
}

static void host_lines(resolver_t *r, char *text) {
  char *line_end, *word_end;
  for (char *line = strtok_r(text, "\n", &line_end); line; line = strtok_r(NULL, "\n", &line_end)) {
    char *what = strtok_r(line, " \t", &word_end), *word;
    while (what && (word = strtok_r(NULL, " \t", &word_end))) host_word(r, kg_str(what), kg_str(word));
  }
}

/* A pod cannot reach a resolver that listens on the host's loopback: systemd-resolved says what is behind it. */
static void host_resolver(resolver_t *r) {
  char *text = read_text("/etc/resolv.conf");
  if (text && strstr(text, "nameserver 127.0.0.53")) {
    char *behind = read_text("/run/systemd/resolve/resolv.conf");
    if (behind && *behind) {
      free(text);
      text = behind;
    } else
      free(behind);
  }
  if (text) host_lines(r, text);
  free(text);
}

static void cluster_resolver(const pod_t *p, resolver_t *r) {
  const char *domain = p->agent->cluster_domain ? p->agent->cluster_domain : "cluster.local";
  char name[600];
  resolver_t host = {0};
  add_to(r->servers, &r->nservers, MOST_SERVERS, kg_str(p->agent->cluster_dns));
  snprintf(name, sizeof name, "%s.svc.%s", p->ns, domain);
  add_to(r->searches, &r->nsearches, MOST_SEARCHES, kg_str(name));
  snprintf(name, sizeof name, "svc.%s", domain);
  add_to(r->searches, &r->nsearches, MOST_SEARCHES, kg_str(name));
  add_to(r->searches, &r->nsearches, MOST_SEARCHES, kg_str(domain));
  host_resolver(&host);
  for (size_t i = 0; i < host.nsearches; i++)
    add_to(r->searches, &r->nsearches, MOST_SEARCHES, kg_str(host.searches[i]));
  for (size_t i = 0; i < host.nservers; i++) free(host.servers[i]);
  for (size_t i = 0; i < host.nsearches; i++) free(host.searches[i]);
  for (size_t i = 0; i < host.noptions; i++) free(host.options[i]);
  add_option(r, KG_STR("ndots:5"));
}

static void own_resolver(const pod_t *p, resolver_t *r) {
  kg_view_t config = kg_view_get(pod_spec(p), "dnsConfig");
  for (kg_iter_t it = kg_iter(kg_view_get(config, "nameservers")); kg_iter_next(&it);)
    add_to(r->servers, &r->nservers, MOST_SERVERS, kg_view_str(it.value));
  for (kg_iter_t it = kg_iter(kg_view_get(config, "searches")); kg_iter_next(&it);)
    add_to(r->searches, &r->nsearches, MOST_SEARCHES, kg_view_str(it.value));
  for (kg_iter_t it = kg_iter(kg_view_get(config, "options")); kg_iter_next(&it);) {
    kg_str_t name = VIEW_STR(it.value, "name"), value = VIEW_STR(it.value, "value");
    char *text = format(KG_STR_FMT "%s" KG_STR_FMT, KG_STR_ARG(name), value.n ? ":" : "", KG_STR_ARG(value));
    if (text) add_option(r, kg_str(text));
    free(text);
  }
}

static void words(kube_buf_t *b, const char *what, char **list, size_t n) {
  if (n) kube_buf_addz(b, what);
  for (size_t i = 0; i < n; i++) {
    kube_buf_fmt(b, " %s", list[i]);
    free(list[i]);
  }
  if (n) kube_buf_addz(b, "\n");
}

static void resolv_conf(const pod_t *p, kube_buf_t *b) {
  resolver_t r = {0};
  kg_str_t policy = VIEW_STR(pod_spec(p), "dnsPolicy");
  bool cluster = kg_str_is(policy, "ClusterFirstWithHostNet") ||
                 ((!policy.n || kg_str_is(policy, "ClusterFirst")) && !host_network(p));
  if (kg_str_is(policy, "None"))
    ;
  else if (cluster && p->agent->cluster_dns)
    cluster_resolver(p, &r);
  else
    host_resolver(&r);
  own_resolver(p, &r);
  words(b, "search", r.searches, r.nsearches);
  for (size_t i = 0; i < r.nservers; i++) {
    kube_buf_fmt(b, "nameserver %s\n", r.servers[i]);
    free(r.servers[i]);
  }
  words(b, "options", r.options, r.noptions);
}

/* --- all three
 * ----------------------------------------------------------------------------------------------------------- */

static int put(const char *dir, const char *name, kube_buf_t *b, kg_error_t *err) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  char *now = read_text(path); /* what is right stays: containers may have it mounted, and written to it */
  bool same = now && !b->failed && strlen(now) == b->n && !memcmp(now, b->p, b->n);
  free(now);
  if (same) return kube_buf_free(b), 0;
  int r = b->failed ? kg_error_set(err, KG_EINTERNAL, "out of memory") : write_file(path, b->p, b->n, 0644, err);
  kube_buf_free(b);
  return r;
}

int etc_files(pod_t *p, kg_error_t *err) {
  char dir[PATH_SIZE / 2], name[256];
  kube_buf_t b = {0};
  pod_dir(p, dir, sizeof dir);
  if (make_dirs(dir, 0750, err)) return -1;
  hosts(p, &b);
  if (put(dir, "etc-hosts", &b, err)) return -1;
  b = (kube_buf_t){0};
  pod_hostname(p, name);
  kube_buf_fmt(&b, "%s\n", name);
  if (put(dir, "hostname", &b, err)) return -1;
  b = (kube_buf_t){0};
  resolv_conf(p, &b);
  return put(dir, "resolv.conf", &b, err);
}
