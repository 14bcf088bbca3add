#ifndef KOGGE_API_H
#define KOGGE_API_H
/*
 * The api role: resource semantics on documents. plugins/contracts/api.md is the contract. Reads come from memory
 * (cache.c), writes go to the store and are answered when the cache shows them. Everything runs in the lane's thread.
 */
#include "kogge/plugin.h"
#include "kube/json.h"
#include "kube/schema.h"
#include "kube/tree.h"
#include "kube/values.h"

/* --- objects and collections (cache.c, sorted.c) ---------------------------------------------------------------- */

/* One state of one object: immutable, counted (lane thread only). */
typedef struct object {
  uint32_t refs, nkey;
  int64_t rev, create; /* mod and create revision in the store */
  kg_doc_t *doc;       /* with metadata.resourceVersion */
  char key[];          /* "namespace/name" or "name" */
} object_t;

object_t *object_new(kg_str_t key, int64_t rev, int64_t create,
                     kg_doc_t *doc); /* takes its own reference of doc; NULL: no memory */
object_t *object_ref(object_t *o);
void object_unref(object_t *o); /* NULL is allowed */
static inline kg_str_t object_key(const object_t *o) {
  return (kg_str_t){o->key, o->nkey};
}
static inline kg_view_t object_view(const object_t *o) {
  return kg_view_of(o->doc);
}

/* Objects in order of their keys: chunks of pointers, so that an insertion moves little however many there are. */
enum { SORTED_CHUNK = 512 };
typedef struct sorted_chunk {
  uint32_t n;
  object_t *at[SORTED_CHUNK];
} sorted_chunk_t;
typedef struct sorted {
  sorted_chunk_t **chunks;
  size_t nchunks, room, count;
} sorted_t;
typedef struct sorted_pos {
  size_t chunk;
  uint32_t i;
} sorted_pos_t;

object_t *sorted_get(const sorted_t *s, kg_str_t key); /* borrowed; NULL: none */
int sorted_put(sorted_t *s, object_t *o,
               object_t **old);                   /* takes over the reference; *old is given away; -1: no memory */
object_t *sorted_take(sorted_t *s, kg_str_t key); /* gives the reference away; NULL: none */
sorted_pos_t sorted_seek(const sorted_t *s, kg_str_t key); /* first object not below key */
object_t *sorted_at(const sorted_t *s, sorted_pos_t *pos); /* object at pos, then steps on; NULL: the end */
void sorted_free(sorted_t *s);

/* A change, shared by all watchers. */
typedef struct change {
  uint32_t refs, at_s; /* at_s: seconds of the monotonic clock */
  int64_t rev;
  object_t *old, *now; /* old NULL: it was created; now NULL: it was deleted */
  kg_doc_t *last;      /* the old state stamped with rev, for those to whom it is a deletion; made at the first need */
  kg_doc_t *args[3];   /* item arguments for ADDED, MODIFIED, DELETED; made at the first need */
} change_t;

typedef struct watcher watcher_t;

typedef struct collection {
  const kube_resource_t *r; /* in the version it is stored in */
  char *prefix;             /* "/registry/apps/deployments/" */
  size_t nprefix;
  sorted_t objects;
  change_t **ring; /* the last changes; all with rev > ring_after are in it */
  size_t ring_first, ring_count, ring_room;
  int64_t ring_after;
  watcher_t *watchers;
  bool lazy; /* writes need not be durable: Leases, Events */
} collection_t;

/* --- the plugin -------------------------------------------------------------------------------------------------- */

typedef struct write write_t;
typedef struct services services_t;

typedef struct api {
  kg_ctx_t *ctx;
  collection_t **collections; /* in order of their prefixes */
  size_t ncollections, collections_room;
  struct {
    const kube_resource_t *r;
    collection_t *c;
  } * by_resource; /* hash table */
  size_t by_resource_room;
  int64_t rev;        /* the cache shows the store up to here */
  kg_doc_t *policies; /* which writes the policy role wants to see; NULL: none */
  bool loaded, ready, booted, policies_known;
  bool following;   /* the store's changes come */
  bool load_now;    /* without the changes before */
  bool draining;    /* a successor takes over when no write is under way */
  size_t under_way; /* writes */
  char *page;       /* key from which the next page of the first range is read */
  int64_t load_rev; /* the state that is read first */
  uint64_t watch_call;
  write_t *charged; /* new objects on their way to namespaces that have quotas */
  write_t *waiting; /* stored, not yet seen in the cache; in order of revisions */
  write_t **waiting_end;
  unsigned booting; /* first objects that are still on their way */
  services_t *services;
  uint64_t expire_timer, aggregate_timer, protect_timer;
  struct custom *customs; /* in order of their names */
  struct retired *retired;
  kube_catalog_t catalog;
  const kube_resource_t **catalog_all;
  struct { /* the OpenAPI document asked for last, for those who ask for the same in the same moment */
    char what[300];
    kg_doc_t *doc;
    uint64_t stamp, timer;
  } openapi;
  uint64_t custom_stamp, definition_timer;
  size_t ending;   /* definitions that wait for the end of their objects */
  int definitions; /* 0: not read yet, 1: read, before everything else */
  size_t held;     /* volumes and claims that are deleted but in use */
  uint64_t gets, lists, writes, conflicts, items;
  size_t nwatchers;
} api_t;

/* --- a request (request.c) ---------------------------------------------------------------------------------------- */

typedef struct req {
  api_t *api;
  kg_ctx_t *ctx;
  const kg_msg_t *m; /* NULL: from within */
  kg_view_t args;
  const kube_resource_t *r;
  collection_t *c;
  kg_str_t sub, ns, name;
  bool dry_run;
} req_t;

/* Reads the common arguments. False: it was answered already (unknown resource, verb not allowed). verb: KUBE_V_*, 0:
 * not asked. */
bool req_read(req_t *q, api_t *api, const kg_msg_t *m, unsigned verb);
/* "ns/name" or "name" into buf; cut if it does not fit (then nothing is found under it). */
kg_str_t req_key(const req_t *q, kg_str_t name, char buf[600]);
kg_str_t arg_str(kg_view_t args, const char *key);

/* False: the options contradict each other, which was answered. kind: "CreateOptions", ... */
bool list_options(req_t *q, bool watch);
bool write_options(req_t *q, const char *kind);

/* What a list, watch or deletecollection selects. */
typedef struct selection {
  kg_str_t ns;             /* empty: all */
  kg_str_t name;           /* from metadata.name=x; empty: any */
  kube_selector_t *labels; /* NULL: all */
  struct field_term {
    kg_str_t field, value;
    bool negated;
  } * fields;
  size_t nfields;
  const kube_resource_t *r;
} selection_t;

/* False: it was answered with an error. Strings are borrowed from the request. */
bool selection_read(req_t *q, selection_t *s);
void selection_free(selection_t *s);
bool selection_matches(const selection_t *s, const object_t *o);
/* First object the selection can match; selection_ends: none can match from this key on. */
sorted_pos_t selection_seek(const selection_t *s, const sorted_t *objects);
bool selection_ends(const selection_t *s, const object_t *o);
kg_str_t selection_start(const selection_t *s, char key[600]); /* the key it seeks */

/* past.c: the objects of a collection as they were at a revision, in order of their keys from `start` on. The objects
 * are borrowed until the collection changes. */
typedef struct cursor {
  const sorted_t *objects;
  sorted_pos_t pos;
  struct past *past;
  size_t npast, at;
} cursor_t;

/* 0; 1: that state is no longer known; -1: no memory. Closed by cursor_close in any case. */
int cursor_open(cursor_t *k, const collection_t *c, int64_t rev, kg_str_t start);
object_t *cursor_next(cursor_t *k); /* NULL: the end */
void cursor_close(cursor_t *k);

/* The resourceVersion of a request, 0: none. False: answered, for it is no number or ahead of every state. */
bool revision_read(req_t *q, int64_t *rev);

/* --- answers in Kubernetes' words (status.c) ---------------------------------------------------------------------- */

typedef struct fault {
  int code; /* 0: none */
  const char *reason;
  char message[4096];
  kg_str_t name, group, kind; /* details; kind is the resource's plural, or the kind for Invalid. Borrowed */
  kg_str_t uid;
  const kube_node_t *causes; /* array of {reason, message, field}; NULL: none */
  int retry_after;
  bool bare;        /* details are there, with nothing in them */
  const char *next; /* metadata.continue; NULL: none */
} fault_t;

/* Each fills *f and returns false, so that a check can `return fault_...`. */
bool fault_not_found(fault_t *f, const kube_resource_t *r, kg_str_t name);
bool fault_exists(fault_t *f, const kube_resource_t *r, kg_str_t name);
bool fault_conflict(fault_t *f, const kube_resource_t *r, const char *sub, kg_str_t name, const char *fmt, ...)
    KG_PRINTF(5, 6);
bool fault_modified(fault_t *f, const kube_resource_t *r, kg_str_t name);
bool fault_forbidden(fault_t *f, const kube_resource_t *r, kg_str_t name, const char *fmt, ...) KG_PRINTF(4, 5);
bool fault_invalid(fault_t *f, const kube_resource_t *r, kg_str_t name, const kube_node_t *causes);
bool fault_bad(fault_t *f, const char *fmt, ...) KG_PRINTF(2, 3);
bool fault_other(fault_t *f, int code, const char *reason, const char *fmt, ...) KG_PRINTF(4, 5);
kg_doc_t *fault_doc(const fault_t *f);               /* the Status; caller owns the reference */
void fault_answer(const req_t *q, const fault_t *f); /* logs it when nobody asked */
kg_doc_t *success_doc(const kube_resource_t *r, kg_str_t name, kg_str_t uid); /* Status Success of a deletion */
/* Adds a cause to an array: {reason, message, field}. */
void cause_add(kube_arena_t *a, kube_node_t *causes, const char *reason, const char *field, const char *fmt, ...)
    KG_PRINTF(5, 6);

/* Where objects lie in the store: /registry/GROUP/RESOURCE/NAMESPACE/NAME; the core group is called "core". */
#define ROOT "/registry/"
#define DEFINITIONS ROOT "apiextensions.k8s.io/customresourcedefinitions"

/* --- cache.c, load.c, watch.c
 * --------------------------------------------------------------------------------------------- */

int cache_init(api_t *api, kg_error_t *err);
void cache_free(api_t *api);
void cache_load(api_t *api); /* ranges the store, then follows it; ends in api_loaded() */
/* A change of the store; one that is known already, or of no kind that is served, is ignored. */
void cache_put(api_t *api, kg_str_t key, int64_t mod, int64_t create, kg_doc_t *doc);
void cache_delete(api_t *api, kg_str_t key, int64_t rev);
void cache_empty(collection_t *c);
collection_t *cache_of(const api_t *api, const kube_resource_t *r); /* NULL: kept nowhere */
collection_t *cache_find(const api_t *api, const char *group, const char *resource);
/* Collections of custom kinds: made, emptied when the kind ends (watches end with it), freed when nobody can hold it.
 */
collection_t *cache_add(api_t *api, const kube_resource_t *r);
void cache_close(api_t *api, collection_t *c);
void cache_drop(api_t *api, collection_t *c);
/* Built in or custom; NULL: not served. */
const char *resource_warning(const api_t *api, const kube_resource_t *r); /* of a deprecated one; NULL: none */
const kube_resource_t *resource_find(const api_t *api, kg_str_t group, kg_str_t version, kg_str_t resource);
/* The stored document with metadata.resourceVersion put in (replacing one that is there). Caller owns; NULL: no
 * metadata. */
kg_doc_t *stamp(kg_doc_t *doc, int64_t rev);
void api_loaded(api_t *api);

void watch_publish(api_t *api, collection_t *c, change_t *e);
void watch_free(collection_t *c);
void bookmarks_start(api_t *api);
change_t *change_ref(change_t *e);
void change_unref(change_t *e);

/* The document of o as resource version r shows it; caller owns the reference. */
kg_doc_t *object_as(const object_t *o, const kube_resource_t *r, const collection_t *c);

/* --- handlers ------------------------------------------------------------------------------------------------------
 */

/* Adds what resource_warning() says of q's resource, if anything, to the map of an answer's arguments. */
void pack_warning(const req_t *q, kg_pack_t *p);
/* What the arguments of every answer of several objects begin with: rv, kind, apiVersion. */
void pack_list_head(const req_t *q, int64_t rev, kg_pack_t *p);
/* component.c: ComponentStatuses, made when they are read. component_read answers q's message, one or all, later: it
 * asks the plugins behind each component first. */
bool component_asked(const req_t *q);
void component_read(const req_t *q, bool one);
void on_get(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_list(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_watch(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_create(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_update(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_patch(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_delete(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_deletecollection(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_discovery(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_openapi(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_table(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void on_resolve(kg_ctx_t *ctx, void *self, const kg_msg_t *m);

/* --- writes (write.c) -----------------------------------------------------------------------------------------------
 */

typedef enum { W_CREATE, W_UPDATE, W_PATCH, W_DELETE } verb_t;

typedef struct delete_options {
  int64_t grace; /* -1: not said */
  kg_str_t propagation, uid, rv;
} delete_options_t;

/* One write on its way. It may be tried several times: then everything below `arena` is made anew. */
struct write {
  write_t *next;
  req_t q;            /* q.m: own reference */
  verb_t verb, asked; /* an apply to what is not there becomes a creation */
  unsigned tries;
  bool generated; /* the name was made here: another one is tried if it is taken */
  kg_doc_t *body; /* own reference */
  char *own;      /* namespace and name of a write from within */
  delete_options_t del;
  bool finalizes; /* may change spec.finalizers of a namespace */
  bool reads;     /* only computes an answer: nothing is stored */
  bool unguarded; /* the caller named no revision: try again after a conflict */
  int64_t rev;    /* what the store said */
  object_t *old;  /* own reference; NULL for a creation */
  char key[600];  /* "ns/name" */
  kube_arena_t *arena;
  kube_node_t *next_state;                         /* the object to store */
  kube_node_t *warnings;                           /* array of strings */
  kg_doc_t *base;                                  /* what the tree borrows its strings from, if not body or old */
  kg_doc_t *admitted;                              /* what a policy made of it, whose strings next_state borrows */
  kg_doc_t *doc;                                   /* what was sent to the store */
  kg_doc_t *answer;                                /* instead of the object: a Status, a Scale */
  kg_doc_t *(*show)(write_t *w, kg_doc_t *object); /* makes the answer of the object (a Scale); caller owns it */
  bool removes;                                    /* the object goes with this write */
  int code;                                        /* 200, 201 */
  fault_t fault;
  uint32_t cluster_ip; /* taken for this write, as the ports: given back if it fails */
  struct kept_port *node_ports;
  write_t *charged_next, **charged_at; /* in api->charged; NULL: not in it */
  const char *manager;                 /* from within: who owns what it changes; NULL: the api */
  void (*then)(write_t *w, void *arg); /* from within: instead of an answer; w->fault says how it went */
  void *then_arg;
};

/* Runs the write: computes, stores, answers, frees. */
void write_run(write_t *w);
/* A write from within the plugin. Takes its own reference of body. NULL then: a fault is logged. */
write_t *write_new(api_t *api, const kube_resource_t *r, verb_t verb, kg_str_t ns, kg_str_t name, kg_doc_t *body);
write_t *write_of(const req_t *q, verb_t verb, kg_doc_t *body);
void write_flush(api_t *api); /* answers the writes that the cache shows by now */
void write_free(write_t *w);

/* policy.c: the hook of plugins/contracts/policy.md */
void policies_known(api_t *api); /* boot.c: whoever has asked has an answer */
void policy_watch(api_t *api);   /* asks which writes are wanted, now and after every change */
bool policy_wanted(const write_t *w);
void policy_ask(write_t *w); /* ends with write_admitted() */
void on_policy_changed(kg_ctx_t *ctx, void *self, const kg_msg_t *m);
void write_admitted(write_t *w); /* write.c */

/* Steps of a write; each returns false with w->fault set. */
bool compute_create(write_t *w);
bool compute_update(write_t *w);
bool compute_patch(write_t *w);
bool compute_delete(write_t *w);
/* limits.c: defaults and bounds of LimitRanges, for new pods and claims. */
bool limits_admit(write_t *w, kube_node_t *object);
void kind_set_qos(kube_arena_t *a, kube_node_t *pod); /* kinds.c */
/* quota.c: old absent: it is created. False: w->fault says which quota would be exceeded. */
bool quota_admit(write_t *w, const kube_node_t *object, kg_view_t old);
void quota_discharge(write_t *w);
/* evict.c: takes an eviction off the pod's disruption budget, if it has one, then runs the write; takes w over. */
void evict(write_t *w);
bool compute_eviction(write_t *w);
bool compute_sub(write_t *w); /* any verb on a subresource */
bool compute_scale(write_t *w);
/* An object in the form of the version that was asked for, and of the stored one. */
kube_node_t *fields_as_shown(write_t *w, kube_node_t *object);
kube_node_t *fields_as_stored(write_t *w, kube_node_t *object);
kube_node_t *old_as_shown(write_t *w); /* w->old, parsed */
kube_node_t *sub_current(write_t *w);  /* a copy of the object as it is, to be changed */
/* A policy has made `object` of w->next_state: it is decoded, defaulted and checked like what was sent. */
bool body_changed(write_t *w, kube_node_t *object);
bool body_read(write_t *w, kg_doc_t *body, const kube_resource_t *r, kube_node_t **object);
bool update_to(write_t *w, kube_node_t *object, bool status); /* w->old becomes `object` */
/* pod_parts.c: *object becomes *old with the ephemeral containers of *object, *old what it is to be validated against.
 */
bool ephemeral_update(write_t *w, kube_node_t **object, kube_node_t **old);
/* The same for the amounts of its containers. */
bool resize_update(write_t *w, kube_node_t **object, kube_node_t **old);
const char *pod_qos(const kube_node_t *pod); /* "Guaranteed", "Burstable", "BestEffort" */
bool is_noop(write_t *w);
/* The parts of a creation and an update that apply shares. The object is decoded, its defaults are not set. */
bool create_from(write_t *w, kube_node_t *object);
bool applied(write_t *w, kube_node_t *object);
bool config_read(write_t *w, kube_node_t **config); /* decodes an applied configuration */

/* --- apply.c ------------------------------------------------------------------------------------------------------ */
bool compute_apply(write_t *w);
/* Field ownership after a write that is no apply: old NULL: a creation. */
void track(write_t *w, const kube_node_t *old, kube_node_t *object);

/* --- meta.c ----------------------------------------------------------------------------------------------------------
 */

void meta_uuid(kg_ctx_t *ctx, char buf[40]);
void meta_created(write_t *w, kube_node_t *object);
bool meta_name(write_t *w, kube_node_t *object);    /* name, generateName, namespace of a creation */
bool meta_matches(write_t *w, kube_node_t *object); /* name and namespace of an update against the request */
void meta_carry(write_t *w, kube_node_t *object, const kube_node_t *old); /* what a client cannot change */
void meta_generation(write_t *w, kube_node_t *object, const kube_node_t *old);
size_t meta_finalizers(const kube_node_t *object);
bool meta_deleting(const kube_node_t *object);
bool node_is(const kube_node_t *n, const char *z);
kg_str_t path_str(const kube_node_t *object, const char *a, const char *b);

/* --- admit.c, service.c
 * ----------------------------------------------------------------------------------------------- */

bool admit_create(write_t *w, kube_node_t *object);
void warn_once(write_t *w, const char *line); /* a warning to the client; one that it has already is left out */
/* After everything else agreed: the levels of the namespace's labels (podsecurity.h). old NULL: a create. */
bool podsecurity_admit(write_t *w, const kube_node_t *object, const kube_node_t *old);
bool admit_update(write_t *w, kube_node_t *object, const kube_node_t *old);
bool is_resource(const kube_resource_t *r, const char *group, const char *resource);

int services_init(api_t *api, kg_error_t *err); /* reads the configuration */
void services_free(api_t *api);
void services_seen(api_t *api, kg_view_t service, bool there); /* marks addresses and ports as used or free */
bool service_create(write_t *w, kube_node_t *object);
bool service_update(write_t *w, kube_node_t *object, const kube_node_t *old);
void service_undo(write_t *w);
const char *services_cidr(const api_t *api); /* borrowed */
void services_first_ip(const api_t *api, char text[32]);

/* --- kinds.c: what the server sets in new objects of certain kinds
 * -------------------------------------------------------- */
void kind_created(write_t *w, kube_node_t *object);
void kind_updated(write_t *w, kube_node_t *object, const kube_node_t *old);
bool fault_method(fault_t *f);   /* 405 */
bool fault_resource(fault_t *f); /* 404: no such resource */

/* --- csr.c: certificate signing requests */
bool is_csr(const kube_resource_t *r);
void csr_created(write_t *w, kube_node_t *object);
/* The conditions of a new status get their times. False: it says what it may not. */
bool csr_updated(write_t *w, kube_node_t *object, const kube_node_t *old);
kube_node_t *csr_approval(write_t *w, kube_node_t *object, kube_node_t *old);

/* --- protect.c: volumes and claims in use --------------------------------------------------------------------- */
void protect_created(write_t *w, kube_node_t *object);
bool protect_grown(write_t *w, const kube_node_t *object,
                   const kube_node_t *old);                                  /* a claim's size: false with a fault */
void protect_phase(write_t *w, kube_node_t *object, const kube_node_t *old); /* tells when it changed */
void protect_seen(api_t *api, const collection_t *c, const object_t *now);   /* now NULL: it was deleted */

/* --- boot.c
 * ------------------------------------------------------------------------------------------------------------ */
void boot(api_t *api);                          /* makes the first objects that are missing; then kg_ready */
void boot_missed(api_t *api, kg_str_t service); /* a Service was deleted: those that must be are made again */
void expire_arm(api_t *api);                    /* Events go after an hour */

#endif
