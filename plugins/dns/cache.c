/* Answers from outside for as long as they say, at most 30 seconds. The oldest makes room. */
#include <ctype.h>

#include "dns.h"

enum { BUCKETS = 1024 };

struct cached {
  cached_t *next;          /* in its bucket */
  cached_t *newer, *older; /* in the order of their coming */
  char *key;               /* NAME/TYPE */
  int64_t since_ms;
  uint32_t ttl_s;
  size_t n;
  uint8_t *wire;
};

static char *key_of(const ldns_pkt *question) {
  const ldns_rr *q = ldns_rr_list_rr(ldns_pkt_question(question), 0);
  char *name = q ? ldns_rdf2str(ldns_rr_owner(q)) : NULL, *key = NULL;
  if (name && asprintf(&key, "%s/%d", name, (int)ldns_rr_get_type(q)) < 0) key = NULL;
  for (char *c = key; c && *c; c++) *c = (char)tolower((unsigned char)*c);
  free(name);
  return key;
}

static cached_t **bucket(dns_t *d, const char *key) {
  return &d->cache[kg_hash_str(KG_HASH_START, kg_str(key)) % BUCKETS];
}

static void drop(dns_t *d, cached_t *c) {
  cached_t **at = bucket(d, c->key);
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  *(c->newer ? &c->newer->older : &d->newest) = c->older;
  *(c->older ? &c->older->newer : &d->oldest) = c->newer;
  d->ncached--;
  LDNS_FREE(c->wire);
  free(c->key);
  free(c);
}

static cached_t *find(dns_t *d, const char *key) {
  for (cached_t *c = d->cache ? *bucket(d, key) : NULL; c; c = c->next)
    if (!strcmp(c->key, key)) return c;
  return NULL;
}

static void take_age(ldns_rr_list *list, uint32_t age) {
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
    ldns_rr *rr = ldns_rr_list_rr(list, i);
    ldns_rr_set_ttl(rr, ldns_rr_ttl(rr) > age ? ldns_rr_ttl(rr) - age : 0);
  }
}

ldns_pkt *cache_find(dns_t *d, const ldns_pkt *question) {
  ldns_pkt *r = NULL;
  char *key = key_of(question);
  cached_t *c = key ? find(d, key) : NULL;
  free(key);
  if (!c) return NULL;
  uint32_t age = (uint32_t)((kg_now_ms(d->ctx) - c->since_ms) / 1000);
  if (age >= c->ttl_s) {
    drop(d, c);
    return NULL;
  }
  if (ldns_wire2pkt(&r, c->wire, c->n) != LDNS_STATUS_OK) return NULL;
  take_age(ldns_pkt_answer(r), age);
  take_age(ldns_pkt_authority(r), age);
  ldns_pkt_set_rd(r, ldns_pkt_rd(question));
  return r;
}

static uint32_t least(const ldns_rr_list *list, uint32_t ttl) {
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
    uint32_t one = ldns_rr_ttl(ldns_rr_list_rr(list, i));
    if (one < ttl) ttl = one;
  }
  return ttl;
}

static uint32_t least_soa(const ldns_rr_list *list, uint32_t ttl) {
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
    const ldns_rr *rr = ldns_rr_list_rr(list, i);
    if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || ldns_rr_rd_count(rr) < 7) continue;
    uint32_t one = ldns_rdf2native_int32(ldns_rr_rdf(rr, 6));
    if (one < ttl) ttl = one;
  }
  return ttl;
}

/* That a name is not there is kept only if a SOA record says for how long: the lesser of its own time and its last
 * field.
 */
static uint32_t life(const ldns_pkt *answer) {
  ldns_pkt_rcode code = ldns_pkt_get_rcode(answer);
  if (ldns_pkt_tc(answer) || (code != LDNS_RCODE_NOERROR && code != LDNS_RCODE_NXDOMAIN)) return 0;
  if (!ldns_pkt_ancount(answer) && !ldns_pkt_nscount(answer)) return 0;
  uint32_t ttl = least(ldns_pkt_authority(answer), least(ldns_pkt_answer(answer), LONGEST_CACHE_S));
  return ldns_pkt_ancount(answer) ? ttl : least_soa(ldns_pkt_authority(answer), ttl);
}

void cache_keep(dns_t *d, const ldns_pkt *answer) {
  uint32_t ttl = life(answer);
  char *key = ttl ? key_of(answer) : NULL;
  if (!d->cache) d->cache = calloc(BUCKETS, sizeof(cached_t *));
  cached_t *old = key ? find(d, key) : NULL, *c = key && d->cache ? calloc(1, sizeof *c) : NULL;
  if (old) drop(d, old);
  if (!c || ldns_pkt2wire(&c->wire, answer, &c->n) != LDNS_STATUS_OK) {
    free(key);
    free(c);
    return;
  }
  while (d->ncached >= MOST_CACHED) drop(d, d->oldest);
  c->key = key;
  c->ttl_s = ttl;
  c->since_ms = kg_now_ms(d->ctx);
  cached_t **at = bucket(d, key);
  c->next = *at;
  *at = c;
  c->older = d->newest;
  *(d->newest ? &d->newest->newer : &d->oldest) = c;
  d->newest = c;
  d->ncached++;
}

void cache_free(dns_t *d) {
  while (d->oldest) drop(d, d->oldest);
  free(d->cache);
  d->cache = NULL;
}
