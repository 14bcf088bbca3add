#ifndef FUZZ_STORE_H
#define FUZZ_STORE_H
/* An image store in memory's file system, emptied after every input. Nothing may appear beside it. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "image_store.h"

static char fuzz_base[64];
static images_t fuzz_images;

static inline void fuzz_store_end(void) {
  tree_remove(fuzz_base);
}

static inline images_t *fuzz_store(void) {
  static const char *const parts[] = {"/store", "/store/layers", "/store/images", "/store/tmp"};
  static char dir[80];
  if (fuzz_base[0]) return &fuzz_images;
  strcpy(fuzz_base, "/dev/shm/kogge-fuzz-XXXXXX");
  FUZZ_MUST(mkdtemp(fuzz_base));
  atexit(fuzz_store_end);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    snprintf(dir, sizeof dir, "%s%s", fuzz_base, parts[i]);
    FUZZ_MUST(mkdir(dir, 0755) == 0);
  }
  snprintf(dir, sizeof dir, "%s/store", fuzz_base);
  fuzz_images.dir = dir;
  return &fuzz_images;
}

static inline size_t fuzz_entries(const char *sub) {
  char path[256];
  snprintf(path, sizeof path, "%s%s", fuzz_base, sub);
  DIR *d = opendir(path);
  size_t n = 0;
  for (struct dirent *e; d && (e = readdir(d));) n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
  if (d) closedir(d);
  return n;
}

static inline void fuzz_write(const char *path, kg_str_t text) {
  FILE *f = fopen(path, "we");
  FUZZ_MUST(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0);
}

static inline job_t fuzz_job(void) {
  return (job_t){.im = fuzz_store(), .lock = PTHREAD_MUTEX_INITIALIZER, .lock_fd = -1};
}

/* After a job: its temporary files are gone, nothing was made outside, and layers are only there if all went well. */
static inline void fuzz_job_end(job_t *j, int rc, size_t beside) {
  char path[256];
  FUZZ_MUST(rc == 0 || j->err.text[0]);
  FUZZ_MUST(fuzz_entries("/store/tmp") == 0);
  FUZZ_MUST(fuzz_entries("") == beside && fuzz_entries("/store") == 3 && fuzz_entries("/store/images") == 0);
  while (j->made) {
    made_t *m = j->made;
    j->made = m->next;
    stored_free(m->image);
    free(m);
  }
  if (!fuzz_entries("/store/layers")) return;
  snprintf(path, sizeof path, "%s/store/layers", fuzz_base);
  tree_remove(path);
  FUZZ_MUST(mkdir(path, 0755) == 0);
}

/* image_job.c's, without threads. */
void job_say(job_t *j, const char *fmt, ...) {
  (void)j, (void)fmt;
}
bool layer_claim(job_t *j, const char *hex) {
  (void)j;
  return hex[0];
}
void layer_release(job_t *j, const char *hex) {
  (void)j, (void)hex;
}
int job_add(job_t *j, stored_t *image) {
  made_t *m = calloc(1, sizeof *m);
  *m = (made_t){j->made, image};
  j->made = m;
  return 0;
}

#endif
