#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

int kg_log_open(kg_log_sink_t *s, const char *file, kg_error_t *err) {
  s->fd = STDERR_FILENO;
  if (!file || !*file) return 0;
  int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) return kg_error_set(err, KG_EINVAL, "log file %s cannot be opened: %s", file, strerror(errno));
  s->fd = fd;
  s->close_fd = true;
  return 0;
}

void kg_log_close(kg_log_sink_t *s) {
  if (s->close_fd) close(s->fd);
  s->close_fd = false;
}

static size_t timestamp(char *out, size_t room) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  struct tm tm;
  gmtime_r(&now.tv_sec, &tm);
  size_t n = strftime(out, room, "%Y-%m-%dT%H:%M:%S", &tm);
  return n + (size_t)snprintf(out + n, room - n, ".%03ldZ", now.tv_nsec / 1000000);
}

/* Writes s as the inside of a JSON string; text lines only lose their control characters. */
static size_t escape(char *out, size_t room, const char *s, bool json) {
  size_t n = 0;
  for (; *s && n + 7 < room; s++) {
    unsigned char c = (unsigned char)*s;
    if (json && (c == '"' || c == '\\')) {
      out[n++] = '\\';
      out[n++] = (char)c;
    } else if (c < 0x20 || c == 0x7f) {
      if (json)
        n += (size_t)snprintf(out + n, room - n, "\\u%04x", c);
      else
        out[n++] = ' ';
    } else {
      out[n++] = (char)c;
    }
  }
  out[n] = 0;
  return n;
}

void kg_logv(kg_kernel_t *k, kg_level_t level, const char *who, const char *fmt, va_list ap) {
  if ((int)level > atomic_load_explicit(&k->log.level, memory_order_relaxed)) return;
  char text[1600], safe[2000], when[40], line[2400];
  vsnprintf(text, sizeof text, fmt, ap);
  escape(safe, sizeof safe, text, k->log.json);
  if (k->sim) {
    kg_sim_log(k->sim, level_names[level], who, safe);
    return;
  }
  timestamp(when, sizeof when);
  int n = k->log.json
              ? snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"plugin\":\"%s\",\"msg\":\"%s\"}\n",
                         when, level_names[level], who, safe)
              : snprintf(line, sizeof line, "%s %-5s %s: %s\n", when, level_names[level], who, safe);
  if (n > (int)sizeof line - 1) n = sizeof line - 1;
  /* One write per line keeps lines of several threads whole; a full disk must not stop the kernel. */
  if (write(k->log.fd, line, (size_t)n) < 0) return;
}

void kg_logf(kg_kernel_t *k, kg_level_t level, const char *who, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_logv(k, level, who, fmt, ap);
  va_end(ap);
}

void kg_kernel_log(kg_kernel_t *k, kg_level_t level, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  kg_logv(k, level, "kernel", fmt, ap);
  va_end(ap);
}

int64_t kg_clock_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
