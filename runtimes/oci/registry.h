#ifndef OCI_REGISTRY_H
#define OCI_REGISTRY_H
/*
 * A client of one repository in a registry (distribution-spec, docker's registry v2), by libcurl. Blocks: for a job's
 * own thread. Registries on loopback and those in `insecure` are spoken to without TLS; credentials never go to another
 * host.
 */
#include <curl/curl.h>

#include "image_store.h"

typedef struct registry {
  job_t *job;
  CURL *curl;
  char *host, *repo, *reference; /* "docker.io" "library/busybox" "latest" or "sha256:..." */
  char *base;                    /* "https://registry-1.docker.io/v2/library/busybox" */
  char *user, *password;         /* NULL: anonymous */
  char *authorization;           /* header line, once the registry asked for it */
  char *challenge;               /* WWW-Authenticate of the last answer */
  char *type;                    /* Content-Type of the last answer */
  long code;
  size_t head;        /* bytes of headers of the last answer */
  kg_error_t refusal; /* the token service's, of another kind than "not you" */
} registry_t;

/* full: a name in full. NULL with a sentence. */
registry_t *registry_open(job_t *j, const char *full, kg_view_t auth, kg_error_t *err);
void registry_close(registry_t *r);
/* GET base/manifests/REFERENCE; the text is malloc'ed, its media type is r->type. NULL with a sentence; 404 has code
 * KG_ENOTFOUND. */
char *registry_manifest(registry_t *r, const char *reference, size_t *n, kg_error_t *err);
/* GET base/blobs/DIGEST of a descriptor into the file, going on where an earlier try broke off. Not a byte more is
 * taken than its size says, which may not be over `most` nor what the disk has; its digest is checked. */
int registry_blob(registry_t *r, kg_view_t descriptor, int64_t most, const char *file, kg_error_t *err);

int pull_image(job_t *j, kg_error_t *err); /* image_pull.c: j->name, j->auth */

#endif
