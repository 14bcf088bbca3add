#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

long resident_kib(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (!f || fscanf(f, "%*s %ld", &pages) != 1) pages = 0;
  if (f) fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double percentile(double *values, size_t n, double p) {
  if (n == 0) return 0;
  qsort(values, n, sizeof *values, by_value);
  size_t i = (size_t)(p / 100 * (double)n);
  return values[i < n ? i : n - 1];
}

static FILE *json;
static const char *comma;

void json_open(const char *path) {
  json = fopen(path, "we");
  comma = "{";
  if (json) return;
  fprintf(stderr, "%s cannot be written: %s\n", path, strerror(errno));
  exit(1);
}

void json_number(const char *key, double value) {
  fprintf(json, "%s\"%s\": %.10g", comma, key, value);
  comma = ", ";
}

void json_close(void) {
  fputs("}\n", json);
  if (fclose(json) == 0) return;
  fprintf(stderr, "the results cannot be written: %s\n", strerror(errno));
  exit(1);
}
