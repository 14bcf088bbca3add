#ifndef DNS_H
#define DNS_H
/*
 * Names of the cluster, and the way out for all others. All in the lane's thread. A question comes over UDP or TCP
 * (serve.c, tcp.c); the zone answers it from Services and EndpointSlices (zone.c), the cache from earlier answers, or a
 * resolver of the host (forward.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <ldns/ldns.h>

#include "kogge/plugin.h"
#include "kube/index.h"
#include "kube/informer.h"

enum {
  TTL_S = 5,
  LONGEST_CACHE_S = 30,
  MOST_RESOLVERS = 3,
  MOST_BAD = 8,
  MOST_FORWARDS = 1000,
  MOST_CONNECTIONS = 200,
  MOST_CACHED = 4096,
  WIRE = 65535,
  PLAIN_UDP = 512,
  LARGEST_UDP = 1232
};

typedef struct dns dns_t;
typedef struct connection connection_t;
typedef struct forward forward_t;
typedef struct cached cached_t;

/* A resolver that did not answer is asked last for some time. */
typedef struct bad {
  struct sockaddr_storage address;
  int64_t until_ms;
} bad_t;

/* Who asked, and how much fits into an answer. */
typedef struct asker {
  connection_t *connection; /* NULL: UDP */
  struct sockaddr_storage from;
  socklen_t from_size;
  uint16_t id;
  size_t most;
  bool edns;
} asker_t;

struct connection {
  connection_t *next, *prev;
  dns_t *dns;
  int fd;
  unsigned waiting; /* questions that are being forwarded */
  bool ended;       /* the client says no more */
  int64_t used_ms;
  size_t in_n, out_n, out_at;
  uint8_t *in, *out; /* WIRE + 2 each; out grows */
  size_t out_room;
};

struct dns {
  kg_ctx_t *ctx;
  kube_informer_t *services, *slices, *settings;
  kube_index_t index; /* of both */
  char domain[128];   /* "cluster.local" */
  char cluster_ip[48], address[48];
  uint16_t port, want_port;
  int udp, tcp;                                      /* -1: not listening */
  struct sockaddr_storage resolvers[MOST_RESOLVERS]; /* the host's */
  size_t nresolvers;
  kg_doc_t *stubs, *upstreams; /* of the ConfigMap; NULL: none */
  bad_t bad[MOST_BAD];
  char *resolv_conf;
  int64_t resolv_checked_ms;
  connection_t *connections;
  size_t nconnections;
  uint64_t idle_timer, retry_timer;
  forward_t *forwards;
  size_t nforwards; /* questions that wait for one */
  cached_t **cache; /* buckets */
  cached_t *newest, *oldest;
  size_t ncached;
  bool writing;
  uint64_t questions, own, from_cache, forwarded, failed, refused;
  uint8_t wire[WIRE];
};

/* --- zone.c, records.c
 * ------------------------------------------------------------------------------------------------ */

typedef enum {
  NOT_OURS, /* the name is not of the cluster */
  ANSWERED, /* r is complete */
  CHASE     /* r holds a CNAME that leads out of the cluster to `chase` */
} outcome_t;
outcome_t zone_answer(dns_t *d, const ldns_pkt *question, ldns_pkt *r, char chase[300]);

void record_address(ldns_pkt *r, ldns_pkt_section section, const char *owner, ldns_rr_type type, kg_str_t ip);
bool address_is(kg_str_t ip, ldns_rr_type type); /* an address of that type's family */
void record_name(ldns_pkt *r, const char *owner, ldns_rr_type type, const char *target); /* CNAME, PTR, NS */
void record_srv(ldns_pkt *r, const char *owner, uint16_t weight, uint16_t port, const char *target);
void record_text(ldns_pkt *r, const char *owner, const char *text);
void record_soa(ldns_pkt *r, ldns_pkt_section section, const char *zone, uint32_t serial);

/* --- index.c
 * ---------------------------------------------------------------------------------------------------------- */

/* The entries of an object are made for doc, or (doc NULL) go. */
void index_service(kube_index_t *x, kg_view_t service, kg_doc_t *doc);
void index_slice(kube_index_t *x, kg_view_t slice, kg_doc_t *doc);
/* Services by their addresses; slices by their Service, and by the addresses of their endpoints. */
uint64_t index_service_key(kg_str_t ip);
uint64_t index_slice_key(kg_str_t ns, kg_str_t service);
uint64_t index_endpoint_key(kg_str_t ip);

/* --- serve.c, tcp.c
 * ---------------------------------------------------------------------------------------------------- */

int serve_open(dns_t *d, kg_error_t *err); /* listens on address */
void serve_close(dns_t *d);
void serve_question(dns_t *d, asker_t who, const uint8_t *wire, size_t n);
/* Finishes r (id, flags, size) and sends it. */
void serve_answer(dns_t *d, const asker_t *who, ldns_pkt *r);
void serve_failure(dns_t *d, const asker_t *who, const ldns_pkt *question); /* SERVFAIL */
ldns_pkt *reply_to(const ldns_pkt *question);                               /* empty, with the question; caller frees */

int tcp_open(dns_t *d, const struct sockaddr_storage *a, socklen_t size, kg_error_t *err);
void tcp_send(connection_t *c, const uint8_t *wire, size_t n);
void tcp_release(connection_t *c); /* one question less waits for it */
void tcp_close_all(dns_t *d);

/* --- forward.c, cache.c, resolvers.c
 * ----------------------------------------------------------------------------------- */

/* Asks resolvers outside. base: an answer to which the records found are added (taken over), or NULL. */
void forward_question(dns_t *d, asker_t who, const ldns_pkt *question, const char *name, ldns_pkt *base);
void forwards_free(dns_t *d);

/* An answer that is still good, its age taken off; the caller frees it. NULL: none. */
ldns_pkt *cache_find(dns_t *d, const ldns_pkt *question);
void cache_keep(dns_t *d, const ldns_pkt *answer);
void cache_free(dns_t *d);

int resolvers_start(dns_t *d, kg_error_t *err); /* watches the ConfigMap */
void resolvers_free(dns_t *d);
/* Whom to ask for name, those that answer first. Returns how many. */
size_t resolvers_for(dns_t *d, const char *name, struct sockaddr_storage out[MOST_RESOLVERS]);
void resolver_failed(dns_t *d, const struct sockaddr_storage *a);
void resolver_answered(dns_t *d, const struct sockaddr_storage *a);

/* --- own.c: Service kube-dns and its EndpointSlice
 * ------------------------------------------------------------------------ */

void own_write(dns_t *d); /* makes what is missing or different; nothing while a write is under way */

#endif
