#ifndef TEST_TARS_H
#define TEST_TARS_H
/* Layers and archives of images, good and hostile, byte by byte. */
#include <sys/types.h>

#include "kube/json.h"

typedef struct tar {
  void *archive;
  kube_buf_t bytes;
} tar_t;

tar_t *tar_new(void);
void tar_dir(tar_t *t, const char *path, mode_t mode);
void tar_file(tar_t *t, const char *path, const char *text);
void tar_put(tar_t *t, const char *path, mode_t mode, int uid, const char *xattr, const char *text);
void tar_symlink(tar_t *t, const char *path, const char *to);
void tar_hardlink(tar_t *t, const char *path, const char *to);
void tar_device(tar_t *t, const char *path, mode_t type, int major, int minor);
void tar_end(tar_t *t); /* then bytes are whole */
void tar_free(tar_t *t);
/* The bytes through libarchive's filter: "gzip", "zstd". */
void tar_compress(tar_t *t, const char *filter);
void digest(const void *p, size_t n, char out[72]);

enum { FALSE_DIFF = 1, FALSE_BLOB = 2, FOREIGN = 4, VOLUMES = 8 }; /* what is wrong with the archive, or is in it */
/* `docker save` of layers (ended, of which diffs are known) at path. */
void docker_archive(const char *path, const char *name, tar_t **layers, size_t n, int wrong);
void oci_archive(const char *path, const char *name, tar_t **layers, size_t n, int wrong);
#endif
