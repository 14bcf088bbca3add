#ifndef PROXY_H
#define PROXY_H
/*
 * Services as nft maps. A frontend (address, protocol, port) has one verdict element that leads to a chain for its
 * number of backends, and a backend element for each slot; the chains are the same for all services, so a change is a
 * change of elements only. Services with session affinity have chains of their own. All in the lane's thread; nft
 * itself is a child process, one at a time, and what changes meanwhile goes into the next transaction.
 */
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "kogge/plugin.h"
#include "kube/informer.h"
#include "kube/json.h"
#include "netfilter/flows.h"

enum {
  EXACT = 64,      /* as many backends have slots of equal weight; with more, slots are MOST and nearly equal */
  MOST = 1024,     /* further backends are not used */
  INSIDE = 0x10000 /* first slot of the backends for clients of the cluster, where those differ */
};

/* Where an element goes. PLACES is their number. */
typedef enum {
  SERVICES,      /* address . protocol . port -> chain */
  INSIDE_ONLY,   /* the same, before it, for pods and the node itself */
  NODE_PORTS,    /* protocol . port -> chain */
  NODE_INSIDE,   /* the same, before it, for pods and the node itself */
  BACKENDS,      /* address . protocol . port . slot -> address . port */
  NODE_BACKENDS, /* protocol . port . slot -> address . port */
  REFUSED,       /* address . protocol . port -> reject or drop */
  NODE_REFUSED,  /* protocol . port -> reject or drop */
  RESTRICTED,    /* address . protocol . port: only for sources in ALLOWED */
  ALLOWED,       /* address . protocol . port . source network */
  PLACES
} place_t;

typedef enum { TCP, UDP, SCTP } protocol_t;

/* Which chain: plain; masquerading; for clients of the cluster; the service's own (affinity); or no backend. */
typedef enum { PLAIN, MASQUERADE, CLUSTER, OWN, REJECT, DROP } verdict_t;

typedef struct element {
  uint32_t ip;   /* host byte order; 0 where the place has none */
  uint32_t slot; /* ALLOWED: the source network */
  uint16_t port;
  uint8_t place, protocol, bits; /* bits: ALLOWED */
  uint8_t verdict;
  uint16_t to_port;
  uint32_t to; /* backend's address; for verdicts: number of slots, OWN: number of the chain */
} element_t;

typedef struct elements {
  element_t *all;
  size_t n, room;
} elements_t;
void element_add(elements_t *e, element_t one);
int element_order(const void *a, const void *b); /* by key */
bool element_same_key(const element_t *a, const element_t *b);
bool element_equal(const element_t *a, const element_t *b);

typedef struct backend {
  uint32_t ip;
  uint16_t port;
} backend_t;

/* A set of backends with affinity: chains pick-N and, for each backend, to-N-IP-PORT with the clients it has. */
typedef struct affinity {
  uint32_t number, tag; /* tag: which port of the service, and for whom */
  int64_t timeout_s;
  bool masquerade;
  backend_t *backends; /* sorted */
  size_t n;
} affinity_t;

typedef struct health health_t;
typedef struct service {
  struct service *next; /* in its bucket */
  char *key;            /* "namespace/name" */
  kg_doc_t *doc;        /* NULL: only slices are there yet */
  kg_doc_t **slices;
  size_t nslices;
  elements_t live; /* what the kernel has, once the transaction under way has succeeded */
  affinity_t *affinities;
  size_t naffinities;
  bool dirty;
  struct service *next_dirty;
  health_t *health; /* NULL: nobody asks for its health */
} service_t;

/* --- services.c: all services, found by name
 * -------------------------------------------------------------------------- */

typedef struct services {
  service_t **buckets;
  size_t nbuckets, count;
} services_t;
service_t *services_get(services_t *s, kg_str_t ns, kg_str_t name, bool make); /* NULL: none, or out of memory */
void services_drop(services_t *s, service_t *one);                             /* frees it */
void services_free(services_t *s);
/* for (service_t *one = NULL; (one = services_next(s, one));) */
service_t *services_next(const services_t *s, const service_t *after);
/* A slice of that name came, changed or (doc NULL) went. */
void service_slice(service_t *s, kg_str_t name, kg_doc_t *doc);

/* --- slices.c: which backends ---------------------------------------------------------------------------------------
 */

typedef struct backends {
  backend_t *all;
  size_t n, room;
} backends_t;
/* Backends of one port for clients of the cluster (all nodes) and those on this node; ready ones, or if there are none
 * those that still serve while they end. Sorted, each once. Caller frees .all of both. */
void backends_of(const service_t *s, kg_str_t port_name, protocol_t protocol, const char *node, backends_t *cluster,
                 backends_t *local);

/* Addresses of ready endpoints on this node, each once. */
size_t local_ready(const service_t *s, const char *node);

/* --- health.c: what load balancers ask
 * ----------------------------------------------------------------------------------------------------------------- */

/* Listens for them on the Service's healthCheckNodePort, if it has one and it is not listened on yet; or ends that. */
void health_follow(kg_ctx_t *ctx, service_t *s, const char *node);
void health_close(service_t *s);

/* --- frontends.c: what a service wants in the kernel
 * ------------------------------------------------------------------ */

protocol_t protocol_of(kg_str_t text);
bool service_is_ours(const service_t *s); /* not headless, nor another proxy's, nor an alias */
/* The elements sorted, the affinities in the order of their use. numbers: source of affinity numbers. */
void service_wants(const service_t *s, const char *node, uint32_t *numbers, elements_t *elements,
                   affinity_t **affinities, size_t *naffinities);
void affinities_free(affinity_t *a, size_t n);

/* --- table.c, changes.c: text for nft
 * --------------------------------------------------------------------------------- */

typedef struct frame {
  char bridge[IFNAMSIZ];
  char table[32];
  char pods[40], services[40]; /* networks */
  uint32_t pod_net;
  unsigned pod_bits;
} frame_t;
void table_text(kube_buf_t *b, const frame_t *f); /* a new table in the place of an old one */
void ip_put(kube_buf_t *b, uint32_t ip);

/* Elements in groups of one command per place. */
typedef struct change {
  kube_buf_t remove[PLACES], add[PLACES];
  kube_buf_t chains, after; /* before the elements, and after them */
  leds_t udp;               /* frontends that changed, with their backends; the caller takes them */
} change_t;
/* What leads from the live state to the wanted one, which becomes the live one (taken over). */
void change_service(change_t *c, const frame_t *f, service_t *s, elements_t wanted, affinity_t *affinities, size_t n);
/* All of the live state, into a new table. */
void change_fresh(change_t *c, const frame_t *f, const service_t *s);
void change_text(change_t *c, const frame_t *f, kube_buf_t *b); /* the whole, and frees the parts */
bool change_empty(const change_t *c);
void change_free(change_t *c);
/* For a new table: takes elements out of s->live whose key another service has already. Returns how many. */
size_t drop_duplicates(services_t *all);

/* --- nft.c
 * -------------------------------------------------------------------------------------------------------------- */

typedef struct nft nft_t;
typedef void (*nft_done_fn)(kg_ctx_t *ctx, void *self, const char *error); /* NULL: it was done */
/* Starts `nft -f -` on text; done comes later. -1: it could not be started, done is not called. */
int nft_run(kg_ctx_t *ctx, nft_t **nft, const char *text, size_t n, nft_done_fn done, kg_error_t *err);
void nft_forget(kg_ctx_t *ctx, nft_t **nft); /* it goes on alone */

#endif
