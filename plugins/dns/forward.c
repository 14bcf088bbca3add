/* Names outside of the cluster: asked of the host's resolvers, one after the other, over UDP and where that is too
 * small over TCP. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "dns.h"

enum { TRY_MS = 2000, MOST_TRIES = 4 };

struct forward {
  forward_t *next, *prev;
  dns_t *dns;
  asker_t who;
  ldns_pkt *question; /* the client's */
  ldns_pkt *base;
  uint8_t *wire; /* what we ask, behind its length */
  size_t wire_n, sent;
  uint8_t *in; /* TCP */
  size_t in_n;
  uint16_t id;
  unsigned tries;
  bool tcp;
  int fd;
  uint64_t timer;
};

static void try_next(forward_t *f);

static void close_socket(forward_t *f) {
  if (f->fd >= 0) {
    kg_fd_forget(f->dns->ctx, f->fd);
    close(f->fd);
  }
  kg_timer_cancel(f->dns->ctx, f->timer);
  f->fd = -1;
  f->timer = 0;
}

static void forward_free(forward_t *f) {
  dns_t *d = f->dns;
  close_socket(f);
  if (f->prev)
    f->prev->next = f->next;
  else
    d->forwards = f->next;
  if (f->next) f->next->prev = f->prev;
  d->nforwards--;
  if (f->who.connection) tcp_release(f->who.connection);
  if (f->question) ldns_pkt_free(f->question);
  if (f->base) ldns_pkt_free(f->base);
  free(f->wire);
  free(f->in);
  free(f);
}

void forwards_free(dns_t *d) {
  while (d->forwards) forward_free(d->forwards);
}

/* Without an answer from outside: an alias is still worth telling. */
static void give_up(forward_t *f) {
  ldns_pkt *r = f->base ? f->base : reply_to(f->question);
  f->base = NULL;
  f->dns->failed++;
  if (r) {
    ldns_pkt_set_rcode(r, LDNS_RCODE_SERVFAIL);
    serve_answer(f->dns, &f->who, r);
    ldns_pkt_free(r);
  }
  forward_free(f);
}

static void copy_section(ldns_pkt *to, const ldns_pkt *from, ldns_pkt_section section) {
  ldns_rr_list *list = section == LDNS_SECTION_ANSWER ? ldns_pkt_answer(from) : ldns_pkt_authority(from);
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++)
    ldns_pkt_push_rr(to, section, ldns_rr_clone(ldns_rr_list_rr(list, i)));
}

static void deliver(forward_t *f, const ldns_pkt *answer) {
  dns_t *d = f->dns;
  bool whole = !f->base;
  ldns_pkt *r = f->base ? f->base : reply_to(f->question);
  f->base = NULL;
  if (r) {
    ldns_pkt_set_rcode(r, ldns_pkt_get_rcode(answer));
    copy_section(r, answer, LDNS_SECTION_ANSWER);
    copy_section(r, answer, LDNS_SECTION_AUTHORITY);
    if (whole) cache_keep(d, r);
    serve_answer(d, &f->who, r);
    ldns_pkt_free(r);
  }
  forward_free(f);
}

/* It must be the answer to what we asked: same id, same question. */
static bool belongs(const forward_t *f, const ldns_pkt *answer) {
  ldns_pkt *asked = NULL;
  bool same = ldns_pkt_qr(answer) && ldns_pkt_id(answer) == f->id && ldns_pkt_qdcount(answer) == 1 &&
              ldns_wire2pkt(&asked, f->wire + 2, f->wire_n - 2) == LDNS_STATUS_OK;
  if (same) {
    const ldns_rr *a = ldns_rr_list_rr(ldns_pkt_question(asked), 0), *b = ldns_rr_list_rr(ldns_pkt_question(answer), 0);
    same = ldns_rr_get_type(a) == ldns_rr_get_type(b) && ldns_dname_compare(ldns_rr_owner(a), ldns_rr_owner(b)) == 0;
  }
  if (asked) ldns_pkt_free(asked);
  return same;
}

/* f is gone afterwards, unless the bytes were none of ours. */
static void take(forward_t *f, const uint8_t *wire, size_t n) {
  ldns_pkt *answer = NULL;
  if (ldns_wire2pkt(&answer, wire, n) != LDNS_STATUS_OK) return;
  ldns_pkt_rcode code = ldns_pkt_get_rcode(answer);
  if (!belongs(f, answer)) {
    ldns_pkt_free(answer);
    return;
  }
  if (ldns_pkt_tc(answer) && !f->tcp) {
    f->tcp = true;
    f->tries--;
    try_next(f);
  } else if ((code == LDNS_RCODE_SERVFAIL || code == LDNS_RCODE_REFUSED || code == LDNS_RCODE_NOTIMPL) &&
             f->tries < MOST_TRIES && f->tries < f->dns->nresolvers) {
    try_next(f);
  } else {
    deliver(f, answer);
  }
  ldns_pkt_free(answer);
}

/* --- the socket --------------------------------------------------------------------------------------------------- */

static void on_timeout(kg_ctx_t *ctx, void *self, void *arg) {
  (void)ctx, (void)self;
  forward_t *f = arg;
  f->timer = 0;
  try_next(f);
}

static void on_udp_answer(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events;
  dns_t *d = self;
  forward_t *f = arg;
  ssize_t n = recv(fd, d->wire, sizeof d->wire, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return try_next(f); /* refused */
  take(f, d->wire, (size_t)n);
}

static void on_tcp_answer(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self;
  forward_t *f = arg;
  if (f->sent < f->wire_n) {
    ssize_t n = send(fd, f->wire + f->sent, f->wire_n - f->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return try_next(f);
    if (n > 0) f->sent += (size_t)n;
    if (f->sent == f->wire_n) kg_fd_change(ctx, fd, EPOLLIN);
    return;
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t n = recv(fd, f->in + f->in_n, WIRE + 2 - f->in_n, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return try_next(f);
  f->in_n += (size_t)n;
  size_t size = f->in_n >= 2 ? (size_t)f->in[0] << 8 | f->in[1] : WIRE + 1;
  if (f->in_n >= size + 2) take(f, f->in + 2, size);
}

static bool ask_resolver(forward_t *f, const struct sockaddr_storage *to) {
  kg_error_t err;
  socklen_t size = to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
  f->fd = socket(to->ss_family, (f->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  f->sent = f->in_n = 0;
  if (f->fd < 0 || (connect(f->fd, (const struct sockaddr *)to, size) < 0 && errno != EINPROGRESS)) return false;
  if (f->tcp && !f->in && !(f->in = malloc(WIRE + 2))) return false;
  if (!f->tcp && send(f->fd, f->wire + 2, f->wire_n - 2, 0) < 0) return false;
  return kg_fd_watch(f->dns->ctx, f->fd, f->tcp ? EPOLLOUT : EPOLLIN, f->tcp ? on_tcp_answer : on_udp_answer, f,
                     &err) == 0;
}

static void try_next(forward_t *f) {
  dns_t *d = f->dns;
  close_socket(f);
  while (d->nresolvers && f->tries < MOST_TRIES) {
    const struct sockaddr_storage *to = &d->resolvers[f->tries++ % d->nresolvers];
    if (ask_resolver(f, to)) {
      f->timer = kg_timer(d->ctx, TRY_MS, 0, on_timeout, f);
      return;
    }
    if (f->fd >= 0) {
      close(f->fd);
      f->fd = -1;
    }
  }
  give_up(f);
}

/* --- a question --------------------------------------------------------------------------------------------------- */

static bool write_question(forward_t *f, const char *name) {
  const ldns_rr *q = ldns_rr_list_rr(ldns_pkt_question(f->question), 0);
  ldns_rdf *owner = name ? ldns_dname_new_frm_str(name) : ldns_rdf_clone(ldns_rr_owner(q));
  ldns_pkt *p = owner ? ldns_pkt_query_new(owner, ldns_rr_get_type(q), LDNS_RR_CLASS_IN, LDNS_RD) : NULL;
  uint8_t *wire = NULL;
  size_t n = 0;
  if (!p) {
    ldns_rdf_deep_free(owner);
    return false;
  }
  if (getrandom(&f->id, sizeof f->id, 0) != sizeof f->id) f->id = (uint16_t)kg_random(f->dns->ctx);
  ldns_pkt_set_id(p, f->id);
  ldns_pkt_set_edns_udp_size(p, LARGEST_UDP);
  bool fine = ldns_pkt2wire(&wire, p, &n) == LDNS_STATUS_OK && n <= WIRE && (f->wire = malloc(n + 2));
  if (fine) {
    f->wire[0] = (uint8_t)(n >> 8);
    f->wire[1] = (uint8_t)n;
    memcpy(f->wire + 2, wire, n);
    f->wire_n = n + 2;
  }
  LDNS_FREE(wire);
  ldns_pkt_free(p);
  return fine;
}

void forward_question(dns_t *d, asker_t who, const ldns_pkt *question, const char *name, ldns_pkt *base) {
  forward_t *f = d->nforwards < MOST_FORWARDS ? calloc(1, sizeof *f) : NULL;
  if (!f) { /* the client asks again */
    if (base) ldns_pkt_free(base);
    return;
  }
  *f = (forward_t){.dns = d, .who = who, .base = base, .fd = -1, .question = ldns_pkt_clone(question)};
  f->next = d->forwards;
  if (f->next) f->next->prev = f;
  d->forwards = f;
  d->nforwards++;
  d->forwarded++;
  if (who.connection) who.connection->waiting++;
  resolvers_read(d);
  if (!f->question || !write_question(f, name)) return forward_free(f);
  try_next(f);
}
