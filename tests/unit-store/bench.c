#include "bench.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)type, (void)ftw;
  return remove(path);
}

int64_t base;

static void load(bench_t *b) {
  b->d = driver_new(b->dir, b->run);
  driver_load(b->d, "store", b->file, b->etcd.members ? b->etcd.config : b->config);
}

void setup_on(bench_t *b) {
  snprintf(b->run, sizeof b->run, "%s/run", b->dir);
  load(b);
  kg_msg_t *m = call(b, "store.status", "{}", NULL);
  base = reply_int(m, "rev");
  kg_msg_unref(m);
}

bench_t setup(const char *file, const char *config) {
  bench_t b = {.file = file, .config = config};
  snprintf(b.dir, sizeof b.dir, "/tmp/kogge-store-XXXXXX");
  cr_assert(mkdtemp(b.dir));
  if (!strcmp(file, "store-etcd.so")) test_etcd_start(&b.etcd, b.dir, 1);
  setup_on(&b);
  return b;
}

void reopen(bench_t *b) {
  driver_free(b->d);
  load(b);
}

void teardown(bench_t *b) {
  if (b->d) driver_free(b->d);
  test_etcd_stop(&b->etcd);
  nftw(b->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *with_base(const char *args) {
  char *text = calloc(1, strlen(args) * 2 + 64), *to = text;
  while (*args) {
    if (*args != '@') {
      *to++ = *args++;
      continue;
    }
    char *end;
    to += sprintf(to, "%lld", (long long)(strtoll(args + 1, &end, 10) + base));
    args = end;
  }
  return text;
}

kg_msg_t *call(bench_t *b, const char *topic, const char *args, const char *doc) {
  char *text = with_base(args);
  kg_msg_t *m = driver_call(b->d, "store", topic, text, doc);
  free(text);
  return m;
}

/* Puts and returns the revision, or minus the error code. */
int64_t put(bench_t *b, const char *args, const char *doc) {
  kg_msg_t *m = call(b, "store.put", args, doc);
  int64_t rev = kg_msg_type(m) == KG_MSG_REPLY ? reply_int(m, "rev") - base : -kg_msg_code(m);
  kg_msg_unref(m);
  return rev;
}

int64_t del(bench_t *b, const char *args) {
  kg_msg_t *m = call(b, "store.delete", args, NULL);
  int64_t rev = kg_msg_type(m) == KG_MSG_REPLY ? reply_int(m, "rev") - base : -kg_msg_code(m);
  kg_msg_unref(m);
  return rev;
}

stream_t *watch(bench_t *b, const char *args, uint32_t credit, bool manual) {
  char *text = with_base(args);
  stream_t *s = driver_stream(b->d, "store", "store.watch", text, credit, manual);
  free(text);
  return s;
}

/* "type rev key" of the next item, or "none", "error CODE", "end". */
const char *next(stream_t *s, int ms, char buf[200]) {
  kg_msg_t *m = stream_next(s, ms);
  if (!m) return "none";
  kg_view_t a = kg_msg_args(m);
  if (kg_msg_type(m) == KG_MSG_ERROR)
    snprintf(buf, 200, "error %d", kg_msg_code(m));
  else if (kg_msg_type(m) == KG_MSG_END)
    snprintf(buf, 200, "end");
  else
    snprintf(buf, 200, KG_STR_FMT " %lld " KG_STR_FMT, KG_STR_ARG(kg_view_str(kg_view_get(a, "type"))),
             (long long)(kg_view_int(kg_view_get(a, "rev"), 0) - base), KG_STR_ARG(kg_view_str(kg_view_get(a, "key"))));
  kg_msg_unref(m);
  return buf;
}

const char *keys(bench_t *b, const char *args, char buf[400]) {
  kg_msg_t *m = call(b, "store.range", args, NULL);
  buf[0] = '\0';
  if (kg_msg_type(m) != KG_MSG_REPLY) snprintf(buf, 400, "error %d", kg_msg_code(m));
  size_t i = 0, n = strlen(buf);
  for (kg_iter_t it = kg_iter(kg_view_get(kg_msg_args(m), "entries")); kg_iter_next(&it); i++) {
    char *json = kg_msg_doc(m, i) ? doc_json(m, i) : strdup("-");
    n += (size_t)snprintf(buf + n, 400 - n, "%s" KG_STR_FMT "=%s", i ? " " : "",
                          KG_STR_ARG(kg_view_str(kg_view_get(it.value, "key"))), json);
    free(json);
  }
  kg_msg_unref(m);
  return buf;
}

void fill_many(int i, char **args, char **doc, void *arg) {
  cr_assert(asprintf(args, "{\"key\":\"/%s/%06d\"}", (const char *)arg, i) > 0);
  cr_assert(asprintf(doc, "{\"n\":%d}", i) > 0);
}
