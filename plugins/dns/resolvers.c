#include <arpa/inet.h>
#include <netinet/in.h>

#include "dns.h"

enum { OLD_MS = 5000 };

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

void resolvers_read(dns_t *d) {
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
