/* Questions in, answers out; UDP here. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dns.h"

enum { AT_ONCE = 64 };

ldns_pkt *reply_to(const ldns_pkt *question) {
  ldns_pkt *r = ldns_pkt_new();
  if (!r) return NULL;
  for (size_t i = 0; i < ldns_pkt_qdcount(question); i++)
    ldns_pkt_push_rr(r, LDNS_SECTION_QUESTION, ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(question), i)));
  ldns_pkt_set_opcode(r, ldns_pkt_get_opcode(question));
  ldns_pkt_set_rd(r, ldns_pkt_rd(question));
  ldns_pkt_set_qr(r, true);
  ldns_pkt_set_ra(r, true);
  return r;
}

static void send_bytes(dns_t *d, const asker_t *who, const uint8_t *wire, size_t n) {
  if (who->connection)
    tcp_send(who->connection, wire, n);
  else if (sendto(d->udp, wire, n, 0, (const struct sockaddr *)&who->from, who->from_size) < 0)
    d->failed++; /* the client asks again */
}

/* Clients take the first address: each gets another. */
static void rotate(dns_t *d, ldns_pkt *r) {
  ldns_rr_list *list = ldns_pkt_answer(r);
  size_t n = ldns_rr_list_rr_count(list);
  for (size_t i = 0; i < n; i++)
    if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) != ldns_rr_get_type(ldns_rr_list_rr(list, 0))) return;
  for (size_t i = n; i > 1; i--) {
    size_t k = kg_random(d->ctx) % i;
    ldns_rr *other = ldns_rr_list_rr(list, k);
    ldns_rr_list_set_rr(list, ldns_rr_list_rr(list, i - 1), k);
    ldns_rr_list_set_rr(list, other, i - 1);
  }
}

/* Takes so many records off its end that the rest may fit. False: there are none. */
static bool shorten(ldns_pkt *r, ldns_pkt_section section, size_t is, size_t most) {
  ldns_rr_list *list = section == LDNS_SECTION_ADDITIONAL  ? ldns_pkt_additional(r)
                       : section == LDNS_SECTION_AUTHORITY ? ldns_pkt_authority(r)
                                                           : ldns_pkt_answer(r);
  size_t n = list ? ldns_rr_list_rr_count(list) : 0, keep = n * most / is;
  if (!n) return false;
  for (; n > keep; n--) ldns_rr_free(ldns_rr_list_pop_rr(list));
  ldns_pkt_set_section_count(r, section, (uint16_t)n);
  return true;
}

/* It is `is` bytes. Records that nobody asked for go first, and without a word. */
static bool make_smaller(ldns_pkt *r, size_t is, size_t most) {
  if (shorten(r, LDNS_SECTION_ADDITIONAL, is, most)) return true;
  ldns_pkt_set_tc(r, true);
  return shorten(r, LDNS_SECTION_ANSWER, is, most) || shorten(r, LDNS_SECTION_AUTHORITY, is, most);
}

void serve_answer(dns_t *d, const asker_t *who, ldns_pkt *r) {
  uint8_t *wire = NULL;
  size_t n = 0;
  ldns_pkt_set_id(r, who->id);
  if (who->edns) ldns_pkt_set_edns_udp_size(r, LARGEST_UDP);
  rotate(d, r);
  for (;;) {
    if (ldns_pkt2wire(&wire, r, &n) != LDNS_STATUS_OK) return;
    if (n <= who->most) break;
    LDNS_FREE(wire);
    if (!make_smaller(r, n, who->most)) return;
  }
  send_bytes(d, who, wire, n);
  LDNS_FREE(wire);
}

static void refuse(dns_t *d, const asker_t *who, const ldns_pkt *question, ldns_pkt_rcode code) {
  ldns_pkt *r = reply_to(question);
  if (!r) return;
  d->refused++;
  ldns_pkt_set_rcode(r, code);
  serve_answer(d, who, r);
  ldns_pkt_free(r);
}

void serve_failure(dns_t *d, const asker_t *who, const ldns_pkt *question) {
  refuse(d, who, question, LDNS_RCODE_SERVFAIL);
}

/* What cannot be read is answered from its first bytes. */
static void malformed(dns_t *d, const asker_t *who, const uint8_t *wire, size_t n) {
  uint8_t head[12] = {0};
  d->refused++;
  if (n < sizeof head || (wire[2] & 0x80)) return;
  memcpy(head, wire, 3);
  head[2] = (uint8_t)(0x80 | (wire[2] & 0x79));
  head[3] = 0x80 | LDNS_RCODE_FORMERR;
  send_bytes(d, who, head, sizeof head);
}

static void answer_question(dns_t *d, asker_t *who, const ldns_pkt *q) {
  char chase[300];
  ldns_pkt *r = reply_to(q);
  outcome_t outcome = r ? zone_answer(d, q, r, chase) : ANSWERED;
  if (outcome == CHASE) {
    ldns_pkt_set_rcode(r, LDNS_RCODE_NOERROR);
    return forward_question(d, *who, q, chase, r);
  }
  if (r && outcome == ANSWERED) {
    d->own++;
    serve_answer(d, who, r);
  }
  if (r) ldns_pkt_free(r);
  if (outcome != NOT_OURS) return;
  if ((r = cache_find(d, q))) {
    d->from_cache++;
    serve_answer(d, who, r);
    return ldns_pkt_free(r);
  }
  forward_question(d, *who, q, NULL, NULL);
}

void serve_question(dns_t *d, asker_t who, const uint8_t *wire, size_t n) {
  ldns_pkt *q = NULL;
  d->questions++;
  if (ldns_wire2pkt(&q, wire, n) != LDNS_STATUS_OK) return malformed(d, &who, wire, n);
  if (!ldns_pkt_qr(q)) {
    who.id = ldns_pkt_id(q);
    who.edns = ldns_pkt_edns(q);
    size_t said = who.edns ? ldns_pkt_edns_udp_size(q) : PLAIN_UDP;
    who.most = who.connection ? WIRE : said < PLAIN_UDP ? PLAIN_UDP : said > LARGEST_UDP ? LARGEST_UDP : said;
    if (ldns_pkt_get_opcode(q) != LDNS_PACKET_QUERY)
      refuse(d, &who, q, LDNS_RCODE_NOTIMPL);
    else if (ldns_pkt_qdcount(q) != 1)
      refuse(d, &who, q, LDNS_RCODE_FORMERR);
    else if (ldns_rr_get_class(ldns_rr_list_rr(ldns_pkt_question(q), 0)) != LDNS_RR_CLASS_IN)
      refuse(d, &who, q, LDNS_RCODE_REFUSED);
    else
      answer_question(d, &who, q);
  }
  ldns_pkt_free(q);
}

static void on_udp(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events, (void)arg;
  dns_t *d = self;
  for (int i = 0; i < AT_ONCE; i++) {
    asker_t who = {.from_size = sizeof who.from};
    ssize_t n = recvfrom(fd, d->wire, sizeof d->wire, 0, (struct sockaddr *)&who.from, &who.from_size);
    if (n < 0) return;
    serve_question(d, who, d->wire, (size_t)n);
  }
}

/* --- listening ---------------------------------------------------------------------------------------------------- */

static int open_on(dns_t *d, uint16_t port, kg_error_t *err) {
  struct sockaddr_storage s = {0};
  struct sockaddr_in *a = (struct sockaddr_in *)&s;
  socklen_t size = sizeof *a;
  a->sin_family = AF_INET;
  a->sin_port = htons(port);
  if (inet_pton(AF_INET, d->address, &a->sin_addr) != 1)
    return kg_error_set(err, KG_EINVAL, "%s is no IPv4 address", d->address);
  d->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (d->udp < 0 || bind(d->udp, (struct sockaddr *)&s, size) < 0 ||
      getsockname(d->udp, (struct sockaddr *)&s, &size) < 0)
    return kg_error_set(err, errno == EADDRINUSE ? KG_ECONFLICT : KG_EINTERNAL, "%s port %u cannot be used: %s",
                        d->address, port, strerror(errno));
  d->port = ntohs(a->sin_port);
  if (kg_fd_watch(d->ctx, d->udp, EPOLLIN, on_udp, NULL, err) < 0) return -1;
  return tcp_open(d, &s, size, err);
}

/* Another name server of the host may have the port: any other will do, the Service knows it. */
int serve_open(dns_t *d, kg_error_t *err) {
  if (open_on(d, d->want_port, err) == 0) return 0;
  serve_close(d);
  if (err->code != KG_ECONFLICT) return -1;
  if (open_on(d, 0, err) == 0) return 0;
  serve_close(d);
  return -1;
}

void serve_close(dns_t *d) {
  tcp_close_all(d);
  if (d->udp >= 0) {
    kg_fd_forget(d->ctx, d->udp);
    close(d->udp);
  }
  d->udp = -1;
  d->port = 0;
}
