#include "ask.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ldns/ldns.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 16384 };

static bool enter(const char *netns) { /* the calling thread alone */
  int fd = netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;
  bool good = !netns || (fd >= 0 && setns(fd, CLONE_NEWNET) == 0);
  if (fd >= 0) close(fd);
  return good;
}

/* --- the client --------------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *text_of(const ldns_rr *rr) {
  char *owner = ldns_rdf2str(ldns_rr_owner(rr)), *type = ldns_rr_type2str(ldns_rr_get_type(rr)), *text = malloc(1024);
  size_t used = (size_t)snprintf(text, 1024, "%s %s", owner, type);
  for (size_t k = 0; k < ldns_rr_rd_count(rr) && ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA; k++) {
    char *part = ldns_rdf2str(ldns_rr_rdf(rr, k));
    used += (size_t)snprintf(text + used, 1024 - used, " %s", part);
    free(part);
  }
  free(owner);
  free(type);
  return text;
}

static void put_records(FILE *f, const ldns_rr_list *list, const char *between) {
  char *all[256];
  size_t n = ldns_rr_list_rr_count(list);
  if (n > 256) n = 256;
  for (size_t i = 0; i < n; i++) all[i] = text_of(ldns_rr_list_rr(list, i));
  qsort(all, n, sizeof *all, by_text);
  for (size_t i = 0; i < n; i++) {
    fprintf(f, "%s%s", i ? "; " : between, all[i]);
    free(all[i]);
  }
}

static void put_answer(FILE *f, const uint8_t *wire, size_t n) {
  ldns_pkt *p = NULL;
  if (ldns_wire2pkt(&p, wire, n) != LDNS_STATUS_OK) return;
  char *code = ldns_pkt_rcode2str(ldns_pkt_get_rcode(p));
  fprintf(f, "%s%s", code, ldns_pkt_tc(p) ? " TC" : "");
  put_records(f, ldns_pkt_answer(p), " ");
  put_records(f, ldns_pkt_additional(p), " + ");
  free(code);
  ldns_pkt_free(p);
}

typedef struct question {
  const char *netns, *server, *name, *type;
  how_t how;
  char text[ROOM]; /* the answer */
  bool answered;
} question_t;

static bool exchange(const question_t *q, int fd, const uint8_t *wire, size_t n, FILE *out) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
  struct timeval wait = {q->how == PATIENTLY ? 6 : 1, 0};
  uint8_t in[65537], head[2] = {(uint8_t)(n >> 8), (uint8_t)n};
  bool tcp = q->how == OVER_TCP;
  size_t got = 0;
  inet_pton(AF_INET, q->server, &a.sin_addr);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 || (tcp && send(fd, head, 2, 0) != 2) ||
      send(fd, wire, n, 0) != (ssize_t)n)
    return false;
  do {
    ssize_t r = recv(fd, in + got, sizeof in - got, 0);
    if (r <= 0) return false;
    got += (size_t)r;
  } while (tcp && (got < 2 || got < (size_t)(in[0] << 8 | in[1]) + 2));
  put_answer(out, in + (tcp ? 2 : 0), got - (tcp ? 2 : 0));
  return true;
}

/* A thread, not a child: the kernel under test has threads by now, and a child could find their locks held for ever. */
static void *asker(void *arg) {
  question_t *q = arg;
  uint8_t *wire = NULL;
  size_t n;
  ldns_pkt *p = NULL;
  if (!enter(q->netns)) return NULL;
  ldns_pkt_query_new_frm_str(&p, q->name, ldns_get_rr_type_by_name(q->type), LDNS_RR_CLASS_IN, LDNS_RD);
  ldns_pkt_set_id(p, 4711);
  if (q->how == WITH_EDNS) ldns_pkt_set_edns_udp_size(p, 4096);
  if (ldns_pkt2wire(&wire, p, &n) != LDNS_STATUS_OK) n = 0;
  FILE *out = fmemopen(q->text, ROOM, "w");
  int fd = socket(AF_INET, (q->how == OVER_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  q->answered = n && exchange(q, fd, wire, n, out);
  close(fd);
  fclose(out);
  free(wire);
  ldns_pkt_free(p);
  return NULL;
}

const char *dig(const char *netns, const char *server, const char *name, const char *type, how_t how) {
  static question_t q;
  pthread_t thread;
  q = (question_t){netns, server, name, type, how, "", false};
  cr_assert_eq(pthread_create(&thread, NULL, asker, &q), 0);
  pthread_join(thread, NULL);
  return q.answered ? q.text : "-";
}

/* --- the resolver ------------------------------------------------------------------------------------------------- */

static atomic_int asked;

int resolver_count(void) {
  return atomic_load(&asked);
}

static void add_a(ldns_pkt *r, const char *name, int last) {
  char text[300];
  ldns_rr *rr = NULL;
  snprintf(text, sizeof text, "%s 60 IN A 198.51.100.%d", name, last);
  if (ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL) == LDNS_STATUS_OK) ldns_pkt_push_rr(r, LDNS_SECTION_ANSWER, rr);
}

static uint8_t *resolve(const uint8_t *in, size_t n, bool tcp, size_t *size) {
  ldns_pkt *q = NULL, *r = ldns_pkt_new();
  uint8_t *wire = NULL;
  if (ldns_wire2pkt(&q, in, n) != LDNS_STATUS_OK) return NULL;
  atomic_fetch_add(&asked, 1);
  ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(q), 0);
  char *name = ldns_rdf2str(ldns_rr_owner(question));
  ldns_pkt_push_rr(r, LDNS_SECTION_QUESTION, ldns_rr_clone(question));
  ldns_pkt_set_id(r, ldns_pkt_id(q));
  ldns_pkt_set_qr(r, true);
  if (!strncmp(name, "gone", 4)) {
    ldns_pkt_set_rcode(r, LDNS_RCODE_NXDOMAIN);
  } else if (!strncmp(name, "big", 3)) {
    ldns_pkt_set_tc(r, !tcp);
    for (int i = 1; tcp && i <= 100; i++) add_a(r, name, i);
  } else if (ldns_rr_get_type(question) == LDNS_RR_TYPE_A) {
    add_a(r, name, 1);
  }
  ldns_pkt2wire(&wire, r, size);
  free(name);
  ldns_pkt_free(q);
  ldns_pkt_free(r);
  return wire;
}

static void serve_udp(int fd) {
  struct sockaddr_in from;
  socklen_t size = sizeof from;
  uint8_t in[4096];
  size_t n;
  ssize_t got = recvfrom(fd, in, sizeof in, 0, (struct sockaddr *)&from, &size);
  uint8_t *wire = got > 0 ? resolve(in, (size_t)got, false, &n) : NULL;
  if (wire) sendto(fd, wire, n, 0, (struct sockaddr *)&from, size);
  free(wire);
}

static void serve_tcp(int fd) {
  uint8_t in[4096];
  size_t n;
  int c = accept(fd, NULL, NULL);
  ssize_t got = recv(c, in, sizeof in, 0);
  uint8_t *wire = got > 2 ? resolve(in + 2, (size_t)got - 2, true, &n) : NULL;
  if (wire) {
    uint8_t head[2] = {(uint8_t)(n >> 8), (uint8_t)n};
    if (send(c, head, 2, 0) != 2 || send(c, wire, n, 0) != (ssize_t)n) perror("resolver");
  }
  free(wire);
  close(c);
}

typedef struct start {
  const char *netns;
  int ready;
} start_t;

static void *resolver(void *arg) {
  start_t *s = arg;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};
  if (!enter(s->netns)) return NULL;
  struct pollfd fds[] = {{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), POLLIN, 0},
                         {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), POLLIN, 0}};
  for (int i = 0; i < 2; i++)
    if (bind(fds[i].fd, (struct sockaddr *)&a, sizeof a) < 0) return NULL;
  if (listen(fds[1].fd, 8) < 0 || write(s->ready, "x", 1) != 1) return NULL;
  while (poll(fds, 2, -1) > 0) {
    if (fds[0].revents) serve_udp(fds[0].fd);
    if (fds[1].revents) serve_tcp(fds[1].fd);
  }
  return NULL;
}

void resolver_start(const char *netns) {
  int ready[2];
  char ok;
  pthread_t thread;
  cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
  start_t s = {netns, ready[1]};
  cr_assert_eq(pthread_create(&thread, NULL, resolver, &s), 0);
  pthread_detach(thread);
  struct pollfd wait = {ready[0], POLLIN, 0};
  cr_assert_eq(poll(&wait, 1, 5000), 1, "the resolver does not start");
  cr_assert_eq(read(ready[0], &ok, 1), 1);
  close(ready[0]);
  close(ready[1]);
}
