/* Whom to ask: for some domains those that ConfigMap kube-system/kube-dns names, else its own list, else the host's. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "dns.h"
#include "kube/json.h"
#include "kube/values.h"

enum { OLD_MS = 5000, BAD_MS = 10000 };

static bool parse(const char *text, struct sockaddr_storage *s) {
  struct sockaddr_in *four = (struct sockaddr_in *)s;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)s;
  memset(s, 0, sizeof *s);
  const char *colon = strrchr(text, ':'); /* "192.0.2.1:5353", for tests and unusual resolvers */
  char ip[64];
  uint16_t port = 53;
  bool both = colon && strchr(text, ':') == colon;
  snprintf(ip, sizeof ip, "%.*s", both ? (int)(colon - text) : (int)strlen(text), text);
  if (both) port = (uint16_t)strtoul(colon + 1, NULL, 10);
  if (inet_pton(AF_INET, ip, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return true;
  }
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(53);
  return inet_pton(AF_INET6, text, &six->sin6_addr) == 1;
}

/* Reads the host's resolv.conf again if it is some seconds old. */
static void read_host(dns_t *d) {
  int64_t now = kg_now_ms(d->ctx);
  if (d->resolv_checked_ms && now - d->resolv_checked_ms < OLD_MS) return;
  d->resolv_checked_ms = now;
  FILE *f = fopen(d->resolv_conf, "re");
  if (!f) return; /* what we knew stays */
  d->nresolvers = 0;
  for (char line[512], text[128]; d->nresolvers < MOST_RESOLVERS && fgets(line, sizeof line, f);) {
    if (sscanf(line, " nameserver %127s", text) != 1) continue;
    bool ourselves = !strcmp(text, d->address) || !strcmp(text, d->cluster_ip);
    if (!ourselves && parse(text, &d->resolvers[d->nresolvers])) d->nresolvers++;
  }
  fclose(f);
}

/* --- the ConfigMap: {"stubDomains": "{\"acme.local\": [\"1.2.3.4\"]}", "upstreamNameservers": "[\"8.8.8.8\"]"}
 * ------------ */

static kg_doc_t *parsed(dns_t *d, kg_view_t map, const char *key) {
  kg_error_t err = {0};
  kg_str_t text = kg_view_str(kg_view_path(map, "data", key, NULL));
  kg_doc_t *doc = text.n ? kube_json_parse(text.p, text.n, NULL, NULL, &err) : NULL;
  if (text.n && !doc) kg_log(d->ctx, KG_LOG_WARN, "ConfigMap kube-system/kube-dns: %s: %s", key, err.text);
  return doc;
}

static void on_settings(kg_ctx_t *ctx, void *self, kube_change_t change, kg_view_t old, kg_view_t now, void *arg) {
  (void)ctx, (void)old, (void)arg;
  dns_t *d = self;
  kg_view_t map = change == KUBE_DELETED ? (kg_view_t){0} : now;
  kg_doc_clear(&d->stubs);
  kg_doc_clear(&d->upstreams);
  d->stubs = parsed(d, map, "stubDomains");
  d->upstreams = parsed(d, map, "upstreamNameservers");
  cache_free(d); /* others may say something else */
}

int resolvers_start(dns_t *d, kg_error_t *err) {
  kube_informer_config_t c = {.gvr = {"", "v1", "configmaps"},
                              .ns = "kube-system",
                              .field_selector = "metadata.name=kube-dns",
                              .on_change = on_settings};
  d->settings = kube_informer_start(d->ctx, &c);
  return d->settings ? 0 : kg_error_set(err, KG_EINTERNAL, "out of memory");
}

void resolvers_free(dns_t *d) {
  kube_informer_stop(d->ctx, d->settings);
  kg_doc_unref(d->stubs);
  kg_doc_unref(d->upstreams);
  free(d->resolv_conf);
}

/* --- which of them answer -------------------------------------------------------------------------------------------
 */

static bool same(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
  return a->ss_family == b->ss_family &&
         !memcmp(a, b, a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
}

static bool is_bad(const dns_t *d, const struct sockaddr_storage *a) {
  for (size_t i = 0; i < MOST_BAD; i++)
    if (d->bad[i].until_ms > kg_now_ms(d->ctx) && same(&d->bad[i].address, a)) return true;
  return false;
}

void resolver_failed(dns_t *d, const struct sockaddr_storage *a) {
  size_t oldest = 0;
  for (size_t i = 0; i < MOST_BAD; i++) {
    if (same(&d->bad[i].address, a)) {
      oldest = i;
      break;
    }
    if (d->bad[i].until_ms < d->bad[oldest].until_ms) oldest = i;
  }
  d->bad[oldest] = (bad_t){*a, kg_now_ms(d->ctx) + BAD_MS};
}

void resolver_answered(dns_t *d, const struct sockaddr_storage *a) {
  for (size_t i = 0; i < MOST_BAD; i++)
    if (same(&d->bad[i].address, a)) d->bad[i].until_ms = 0;
}

/* --- for one name ---------------------------------------------------------------------------------------------------
 */

/* name may end with a dot. */
static bool is_in(const char *name, kg_str_t domain) {
  size_t n = strlen(name);
  if (n && name[n - 1] == '.') n--;
  while (domain.n && domain.p[domain.n - 1] == '.') domain.n--;
  if (!domain.n || n < domain.n || strncasecmp(name + n - domain.n, domain.p, domain.n) != 0) return false;
  return n == domain.n || name[n - domain.n - 1] == '.';
}

static kg_view_t listed(const dns_t *d, const char *name) {
  kg_view_t list = kg_view_of(d->upstreams);
  size_t most = 0;
  for (kg_iter_t it = kg_iter(kg_view_of(d->stubs)); kg_iter_next(&it);) {
    kg_str_t domain = kg_view_str(it.key);
    if (domain.n <= most || !is_in(name, domain)) continue;
    most = domain.n;
    list = it.value;
  }
  return list;
}

size_t resolvers_for(dns_t *d, const char *name, struct sockaddr_storage out[MOST_RESOLVERS]) {
  struct sockaddr_storage all[MOST_RESOLVERS];
  size_t n = 0, used = 0;
  kg_view_t list = listed(d, name);
  for (kg_iter_t it = kg_iter(list); kg_iter_next(&it) && n < MOST_RESOLVERS;) {
    char text[64];
    kg_str_t address = kg_view_str(it.value);
    snprintf(text, sizeof text, KG_STR_FMT, KG_STR_ARG(address));
    if (address.n < sizeof text && parse(text, &all[n])) n++;
  }
  if (!kg_view_count(list)) {
    read_host(d);
    memcpy(all, d->resolvers, (n = d->nresolvers) * sizeof *all);
  }
  for (int bad = 0; bad < 2; bad++)
    for (size_t i = 0; i < n; i++)
      if (is_bad(d, &all[i]) == bad) out[used++] = all[i];
  return used;
}
