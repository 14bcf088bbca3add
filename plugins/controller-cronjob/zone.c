/* Reads a file of the tz database (RFC 8536). */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cron.h"

enum { FILE_MAX = 256 * 1024, HEADER = 44 };

struct zone {
  size_t n;
  int64_t *at;     /* moments at which the offset changes, ascending */
  int32_t *offset; /* from then on */
  int32_t first;   /* before all of them */
  posix_t rule;    /* after all of them */
  bool has_rule;
};

typedef struct counts {
  size_t utc, std, leap, times, types, chars;
} counts_t;

static uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const uint8_t *p) {
  return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static counts_t counts_of(const uint8_t *h) {
  return (counts_t){be32(h + 20), be32(h + 24), be32(h + 28), be32(h + 32), be32(h + 36), be32(h + 40)};
}

static size_t body_size(const counts_t *c, size_t width) {
  return c->times * width + c->times + c->types * 6 + c->chars + c->leap * (width + 4) + c->std + c->utc;
}

static bool is_sane(const counts_t *c) {
  return c->times < 10000 && c->types > 0 && c->types < 256 && c->chars < 1000 && c->leap < 1000 && c->std < 256 &&
         c->utc < 256;
}

static int read_body(zone_t *z, const uint8_t *p, const counts_t *c) {
  const uint8_t *index = p + c->times * 8, *types = index + c->times;
  z->at = calloc(c->times + 1, sizeof *z->at);
  z->offset = calloc(c->times + 1, sizeof *z->offset);
  if (!z->at || !z->offset) return -1;
  z->n = c->times;
  z->first = (int32_t)be32(types);
  for (size_t i = 0; i < c->times; i++) {
    if (index[i] >= c->types) return -1;
    z->at[i] = be64(p + i * 8);
    z->offset[i] = (int32_t)be32(types + 6 * index[i]);
  }
  return 0;
}

static void read_rule(zone_t *z, const uint8_t *p, const uint8_t *end) {
  if (p >= end || *p++ != '\n') return;
  const uint8_t *stop = memchr(p, '\n', (size_t)(end - p));
  if (stop && stop > p) z->has_rule = posix_parse((const char *)p, (size_t)(stop - p), &z->rule) == 0;
}

/* Version 1 knows 32 bits only; nothing ships it alone any more. */
static int parse(zone_t *z, const uint8_t *p, size_t n) {
  const uint8_t *end = p + n;
  if (n < HEADER || memcmp(p, "TZif", 4) || p[4] < '2') return -1;
  counts_t c = counts_of(p);
  if (!is_sane(&c) || body_size(&c, 4) + 2 * HEADER > n) return -1;
  p += HEADER + body_size(&c, 4);
  if (memcmp(p, "TZif", 4)) return -1;
  c = counts_of(p);
  p += HEADER;
  if (!is_sane(&c) || body_size(&c, 8) > (size_t)(end - p) || read_body(z, p, &c)) return -1;
  read_rule(z, p + body_size(&c, 8), end);
  return 0;
}

static bool is_name(const char *name) {
  if (!*name || *name == '/' || strlen(name) > 100 || strstr(name, "..")) return false;
  for (const char *p = name; *p; p++)
    if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/", *p)) return false;
  return true;
}

static uint8_t *read_file(const char *name, size_t *n) {
  char path[160] = "/usr/share/zoneinfo/";
  struct stat st;
  strcat(path, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  uint8_t *data = NULL;
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
    data = malloc((size_t)st.st_size + 1);
  ssize_t got = data ? read(fd, data, (size_t)st.st_size) : -1;
  if (fd >= 0) close(fd);
  *n = got > 0 ? (size_t)got : 0;
  return data;
}

zone_t *zone_load(const char *name, kg_error_t *err) {
  zone_t *z = calloc(1, sizeof *z);
  size_t n = 0;
  if (!z || !strcmp(name, "UTC") || !strcmp(name, "Etc/UTC")) return z;
  uint8_t *data = is_name(name) ? read_file(name, &n) : NULL;
  if (data && parse(z, data, n) == 0) {
    free(data);
    return z;
  }
  free(data);
  zone_free(z);
  kg_error_set(err, KG_EINVAL, "unknown time zone %s", name);
  return NULL;
}

void zone_free(zone_t *z) {
  if (!z) return;
  free(z->at);
  free(z->offset);
  free(z);
}

int64_t zone_offset(const zone_t *z, int64_t utc_s) {
  if (!z->n || utc_s < z->at[0]) return z->n || !z->has_rule ? z->first : posix_offset(&z->rule, utc_s);
  if (utc_s >= z->at[z->n - 1] && z->has_rule) return posix_offset(&z->rule, utc_s);
  size_t low = 0, high = z->n;
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (z->at[middle] <= utc_s)
      low = middle;
    else
      high = middle;
  }
  return z->offset[low];
}
