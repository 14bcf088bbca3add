#ifndef OCI_IMAGE_H
#define OCI_IMAGE_H
/*
 * The images of one node, in DATA/runtime/images: each layer unpacked once in a directory of its own (named by its
 * digest), each image a small record (its configuration, its layers in order, its names). Read and written in the
 * lane's thread unless said otherwise; long work runs in a thread of its own that reports back through the lane.
 */
#include "kogge/plugin.h"

typedef struct images images_t;

/* What a container needs of its image. Strings belong to it. */
typedef struct image {
  char *id;      /* "sha256:<hex>" of its configuration */
  char **layers; /* absolute directories, lowest first, ready to be overlayfs lower layers */
  size_t nlayers;
  kg_doc_t *config; /* the OCI image configuration's "config" map (Entrypoint, Cmd, Env, WorkingDir, User, StopSignal)
                       as a document */
  int64_t size;     /* bytes of all layers */
} image_t;

/* dir: absolute, made if absent. Reads what is there. NULL with a sentence. */
KG_NODISCARD images_t *images_open(kg_ctx_t *ctx, const char *dir, kg_error_t *err);
/* In a thread: what a killed import left and layers no image needs go. A request (may be NULL) is answered afterwards,
 * one of the command line with this exit code. */
void images_sweep(images_t *im, const kg_msg_t *request, int code);
void images_read(images_t *im);       /* again, what is there: no container uses one yet */
void images_stop(images_t *im);       /* what is under way ends soon and is answered with KG_ECANCELLED */
bool images_busy(const images_t *im); /* something is under way */
void images_close(images_t *im);      /* waits for work under way; NULL is allowed */
/* `name` as a pod says it: "busybox", "kogge/busybox:latest", "docker.io/library/busybox", "sha256:..." with the usual
 * defaults (docker.io, library/, :latest). Fills *out (free with image_clear) and returns 0, or -1: not here. */
int images_find(images_t *im, kg_str_t name, image_t *out);
void image_clear(image_t *i);
/* What Kubernetes calls an image that containers were made of: its repository and digest ("docker.io/library/busybox@
 * sha256:..."), of the repository of `name` if it has several, or else its id. malloc'ed. */
char *images_reference(images_t *im, const char *id, kg_str_t name);
/* Keeps an image's layers from being removed while containers use it: counted by id. */
void images_use(images_t *im, const char *id);
void images_unuse(images_t *im, const char *id);

/* Handlers of topics image.* (plugins/contracts/runtime.md) and of cli.run for service cli/image. */
void images_handle(images_t *im, const kg_msg_t *m);
void images_cli(images_t *im, const kg_msg_t *m);
void images_complete(images_t *im, const kg_msg_t *m); /* cli.complete */

#endif
