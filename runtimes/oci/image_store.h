#ifndef OCI_IMAGE_STORE_H
#define OCI_IMAGE_STORE_H
/*
 * Inside the image store. On disk, below its directory:
 *   layers/HEX      a layer unpacked; HEX: SHA-256 of its uncompressed tar (its "diff id")
 *   images/HEX      record of an image (msgpack); HEX: SHA-256 of its configuration
 *   tmp/            what is being made. A layer or record comes into its place by rename, whole.
 *   lock            shared by those who add images, alone for who sweeps: then nothing in tmp/ is anybody's, and a
 * layer that no record names is nobody's
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "kube/json.h"

enum { IMAGE_PATH = 1024, HEX = 64 };

/* For "%.*s": a stranger's text (kg_str_t), cut. */
#define CUT_ARG(s) (int)((s).n < 100 ? (s).n : 100), (s).p ? (s).p : ""

/* --- image_names.c ----------------------------------------------------------------------------------------------- */

/* "busybox" -> "docker.io/library/busybox:latest", "a/b@sha256:..." stays by its digest. malloc'ed; NULL with a
 * sentence: it is no image name (github.com/distribution/reference). */
char *image_name_full(kg_str_t name, kg_error_t *err);
bool image_is_hex(const char *p, size_t n);
bool image_is_digest(kg_str_t s); /* "sha256:HEX" */

/* --- what is known (lane thread) --------------------------------------------------------------------------------- */

typedef struct stored {
  struct stored *next;
  char *id;               /* "sha256:HEX" */
  char **names, **layers; /* full names; HEX of the layers, lowest first */
  size_t nnames, nlayers;
  kg_doc_t *config; /* of the OCI configuration: its "config" map */
  int64_t size, created_us;
  int64_t used_us; /* when a container was last made of it or removed; 0: not since the start */
  unsigned uses;
} stored_t;

typedef struct job job_t;
typedef struct claim claim_t;
struct images {
  kg_ctx_t *ctx;
  char *dir;
  stored_t *list;
  job_t *jobs;
  int events;    /* eventfd: threads have something to tell */
  bool unneeded; /* there may be layers no image needs: swept after the last job */
  pthread_mutex_t claims_lock;
  pthread_cond_t claims_end;
  claim_t *claims; /* layers that jobs are making */
};

stored_t *images_by_name(images_t *im, kg_str_t name);
void stored_free(stored_t *s);
stored_t *stored_read(const char *path); /* of a record; any thread; NULL: it is none */
kg_doc_t *images_list_doc(images_t *im); /* {images: [...]}; caller owns */
/* Removes a name; the image itself when it was its last one or `name` is its id: then its layers are to be swept. */
int images_remove(images_t *im, kg_str_t name, kg_error_t *err);

/* Removes images that no container uses, the longest unused first, none younger than min_age_us, until `bytes` are
 * freed
 * (-1: all). Returns their number, *freed: their size. Their layers are to be swept. */
size_t images_prune(images_t *im, int64_t bytes, int64_t min_age_us, int64_t *freed);

/* Puts what a thread made into the list and on disk; `image` stays the caller's. */
int images_take(images_t *im, stored_t *image, kg_error_t *err);

/* --- image_job.c: work in a thread of its own -------------------------------------------------------------------- */

/* An image that a thread made: its layers are in place; the lane writes the record. */
typedef struct made {
  struct made *next;
  stored_t *image;
} made_t;

struct job {
  job_t *next;
  images_t *im;
  pthread_t thread;
  int (*work)(job_t *j, kg_error_t *err); /* in the thread: sees only what is below, and the directory */
  char *path, *name;                      /* of the archive, for the image */
  kg_doc_t *auth;                         /* {username, password}; NULL: none */
  made_t *made;
  kg_error_t err;
  int result, code; /* code: of the command line's success */
  int lock_fd;
  atomic_bool done, stop; /* stop: the store closes */
  pthread_mutex_t lock;
  kube_buf_t progress; /* lines not yet shown; under lock */
  kg_msg_t *request;   /* answered when it is done; NULL: nobody asked */
  bool cli;            /* the request is of the command line: lines go there */
  bool json;           /* which wants JSON */
};
/* Starts a thread; takes its own reference of the request. Answers the request itself, also on failure. */
void job_start(images_t *im, const kg_msg_t *request, bool cli, int (*work)(job_t *j, kg_error_t *err), kg_str_t path,
               kg_str_t name);
const char *image_architecture(void); /* of this machine, in the words of image-spec: "amd64", "arm64" */
void jobs_end(images_t *im);          /* tells them to stop and waits */
int jobs_open(images_t *im, kg_error_t *err);
void job_say(job_t *j, const char *fmt, ...) KG_PRINTF(2, 3); /* a line of progress; from the job's thread */
int job_add(job_t *j, stored_t *image);                       /* takes it over */
/* From the job's thread: the layer HEX is this job's alone to make, until it is released; waits for others that make
 * it. False: the store closes. */
bool layer_claim(job_t *j, const char *hex);
void layer_release(job_t *j, const char *hex);

/* --- work in threads --------------------------------------------------------------------------------------------- */

int import_archive(job_t *j, kg_error_t *err); /* image_import.c */
int build_rootfs(job_t *j, kg_error_t *err);   /* image_rootfs.c */
int sweep_store(job_t *j, kg_error_t *err);    /* images_sweep.c */

/* image_unpack.c: unpacks the layer in `file` (a tar, compressed or not) into layers/HEX unless it is there.
 * `expected`: its diff id ("sha256:HEX"), checked. *size: bytes unpacked. */
int unpack_layer(job_t *j, const char *file, kg_str_t expected, int64_t *size, kg_error_t *err);
/* SHA-256 of a whole file as 64 hex digits and a NUL. */
int file_digest(const char *file, char hex[HEX + 1], kg_error_t *err);
/* image_config.c: an image of its configuration's text, size 0, no names; NULL with a sentence. */
/* "sha256:HEX" of a text. */
void text_digest(const void *text, size_t n, char digest[8 + HEX]);
stored_t *stored_of_config(const char *text, size_t n, kg_error_t *err);
int stored_add_name(stored_t *s, const char *name);
kg_view_t config_diff_ids(kg_view_t config);

/* image_tree.c: a tar's entries as files below the directory `root`, in the form overlayfs wants. */
typedef struct tree tree_t;
struct archive;
struct archive_entry;
tree_t *tree_new(const char *root, kg_error_t *err);
int tree_entry(tree_t *t, struct archive *a, struct archive_entry *e, kg_error_t *err); /* just read from a */
int tree_finish(tree_t *t, kg_error_t *err); /* times of directories; everything on disk */
int64_t tree_size(const tree_t *t);          /* bytes of files */
void tree_free(tree_t *t);
/* Opens the directory `path` below `root`, made with those above it if they are missing; links lead nowhere else. path
 * is as before afterwards. -1: errno. */
int tree_dir(int root, char *path);

/* Makes a directory of its own below tmp/; to be removed with tree_remove. */
int temporary_dir(const images_t *im, char path[IMAGE_PATH], kg_error_t *err);
void tree_remove(const char *path); /* image_remove.c: however deep it is */

/* image_space.c. Whether the store's disk has so many bytes free, and inodes, a reserve for others aside: KG_EFULL. */
int space_check(const images_t *im, int64_t bytes, kg_error_t *err);
typedef struct space {
  const images_t *im;
  int64_t packed; /* what was sent */
  int64_t taken, looked;
} space_t;
/* So many bytes more come out of what was sent. -1 with a sentence: they are too many. */
int space_take(space_t *s, int64_t bytes, kg_error_t *err);

/* --- image_cli.c ------------------------------------------------------------------------------------------------- */

void cli_out(images_t *im, const kg_msg_t *m, const char *key, const void *p, size_t n);
/* The document on standard output as a line of JSON. */
void cli_json(images_t *im, const kg_msg_t *m, const kg_doc_t *doc);
bool cli_wants_json(const kg_msg_t *m);
void cli_exit(images_t *im, const kg_msg_t *m, int code);
void human_size(int64_t bytes, char out[24]); /* "1.25MB"; any thread */

#endif
