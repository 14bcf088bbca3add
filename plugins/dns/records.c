#include <arpa/inet.h>

#include "dns.h"

static ldns_rr *begin(const char *owner, ldns_rr_type type, uint32_t ttl) {
  ldns_rr *rr = ldns_rr_new();
  ldns_rdf *name = ldns_dname_new_frm_str(owner);
  if (!rr || !name) {
    ldns_rdf_deep_free(name);
    if (rr) ldns_rr_free(rr);
    return NULL;
  }
  ldns_rr_set_owner(rr, name);
  ldns_rr_set_type(rr, type);
  ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
  ldns_rr_set_ttl(rr, ttl);
  return rr;
}

static void push(ldns_pkt *r, ldns_pkt_section section, ldns_rr *rr) {
  if (rr && !ldns_pkt_push_rr(r, section, rr)) ldns_rr_free(rr);
}

/* A field that could not be made spoils the record. */
static ldns_rr *with(ldns_rr *rr, ldns_rdf *field) {
  if (rr && field && ldns_rr_push_rdf(rr, field)) return rr;
  ldns_rdf_deep_free(field);
  if (rr) ldns_rr_free(rr);
  return NULL;
}

static int parse(kg_str_t ip, int family, void *out) {
  char text[64];
  if (!ip.n || ip.n >= sizeof text) return 0;
  memcpy(text, ip.p, ip.n);
  text[ip.n] = '\0';
  return inet_pton(family, text, out) == 1;
}

bool address_is(kg_str_t ip, ldns_rr_type type) {
  uint8_t out[16];
  return parse(ip, type == LDNS_RR_TYPE_AAAA ? AF_INET6 : AF_INET, out);
}

void record_address(ldns_pkt *r, ldns_pkt_section section, const char *owner, ldns_rr_type type, kg_str_t ip) {
  uint8_t bytes[16];
  bool six = type == LDNS_RR_TYPE_AAAA;
  if (!parse(ip, six ? AF_INET6 : AF_INET, bytes)) return;
  ldns_rdf *field = ldns_rdf_new_frm_data(six ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A, six ? 16 : 4, bytes);
  push(r, section, with(begin(owner, type, TTL_S), field));
}

void record_name(ldns_pkt *r, const char *owner, ldns_rr_type type, const char *target) {
  push(r, LDNS_SECTION_ANSWER, with(begin(owner, type, TTL_S), ldns_dname_new_frm_str(target)));
}

static ldns_rdf *number(uint16_t n) {
  return ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, n);
}

void record_srv(ldns_pkt *r, const char *owner, uint16_t weight, uint16_t port, const char *target) {
  ldns_rr *rr = with(begin(owner, LDNS_RR_TYPE_SRV, TTL_S), number(0));
  rr = rr ? with(rr, number(weight)) : NULL;
  rr = rr ? with(rr, number(port)) : NULL;
  rr = rr ? with(rr, ldns_dname_new_frm_str(target)) : NULL;
  push(r, LDNS_SECTION_ANSWER, rr);
}

void record_text(ldns_pkt *r, const char *owner, const char *text) {
  push(r, LDNS_SECTION_ANSWER,
       with(begin(owner, LDNS_RR_TYPE_TXT, TTL_S), ldns_rdf_new_frm_str(LDNS_RDF_TYPE_STR, text)));
}

void record_soa(ldns_pkt *r, ldns_pkt_section section, const char *zone, uint32_t serial) {
  const uint32_t numbers[] = {serial, 7200, 1800, 86400, TTL_S};
  char name[300];
  ldns_rr *rr = begin(zone, LDNS_RR_TYPE_SOA, TTL_S);
  snprintf(name, sizeof name, "ns.dns.%s", zone);
  if (rr) rr = with(rr, ldns_dname_new_frm_str(name));
  snprintf(name, sizeof name, "hostmaster.%s", zone);
  if (rr) rr = with(rr, ldns_dname_new_frm_str(name));
  for (int i = 0; rr && i < 5; i++)
    rr = with(rr, ldns_native2rdf_int32(i ? LDNS_RDF_TYPE_PERIOD : LDNS_RDF_TYPE_INT32, numbers[i]));
  push(r, section, rr);
}
