#ifndef TEST_BENCH_H
#define TEST_BENCH_H
/* A store plugin in a kernel of its own, and short words for what tests ask of it. */
#include "driver.h"
#include "etcd.h"

typedef struct bench {
  char dir[64], run[80];
  driver_t *d;
  const char *file, *config;
  test_etcd_t etcd;
} bench_t;

/* Revisions in tests count from where the store was at first: an empty etcd is at 1. @N in arguments is revision N. */
extern int64_t base;

/* store-etcd.so gets an etcd of its own and its configuration. */
bench_t setup(const char *file, const char *config);
void setup_on(bench_t *b); /* with b->dir, b->file and b->etcd set */
void reopen(bench_t *b);
void teardown(bench_t *b);

kg_msg_t *call(bench_t *b, const char *topic, const char *args, const char *doc);
/* The revision, or minus the error code. */
int64_t put(bench_t *b, const char *args, const char *doc);
int64_t del(bench_t *b, const char *args);
stream_t *watch(bench_t *b, const char *args, uint32_t credit, bool manual);
/* "type rev key" of the next item, or "none", "error CODE", "end". */
const char *next(stream_t *s, int ms, char buf[200]);
/* "key=value ..." of a range, or "error CODE". */
const char *keys(bench_t *b, const char *args, char buf[400]);
/* For driver_burst: keys /ARG/000000 and on. */
void fill_many(int i, char **args, char **doc, void *arg);

#endif
