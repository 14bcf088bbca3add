/* kogge plugin trace: live messages, printed and recorded. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "recording.h"

typedef struct tracing {
  const char *of, *file, *duration, *count;
  bool quiet, json;
  int fd; /* of the recording; -1: none */
  size_t size;
  uint64_t seen, written, lost;
} tracing_t;

static volatile sig_atomic_t stopped;

static void on_signal(int signal) {
  (void)signal;
  stopped = 1;
}

static void catch_signals(void) {
  struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: poll() must return */
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
}

/* --- the file ---------------------------------------------------------------------------------------------------- */

static int complain(const char *file, const char *what) {
  fprintf(stderr, "kogge: recording %s: %s\n", file, what);
  return -1;
}

static int append(tracing_t *t, uint8_t *frame, size_t size) {
  ssize_t n = size <= KG_RECORDING_MAX_BYTES - t->size ? write(t->fd, frame, size) : 0;
  free(frame);
  if (n == (ssize_t)size) {
    t->size += size;
    return 0;
  }
  return complain(t->file, n == 0 ? "it has reached 1 GiB" : strerror(errno));
}

/* A recording that is there is gone on with; what was cut off at its end is taken away. */
static int go_on(tracing_t *t) {
  kg_error_t err = {0};
  kg_recording_t sum;
  void *data = mmap(NULL, t->size, PROT_READ, MAP_PRIVATE, t->fd, 0);
  if (data == MAP_FAILED) return complain(t->file, strerror(errno));
  int rc = kg_recording_read(data, t->size, NULL, NULL, &sum, &err);
  munmap(data, t->size);
  if (rc < 0) return complain(t->file, err.text);
  if (!sum.cut) return 0;
  fprintf(stderr, "kogge: recording %s: its last %zu bytes were cut off and are taken away\n", t->file, sum.cut);
  t->size = sum.whole;
  return ftruncate(t->fd, (off_t)sum.whole) == 0 ? 0 : complain(t->file, strerror(errno));
}

static int open_file(tracing_t *t) {
  struct stat st;
  struct timespec now;
  uint8_t *frame;
  size_t size;
  if (!t->file) return 0;
  t->fd = open(t->file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (t->fd < 0 || fstat(t->fd, &st) < 0) return complain(t->file, strerror(errno));
  if (flock(t->fd, LOCK_EX | LOCK_NB) < 0) return complain(t->file, "another one writes to it");
  t->size = (size_t)st.st_size;
  if (t->size > KG_RECORDING_MAX_BYTES) return complain(t->file, "it is larger than a recording may be");
  if (t->size) return go_on(t);
  clock_gettime(CLOCK_REALTIME, &now);
  if (kg_recording_begin(now.tv_sec * 1000000 + now.tv_nsec / 1000, &frame, &size) < 0)
    return complain(t->file, "out of memory");
  return append(t, frame, size);
}

static int record(tracing_t *t, const kg_frame_t *f) {
  uint8_t *frame;
  size_t size;
  if (kg_recording_message(kg_view_int(kg_view_get(f->args, "time_us"), 0), kg_view_str(kg_view_get(f->args, "to")),
                           kg_view_get(f->args, "envelope"), kg_view_get(f->args, "args"), f->docs, &frame,
                           &size) < 0) {
    t->lost++;
    return 0;
  }
  t->written++;
  return append(t, frame, size);
}

/* --- printing ---------------------------------------------------------------------------------------------------- */

static void print_json_line(kg_view_t v) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  for (kg_iter_t it = kg_iter(v); kg_iter_next(&it);) {
    if (kg_str_is(kg_view_str(it.key), "envelope")) continue;
    kg_pack_view(&p, it.key);
    kg_pack_view(&p, it.value);
  }
  kg_pack_end(&p);
  kg_doc_t *doc = kg_pack_doc(&p);
  print_json(kg_view_of(doc));
  kg_doc_unref(doc);
}

static void print_line(kg_view_t v) {
  int64_t us = kg_view_int(kg_view_get(v, "time_us"), 0);
  time_t s = (time_t)(us / 1000000);
  struct tm tm;
  localtime_r(&s, &tm);
  kg_view_t text = kg_view_get(v, "text"), args = kg_view_get(v, "args");
  char *json = kg_view_there(args) ? kg_view_to_json(args) : NULL;
  printf("%02d:%02d:%02d.%06d %-7.*s %-28.*s %.*s -> %.*s #%lld", tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % 1000000),
         KG_STR_ARG(kg_view_str(kg_view_get(v, "type"))), KG_STR_ARG(kg_view_str(kg_view_get(v, "topic"))),
         KG_STR_ARG(kg_view_str(kg_view_get(v, "from"))), KG_STR_ARG(kg_view_str(kg_view_get(v, "to"))),
         (long long)kg_view_int(kg_view_get(v, "id"), 0));
  if (kg_view_int(kg_view_get(v, "docs"), 0)) printf(" +%lld docs", (long long)kg_view_int(kg_view_get(v, "docs"), 0));
  if (kg_view_there(text))
    printf(" %lld %.*s", (long long)kg_view_int(kg_view_get(v, "code"), 0), KG_STR_ARG(kg_view_str(text)));
  printf(" %s\n", json ? json : "");
  free(json);
}

static int take(tracing_t *t, const kg_frame_t *f) {
  int64_t lost = kg_view_int(kg_view_get(f->args, "lost"), 0);
  if (lost) {
    t->lost += (uint64_t)lost;
    fprintf(stderr, "kogge: %lld messages are missing here: they came too fast\n", (long long)lost);
    return 0;
  }
  t->seen++;
  if (!t->quiet && t->json) print_json_line(f->args);
  if (!t->quiet && !t->json) print_line(f->args);
  if (!t->quiet) fflush(stdout);
  return t->fd >= 0 ? record(t, f) : 0;
}

/* --- the stream -------------------------------------------------------------------------------------------------- */

static int ask(const tracing_t *t, client_t *c, char **globs, int n) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "globs");
  kg_pack_array(&p);
  for (int i = 0; i < n; i++) kg_pack_str(&p, globs[i]);
  kg_pack_end(&p);
  if (t->of) kg_pack_kv_str(&p, "of", t->of);
  kg_pack_kv_bool(&p, "whole", t->fd >= 0);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  int rc = client_send(c, "kernel", "kernel.trace", args, true, -1);
  kg_doc_unref(args);
  return rc;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 1: a frame has come, 0: it is over. */
static int wait_for(const client_t *c, int64_t until_ms) {
  while (!stopped) {
    int64_t left = until_ms ? until_ms - now_ms() : 60000;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (left <= 0) return 0;
    if (poll(&p, 1, left > 60000 ? 60000 : (int)left) > 0) return 1;
  }
  return 0;
}

static int listen_to(tracing_t *t, client_t *c) {
  int64_t until = t->duration ? now_ms() + (int64_t)(strtod(t->duration, NULL) * 1000) : 0;
  uint64_t most = t->count ? strtoull(t->count, NULL, 10) : UINT64_MAX;
  while (t->seen < most && wait_for(c, until)) {
    kg_frame_t f;
    if (client_next(c, &f) < 0) {
      fprintf(stderr, "kogge: the server has gone\n");
      return -1;
    }
    if (f.type == KG_MSG_ERROR) {
      fprintf(stderr, "kogge: " KG_STR_FMT "\n", KG_STR_ARG(f.text));
      return -1;
    }
    if (take(t, &f) < 0) return -1;
  }
  return 0;
}

static int usage(void) {
  fprintf(stderr, "usage: kogge plugin trace [GLOB...] [--of NAME] [--record FILE] [--quiet] [--duration S] "
                  "[--count N]\n");
  return 2;
}

static bool positive(const char *number) {
  char *end;
  return !number || (strtod(number, &end) > 0 && !*end);
}

int cli_trace(const cli_t *cli, client_t *c, int argc, char **argv) {
  tracing_t t = {.fd = -1, .json = strcmp(cli->output, "json") == 0};
  int globs = 0;
  for (int i = 0; i < argc; i++) {
    if (cli_option("--of", argv, argc, &i, &t.of) || cli_option("--record", argv, argc, &i, &t.file) ||
        cli_option("--duration", argv, argc, &i, &t.duration) || cli_option("--count", argv, argc, &i, &t.count))
      continue;
    if (strcmp(argv[i], "--quiet") == 0)
      t.quiet = true;
    else if (argv[i][0] == '-')
      return usage();
    else
      argv[globs++] = argv[i];
  }
  if (!positive(t.duration) || !positive(t.count)) return usage();
  catch_signals();
  if (open_file(&t) < 0) return 1;
  int rc = ask(&t, c, argv, globs);
  if (rc == 0) rc = listen_to(&t, c);
  if (t.fd >= 0) {
    close(t.fd);
    fprintf(stderr, "kogge: %llu messages recorded in %s, %llu lost\n", (unsigned long long)t.written, t.file,
            (unsigned long long)t.lost);
  }
  return rc < 0 ? 1 : 0;
}
