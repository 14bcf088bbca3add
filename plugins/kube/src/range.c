#include <arpa/inet.h>
#include <string.h>

#include "kube/values.h"

int kube_ipv4(kg_str_t s, uint32_t *address) {
  char z[INET_ADDRSTRLEN];
  struct in_addr a;
  if (!s.n || s.n >= sizeof z) return -1;
  memcpy(z, s.p, s.n);
  z[s.n] = '\0';
  if (inet_pton(AF_INET, z, &a) != 1) return -1;
  *address = ntohl(a.s_addr);
  return 0;
}

int kube_ipv4_range(kg_str_t s, uint32_t *first, unsigned *bits) {
  const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
  size_t at = slash ? (size_t)(slash - s.p) : s.n, digits = s.n - at - 1;
  unsigned n = 0;
  if (!slash || !digits || digits > 2 || kube_ipv4((kg_str_t){s.p, at}, first) < 0) return -1;
  for (size_t i = at + 1; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9') return -1;
    n = n * 10 + (unsigned)(s.p[i] - '0');
  }
  if (n > 32) return -1;
  *first &= n ? ~0u << (32 - n) : 0;
  *bits = n;
  return 0;
}

int kube_pod_addresses(kg_str_t cidr, uint32_t *first, uint32_t *count, kg_error_t *err) {
  uint32_t net;
  unsigned bits;
  if (kube_ipv4_range(cidr, &net, &bits) < 0 || bits < 8 || bits > 30)
    return kg_error_set(err, KG_EINVAL, "podCIDR: \"" KG_STR_FMT "\" is no IPv4 range", KG_STR_ARG(cidr));
  *first = net + 2;
  *count = (1u << (32 - bits)) - 3;
  return 0;
}

int kube_dns_address(kg_str_t service_cidr, char text[16]) {
  uint32_t first;
  unsigned bits;
  if (kube_ipv4_range(service_cidr, &first, &bits) < 0 || bits > 28) return -1;
  struct in_addr a = {htonl(first + 10)};
  return inet_ntop(AF_INET, &a, text, 16) ? 0 : -1;
}
