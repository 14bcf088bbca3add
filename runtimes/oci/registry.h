#ifndef OCI_REGISTRY_H
#define OCI_REGISTRY_H
/*
 * A client of one repository in a registry (distribution-spec, docker's registry v2), by libcurl. Blocks: for a job's
 * own thread. Registries on loopback and those in `insecureRegistries` are spoken to without TLS; credentials never go
 * to another host.
 */
#include <curl/curl.h>

#include "image_store.h"

/* Where a repository may be asked for: a mirror, or the registry itself. */
typedef struct endpoint {
  char *host;  /* "mirror:5000": by it credentials and certificates are found */
  char *repo;  /* "library/busybox", as it is called there */
  char *base;  /* "https://mirror:5000/v2/library/busybox" */
  char *query; /* "?ns=docker.io" for a mirror, or "" */
  bool own;    /* the registry that the image names */
} endpoint_t;

typedef struct registry {
  job_t *job;
  CURL *curl;
  char *host, *repo, *reference; /* "docker.io" "library/busybox" "latest" or "sha256:..." */
  kg_doc_t *settings;            /* registries.yaml; NULL: none */
  endpoint_t *endpoints;
  size_t nendpoints, at;
  char *user, *password; /* for this endpoint; NULL: anonymous */
  char *authorization;   /* header line, once it asked for it */
  kg_view_t tls;         /* of it, in the settings */
  char *challenge;       /* WWW-Authenticate of the last answer */
  char *type;            /* Content-Type of the last answer */
  long code;
  char why[CURL_ERROR_SIZE]; /* the last request failed, in libcurl's words */
  size_t head;               /* bytes of headers of the last answer */
  kg_error_t refusal;        /* the token service's, of another kind than "not you" */
  kg_error_t before;         /* why the endpoints before this one were left */
  int64_t end_ms;            /* when the pull takes too long; 0: never */
  const char *part;          /* digest of the part that comes, for progress; NULL: none */
  int64_t part_size, part_had, said_ms;
} registry_t;

/* full: a name in full. NULL with a sentence. */
registry_t *registry_open(job_t *j, const char *full, kg_error_t *err);
void registry_close(registry_t *r);
/* GET base/manifests/REFERENCE; the text is malloc'ed, its media type is r->type. NULL with a sentence; 404 has code
 * KG_ENOTFOUND. */
char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err);
/* GET base/blobs/DIGEST of a descriptor into the file, going on where an earlier try broke off. Not a byte more is
 * taken than its size says, which may not be over `most` nor what the disk has; its digest is checked. */
int registry_blob(registry_t *r, kg_view_t descriptor, int64_t most, const char *file, kg_error_t *err);

/* --- inside ------------------------------------------------------------------------------------------------------ */

enum { REGISTRY_TEXT = 4 << 20 };
/* A text of at most REGISTRY_TEXT bytes; out is empty before. */
CURLcode registry_text(registry_t *r, const char *url, const char *accept, kube_buf_t *out, bool *over);
int registry_authenticate(registry_t *r); /* registry_auth.c: answers the registry's challenge; -1: it cannot be */
/* registry_hosts.c */
int registry_hosts(registry_t *r, kg_error_t *err); /* finds the endpoints, begins with the first */
void registry_at(registry_t *r, size_t i);          /* turns to an endpoint */
bool registry_next(registry_t *r, kg_error_t *err); /* after a failure: false if there is none to turn to */
void registry_tls(registry_t *r);                   /* what the settings say of its certificates */
void registry_hosts_free(registry_t *r);

int pull_image(job_t *j, kg_error_t *err); /* image_pull.c: j->name, j->auth */

#endif
