/*
 * Names outside of the cluster: asked of the host's resolvers, one after the other, over UDP and where that is too
 * small over TCP. Who asks for what is being asked for already waits for that answer, too: a resolver that asks us in
 * turn makes no endless circle.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "dns.h"

/* Clients ask again, or give up, after 5 s: they hear of it before. */
enum { TRY_MS = 2000, PATIENCE_MS = 4000, MOST_TRIES = 4 };

typedef struct waiter {
  struct waiter *next;
  asker_t who;
  ldns_pkt *question; /* the client's */
} waiter_t;

struct forward {
  forward_t *next, *prev;
  dns_t *dns;
  waiter_t *waiters;
  ldns_pkt *base;
  uint8_t *wire; /* what we ask, behind its length */
  size_t wire_n, sent;
  uint8_t *in; /* TCP */
  size_t in_n;
  uint16_t id;
  struct sockaddr_storage resolvers[MOST_RESOLVERS];
  size_t nresolvers;
  unsigned tries;
  int64_t until_ms;
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

static void waiter_free(dns_t *d, waiter_t *w) {
  d->nforwards--;
  if (w->who.connection) tcp_release(w->who.connection);
  if (w->question) ldns_pkt_free(w->question);
  free(w);
}

static void forward_free(forward_t *f) {
  dns_t *d = f->dns;
  close_socket(f);
  if (f->prev)
    f->prev->next = f->next;
  else
    d->forwards = f->next;
  if (f->next) f->next->prev = f->prev;
  for (waiter_t *w = f->waiters, *next; w; w = next) {
    next = w->next;
    waiter_free(d, w);
  }
  if (f->base) ldns_pkt_free(f->base);
  free(f->wire);
  free(f->in);
  free(f);
}

void forwards_free(dns_t *d) {
  while (d->forwards) forward_free(d->forwards);
}

static void copy_section(ldns_pkt *to, const ldns_pkt *from, ldns_pkt_section section) {
  ldns_rr_list *list = section == LDNS_SECTION_ANSWER ? ldns_pkt_answer(from) : ldns_pkt_authority(from);
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++)
    ldns_pkt_push_rr(to, section, ldns_rr_clone(ldns_rr_list_rr(list, i)));
}

/* answer NULL: there is none from outside; an alias is still worth telling. */
static void tell(forward_t *f, const waiter_t *w, const ldns_pkt *answer) {
  bool whole = !f->base;
  ldns_pkt *r = whole ? reply_to(w->question) : f->base;
  f->base = NULL;
  if (!r) return;
  ldns_pkt_set_rcode(r, answer ? ldns_pkt_get_rcode(answer) : LDNS_RCODE_SERVFAIL);
  if (answer) {
    copy_section(r, answer, LDNS_SECTION_ANSWER);
    copy_section(r, answer, LDNS_SECTION_AUTHORITY);
    if (whole && w == f->waiters) cache_keep(f->dns, r);
  }
  serve_answer(f->dns, &w->who, r);
  ldns_pkt_free(r);
}

static void deliver(forward_t *f, const ldns_pkt *answer) {
  if (!answer) f->dns->failed++;
  for (const waiter_t *w = f->waiters; w; w = w->next) tell(f, w, answer);
  forward_free(f);
}

/* The one asked last. */
static const struct sockaddr_storage *resolver(const forward_t *f) {
  return &f->resolvers[(f->tries - 1) % f->nresolvers];
}

static void try_another(forward_t *f) {
  resolver_failed(f->dns, resolver(f));
  try_next(f);
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
  resolver_answered(f->dns, resolver(f));
  if (ldns_pkt_tc(answer) && !f->tcp) {
    f->tcp = true;
    f->tries--;
    try_next(f);
  } else if ((code == LDNS_RCODE_SERVFAIL || code == LDNS_RCODE_REFUSED || code == LDNS_RCODE_NOTIMPL) &&
             f->tries < MOST_TRIES && f->tries < f->nresolvers) {
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
  try_another(f);
}

static void on_udp_answer(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)ctx, (void)events;
  dns_t *d = self;
  forward_t *f = arg;
  ssize_t n = recv(fd, d->wire, sizeof d->wire, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) return try_another(f); /* refused */
  take(f, d->wire, (size_t)n);
}

static void on_tcp_answer(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self;
  forward_t *f = arg;
  if (f->sent < f->wire_n) {
    ssize_t n = send(fd, f->wire + f->sent, f->wire_n - f->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return try_another(f);
    if (n > 0) f->sent += (size_t)n;
    if (f->sent == f->wire_n) kg_fd_change(ctx, fd, EPOLLIN);
    return;
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t n = recv(fd, f->in + f->in_n, WIRE + 2 - f->in_n, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return try_another(f);
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
  for (int64_t left; f->nresolvers && f->tries < MOST_TRIES && (left = f->until_ms - kg_now_ms(d->ctx)) > 0;) {
    f->tries++;
    if (ask_resolver(f, resolver(f))) {
      f->timer = kg_timer(d->ctx, left < TRY_MS ? left : TRY_MS, 0, on_timeout, f);
      return;
    }
    if (f->fd >= 0) {
      close(f->fd);
      f->fd = -1;
    }
  }
  deliver(f, NULL);
}

/* --- a question --------------------------------------------------------------------------------------------------- */

static const ldns_rr *asked(const ldns_pkt *question) {
  return ldns_rr_list_rr(ldns_pkt_question(question), 0);
}

static bool write_question(forward_t *f, const char *name) {
  const ldns_rr *q = asked(f->waiters->question);
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

/* One that asks for the same, for itself alone. */
static forward_t *under_way(const dns_t *d, const ldns_pkt *question) {
  const ldns_rr *wanted = asked(question);
  for (forward_t *f = d->forwards; f; f = f->next) {
    const ldns_rr *q = f->base ? NULL : asked(f->waiters->question);
    if (q && ldns_rr_get_type(q) == ldns_rr_get_type(wanted) &&
        ldns_dname_compare(ldns_rr_owner(q), ldns_rr_owner(wanted)) == 0)
      return f;
  }
  return NULL;
}

static bool add_waiter(forward_t *f, asker_t who, const ldns_pkt *question) {
  waiter_t *w = calloc(1, sizeof *w);
  if (!w) return false;
  f->dns->nforwards++;
  *w = (waiter_t){.next = f->waiters, .who = who, .question = ldns_pkt_clone(question)};
  if (who.connection) who.connection->waiting++;
  if (!w->question) return waiter_free(f->dns, w), false;
  f->waiters = w;
  return true;
}

static void forward_start(dns_t *d, asker_t who, const ldns_pkt *question, const char *name, ldns_pkt *base) {
  forward_t *f = calloc(1, sizeof *f);
  if (!f) return ldns_pkt_free(base);
  *f = (forward_t){.dns = d, .base = base, .fd = -1, .until_ms = kg_now_ms(d->ctx) + PATIENCE_MS, .next = d->forwards};
  if (f->next) f->next->prev = f;
  d->forwards = f;
  if (!add_waiter(f, who, question) || !write_question(f, name)) return forward_free(f);
  char *owner = name ? strdup(name) : ldns_rdf2str(ldns_rr_owner(asked(question)));
  f->nresolvers = resolvers_for(d, owner ? owner : "", f->resolvers);
  free(owner);
  try_next(f);
}

void forward_question(dns_t *d, asker_t who, const ldns_pkt *question, const char *name, ldns_pkt *base) {
  forward_t *f = base ? NULL : under_way(d, question);
  d->forwarded++;
  if (d->nforwards >= MOST_FORWARDS) {
    if (base) ldns_pkt_free(base);
    return serve_failure(d, &who, question);
  }
  if (!f) return forward_start(d, who, question, name, base);
  add_waiter(f, who, question); /* without memory the client asks again */
}
